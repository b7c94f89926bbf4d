"""RHD and FreiHAND as rewritten by others: JSON similar to COCO's, in the joint order of the original set.

Such files store keypoints as flat x, y, flag or as nested lists, 3D joints as `joint_cam` in millimetres and an image's
camera as `cam_param`. The keypoint names in RHD's own `categories` do not fit its numbers and are not read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sonjit._util.data_files import read_json
from sonjit._util.errors import InputError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.dataset import Dataset, DatasetEntry
from sonjit.lab.datasets.joint_orders import MM, box_from_xywh, camera_matrix, complete
from sonjit.lab.datasets.reading import field, numbers
from sonjit.lab.datasets.sample import HAND_SKELETON, Instance, Sample, Side

_SIDES: dict[str, Side] = {"right": "Right", "left": "Left"}


class ParsedHands(Dataset):
    """Images with 2D hands, and 3D hands if the file has them.

    Args:
        entry: Record of the set.
        root: Folder of the set.
        split: Name of the split.
        file: Annotation file, below the root.
        images: Folder of the images, below the root.
        order: Indices of MediaPipe's keypoints among the file's.
        side: Side of hands for which the file gives none.

    Raises:
        InputError: The file is missing or damaged, or names no image.
    """

    def __init__(
        self,
        entry: DatasetEntry,
        root: Path,
        split: str,
        *,
        file: str,
        images: str,
        order: tuple[int, ...],
        side: Side | None = None,
    ) -> None:
        super().__init__(entry, root, split)
        self._path = self.need(file)
        self._folder = images
        self._order = list(order)
        self._side: Side | None = side
        content = read_json(self._path)
        self._images: list[Any] = field(content, "images", str(self._path))
        self._annotations: dict[Any, list[tuple[int, Any]]] = {}
        for index, item in enumerate(field(content, "annotations", str(self._path))):
            image = field(item, "image_id", f"{self._path}: annotations[{index}]")
            self._annotations.setdefault(image, []).append((index, item))
        ids = [field(image, "id", f"{self._path}: images[{index}]") for index, image in enumerate(self._images)]
        if len(set(ids)) < len(ids):
            raise InputError(f"{self._path}: two images have one id")
        if orphans := self._annotations.keys() - set(ids):
            raise InputError(f"{self._path}: annotations of the image {min(orphans)}, which is not among the images")

    def __len__(self) -> int:
        return len(self._images)

    def load(self, index: int) -> Sample:
        """Return one image. A wrong record is an InputError with file and field."""
        record = self._images[index]
        named = f"{self._path}: images[{index}]"
        name, width, height = (field(record, key, named) for key in ("file_name", "width", "height"))
        found = self._annotations.get(field(record, "id", named), ())
        camera = None
        if "cam_param" in record:
            focal, middle = (
                numbers(field(record["cam_param"], key, f"{named}.cam_param"), (2,), f"{named}.cam_param.{key}")
                for key in ("focal", "princpt")
            )
            camera = CalibratedCamera(camera_matrix(focal, middle))
        hands = (self._hand(item, f"{self._path}: annotations[{index}]") for index, item in found)
        return self.sample_of(f"{self._folder}/{name}", hands, self._path, (int(width), int(height)), camera=camera)

    def _hand(self, record: Any, named: str) -> Instance:  # noqa: ANN401  # JSON
        stored = field(record, "keypoints", named)
        flat = stored if isinstance(stored, list) and stored and isinstance(stored[0], list) else [stored]
        keypoints = numbers(np.ravel(_equal_rows(flat, f"{named}.keypoints")), (63,), f"{named}.keypoints").reshape(
            21, 3
        )
        keypoints = keypoints[self._order]
        labelled = keypoints[:, 2] > 0
        joints = None
        if "joint_cam" in record:
            joints = numbers(record["joint_cam"], (21, 3), f"{named}.joint_cam")[self._order] * MM
        side: Side | None = _SIDES.get(str(record.get("hand_type", "")).lower()) or self._side
        return Instance(
            kind="hand",
            side=side,
            skeleton=HAND_SKELETON,
            keypoints_px=np.where(labelled[:, None], keypoints[:, :2], np.nan),
            valid_px=labelled,
            keypoints_m=joints,
            valid_m=None if joints is None else complete(joints),
            box=box_from_xywh(numbers(record["bbox"], (4,), f"{named}.bbox")) if "bbox" in record else None,
            area_px2=float(record["area"]) if "area" in record else None,
            extra={"annotation_id": record["id"]} if "id" in record else {},
        )


def _equal_rows(rows: list[Any], named: str) -> list[Any]:
    if len({len(row) for row in rows}) > 1:
        raise InputError(f"{named} has rows of several lengths")
    return rows
