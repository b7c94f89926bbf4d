"""Detections and lists of them."""

from sonjit.compat.mediapipe.framework.formats.location_data_pb2 import LocationData
from sonjit.compat.mediapipe.messages import Message, Repeated


class Detection(Message):
    """One found object: its labels with their scores, the best first, and where it lies."""

    label: Repeated[str] = Repeated(str)
    label_id: Repeated[int] = Repeated(int)
    score: Repeated[float] = Repeated(float)
    location_data: LocationData = LocationData()
    feature_tag: str = ""
    track_id: str = ""
    detection_id: int = 0
    display_name: Repeated[str] = Repeated(str)
    timestamp_usec: int = 0
    _numbers = {"display_name": 9, "timestamp_usec": 10}  # noqa: RUF012  # read when the class is made
    _wide = ("detection_id", "timestamp_usec")


class DetectionList(Message):
    """Detections, the best first."""

    detection: Repeated[Detection] = Repeated(Detection)
