"""Hands cut out of annotated pictures as the detector cuts them, with room around to turn and shift them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sonjit.datasets import load_coco, read_pictures
from sonjit.detectors.hands import BOX_KEYPOINTS, box_around_hand
from sonjit.errors import InputError
from sonjit.geometry import RotatedBox, crop, crop_matrix, crop_on_grid
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.datasets import CocoCategory, CocoInstance

_SIZE = 224
_MARGIN = 56
"""Around a crop, in its pixels: a whole number, so that the middle of the larger crop is the detector's own."""
_WIDE = _SIZE + 2 * _MARGIN
_TURN_RAD, _SCALE, _SHIFT, _LIGHT = 0.35, (0.87, 1.15), 0.06, 0.2


@dataclass(frozen=True, eq=False)
class LandmarkCrop:
    """One hand.

    Attributes:
        wide: (336, 336, 3) uint8 RGB, the crop with 56 px around it.
        keypoints: (K, 2) in pixels of the crop.
        known: (K,) whether each is annotated.
    """

    wide: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    known: NDArray[np.bool_]

    def image(self) -> NDArray[np.uint8]:
        """(224, 224, 3): the crop itself."""
        return self.wide[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def landmark_crops(annotations: Path, images: Path | None, extra_keypoints: Sequence[str] = ()) -> list[LandmarkCrop]:
    """Every hand of a data set whose palm and first joints are annotated.

    Args:
        annotations: COCO keypoints JSON; its category names the keypoints as MediaPipe does, in any order.
        images: folder or video; None for what stands beside the annotations.
        extra_keypoints: names of keypoints that follow the 21.

    Raises:
        InputError: no category has these keypoints, or no hand is annotated well enough.
    """
    data = load_coco(annotations)
    names = (*load_skeleton("hand_mediapipe21").keypoints, *extra_keypoints)
    columns = {category.id: _columns(category, names) for category in data.categories}
    if not any(columns.values()):
        known = {name for category in data.categories for name in category.keypoints}
        missing = [name for name in names if name not in known]
        lacks = f"the keypoint {missing[0]!r}" if missing else "all of a hand's keypoints"
        raise InputError(f"{data.path}: no category with {lacks}; needed are {', '.join(names)}")
    crops: list[LandmarkCrop] = []
    for picture, rgb in read_pictures(data, images):
        for instance in picture.instances:
            chosen = columns[instance.category_id]
            if chosen and (one := _crop(rgb, instance, chosen)):
                crops.append(one)
    if not crops:
        raise InputError(f"{data.path}: no hand with wrist, palm and first joints annotated")
    return crops


def augmented(hand: LandmarkCrop, rng: np.random.Generator) -> LandmarkCrop:
    """The same hand a little turned, scaled, shifted and in another light."""
    side = _SIZE * rng.uniform(*_SCALE)
    cx, cy = _WIDE / 2 + _SIZE * rng.uniform(-_SHIFT, _SHIFT, 2)
    box = RotatedBox(cx, cy, side, side, rng.uniform(-_TURN_RAD, _TURN_RAD))
    wide = crop(hand.wide, _wider(box), _WIDE, _WIDE)
    gain, offset = rng.uniform(1 - _LIGHT, 1 + _LIGHT), 255 * rng.uniform(-_LIGHT, _LIGHT) / 2
    lit = np.clip(wide * np.float32(gain) + np.float32(offset), 0, 255).astype(np.uint8)
    return replace(hand, wide=lit, keypoints=_into_crop(hand.keypoints + _MARGIN, box))


def _columns(category: CocoCategory, names: Sequence[str]) -> list[int]:
    """Where a category has keypoints of these names; empty where it lacks one."""
    if not set(names) <= set(category.keypoints):
        return []
    return [category.keypoints.index(name) for name in names]


def _crop(rgb: NDArray[np.uint8], instance: CocoInstance, columns: Sequence[int]) -> LandmarkCrop | None:
    if instance.keypoints is None or len(instance.keypoints) <= max(columns):
        return None
    points = instance.keypoints[columns]  # (K, 3)
    known = points[:, 2] > 0
    if not known[BOX_KEYPOINTS].all():
        return None
    box = box_around_hand(points)
    if box.width < 1:
        return None
    wide = np.empty((_WIDE, _WIDE, 3), np.uint8)
    crop_on_grid(rgb, _wider(box), wide)
    return LandmarkCrop(wide, _into_crop(points[:, :2], box), known)


def _wider(box: RotatedBox) -> RotatedBox:
    scale = _WIDE / _SIZE
    return box._replace(width=box.width * scale, height=box.height * scale)


def _into_crop(points: NDArray[np.float32], box: RotatedBox) -> NDArray[np.float32]:
    """Points (K, 2) of a picture in pixels of a box's crop."""
    matrix = crop_matrix(box, _SIZE, _SIZE)
    return np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T.astype(np.float32)
