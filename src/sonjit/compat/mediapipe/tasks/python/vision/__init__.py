"""The vision tasks, their options and results, and drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import add_covered_names
from sonjit.compat.mediapipe.task_options import VisionTaskRunningMode as RunningMode

if TYPE_CHECKING:
    from sonjit.compat.mediapipe.task_options import ImageProcessingOptions as ImageProcessingOptions
    from sonjit.compat.mediapipe.tasks.python.vision import core as core
    from sonjit.compat.mediapipe.tasks.python.vision import drawing_styles as drawing_styles
    from sonjit.compat.mediapipe.tasks.python.vision import drawing_utils as drawing_utils
    from sonjit.compat.mediapipe.tasks.python.vision import face_detector as face_detector
    from sonjit.compat.mediapipe.tasks.python.vision import face_landmarker as face_landmarker
    from sonjit.compat.mediapipe.tasks.python.vision import gesture_recognizer as gesture_recognizer
    from sonjit.compat.mediapipe.tasks.python.vision import hand_landmarker as hand_landmarker
    from sonjit.compat.mediapipe.tasks.python.vision import holistic_landmarker as holistic_landmarker
    from sonjit.compat.mediapipe.tasks.python.vision import image_segmenter as image_segmenter
    from sonjit.compat.mediapipe.tasks.python.vision import pose_landmarker as pose_landmarker
    from sonjit.compat.mediapipe.tasks.python.vision.face_detector import FaceDetector as FaceDetector
    from sonjit.compat.mediapipe.tasks.python.vision.face_detector import FaceDetectorOptions as FaceDetectorOptions
    from sonjit.compat.mediapipe.tasks.python.vision.face_detector import FaceDetectorResult as FaceDetectorResult
    from sonjit.compat.mediapipe.tasks.python.vision.face_landmarker import Blendshapes as Blendshapes
    from sonjit.compat.mediapipe.tasks.python.vision.face_landmarker import FaceLandmarker as FaceLandmarker
    from sonjit.compat.mediapipe.tasks.python.vision.face_landmarker import (
        FaceLandmarkerOptions as FaceLandmarkerOptions,
    )
    from sonjit.compat.mediapipe.tasks.python.vision.face_landmarker import FaceLandmarkerResult as FaceLandmarkerResult
    from sonjit.compat.mediapipe.tasks.python.vision.face_landmarker import (
        FaceLandmarksConnections as FaceLandmarksConnections,
    )
    from sonjit.compat.mediapipe.tasks.python.vision.gesture_recognizer import GestureRecognizer as GestureRecognizer
    from sonjit.compat.mediapipe.tasks.python.vision.gesture_recognizer import (
        GestureRecognizerOptions as GestureRecognizerOptions,
    )
    from sonjit.compat.mediapipe.tasks.python.vision.gesture_recognizer import (
        GestureRecognizerResult as GestureRecognizerResult,
    )
    from sonjit.compat.mediapipe.tasks.python.vision.hand_landmarker import HandLandmark as HandLandmark
    from sonjit.compat.mediapipe.tasks.python.vision.hand_landmarker import HandLandmarker as HandLandmarker
    from sonjit.compat.mediapipe.tasks.python.vision.hand_landmarker import (
        HandLandmarkerOptions as HandLandmarkerOptions,
    )
    from sonjit.compat.mediapipe.tasks.python.vision.hand_landmarker import HandLandmarkerResult as HandLandmarkerResult
    from sonjit.compat.mediapipe.tasks.python.vision.hand_landmarker import (
        HandLandmarksConnections as HandLandmarksConnections,
    )
    from sonjit.compat.mediapipe.tasks.python.vision.holistic_landmarker import HolisticLandmarker as HolisticLandmarker
    from sonjit.compat.mediapipe.tasks.python.vision.holistic_landmarker import (
        HolisticLandmarkerOptions as HolisticLandmarkerOptions,
    )
    from sonjit.compat.mediapipe.tasks.python.vision.holistic_landmarker import (
        HolisticLandmarkerResult as HolisticLandmarkerResult,
    )
    from sonjit.compat.mediapipe.tasks.python.vision.image_segmenter import ImageSegmenter as ImageSegmenter
    from sonjit.compat.mediapipe.tasks.python.vision.image_segmenter import (
        ImageSegmenterOptions as ImageSegmenterOptions,
    )
    from sonjit.compat.mediapipe.tasks.python.vision.image_segmenter import ImageSegmenterResult as ImageSegmenterResult
    from sonjit.compat.mediapipe.tasks.python.vision.pose_landmarker import PoseLandmark as PoseLandmark
    from sonjit.compat.mediapipe.tasks.python.vision.pose_landmarker import PoseLandmarker as PoseLandmarker
    from sonjit.compat.mediapipe.tasks.python.vision.pose_landmarker import (
        PoseLandmarkerOptions as PoseLandmarkerOptions,
    )
    from sonjit.compat.mediapipe.tasks.python.vision.pose_landmarker import PoseLandmarkerResult as PoseLandmarkerResult
    from sonjit.compat.mediapipe.tasks.python.vision.pose_landmarker import (
        PoseLandmarksConnections as PoseLandmarksConnections,
    )

__all__ = ["RunningMode"]
add_covered_names(globals())
