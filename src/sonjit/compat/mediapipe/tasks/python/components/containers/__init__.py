"""What results hold."""

from sonjit.compat.mediapipe.tasks.python.components.containers import (
    bounding_box,
    category,
    classification_result,
    detections,
    keypoint,
    landmark,
    landmark_detection_result,
    rect,
)
from sonjit.compat.mediapipe.tasks.python.components.containers.bounding_box import BoundingBox
from sonjit.compat.mediapipe.tasks.python.components.containers.category import Category
from sonjit.compat.mediapipe.tasks.python.components.containers.classification_result import (
    ClassificationResult,
    Classifications,
)
from sonjit.compat.mediapipe.tasks.python.components.containers.detections import Detection, DetectionResult
from sonjit.compat.mediapipe.tasks.python.components.containers.keypoint import NormalizedKeypoint
from sonjit.compat.mediapipe.tasks.python.components.containers.landmark import Landmark, NormalizedLandmark
from sonjit.compat.mediapipe.tasks.python.components.containers.landmark_detection_result import (
    LandmarksDetectionResult,
)
from sonjit.compat.mediapipe.tasks.python.components.containers.rect import NormalizedRect, Rect

__all__ = [
    "BoundingBox",
    "Category",
    "ClassificationResult",
    "Classifications",
    "Detection",
    "DetectionResult",
    "Landmark",
    "LandmarksDetectionResult",
    "NormalizedKeypoint",
    "NormalizedLandmark",
    "NormalizedRect",
    "Rect",
    "bounding_box",
    "category",
    "classification_result",
    "detections",
    "keypoint",
    "landmark",
    "landmark_detection_result",
    "rect",
]
