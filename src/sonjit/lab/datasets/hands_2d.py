"""Hands in images without a third dimension: OneHand10K, CMU Panoptic, HaGRID, and photographs labelled by eye.

OneHand10K and CMU Panoptic use MediaPipe's order of keypoints, in COCO's format
(https://mmpose.readthedocs.io/en/latest/dataset_zoo/2d_hand_keypoint.html) or in CMU's own
(http://domedb.perception.cs.cmu.edu/handdb.html).

HaGRID (https://github.com/hukenovs/hagrid) has a box per hand. Boxes and landmarks are shares of the image's sides. The
landmarks come from MediaPipe, so they are no truth for evaluating such a network. Many images are mirrored:
`leading_hand` becomes a tag, and the side is unknown.

The folder of photographs contains `hands.json`, `people.json` or both. The first object of the example is from
`hands.json`, and the second from `people.json`:

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

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError
from sonjit.lab.datasets.coco import CocoSet, Record, keypoint_fields, mask_reader
from sonjit.lab.datasets.dataset import (
    Dataset,
    DatasetEntry,
    RecordDataset,
    box_from_corner,
    points_with_flags,
    size_of_image,
)
from sonjit.lab.datasets.sample import HAND_SKELETON, Instance, InstanceKind, Sample, Side
from sonjit.results import Box

_JOINTS = 21
_COCO_FILES = {
    "onehand10k": ("onehand10k", "{Split}/source"),
    "panoptic-hand": ("panoptic", "hand_labels/manual_{split}"),
}


class CocoHands(CocoSet):
    """Hands in COCO's format: a keypoint's flag is 1 where it is known."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        stem, folder = _COCO_FILES[entry.name]
        annotations = self.need(f"annotations/{stem}_{split}.json")
        self.read(annotations, root / folder.format(split=split, Split=split.capitalize()), root)

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        yield Instance(
            kind="hand",
            side=_side(image["file_name"]) if self.entry.name == "panoptic-hand" else None,
            skeleton=HAND_SKELETON,
            box=box_from_corner(annotation, "bbox"),
            area_px2=annotation.get("area"),
            category="hand",
            category_id=annotation["category_id"],
            extra={name: annotation[name] for name in ("head_size", "dataset") if name in annotation},
            read_mask=None if _is_octagon(annotation) else mask_reader(annotation, image),
            **keypoint_fields(annotation, "keypoints", _JOINTS, has_visibility=False),
        )


class PanopticHands(RecordDataset):
    """CMU's own layout: a JSON file next to each image of `hand_labels`."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        self._folder = self.need(f"hand_labels/manual_{split}")
        self.keep((file.stem for file in sorted(self._folder.glob("*.json"))), str(self._folder))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        path = self._folder / f"{record}.jpg"
        size = size_of_image(path)
        file = path.with_suffix(".json")
        labels = read_json(file)
        points, flags = points_with_flags(labels, "hand_pts", _JOINTS)
        hand = Instance(
            kind="hand",
            side="Left" if labels["is_left"] else "Right",
            skeleton=HAND_SKELETON,
            keypoints_px=points,
            valid_px=flags > 0,
        )
        return self.sample_of(path.relative_to(self.root).as_posix(), [hand], file, size)


def open_panoptic(entry: DatasetEntry, root: Path, split: str) -> Dataset:
    """Open the file in COCO's format, or else CMU's own."""
    in_coco_form = (root / "annotations" / f"panoptic_{split}.json").is_file()
    return (CocoHands if in_coco_form else PanopticHands)(entry, root, split)


def _side(name: str) -> Side | None:
    """Return the side in a file name, which ends with _l or _r."""
    stem = name.rpartition(".")[0]
    return "Left" if stem.endswith("_l") else "Right" if stem.endswith("_r") else None


def _is_octagon(annotation: Record) -> bool:
    """Check whether the segmentation is only the box with its edge midpoints, as mmpose's files fill the field."""
    box, parts = box_from_corner(annotation, "bbox"), annotation.get("segmentation")
    if box is None or not parts or len(parts[0]) != 16:
        return False
    x_min, y_min, x_max, y_max = box
    corners = zip(parts[0][::2], parts[0][1::2], strict=True)
    return all(min(abs(x - x_min), abs(x - x_max), abs(y - y_min), abs(y - y_max)) < 1 for x, y in corners)


