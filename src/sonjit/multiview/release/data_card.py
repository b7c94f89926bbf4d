"""The data card of a release: read from its authors' TOML, written as Markdown."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sonjit.documents.document import Heading, Table, Text, markdown_from
from sonjit.errors import InputError
from sonjit.multiview.release.privacy import FacesFound, Sampling

SPLITS: Final = ("train", "val", "test")
_SHARES: Final = {"test": 0.2, "val": 0.1}  # of the people, where the card gives no split
_REQUIRED: Final = {
    "title": "the name of the data set",
    "licence": "under which it is released, such as CC-BY-4.0",
    "consent": "who agreed to what, how, and how they can take it back",
    "contact": "whom to write to",
}
_EXAMPLE: Final = 'title = "…", licence = "…", consent = "…", contact = "…", and [captures.NAME] with subject = "01"'


@dataclass(frozen=True)
class CaptureSequence:
    """One performance of a capture, frame sets first to last; `kind`: PP a peak pose, ROM a range of motion."""

    name: str
    kind: Literal["PP", "ROM", ""]
    first: int
    last: int


@dataclass(frozen=True)
class Capture:
    """One project: whose hands, in which split (None: by the person's number), what was performed."""

    subject: str
    split: str | None
    sequences: tuple[CaptureSequence, ...]

    def sequence_of(self, frame: int) -> CaptureSequence:
        """The performance that a frame set belongs to; `all` where none was given."""
        return next((one for one in self.sequences if one.first <= frame <= one.last), CaptureSequence("all", "", 0, 0))


@dataclass(frozen=True)
class DataCard:
    """The fields that the authors fill in, see `_REQUIRED`; and the captures."""

    fields: Mapping[str, str]
    captures: Mapping[str, Capture]


def load_card(path: Path) -> DataCard:
    """Read a card in TOML.

    Raises:
        InputError: it is missing or not TOML, or lacks licence, consent or another field that a release must have.
    """
    try:
        record = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"--card {path}: {error.strerror}; a release needs one with {_EXAMPLE}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    for name, what in _REQUIRED.items():
        if not str(record.get(name, "")).strip():
            raise InputError(f"{path} lacks {name}: {what}; it is required")
    captures = {name: _capture(path, name, one) for name, one in record.get("captures", {}).items()}
    fields = {name: str(value) for name, value in record.items() if not isinstance(value, dict)}
    return DataCard(fields, captures)


def _capture(path: Path, name: str, record: Any) -> Capture:  # noqa: ANN401  # TOML
    if not isinstance(record, dict) or not str(record.get("subject", "")).strip():  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        raise InputError(f"{path}: captures.{name} lacks subject: a number or word for the person, never a name")
    members: Mapping[str, Any] = record
    split = members.get("split")
    if split is not None and split not in SPLITS:
        raise InputError(f"{path}: captures.{name}.split {split!r}; known: {', '.join(SPLITS)}")
    found: list[CaptureSequence] = []
    for one in members.get("sequences", []):
        kind = one.get("type", "")
        if kind not in ("PP", "ROM", ""):
            raise InputError(f"{path}: captures.{name}: sequence type {kind!r}; give PP, ROM or nothing")
        try:
            found.append(CaptureSequence(_plain(str(one["name"])), kind, int(one["first"]), int(one["last"])))
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}: captures.{name}: a sequence needs name, first and last") from None
    return Capture(_plain(str(members["subject"])), split, tuple(found))


def _plain(name: str) -> str:
    """A name that is safe for files."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def split_people(captures: Iterable[Capture]) -> dict[str, str]:
    """The split of each person: the card's, else a fifth of the people for test and a tenth for val.

    Raises:
        InputError: one person would be in two.
    """
    captures, splits = list(captures), dict[str, str]()
    for capture in captures:
        if capture.split is not None and splits.setdefault(capture.subject, capture.split) != capture.split:
            raise InputError(
                f"person {capture.subject} would be in {splits[capture.subject]} and {capture.split}: one split each"
            )
    rest = sorted(
        {one.subject for one in captures} - splits.keys(), key=lambda name: hashlib.sha256(name.encode()).digest()
    )
    people = len(rest) + len(splits)
    for split, share in _SHARES.items():
        for _ in range(round(share * people) - list(splits.values()).count(split)):
            if len(rest) > 1:
                splits[rest.pop()] = split
    return splits | dict.fromkeys(rest, "train")


def page(card: DataCard, statistics: Mapping[str, object], samplings: Mapping[str, Sampling], faces: FacesFound) -> str:
    """The data card as Markdown."""
    totals = [(name.replace("_", " "), _words(value)) for name, value in statistics.items() if name != "splits"]
    views = [
        (
            name,
            f"{one.size[0]} x {one.size[1]}",
            f"{one.px_per_mm:.2f}",
            f"{one.ridge_px:.2f}",
            f"{100 * one.ridge_contrast:.1f} %",
        )
        for name, one in samplings.items()
    ]
    blocks = [
        Table(("", ""), tuple(card.fields.items()), text_columns=2),
        Heading("What it holds"),
        Table(("", ""), tuple(totals), text_columns=2),
        Text(
            "Images and labels lie as in InterHand2.6M (`images`, `annotations`), and as COCO beside. No person is in "
            "two splits. Joints are centres of rotation, inside the fingers, and at the tips the fingers' ends; "
            "millimetres in the world of a capture; `annotations/*/sources_*.json` says by whom "
            "each is: H a human, M a machine, H+M a machine and checked by a human. `SHA256SUMS` lists every file."
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


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        members: Mapping[object, object] = value  # pyright: ignore[reportUnknownVariableType]  # JSON
        return ", ".join(f"{name or 'none'} {one}" for name, one in members.items())
    return str(value)
