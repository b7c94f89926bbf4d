"""Pure functions on arrays: rotated boxes, crops and cameras."""

from sonjit.geometry.boxes import (
    RotatedBox,
    clamped_box,
    crop,
    crop_matrix,
    crop_on_grid,
    inverse_affine,
    iou,
    letterbox,
    letterbox_box,
    points_from_crop,
    points_into_crop,
    rotated_box_around,
    square_box,
    wrap_angle,
)
from sonjit.geometry.cameras import (
    ASSUMED_VIEW_DEG,
    CalibratedCamera,
    Intrinsics,
    assumed_camera,
    camera_from_text,
    translation_to_view,
)

__all__ = [
    "ASSUMED_VIEW_DEG",
    "CalibratedCamera",
    "Intrinsics",
    "RotatedBox",
    "assumed_camera",
    "camera_from_text",
    "clamped_box",
    "crop",
    "crop_matrix",
    "crop_on_grid",
    "inverse_affine",
    "iou",
    "letterbox",
    "letterbox_box",
    "points_from_crop",
    "points_into_crop",
    "rotated_box_around",
    "square_box",
    "translation_to_view",
    "wrap_angle",
]