_TAG_FIELDS = ("leading_hand", "leading_conf", "united_bbox", "united_label", "meta")


class Hagrid(RecordDataset):
    """Images of all gestures, by gesture."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        folder = root / "annotations" / split  # version 2's
        if not folder.is_dir():
            folder = self.need(f"ann_{split}")
        self.keep(_hagrid_records(folder), str(folder))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        gesture, name, labels = record
        candidates = f"{self.split}/{gesture}/{name}.jpg", f"images/{gesture}/{name}.jpg", f"{gesture}/{name}.jpg"
        image_path = next(
            (image_path for image_path in candidates if (self.root / image_path).is_file()), candidates[0]
        )
        size = size_of_image(self.root / image_path)
        source = f"{self.annotations}/{gesture}.json"
        boxes, names = labels["bboxes"], labels["labels"]
        if len(boxes) != len(names):
            raise InputError(f"{source}: {name} has {len(boxes)} bboxes and {len(names)} labels")
        landmarks: list[Any] = labels.get("hand_landmarks") or labels.get("landmarks") or []
        landmarks = landmarks if len(landmarks) == len(boxes) else [[]] * len(boxes)
        scale = np.array(size, np.float64)
        return self.sample_of(
            image_path,
            (_hagrid_hand(f"{source}: {name}", *item, scale) for item in zip(boxes, names, landmarks, strict=True)),
            source,
            size,
            subject=labels.get("user_id"),
            tags={"gesture": gesture} | {key: labels[key] for key in _TAG_FIELDS if key in labels},
        )


def _hagrid_hand(named: str, box: list[float], label: str, landmarks: list[list[float]], scale: FloatArray) -> Instance:
    if len(box) != 4 or len(landmarks) not in (0, 21):
        raise InputError(
            f"{named}: a bbox has {len(box)} numbers, not 4, or its landmarks are {len(landmarks)}, not 21"
        )
    corner, size = np.array(box[:2], np.float64) * scale, np.array(box[2:], np.float64) * scale
    (x_min, y_min), (x_max, y_max) = corner.tolist(), (corner + size).tolist()
    points = np.array(landmarks, np.float64) * scale if len(landmarks) else None
    return Instance(
        kind="hand",
        skeleton=None if points is None else HAND_SKELETON,
        keypoints_px=points,
        valid_px=None if points is None else np.ones(len(points), np.bool_),
        box=(x_min, y_min, x_max, y_max),
        category=label,
    )


def _hagrid_records(folder: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for file in sorted(folder.glob("*.json")):
        labels = read_json(file)
        if not isinstance(labels, dict) or not labels:
            raise InputError(f"{file}: not names of images with their labels")
        for name, item in labels.items():
            yield file.stem, name, item


_LABEL_FILES: dict[str, tuple[InstanceKind, ...]] = {"hands": ("hand",), "people": ("body", "face")}
"""Kinds of instances that each file labels."""
_ALL = "all"
_LABELLED_SIDES: dict[str | None, Side | None] = {"Left": "Left", "Right": "Right", None: None}
_WORDS = ("hidden", "view", "note", "skin")


class Photographs(RecordDataset):
    """Images labelled by either file; `tags["labelled"]` of a sample lists the labelled kinds of instances."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        files = {name: self.root / f"{name}.json" for name in _LABEL_FILES}
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
            tags={"labelled": [kind for name in labels for kind in _LABEL_FILES[name]]},
        )


def _labels(file: Path) -> Mapping[str, Any]:
    labels = read_json(file)
    if not isinstance(labels, dict):
        raise InputError(f"{file}: not names of images with their labels")
    return labels


def _instances(name: str, label: Mapping[str, Any], location: str) -> Iterator[Instance]:
    for item in label[name]:
        if name == "hands":
            if (side := item.get("side")) not in _LABELLED_SIDES:
                raise InputError(f"{location}: side is {side!r}; Left, Right or null is known")
            yield _instance("hand", item["box"], item, clear=item.get("clear", True), side=_LABELLED_SIDES[side])
            continue
        yield _instance("body", item["box"], item, clear=item.get("clear", True))
        if item.get("face"):
            yield _instance("face", item["face"], item, clear=item.get("face_clear", True))
    for box in label.get("crowd", ()):
        for kind in _LABEL_FILES[name]:
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
