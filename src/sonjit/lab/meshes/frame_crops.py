"""Compute Deformer's crop of a labelled frame, a square around the hand and the grasped object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.lab.networks.hands3d.deformer_stream import Corners, box_around, crop_square

if TYPE_CHECKING:
    from sonjit._util.arrays import RealArray
    from sonjit.geometry.boxes import RotatedBox
    from sonjit.lab.datasets import Sample


def frame_crop(sample: Sample, points_px: RealArray, rotation_rad: float = 0.0) -> RotatedBox:
    """Return the square crop of a frame.

    Args:
        sample: Labelled frame.
        points_px: (K, 2) keypoints of the hand in pixels, or the corners of its box.
        rotation_rad: Angle by which the crop is rotated, for training.

    Raises:
        InputError: The hand is outside the image.
    """
    hand = box_around(points_px)
    return crop_square(hand, sample.width, sample.height, _grasped_object(sample, hand), rotation_rad)


def _grasped_object(sample: Sample, hand: Corners) -> Corners | None:
    """Return the box of the grasped object, or None.

    The box surrounds the corners of the object's 3D box (HO-3D), or its mask if that overlaps the hand (DexYCB).
    """
    for instance in sample.instances:
        if instance.kind != "object" or not instance.extra.get("grasped"):
            continue
        if "corners_m" in instance.extra and sample.camera is not None:
            return box_around(sample.camera.project(instance.extra["corners_m"]))
        mask = instance.mask()
        if mask is not None and mask.any():
            columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            box = Corners(*map(float, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)))
            overlaps = box.x_min < hand.x_max and hand.x_min < box.x_max
            return box if overlaps and box.y_min < hand.y_max and hand.y_min < box.y_max else None
    return None
