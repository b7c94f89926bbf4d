"""Read the data card of a release from its authors' TOML, and write it as Markdown."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sonjit._util.data_files import read_toml_table
from sonjit._util.errors import InputError
from sonjit.lab.documents.document import Heading, Table, Text, markdown_from
from sonjit.studio.release.privacy import FacesFound
from sonjit.studio.release.ridges import Sampling

SPLITS: Final = ("train", "val", "test")
_DEFAULT_FRACTIONS: Final = {"test": 0.2, "val": 0.1}  # fractions of the people, without splits on the card
_REQUIRED_FIELDS: Final = {
    "title": "the name of the data set",
    "licence": "under which it is released, such as CC-BY-4.0",
    "consent": "who agreed to what, how, and how they can take it back",
    "contact": "whom to write to",
}
_EXAMPLE: Final = 'title = "…", licence = "…", consent = "…", contact = "…", and [captures.NAME] with subject = "01"'


@dataclass(frozen=True)
class CaptureSequence:
    """One performance of a capture; `kind` PP is a peak pose, ROM a range of motion."""

    name: str
    kind: Literal["PP", "ROM", ""]
    first: int
    last: int


@dataclass(frozen=True)
class Capture:
    """One project of a release.

    Attributes:
        subject: Number or word for the person.
        split: Split of the person, or None for an automatic one.
        sequences: Performances of the recording.
    """

    subject: str
    split: str | None
    sequences: tuple[CaptureSequence, ...]

    def sequence_of(self, frame: int) -> CaptureSequence:
        """Return the performance that contains a frame set, `all` if there is none."""
        return next(
            (sequence for sequence in self.sequences if sequence.first <= frame <= sequence.last),
            CaptureSequence("all", "", 0, 0),
        )


@dataclass(frozen=True)
class DataCard:
    """The fields of the authors, see `_REQUIRED_FIELDS`, and the captures."""

    fields: Mapping[str, str]
    captures: Mapping[str, Capture]


def load_card(path: Path) -> DataCard:
    """Load a card from TOML.

    Raises:
        InputError: The file is missing or not TOML, or lacks a required field such as licence or consent.
    """
    if not path.is_file():
        raise InputError(f"--card {path}: no such file; a release requires a card with {_EXAMPLE}")
    record = read_toml_table(path)
    for name, what in _REQUIRED_FIELDS.items():
        if not str(record.get(name, "")).strip():
            raise InputError(f"{path} lacks {name}: {what}; it is required")
    captures = {name: _capture(path, name, table) for name, table in record.get("captures", {}).items()}
    fields = {name: str(value) for name, value in record.items() if not isinstance(value, dict)}
    return DataCard(fields, captures)


def _capture(path: Path, name: str, record: Any) -> Capture:  # noqa: ANN401  # TOML
    """Parse a capture."""
    if not isinstance(record, dict) or not str(record.get("subject", "")).strip():  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        raise InputError(f"{path}: captures.{name} lacks subject: a number or word for the person, never a name")
    members: Mapping[str, Any] = record
    split = members.get("split")
    if split is not None and split not in SPLITS:
        raise InputError(f"{path}: captures.{name}.split {split!r}. Choose from {', '.join(SPLITS)}")
    sequences: list[CaptureSequence] = []
    for sequence in members.get("sequences", []):
        kind = sequence.get("type", "")
        if kind not in ("PP", "ROM", ""):
            raise InputError(
                f"{path}: captures.{name}: unknown sequence type {kind!r}. Choose from PP, ROM, or omit it"
            )
        try:
            sequences.append(
                CaptureSequence(_file_name(str(sequence["name"])), kind, int(sequence["first"]), int(sequence["last"]))
            )
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}: captures.{name}: a sequence requires name, first and last") from None
    return Capture(_file_name(str(members["subject"])), split, tuple(sequences))


def _file_name(name: str) -> str:
    """Replace characters that are unsafe in file names."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def split_people(captures: Iterable[Capture]) -> dict[str, str]:
    """Return the split of each person: the card's, or a fifth of the people for test and a tenth for val.

    Raises:
        InputError: A person would be in two splits.
    """
    captures, splits = list(captures), dict[str, str]()
    for capture in captures:
        if capture.split is not None and splits.setdefault(capture.subject, capture.split) != capture.split:
            raise InputError(
                f"person {capture.subject} would be in {splits[capture.subject]} and {capture.split}: one split each"
            )
    unassigned = sorted(
        {capture_item.subject for capture_item in captures} - splits.keys(),
        key=lambda name: hashlib.sha256(name.encode()).digest(),
    )
    people = len(unassigned) + len(splits)
    for split, fraction in _DEFAULT_FRACTIONS.items():
        for _ in range(round(fraction * people) - list(splits.values()).count(split)):
            if len(unassigned) > 1:
                splits[unassigned.pop()] = split
    return splits | dict.fromkeys(unassigned, "train")


def card_markdown(
    card: DataCard, statistics: Mapping[str, object], samplings: Mapping[str, Sampling], faces: FacesFound
) -> str:
    """Write the data card as Markdown."""
    totals = [(name.replace("_", " "), _format_value(value)) for name, value in statistics.items() if name != "splits"]
    views = [
        (
            name,
            f"{sampling.size[0]} x {sampling.size[1]}",
            f"{sampling.px_per_mm:.2f}",
            f"{sampling.ridge_px:.2f}",
            f"{100 * sampling.ridge_contrast:.1f} %",
        )
        for name, sampling in samplings.items()
    ]
    blocks = [
        Table(("", ""), tuple(card.fields.items()), text_columns=2),
        Heading("Contents"),
        Table(("", ""), tuple(totals), text_columns=2),
        Text(
            "Images and labels are stored as in InterHand2.6M (`images`, `annotations`), and also as COCO. No person "
            "is in two splits. Joints are the centres of rotation inside the fingers, and the ends of the fingers at "
            "the tips, in millimetres in the world of a capture. `annotations/*/sources_*.json` lists the source of "
            "each joint: H is a human, M a machine, H+M a machine whose result a human checked. `SHA256SUMS` lists "
            "every file."
        ),
        Heading("Privacy"),
        Text(
            "Ridges of fingers repeat about every 0.45 mm. They cannot be read below two pixels a period, or where a "
            "tenth of their contrast or less is left. At the joint nearest to each camera:"
        ),
        Table(("view", "size", "px/mm", "pixels a ridge", "contrast left of ridges"), tuple(views), text_columns=2),
        Text(
            f"Faces found and blurred, in an image or where another view shows one: {faces.blurred}. Images left out "
            f"because what may be a face lies over a labelled hand: {faces.withheld}. Labelled hands that were taken "
            "for a face, too small for one and none to a second network, and were left as they are: "
            f"{faces.hands}. What a detector finds in no view is not blurred: look at the images before you publish."
        ),
    ]
    return markdown_from(card.fields["title"], blocks)


def _format_value(value: object) -> str:
    """Format a value of the statistics."""
    if isinstance(value, Mapping):
        members: Mapping[object, object] = value  # pyright: ignore[reportUnknownVariableType]  # JSON
        return ", ".join(f"{name or 'none'} {count}" for name, count in members.items())
    return str(value)
