"""The vision tasks, their options and results, and drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import not_covered
from sonjit.compat.mediapipe.tasks.python.vision import (
    core,
    drawing_styles,
    drawing_utils,
    face_detector,
    face_landmarker,
    gesture_recognizer,
    hand_landmarker,
    holistic_landmarker,
    image_segmenter,
    pose_landmarker,
)
from sonjit.compat.mediapipe.tasks.python.vision.core.image_processing_options import ImageProcessingOptions
from sonjit.compat.mediapipe.tasks.python.vision.core.vision_task_running_mode import (
    VisionTaskRunningMode as RunningMode,
)
from sonjit.compat.mediapipe.tasks.python.vision.face_detector import (
    FaceDetector,
    FaceDetectorOptions,
    FaceDetectorResult,
)
from sonjit.compat.mediapipe.tasks.python.vision.face_landmarker import (
    Blendshapes,
    FaceLandmarker,
    FaceLandmarkerOptions,
    FaceLandmarkerResult,
    FaceLandmarksConnections,
)
from sonjit.compat.mediapipe.tasks.python.vision.gesture_recognizer import (
    GestureRecognizer,
    GestureRecognizerOptions,
    GestureRecognizerResult,
)
from sonjit.compat.mediapipe.tasks.python.vision.hand_landmarker import (
    HandLandmark,
    HandLandmarker,
    HandLandmarkerOptions,
    HandLandmarkerResult,
    HandLandmarksConnections,
)
from sonjit.compat.mediapipe.tasks.python.vision.holistic_landmarker import (
    HolisticLandmarker,
    HolisticLandmarkerOptions,
    HolisticLandmarkerResult,
)
from sonjit.compat.mediapipe.tasks.python.vision.image_segmenter import (
    ImageSegmenter,
    ImageSegmenterOptions,
    ImageSegmenterResult,
)
from sonjit.compat.mediapipe.tasks.python.vision.pose_landmarker import (
    PoseLandmark,
    PoseLandmarker,
    PoseLandmarkerOptions,
    PoseLandmarkerResult,
    PoseLandmarksConnections,
)

__all__ = [
    "Blendshapes",
    "FaceDetector",
    "FaceDetectorOptions",
    "FaceDetectorResult",
    "FaceLandmarker",
    "FaceLandmarkerOptions",
    "FaceLandmarkerResult",
    "FaceLandmarksConnections",
    "GestureRecognizer",
    "GestureRecognizerOptions",
    "GestureRecognizerResult",
    "HandLandmark",
    "HandLandmarker",
    "HandLandmarkerOptions",
    "HandLandmarkerResult",
    "HandLandmarksConnections",
    "HolisticLandmarker",
    "HolisticLandmarkerOptions",
    "HolisticLandmarkerResult",
    "ImageProcessingOptions",
    "ImageSegmenter",
    "ImageSegmenterOptions",
    "ImageSegmenterResult",
    "PoseLandmark",
    "PoseLandmarker",
    "PoseLandmarkerOptions",
    "PoseLandmarkerResult",
    "PoseLandmarksConnections",
    "RunningMode",
    "core",
    "drawing_styles",
    "drawing_utils",
    "face_detector",
    "face_landmarker",
    "gesture_recognizer",
    "hand_landmarker",
    "holistic_landmarker",
    "image_segmenter",
    "pose_landmarker",
]

if not TYPE_CHECKING:  # a type checker shall keep complaining about unknown names

    def __getattr__(name: str) -> object:
        """Say what is covered."""
        raise not_covered(__name__, name, __all__)
