"""`BoundingBox`."""

from dataclasses import dataclass

from sonjit.compat.mediapipe.framework.formats.location_data_pb2 import LocationData
from sonjit.compat.mediapipe.tasks.python.components.containers.container import Container


@dataclass
class BoundingBox(Container[LocationData.BoundingBox]):
    """An upright box in whole pixels: its top left corner and its size."""

    _message = LocationData.BoundingBox
    _names = {"origin_x": "xmin", "origin_y": "ymin"}  # noqa: RUF012

    origin_x: int
    origin_y: int
    width: int
    height: int
