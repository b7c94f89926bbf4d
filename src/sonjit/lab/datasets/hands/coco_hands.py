"""OneHand10K and the hands of CMU Panoptic, in COCO's format or in CMU's own.

Source: https://mmpose.readthedocs.io/en/latest/dataset_zoo/2d_hand_keypoint.html for the files in COCO's format,
http://domedb.perception.cs.cmu.edu/handdb.html for CMU's. Both use MediaPipe's order of keypoints.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sonjit._util.data_files import read_json
from sonjit.lab.datasets.dataset import (
    Dataset,
    DatasetEntry,
    RecordDataset,
    box_from_corner,
    points_with_flags,
    size_of_image,
)
from sonjit.lab.datasets.formats.coco import CocoSet, Record, keypoint_fields, mask_reader
from sonjit.lab.datasets.sample import HAND_SKELETON, Instance, Sample, Side

_JOINTS = 21
_FILES = {"onehand10k": ("onehand10k", "{Split}/source"), "panoptic-hand": ("panoptic", "hand_labels/manual_{split}")}


class CocoHands(CocoSet):
    """Hands in COCO's format: a keypoint's flag is 1 where it is known."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        stem, folder = _FILES[entry.name]
        annotations = self.need(f"annotations/{stem}_{split}.json")
        self.read(annotations, root / folder.format(split=split, Split=split.capitalize()), root)

    def instances(self, annotation: Record, image: Record) -> Iterator[Instance]:
        """Yield the one hand of an annotation."""
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
        """Return one image with its one labelled hand."""
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
