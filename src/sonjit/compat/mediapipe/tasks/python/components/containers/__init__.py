"""The names of `mediapipe.tasks.python.components.containers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe import containers
from sonjit.compat.mediapipe.containers import *  # noqa: F403  # every container
from sonjit.compat.mediapipe.not_covered import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import containers as bounding_box
    from sonjit.compat.mediapipe import containers as category
    from sonjit.compat.mediapipe import containers as classification_result
    from sonjit.compat.mediapipe import containers as detections
    from sonjit.compat.mediapipe import containers as embedding_result
    from sonjit.compat.mediapipe import containers as keypoint
    from sonjit.compat.mediapipe import containers as landmark
    from sonjit.compat.mediapipe import containers as landmark_detection_result
    from sonjit.compat.mediapipe import containers as rect

__all__ = [
    "bounding_box",
    "category",
    "classification_result",
    "detections",
    "embedding_result",
    "keypoint",
    "landmark",
    "landmark_detection_result",
    "rect",
]
__all__ += containers.__all__
add_covered_names(globals())
