"""Rotated boxes in pixels.

A rotated box is five numbers `(cx, cy, width, height, rotation)`: centre and size in pixels, rotation in radians,
positive turns the box's x axis towards the image's y axis (clockwise on the screen).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class RotatedBox(NamedTuple):
    """Centre and size in pixels, rotation in radians (clockwise on the screen)."""

    cx: float
    cy: float
    width: float
    height: float
    rotation: float = 0.0


def wrap_angle(angle_rad: float) -> float:
    """The same angle in [-pi, pi).

    >>> round(wrap_angle(3 * math.pi / 2), 4)
    -1.5708
    """
    return angle_rad - 2 * math.pi * math.floor((angle_rad + math.pi) / (2 * math.pi))


def square_box(box: RotatedBox, *, scale: float, shift_y: float = 0.0) -> RotatedBox:
    """Shift a box along its own y axis by a part of its height, then square its long side and scale it.

    The order is that of MediaPipe's rectangle transformation: the shift counts in the box's height before squaring.
    """
    cx, cy, width, height, rotation = box
    shift = height * shift_y
    side = max(width, height) * scale
    return RotatedBox(cx - shift * math.sin(rotation), cy + shift * math.cos(rotation), side, side, rotation)


def clamped_box(box: RotatedBox, width: int, height: int) -> RotatedBox | None:
    """The part of an upright box that an image shows, to its last pixel; None where it shows none.

    A box of w pixels ends at its last pixel, w - 1 after its first, as the code of HandOccNet has it.
    """
    left, top = max(0.0, box.cx - box.width / 2), max(0.0, box.cy - box.height / 2)
    right = min(width - 1.0, left + max(0.0, box.width - 1))
    bottom = min(height - 1.0, top + max(0.0, box.height - 1))
    if box.width * box.height <= 0 or right < left or bottom < top:
        return None
    return RotatedBox((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def rotated_box_around(points: NDArray[np.floating], rotation_rad: float) -> RotatedBox:
    """Smallest box of the given rotation around points (K, 2) in pixels."""
    cos, sin = math.cos(rotation_rad), math.sin(rotation_rad)
    along_x = points[:, 0] * cos + points[:, 1] * sin  # (K,) in the box's axes
    along_y = points[:, 1] * cos - points[:, 0] * sin
    left, right = float(along_x.min()), float(along_x.max())
    top, bottom = float(along_y.min()), float(along_y.max())
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    return RotatedBox(
        middle_x * cos - middle_y * sin,
        middle_x * sin + middle_y * cos,
        right - left,
        bottom - top,
        rotation_rad,
    )


def iou(a: RotatedBox, b: RotatedBox) -> float:
    """Intersection over union of two boxes with their rotation left out, as MediaPipe associates them, 0..1."""
    width = min(a.cx + a.width / 2, b.cx + b.width / 2) - max(a.cx - a.width / 2, b.cx - b.width / 2)
    height = min(a.cy + a.height / 2, b.cy + b.height / 2) - max(a.cy - a.height / 2, b.cy - b.height / 2)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.width * a.height + b.width * b.height - shared)
