"""Where Deformer looks: a square around hand and object for the picture, and the hand's box in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit.errors import InputError
from sonjit.geometry import RotatedBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AROUND = 1.5


class Corners(NamedTuple):
    """A box in pixels."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float

    def clipped(self, width: float, height: float) -> Corners:
        """The part of it in a picture."""
        return Corners(max(self.x_min, 0), max(self.y_min, 0), min(self.x_max, width), min(self.y_max, height))


def box_around(points: NDArray[np.floating], scale: float = _AROUND) -> Corners:
    """The box of points (K, 2), `scale` times as large about its centre, which is cut to whole pixels as published.

    What `look` takes as a frame's box is this of the joints in the crop, clipped to the crop. The released code clips
    to the size of the picture instead, in training.
    """
    low, high = points.min(0), points.max(0)
    x, y = np.trunc((low + high) / 2).tolist()
    half_width, half_height = (scale * (high - low) / 2).tolist()
    return Corners(x - half_width, y - half_height, x + half_width, y + half_height)


def crop_square(
    hand: Corners, width: int, height: int, thing: Corners | None = None, rotation_rad: float = 0.0
) -> RotatedBox:
    """What to cut out of a picture and scale to 512 x 512.

    Args:
        hand: `box_around` its joints.
        width: of the picture.
        height: of it.
        thing: box around what the hand holds: on HO-3D `box_around` its corners, on DexYCB of scale 1 and only where it
            meets the hand's.
        rotation_rad: by which the crop is turned, for training; what it shows turns the other way.

    Raises:
        InputError: the boxes are outside the picture.
    """
    both = [hand, *([] if thing is None else [thing])]
    x_min, y_min, x_max, y_max = Corners(
        *(min(box[axis] for box in both) for axis in (0, 1)), *(max(box[axis] for box in both) for axis in (2, 3))
    ).clipped(width, height)
    if x_max <= x_min or y_max <= y_min:
        raise InputError(f"the box {tuple(round(edge) for edge in hand)} is outside the picture of {width} x {height}")
    side = max(x_max - x_min, y_max - y_min)
    return RotatedBox(int((x_min + x_max) / 2), int((y_min + y_max) / 2), side, side, rotation_rad)


def joints_in_box(joints: NDArray[np.floating], box: Corners) -> NDArray[np.float32]:
    """Joints (21, 2) as x, y in 0..1 of a box, to be learned; (-1, -1) where one is outside."""
    low, high = np.array(box[:2]), np.array(box[2:])
    placed = (joints - low) / (high - low)
    outside = ((placed < 0) | (placed > 1)).any(1, keepdims=True)
    return np.where(outside, -1, placed).astype(np.float32)
