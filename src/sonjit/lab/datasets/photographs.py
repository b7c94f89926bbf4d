"""Photographs labelled by eye with boxes of hands, people and faces.

The images' folder contains `hands.json`, `people.json` or both. The first object of the example is from `hands.json`,
and the second from `people.json`:

    {"a.jpg": {"width": 640, "height": 480, "crowd": [box, ...], "hands": [
        {"box": box, "side": "Left", "clear": true, "hidden": 0.1, "view": "back", "note": "ring"}]}}
    {"a.jpg": {"width": 640, "height": 480, "crowd": [box, ...], "people": [
        {"box": box, "face": box or null, "clear": true, "face_clear": true, "note": ""}]}}

A box is `[x_min, y_min, x_max, y_max]` in pixels of the displayed image, rotated by its EXIF orientation. Only `box` is
required. `clear: false` marks instances that may be found or missed, and `crowd` areas of such instances. `side` is the
person's own hand, null if unclear; `skin` may name a skin tone. Other keys of the files begin with `_`: `_split`
{"choose": [file, ...], "report": [file, ...]} separates images for choosing settings from images to report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError
from sonjit.lab.datasets.dataset import DatasetEntry, RecordDataset
from sonjit.lab.datasets.sample import Instance, InstanceKind, Sample, Side
from sonjit.results import Box

_FILES: dict[str, tuple[InstanceKind, ...]] = {"hands": ("hand",), "people": ("body", "face")}
"""Kinds of instances that each file labels."""
_ALL = "all"
_SIDES: dict[str | None, Side | None] = {"Left": "Left", "Right": "Right", None: None}
_WORDS = ("hidden", "view", "note", "skin")


class Photographs(RecordDataset):
    """Images labelled by either file; `tags["labelled"]` of a sample lists the labelled kinds of instances."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        files = {name: self.root / f"{name}.json" for name in _FILES}
        labels = {name: _labels(file) for name, file in files.items() if file.is_file()}
        if not labels:
            self.need("hands.json")
        images = dict.fromkeys(image for value in labels.values() for image in value if not image.startswith("_"))
        if split != _ALL:
            chosen = {image for value in labels.values() for image in (value.get("_split") or {}).get(split, ())}
            images = [image for image in images if image in chosen]
        self.keep(
            ((image, {name: item[image] for name, item in labels.items() if image in item}) for image in images),
            ", ".join(str(files[name]) for name in labels),
        )

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        """Return one photograph."""
        image, labels = record
        sizes = {(value["width"], value["height"]) for value in labels.values()}
        if len(sizes) > 1:
            raise InputError(f"{self.annotations}: {image} has two sizes: {sorted(sizes)}")
        return self.sample_of(
            image,
            (
                instance
                for name, label in labels.items()
                for instance in _instances(name, label, f"{name}.json: {image}")
            ),
            self.annotations,
            sizes.pop(),
            upright=True,
            tags={"labelled": [kind for name in labels for kind in _FILES[name]]},
        )


def _labels(file: Path) -> Mapping[str, Any]:
    labels = read_json(file)
    if not isinstance(labels, dict):
        raise InputError(f"{file}: not names of images with their labels")
    return labels


def _instances(name: str, label: Mapping[str, Any], location: str) -> Iterator[Instance]:
    for item in label[name]:
        if name == "hands":
            if (side := item.get("side")) not in _SIDES:
                raise InputError(f"{location}: side is {side!r}; Left, Right or null is known")
            yield _instance("hand", item["box"], item, clear=item.get("clear", True), side=_SIDES[side])
            continue
        yield _instance("body", item["box"], item, clear=item.get("clear", True))
        if item.get("face"):
            yield _instance("face", item["face"], item, clear=item.get("face_clear", True))
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
        raise ValueError(f"box {numbers} is empty; expected [x_min, y_min, x_max, y_max] in pixels")
    return x_min, y_min, x_max, y_max
