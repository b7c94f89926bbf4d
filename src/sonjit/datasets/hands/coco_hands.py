"""Hands in COCO's form, and CMU's own: OneHand10K and the hands of CMU Panoptic.

Source: https://mmpose.readthedocs.io/en/latest/dataset_zoo/2d_hand_keypoint.html for the files in COCO's form,
http://domedb.perception.cs.cmu.edu/handdb.html for CMU's. Both order keypoints as MediaPipe does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sonjit.datasets.dataset import (
    Dataset,
    DatasetEntry,
    RecordDataset,
    box_from_corner,
    points_with_flags,
    size_of_image,
)
from sonjit.datasets.formats.coco import CocoSet, Record, labelled, mask_reader
from sonjit.datasets.reading import load_json
from sonjit.datasets.sample import HAND_SKELETON, Instance, Sample, Side

_JOINTS = 21
_FILES = {"onehand10k": ("onehand10k", "{Split}/source"), "panoptic-hand": ("panoptic", "hand_labels/manual_{split}")}


class CocoHands(CocoSet):
    """Hands in COCO's form: a keypoint's flag is 1 where it is known."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        stem, folder = _FILES[entry.name]
        annotations = self.need(f"annotations/{stem}_{split}.json")
        self.read(annotations, root / folder.format(split=split, Split=split.capitalize()), root)

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        """The one hand of an annotation."""
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
            **labelled(annotation, "keypoints", _JOINTS, says_hidden=False),
        )


class PanopticHands(RecordDataset):
    """CMU's own layout: a JSON file beside each image of `hand_labels`."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        self._folder = self.need(f"hand_labels/manual_{split}")
        self.keep((file.stem for file in sorted(self._folder.glob("*.json"))), str(self._folder))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        """One image with the one hand that is labelled in it."""
        path = self._folder / f"{record}.jpg"
        size = size_of_image(path)
        file = path.with_suffix(".json")
        labels = load_json(file)
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
    """The file in COCO's form, or where that is not there CMU's own."""
    in_coco_form = (root / "annotations" / f"panoptic_{split}.json").is_file()
    return (CocoHands if in_coco_form else PanopticHands)(entry, root, split)


def _side(name: str) -> Side | None:
    """The side in a file name: it ends with _l or _r."""
    stem = name.rpartition(".")[0]
    return "Left" if stem.endswith("_l") else "Right" if stem.endswith("_r") else None


def _is_octagon(annotation: Record) -> bool:
    """Whether the segmentation is but the box with its middles, as mmpose's files fill the field."""
    box, parts = box_from_corner(annotation, "bbox"), annotation.get("segmentation")
    if box is None or not parts or len(parts[0]) != 16:
        return False
    x_min, y_min, x_max, y_max = box
    corners = zip(parts[0][::2], parts[0][1::2], strict=True)
    return all(min(abs(x - x_min), abs(x - x_max), abs(y - y_min), abs(y - y_max)) < 1 for x, y in corners)
