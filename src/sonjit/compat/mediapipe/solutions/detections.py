"""The fields that `draw_detection` reads of a detection."""

from collections.abc import Iterable
from typing import Protocol


class Point(Protocol):
    """Parts of the picture's width and height."""

    x: float
    y: float


class RelativeBox(Protocol):
    """Parts of the picture's width and height."""

    xmin: float
    ymin: float
    width: float
    height: float


class LocationData(Protocol):
    """Where a detection lies; `format` 2 means relative to the picture."""

    format: int
    relative_keypoints: Iterable[Point]
    relative_bounding_box: RelativeBox | None


class Detection(Protocol):
    """What `draw_detection` draws: MediaPipe's message, or any object with these fields."""

    location_data: LocationData | None
