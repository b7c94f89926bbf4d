"""The covered solutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import name_what_is_covered, not_covered
from sonjit.compat.mediapipe.solutions import (
    drawing_styles,
    drawing_utils,
    face_detection,
    face_mesh,
    face_mesh_connections,
    hands,
    hands_connections,
    holistic,
    pose,
    pose_connections,
    selfie_segmentation,
)

__all__ = [
    "drawing_styles",
    "drawing_utils",
    "face_detection",
    "face_mesh",
    "face_mesh_connections",
    "hands",
    "hands_connections",
    "holistic",
    "pose",
    "pose_connections",
    "selfie_segmentation",
]

name_what_is_covered(
    drawing_utils, face_detection, face_mesh_connections, hands, hands_connections, pose, pose_connections,
    selfie_segmentation,
)  # fmt: skip

if not TYPE_CHECKING:  # a type checker shall keep complaining about unknown names

    def __getattr__(name: str) -> object:
        """Say what is covered."""
        raise not_covered(__name__, name, __all__)
