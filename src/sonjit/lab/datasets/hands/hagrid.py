"""HaGRID: gestures with a box per hand. Source: https://github.com/hukenovs/hagrid.

Boxes and landmarks are shares of the image's sides. The landmarks come from MediaPipe, so they are no truth for
evaluating such a network. Many images are mirrored: `leading_hand` becomes a tag, and the side is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError
from sonjit.lab.datasets.dataset import DatasetEntry, RecordDataset, size_of_image
from sonjit.lab.datasets.sample import HAND_SKELETON, Instance, Sample

_TAG_FIELDS = ("leading_hand", "leading_conf", "united_bbox", "united_label", "meta")


class Hagrid(RecordDataset):
    """Images of all gestures, by gesture."""

    def __init__(self, entry: DatasetEntry, root: Path, split: str) -> None:
        super().__init__(entry, root, split)
        folder = root / "annotations" / split  # version 2's
        if not folder.is_dir():
            folder = self.need(f"ann_{split}")
        self.keep(_records(folder), str(folder))

    def sample(self, record: Any) -> Sample:  # noqa: ANN401  # JSON
        """Return one image."""
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
            (_hand(f"{source}: {name}", *item, scale) for item in zip(boxes, names, landmarks, strict=True)),
            source,
            size,
            subject=labels.get("user_id"),
            tags={"gesture": gesture} | {key: labels[key] for key in _TAG_FIELDS if key in labels},
        )


def _hand(named: str, box: Any, label: str, landmarks: Any, scale: np.ndarray[Any, np.dtype[np.float64]]) -> Instance:  # noqa: ANN401  # JSON
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


def _records(folder: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for file in sorted(folder.glob("*.json")):
        labels = read_json(file)
        if not isinstance(labels, dict) or not labels:
            raise InputError(f"{file}: not names of images with their labels")
        for name, item in labels.items():
            yield file.stem, name, item
