"""`Landmark` and `NormalizedLandmark`."""

from dataclasses import dataclass

from sonjit.compat.mediapipe.framework.formats import landmark_pb2
from sonjit.compat.mediapipe.tasks.python.components.containers.container import Container


@dataclass(slots=True)
class Landmark(Container[landmark_pb2.Landmark]):
    """A point in metres: x right, y down, z away from the camera; None for what a network does not give."""

    _message = landmark_pb2.Landmark

    x: float | None = None
    y: float | None = None
    z: float | None = None
    visibility: float | None = None
    presence: float | None = None


@dataclass(slots=True)
class NormalizedLandmark(Container[landmark_pb2.NormalizedLandmark]):
    """A point in an image: x as a part of its width, y of its height, z of its width, nearer is smaller."""

    _message = landmark_pb2.NormalizedLandmark

    x: float | None = None
    y: float | None = None
    z: float | None = None
    visibility: float | None = None
    presence: float | None = None
