"""`Rect` and `NormalizedRect`."""

from dataclasses import dataclass

from sonjit.compat.mediapipe.framework.formats import rect_pb2
from sonjit.compat.mediapipe.tasks.python.components.containers.container import Container


@dataclass
class Rect:
    """A region by its sides, as parts of the image."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass
class NormalizedRect(Container[rect_pb2.NormalizedRect]):
    """A turned region by its centre and size, as parts of the image; the rotation is clockwise in radians."""

    _message = rect_pb2.NormalizedRect

    x_center: float
    y_center: float
    width: float
    height: float
    rotation: float | None = 0.0
    rect_id: int | None = None
