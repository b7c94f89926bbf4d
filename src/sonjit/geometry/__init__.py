"""Pure functions on arrays: rotated boxes and crops."""

from sonjit.geometry.boxes import (
    RotatedBox,
    iou,
    rotated_box_around,
    square_box,
    wrap_angle,
)
from sonjit.geometry.crops import crop, crop_matrix, crop_on_grid, letterbox, letterbox_box, points_from_crop

__all__ = [
    "RotatedBox",
    "crop",
    "crop_matrix",
    "crop_on_grid",
    "iou",
    "letterbox",
    "letterbox_box",
    "points_from_crop",
    "rotated_box_around",
    "square_box",
    "wrap_angle",
]
