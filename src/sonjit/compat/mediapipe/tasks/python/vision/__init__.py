"""The vision tasks, their options and results, and drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import load_when_asked
from sonjit.compat.mediapipe.task_options import VisionTaskRunningMode as RunningMode

if TYPE_CHECKING:
    from sonjit.compat.mediapipe.task_options import ImageProcessingOptions
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

load_when_asked(
    globals(),
    "sonjit.compat.mediapipe.tasks.python.vision",
    {
        "sonjit.compat.mediapipe.task_options": "ImageProcessingOptions",
        ".face_detector": "FaceDetector FaceDetectorOptions FaceDetectorResult",
        ".face_landmarker": "Blendshapes FaceLandmarker FaceLandmarkerOptions FaceLandmarkerResult "
        "FaceLandmarksConnections",
        ".gesture_recognizer": "GestureRecognizer GestureRecognizerOptions GestureRecognizerResult",
        ".hand_landmarker": "HandLandmark HandLandmarker HandLandmarkerOptions HandLandmarkerResult "
        "HandLandmarksConnections",
        ".holistic_landmarker": "HolisticLandmarker HolisticLandmarkerOptions HolisticLandmarkerResult",
        ".image_segmenter": "ImageSegmenter ImageSegmenterOptions ImageSegmenterResult",
        ".pose_landmarker": "PoseLandmark PoseLandmarker PoseLandmarkerOptions PoseLandmarkerResult "
        "PoseLandmarksConnections",
    },
    modules=" ".join(name for name in __all__ if name.islower()),
)
