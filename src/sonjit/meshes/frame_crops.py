"""What Deformer sees of a labelled frame: a square around the hand and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.networks.hands3d.deformer_stream import Corners, box_around, crop_square

if TYPE_CHECKING:
    from sonjit.arrays import RealArray
    from sonjit.datasets import Sample
    from sonjit.geometry.boxes import RotatedBox


def frame_crop(sample: Sample, points_px: RealArray, rotation_rad: float = 0.0) -> RotatedBox:
    """The square to cut out of a frame.

    Args:
        sample: the frame.
        points_px: (K, 2) the hand's keypoints, or the corners of its given box.
        rotation_rad: by which the crop is turned, for training.

    Raises:
        InputError: the hand is outside the image.
    """
    hand = box_around(points_px)
    return crop_square(hand, sample.width, sample.height, _held(sample, hand), rotation_rad)


def _held(sample: Sample, hand: Corners) -> Corners | None:
    """The box of what is held: around the corners of its own box, as HO-3D has them; else of its mask, as DexYCB has
    it, where that meets the hand's.
    """
    for one in sample.instances:
        if one.kind != "object" or not one.extra.get("grasped"):
            continue
        if "corners_m" in one.extra and sample.camera is not None:
            return box_around(sample.camera.project(one.extra["corners_m"]))
        mask = one.mask()
        if mask is not None and mask.any():
            columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            held = Corners(*map(float, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)))
            meets = held.x_min < hand.x_max and hand.x_min < held.x_max
            return held if meets and held.y_min < hand.y_max and hand.y_min < held.y_max else None
    return None
