"""`NormalizedKeypoint`."""

from dataclasses import dataclass

from sonjit.compat.mediapipe.framework.formats.location_data_pb2 import LocationData
from sonjit.compat.mediapipe.tasks.python.components.containers.container import Container


@dataclass
class NormalizedKeypoint(Container[LocationData.RelativeKeypoint]):
    """A point of a detection: x as a part of the image's width, y of its height."""

    _message = LocationData.RelativeKeypoint
    _names = {"label": "keypoint_label"}  # noqa: RUF012

    x: float | None = None
    y: float | None = None
    label: str | None = None
    score: float | None = None
