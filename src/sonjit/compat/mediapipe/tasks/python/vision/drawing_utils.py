"""Drawing of the tasks' results on BGR images, under MediaPipe's names: `solutions.drawing_utils` for dataclasses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from sonjit.compat.mediapipe.framework.formats import detection_pb2, landmark_pb2
from sonjit.compat.mediapipe.framework.formats.location_data_pb2 import LocationData
from sonjit.compat.mediapipe.solutions import drawing_utils as solutions
from sonjit.compat.mediapipe.solutions.drawing_utils import (
    BLACK_COLOR,
    BLUE_COLOR,
    GREEN_COLOR,
    RED_COLOR,
    WHITE_COLOR,
    DrawingSpec,
    draw_axis,
)
from sonjit.compat.mediapipe.tasks.python.components.containers.detections import Detection
from sonjit.compat.mediapipe.tasks.python.components.containers.landmark import Landmark, NormalizedLandmark
from sonjit.compat.mediapipe.tasks.python.vision.connections import Connection

__all__ = [
    "BLACK_COLOR",
    "BLUE_COLOR",
    "GREEN_COLOR",
    "RED_COLOR",
    "WHITE_COLOR",
    "DrawingSpec",
    "draw_axis",
    "draw_detection",
    "draw_landmarks",
    "plot_landmarks",
]

_RED = DrawingSpec(RED_COLOR)
_WHITE = DrawingSpec()
_THICK_RED = DrawingSpec(RED_COLOR, thickness=5)
_THICK_BLACK = DrawingSpec(BLACK_COLOR, thickness=5)


def draw_landmarks(
    image: NDArray[Any],
    landmark_list: Sequence[NormalizedLandmark] | None,
    connections: Iterable[Connection] | None = None,
    landmark_drawing_spec: DrawingSpec | Mapping[Any, DrawingSpec] | None = _RED,
    connection_drawing_spec: DrawingSpec | Mapping[tuple[int, int], DrawingSpec] | None = _WHITE,
    is_drawing_landmarks: bool = True,
) -> None:
    """Draw lines and, above them, white-rimmed dots into an image (H, W, 3) uint8 BGR, as `solutions` do.

    Raises:
        InputError: not a BGR image, or a connection to a landmark that the list lacks.
    """
    if landmark_list:
        solutions.draw_landmarks(
            image, _message(landmark_list), _pairs(connections), landmark_drawing_spec, connection_drawing_spec,
            is_drawing_landmarks,
        )  # fmt: skip


def draw_detection(
    image: NDArray[Any],
    detection: Detection,
    keypoint_drawing_spec: DrawingSpec = _RED,
    bbox_drawing_spec: DrawingSpec = _WHITE,
) -> None:
    """Draw a detection's keypoints and box into an image (H, W, 3) uint8 BGR, as far as they lie in it.

    Raises:
        InputError: not a BGR image.
    """
    height, width = image.shape[:2]
    box = detection.bounding_box
    location = LocationData(
        format=LocationData.RELATIVE_BOUNDING_BOX,
        relative_bounding_box=LocationData.RelativeBoundingBox(
            xmin=box.origin_x / width, ymin=box.origin_y / height, width=box.width / width, height=box.height / height
        ),
    )
    for point in detection.keypoints or ():
        location.relative_keypoints.add(x=point.x, y=point.y)
    message = detection_pb2.Detection(location_data=location)
    solutions.draw_detection(image, message, keypoint_drawing_spec, bbox_drawing_spec)


def plot_landmarks(
    landmark_list: Sequence[NormalizedLandmark] | Sequence[Landmark] | None,
    connections: Iterable[Connection] | None = None,
    landmark_drawing_spec: DrawingSpec = _THICK_RED,
    connection_drawing_spec: DrawingSpec = _THICK_BLACK,
    elevation: int = 10,
    azimuth: int = 10,
) -> None:
    """Show landmarks and connections in space, in a window of matplotlib's; raises as `solutions` do."""
    if landmark_list:
        solutions.plot_landmarks(
            _message(landmark_list), _pairs(connections), landmark_drawing_spec, connection_drawing_spec, elevation,
            azimuth,
        )  # fmt: skip


def _message(landmarks: Iterable[NormalizedLandmark | Landmark]) -> landmark_pb2.NormalizedLandmarkList:
    message = landmark_pb2.NormalizedLandmarkList()
    for one in landmarks:
        message.landmark.add(x=one.x, y=one.y, z=one.z, visibility=one.visibility, presence=one.presence)
    return message


def _pairs(connections: Iterable[Connection] | None) -> list[tuple[int, int]]:
    return [(one.start, one.end) for one in connections or ()]
