"""`FaceLandmarker`: faces with blendshapes and transformation matrices, under MediaPipe's names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sonjit.compat.mediapipe.connections import Connection, connections
from sonjit.compat.mediapipe.containers import Category, NormalizedLandmark
from sonjit.compat.mediapipe.image import Image
from sonjit.compat.mediapipe.solution import check_confidences, check_count
from sonjit.compat.mediapipe.solutions import face_mesh_connections as face
from sonjit.compat.mediapipe.task_options import BaseOptions, VisionTaskRunningMode
from sonjit.compat.mediapipe.tasks.python.vision.core.base_vision_task_api import (
    DetectingTask,
    DetectorTask,
    Frame,
    association,
    normalized_landmarks,
)
from sonjit.results import Face
from sonjit.results.skeletons.faces import BLENDSHAPES

__all__ = [
    "Blendshapes",
    "FaceLandmarker",
    "FaceLandmarkerOptions",
    "FaceLandmarkerResult",
    "FaceLandmarksConnections",
]

BUNDLE = "face_landmarker.task"
Blendshapes = IntEnum(
    "Blendshapes",
    [re.sub("([A-Z])", r"_\1", name.removeprefix("_")).upper() for name in BLENDSHAPES],
    start=0,
)
"""Index of each blendshape."""


class FaceLandmarksConnections:
    """The lines of a face."""

    Connection: ClassVar = Connection
    FACE_LANDMARKS_LIPS: ClassVar = connections(face.ORDERED["LIPS"])
    FACE_LANDMARKS_LEFT_EYE: ClassVar = connections(face.ORDERED["LEFT_EYE"])
    FACE_LANDMARKS_LEFT_EYEBROW: ClassVar = connections(face.ORDERED["LEFT_EYEBROW"])
    FACE_LANDMARKS_LEFT_IRIS: ClassVar = connections(face.ORDERED["LEFT_IRIS"])
    FACE_LANDMARKS_RIGHT_EYE: ClassVar = connections(face.ORDERED["RIGHT_EYE"])
    FACE_LANDMARKS_RIGHT_EYEBROW: ClassVar = connections(face.ORDERED["RIGHT_EYEBROW"])
    FACE_LANDMARKS_RIGHT_IRIS: ClassVar = connections(face.ORDERED["RIGHT_IRIS"])
    FACE_LANDMARKS_FACE_OVAL: ClassVar = connections(face.ORDERED["FACE_OVAL"])
    FACE_LANDMARKS_NOSE: ClassVar = connections(face.ORDERED["NOSE"])
    FACE_LANDMARKS_CONTOURS: ClassVar = connections(face.ORDERED["CONTOURS"])
    FACE_LANDMARKS_TESSELATION: ClassVar = connections(face.ORDERED["TESSELATION"])


@dataclass
class FaceLandmarkerResult:
    """The faces of one image.

    Attributes:
        face_landmarks: 478 landmarks each, as parts of the image.
        face_blendshapes: 52 categories each, with the option.
        facial_transformation_matrixes: (4, 4) each, from the canonical face to the camera, in centimetres, with the
            option.
    """

    face_landmarks: list[list[NormalizedLandmark]]
    face_blendshapes: list[list[Category]]
    facial_transformation_matrixes: list[NDArray[np.float32 | np.float64]]


@dataclass
class FaceLandmarkerOptions:
    """Options of `FaceLandmarker`.

    Attributes:
        base_options: Model bundle, `face_landmarker.task`. No package contains its networks.
        running_mode: Type of input: images, a video or a live stream.
        num_faces: Maximum number of faces.
        min_face_detection_confidence: Minimum score of a face detection, 0 to 1.
        min_face_presence_confidence: Minimum probability that a crop contains a face, 0 to 1. MediaPipe's
            Python package ignores it and uses `min_face_detection_confidence`.
        min_tracking_confidence: Minimum IoU of a new face's box and a tracked face to match them in a video.
        output_face_blendshapes: Return blendshapes.
        output_facial_transformation_matrixes: Return transformation matrices.
        result_callback: Function that takes result, image and timestamp in milliseconds. Only for live streams.
    """

    base_options: BaseOptions
    running_mode: VisionTaskRunningMode = VisionTaskRunningMode.IMAGE
    num_faces: int = 1
    min_face_detection_confidence: float = 0.5
    min_face_presence_confidence: float = 0.5
    min_tracking_confidence: float = 0.5
    output_face_blendshapes: bool = False
    output_facial_transformation_matrixes: bool = False
    result_callback: Callable[[FaceLandmarkerResult, Image, int], None] | None = None


class FaceLandmarker(DetectorTask[FaceLandmarkerResult], DetectingTask[FaceLandmarkerResult]):
    """Find faces in images, videos and live streams. Use as a context manager."""

    options_type = FaceLandmarkerOptions
    turns_as_mediapipe = True

    def _open(self, options: FaceLandmarkerOptions) -> None:
        check_count(num_faces=options.num_faces)
        check_confidences(
            min_face_detection_confidence=options.min_face_detection_confidence,
            min_face_presence_confidence=options.min_face_presence_confidence,
            min_tracking_confidence=options.min_tracking_confidence,
        )
        self._create(
            "face",
            options,
            options.num_faces,
            association(options.running_mode, options.min_tracking_confidence),
            landmark_model=options.base_options.file(BUNDLE),
            min_detection_score=options.min_face_detection_confidence,
            min_presence_score=options.min_face_presence_confidence,
            blendshapes=options.output_face_blendshapes,
            transform=options.output_facial_transformation_matrixes,
        )

    def _run(self, frame: Frame) -> FaceLandmarkerResult:
        faces: list[Face] = self._detect(frame)
        return FaceLandmarkerResult(
            [normalized_landmarks(frame.points(face.keypoints)) for face in faces],
            [blendshape_categories(face.blendshapes) for face in faces if face.blendshapes is not None],
            [frame.transform(face.transform) for face in faces if face.transform is not None],
        )


def blendshape_categories(blendshapes: dict[str, float]) -> list[Category]:
    """Return the 52 blendshapes of a face in their order."""
    return [Category(index, score, "", name) for index, (name, score) in enumerate(blendshapes.items())]
