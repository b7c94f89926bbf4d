"""Draw the results of tasks on BGR images, under MediaPipe's names."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from sonjit.compat.mediapipe import message_types
from sonjit.compat.mediapipe.containers import Detection
from sonjit.compat.mediapipe.message_types import LocationData
from sonjit.compat.mediapipe.solutions import drawing_utils as solutions
from sonjit.compat.mediapipe.solutions.drawing_utils import (
    BLACK_COLOR,
    BLUE_COLOR,
    GREEN_COLOR,
    RED_COLOR,
    WHITE_COLOR,
    DrawingSpec,
    draw_axis,
    draw_landmarks,
    plot_landmarks,
)

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


def draw_detection(
    image: NDArray[Any],
    detection: Detection,
    keypoint_drawing_spec: DrawingSpec = DrawingSpec(RED_COLOR),
    bbox_drawing_spec: DrawingSpec = DrawingSpec(),
) -> None:
    """Draw a detection's keypoints and box into an image (H, W, 3) uint8 BGR, clipped to the image.

    Raises:
        InputError: The image is not BGR.
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
    message = message_types.Detection(location_data=location)
    solutions.draw_detection(image, message, keypoint_drawing_spec, bbox_drawing_spec)
