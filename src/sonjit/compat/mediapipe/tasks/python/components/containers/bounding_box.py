"""`BoundingBox`."""

from dataclasses import dataclass


@dataclass
class BoundingBox:
    """An upright box in whole pixels: its top left corner and its size."""

    origin_x: int
    origin_y: int
    width: int
    height: int
