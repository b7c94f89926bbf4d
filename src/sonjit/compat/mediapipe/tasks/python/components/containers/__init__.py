"""What results hold."""

from sonjit.compat.mediapipe.tasks.python.components.containers import (
    bounding_box,
    category,
    detections,
    keypoint,
    landmark,
    rect,
)
from sonjit.compat.mediapipe.tasks.python.components.containers.bounding_box import BoundingBox
from sonjit.compat.mediapipe.tasks.python.components.containers.category import Category
from sonjit.compat.mediapipe.tasks.python.components.containers.detections import Detection, DetectionResult
from sonjit.compat.mediapipe.tasks.python.components.containers.keypoint import NormalizedKeypoint
from sonjit.compat.mediapipe.tasks.python.components.containers.landmark import Landmark, NormalizedLandmark
from sonjit.compat.mediapipe.tasks.python.components.containers.rect import NormalizedRect, Rect

__all__ = [
    "BoundingBox",
    "Category",
    "Detection",
    "DetectionResult",
    "Landmark",
    "NormalizedKeypoint",
    "NormalizedLandmark",
    "NormalizedRect",
    "Rect",
    "bounding_box",
    "category",
    "detections",
    "keypoint",
    "landmark",
    "rect",
]
