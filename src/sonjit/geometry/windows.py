"""Overlapping windows of an image, in which a detector sees small instances at a larger scale."""

import math
from typing import NamedTuple

import numpy as np

from sonjit._util import Image
from sonjit.geometry.boxes import Box, RotatedBox

_MIN_WINDOW_PX = 96
"""Minimum side of a window, half of a detector's input. Smaller windows have no further detail."""
_MIN_SURROUNDING_PX = 24  # minimum shorter side of a window around a place
_OVERLAP = 1.15  # side of a window, in steps between windows
_LONG = 2  # ratio of the sides of the parts in which a very wide or tall image is searched
_EDGE_PX = 2  # distance from an edge within which a box reaches it


class Window(NamedTuple):
    """A part of an image in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, rgb: Image) -> Image:
        """Return this part of an image (H, W, 3)."""
        return np.ascontiguousarray(rgb[self.top : self.bottom, self.left : self.right])

    def placed(self, box: RotatedBox) -> RotatedBox:
        """Return a box of the window in pixels of the image."""
        return box._replace(cx=box.cx + self.left, cy=box.cy + self.top)

    def cuts(self, box: Box, rgb: Image) -> bool:
        """Check whether a box in pixels of an image (H, W, 3) reaches an edge of the window that is not the image's."""
        (height, width), (x_min, y_min, x_max, y_max) = rgb.shape[:2], box
        at_left, at_top = x_min < self.left + _EDGE_PX and self.left > 0, y_min < self.top + _EDGE_PX and self.top > 0
        at_right = x_max > self.right - _EDGE_PX and self.right < width
        return at_left or at_top or at_right or (y_max > self.bottom - _EDGE_PX and self.bottom < height)

    def clipped(self, box: Box) -> Box:
        """Return the part of a box that lies in the window."""
        x_min, y_min, x_max, y_max = box
        return max(x_min, self.left), max(y_min, self.top), min(x_max, self.right), min(y_max, self.bottom)


def reach(width: int, height: int) -> float:
    """Return the longer side of an image, or the part of it that is searched at once if it is very wide or tall."""
    longer, shorter = max(width, height), min(width, height)
    return longer / max(1, min(round(longer / shorter / _LONG), longer // _MIN_WINDOW_PX, shorter))


def is_long(rgb: Image) -> bool:
    """Check whether an image (H, W, 3) is seven times as long as wide, so that all its windows are searched."""
    return 4 * reach(*rgb.shape[1::-1]) <= max(rgb.shape)


def windows(width: int, height: int, count: int, *, fewer: bool = False) -> list[Window]:
    """Return overlapping windows that cover an image, `count` along its longer side, or along each `reach` of it.

    With `fewer` along the shorter side they are nearly square. By default they are at most square.
    """
    longer = max(width, height)
    count *= round(longer / reach(width, height))
    if count == 1:
        return [Window(0, 0, width, height)]
    if longer < count * _MIN_WINDOW_PX or min(width, height) < count:
        return []
    step = longer / (count - 1 + _OVERLAP)

    def spans(length: int) -> list[tuple[int, int]]:
        more = length / step - _OVERLAP
        number = max(math.floor(more + 0.5) if fewer else math.ceil(more - 1e-6), 0) + 1
        side = max(_OVERLAP * length / (number - 1 + _OVERLAP), min(_OVERLAP * step, length))
        starts = [(length - side) * i / (number - 1) if number > 1 else 0.0 for i in range(number)]
        return [(round(start), min(round(start + side), length)) for start in starts]

    return [Window(x, y, right, bottom) for y, bottom in spans(height) for x, right in spans(width)]


def window_around(cx: float, cy: float, side: float, rgb: Image) -> Window | None:
    """Return the part of a square window, in pixels, that lies in an image (H, W, 3), or None if it is too small."""
    height, width = rgb.shape[:2]
    left, top = max(int(cx - side / 2), 0), max(int(cy - side / 2), 0)
    right, bottom = min(int(cx + side / 2), width), min(int(cy + side / 2), height)
    return Window(left, top, right, bottom) if min(right - left, bottom - top) >= _MIN_SURROUNDING_PX else None
