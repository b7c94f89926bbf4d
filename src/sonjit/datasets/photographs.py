"""Photographs labelled by eye: whatever hands, people and faces are to be found in each, as boxes.

`hands.json` and `people.json` lie beside the images, either or both:

    {"a.jpg": {"width": 640, "height": 480, "crowd": [box, ...], "hands": [
        {"box": box, "side": "Left", "clear": true, "hidden": 0.1, "view": "back", "note": "ring"}]}}
    {"a.jpg": {"width": 640, "height": 480, "crowd": [box, ...], "people": [
        {"box": box, "face": box or null, "clear": true, "face_clear": true, "note": ""}]}}

A box is `[x_min, y_min, x_max, y_max]` in pixels of the image as it is shown, turned as its EXIF orientation says. Only
`box` must be there. `clear: false` marks what may be found or missed alike, `crowd` an area of which the same holds.
`side` is the person's own hand, null where it cannot be told; `skin` may name a skin tone. Other keys of the files
begin with `_`: `_split` {"choose": [file, ...], "report": [file, ...]} parts images to choose settings on from those
to report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sonjit.datasets.dataset import DatasetEntry, RecordDataset
from sonjit.datasets.reading import load_json
from sonjit.datasets.sample import Instance, InstanceKind, Sample, Side
from sonjit.errors import InputError
from sonjit.results import Box

_FILES: dict[str, tuple[InstanceKind, ...]] = {"hands": ("hand",), "people": ("body", "face")}
"""What each file labels."""
_ALL = "all"
_SIDES: dict[str | None, Side | None] = {"Left": "Left", "Right": "Right", None: None}
_WORDS = ("hidden", "view", "note", "skin")


class Photographs(RecordDataset):
    """Images that either file labels; `tags["labelled"]` of a sample says which kinds of instances are."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        files = {name: self.root / f"{name}.json" for name in _FILES}
        labels = {name: _labels(file) for name, file in files.items() if file.is_file()}
        if not labels:
            self.need("hands.json")
        images = dict.fromkeys(image for one in labels.values() for image in one if not image.startswith("_"))
        if split != _ALL:
            chosen = {image for one in labels.values() for image in (one.get("_split") or {}).get(split, ())}
            images = [image for image in images if image in chosen]
        self.keep(
            ((image, {name: one[image] for name, one in labels.items() if image in one}) for image in images),
            ", ".join(str(files[name]) for name in labels),
        )

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        """One photograph."""
        image, labels = record
        sizes = {(one["width"], one["height"]) for one in labels.values()}
        if len(sizes) > 1:
            raise InputError(f"{self.annotations}: {image} has two sizes: {sorted(sizes)}")
        return self.sample_of(
            image,
            (one for name, label in labels.items() for one in _instances(name, label, f"{name}.json: {image}")),
            self.annotations,
            sizes.pop(),
            upright=True,
            tags={"labelled": [kind for name in labels for kind in _FILES[name]]},
        )


def _labels(file: Path) -> Mapping[str, Any]:
    labels = load_json(file)
    if not isinstance(labels, dict):
        raise InputError(f"{file}: not names of images with their labels")
    return labels


def _instances(name: str, label: Mapping[str, Any], where: str) -> Iterator[Instance]:
    for one in label[name]:
        if name == "hands":
            if (side := one.get("side")) not in _SIDES:
                raise InputError(f"{where}: side is {side!r}; Left, Right or null is known")
            yield _instance("hand", one["box"], one, clear=one.get("clear", True), side=_SIDES[side])
            continue
        yield _instance("body", one["box"], one, clear=one.get("clear", True))
        if one.get("face"):
            yield _instance("face", one["face"], one, clear=one.get("face_clear", True))
    for box in label.get("crowd", ()):
        for kind in _FILES[name]:
            yield Instance(kind=kind, box=_box(box), crowd=True)


def _instance(
    kind: InstanceKind, box: object, label: Mapping[str, Any], *, clear: bool, side: Side | None = None
) -> Instance:
    words = {name: label[name] for name in _WORDS if label.get(name) not in (None, "")}
    return Instance(kind=kind, side=side, box=_box(box), extra={"clear": bool(clear)} | words)


def _box(numbers: Any) -> Box:  # noqa: ANN401  # JSON
    x_min, y_min, x_max, y_max = map(float, numbers)
    if not (x_min < x_max and y_min < y_max):
        raise ValueError(f"box {numbers} holds nothing; give [x_min, y_min, x_max, y_max] in pixels")
    return x_min, y_min, x_max, y_max
