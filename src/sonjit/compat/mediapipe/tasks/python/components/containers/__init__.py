"""Re-export the names of `mediapipe.tasks.python.components.containers`."""

from sonjit.compat.mediapipe import containers
from sonjit.compat.mediapipe.containers import *  # noqa: F403  # every container
from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.tasks.python.components.containers import (
    bounding_box,
    category,
    classification_result,
    detections,
    embedding_result,
    keypoint,
    landmark,
    landmark_detection_result,
    rect,
)

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

name_what_is_covered(globals())
