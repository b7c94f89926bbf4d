"""`FaceDetector`: boxes and six points of faces, under MediaPipe's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sonjit.compat.mediapipe.containers import BoundingBox, Category, Detection, DetectionResult, NormalizedKeypoint
from sonjit.compat.mediapipe.image import Image
from sonjit.compat.mediapipe.solution import check_confidences
from sonjit.compat.mediapipe.task_options import BaseOptions, VisionTaskRunningMode
from sonjit.compat.mediapipe.tasks.python.vision.core.base_vision_task_api import (
    DetectingTask,
    DetectorTask,
    Frame,
)
from sonjit.detectors.thresholds import GraphThresholds
from sonjit.results import Face

__all__ = ["FaceDetector", "FaceDetectorOptions", "FaceDetectorResult"]

NETWORK = "blaze_face_short_range.tflite"
_MAX_FACES = 100
FaceDetectorResult = DetectionResult


@dataclass
class FaceDetectorOptions:
    """Options of `FaceDetector`.

    Attributes:
        base_options: Network, `blaze_face_short_range.tflite`.
        running_mode: Type of input: images, a video or a live stream. Frames are independent.
        min_detection_confidence: Minimum score of a face detection, 0 to 1.
        min_suppression_threshold: Minimum IoU of boxes that are blended into one face.
        result_callback: Function that takes result, image and timestamp in milliseconds. Only for live streams.
    """

    base_options: BaseOptions
    running_mode: VisionTaskRunningMode = VisionTaskRunningMode.IMAGE
    min_detection_confidence: float = 0.5
    min_suppression_threshold: float = 0.3
    result_callback: Callable[[FaceDetectorResult, Image, int], None] | None = None


class FaceDetector(DetectorTask[FaceDetectorResult], DetectingTask[FaceDetectorResult]):
    """Find faces in images, videos and live streams. Use as a context manager."""

    options_type = FaceDetectorOptions
    turns_as_mediapipe = True

    def _open(self, options: FaceDetectorOptions) -> None:
        check_confidences(
            min_detection_confidence=options.min_detection_confidence,
            min_suppression_threshold=options.min_suppression_threshold,
        )
        file = options.base_options.file(NETWORK)
        self._create(
            "face",
            options,
            _MAX_FACES,
            GraphThresholds(overlap=options.min_suppression_threshold),
            static_image=True,
            model="box",
            detector_model=file if file.is_file() else None,
            min_detection_score=options.min_detection_confidence,
        )

    def _run(self, frame: Frame) -> FaceDetectorResult:
        faces: list[Face] = self._detect(frame)
        return FaceDetectorResult([_detection(face, frame) for face in sorted(faces, key=lambda face: -face.score)])


def _detection(face: Face, frame: Frame) -> Detection:
    x_min, y_min, x_max, y_max = face.box
    corners = frame.points(np.array([(x_min, y_min, 0), (x_max, y_max, 0)], np.float32))[:, :2]
    size = frame.image.width, frame.image.height
    low, high = corners.min(0) * size, corners.max(0) * size
    # As in MediaPipe, each number is clipped to the image separately: a box that begins left of it keeps its width.
    box = BoundingBox(*np.clip(np.concatenate([low, high - low]), 0, size * 2).astype(int).tolist())
    points = [NormalizedKeypoint(x, y, "", 0.0) for x, y in frame.points(face.keypoints)[:, :2].tolist()]
    return Detection(box, [Category(0, face.score)], points)
