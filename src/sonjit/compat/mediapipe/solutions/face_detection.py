"""`FaceDetection`: a box and six key points of each face, under MediaPipe's names."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from sonjit._util.arrays import Image
from sonjit.compat.mediapipe._messages import Detection, LocationData
from sonjit.compat.mediapipe._names import add_covered_names
from sonjit.compat.mediapipe._solution import DetectorSolution, check_confidences, choice
from sonjit.detectors.options import GraphThresholds
from sonjit.engines import Precision
from sonjit.results import Face

__all__ = ["FaceDetection", "FaceKeyPoint", "SolutionOutputs", "get_key_point"]

_MODELS = {0: "short range", 1: "full range"}
_MAX_FACES = 100
"""More than the networks distinguish."""

_SHORT_CONFIDENCE, _FULL_CONFIDENCE = 0.5, 0.6


class FaceKeyPoint(IntEnum):
    """Index of each key point of a face; left and right are the person's own."""

    RIGHT_EYE = 0
    LEFT_EYE = 1
    NOSE_TIP = 2
    MOUTH_CENTER = 3
    RIGHT_EAR_TRAGION = 4
    LEFT_EAR_TRAGION = 5


class SolutionOutputs(NamedTuple):
    """Results of `FaceDetection.process`.

    Attributes:
        detections: One detection per face, best first, or None without faces.
    """

    detections: list[Detection] | None = None


def get_key_point(detection: Detection, key_point_enum: FaceKeyPoint) -> LocationData.RelativeKeypoint | None:
    """Return a normalised key point of a face, or None for a detection without key points."""
    points = detection.location_data.relative_keypoints
    return points[key_point_enum] if points else None


class FaceDetection(DetectorSolution[SolutionOutputs]):
    """Find faces in independent images. Use as a context manager.

    Args:
        min_detection_confidence: Minimum score of a face detection, 0 to 1. Default: 0.5, for the full range 0.6.
            MediaPipe's Python package takes this argument and ignores it: its defaults always apply.
            Sonjit adds weaker faces or omits uncertain ones. The boxes of the others do not change.
        model_selection: 0 for faces up to about 2 m away, 1 for those up to about 5 m.
        precision: Number format of the networks; "f32" computes as MediaPipe does.

    Raises:
        InputError: A value is out of range, or weights are missing; it is a ValueError.
    """

    def __init__(
        self, min_detection_confidence: float | None = None, model_selection: int = 0, *, precision: Precision = "f32"
    ) -> None:
        is_full = choice("model_selection", model_selection, _MODELS) == _MODELS[1]
        check_confidences(min_detection_confidence=min_detection_confidence)
        default = _FULL_CONFIDENCE if is_full else _SHORT_CONFIDENCE
        self._open(
            "face",
            True,
            min_detection_confidence,
            thresholds=GraphThresholds(blended=default),
            model="box-full" if is_full else "box",
            max_instances=_MAX_FACES,
            precision=precision,
        )

    def _outputs(self, image: Image) -> SolutionOutputs:
        height, width = image.shape[:2]
        faces: list[Face] = self._detect(image)
        return SolutionOutputs([_detection(face, width, height) for face in faces] or None)


def _detection(face: Face, width: int, height: int) -> Detection:
    x_min, y_min, x_max, y_max = face.box
    box = LocationData.RelativeBoundingBox(
        xmin=x_min / width, ymin=y_min / height, width=(x_max - x_min) / width, height=(y_max - y_min) / height
    )
    detection = Detection(
        label_id=[0],
        score=[face.score],
        location_data=LocationData(format=LocationData.RELATIVE_BOUNDING_BOX, relative_bounding_box=box),
    )
    for x, y, _ in face.keypoints.tolist():
        detection.location_data.relative_keypoints.add(x=x / width, y=y / height)
    return detection


add_covered_names(globals())
