"""The covered solutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import load_when_asked

if TYPE_CHECKING:
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

load_when_asked(globals(), "sonjit.compat.mediapipe.solutions", modules=" ".join(__all__))
