"""`Rect` and `NormalizedRect`."""

from dataclasses import dataclass


@dataclass
class Rect:
    """A region by its sides, as parts of the image."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass
class NormalizedRect:
    """A turned region by its centre and size, as parts of the image; the rotation is clockwise in radians."""

    x_center: float
    y_center: float
    width: float
    height: float
    rotation: float | None = 0.0
    rect_id: int | None = None
