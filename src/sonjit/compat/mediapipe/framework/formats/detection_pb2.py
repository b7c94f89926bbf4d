"""Detections and lists of them."""

from sonjit.compat.mediapipe.framework.formats.location_data_pb2 import LocationData
from sonjit.compat.mediapipe.messages import Message, Repeated


class Detection(Message):
    """One found object: its labels with their scores, the best first, and where it lies."""

    label: Repeated[str] = Repeated(str)
    label_id: Repeated[int] = Repeated(int)
    score: Repeated[float] = Repeated(float)
    location_data: LocationData = LocationData()
    display_name: Repeated[str] = Repeated(str)


class DetectionList(Message):
    """Detections, the best first."""

    detection: Repeated[Detection] = Repeated(Detection)
