"""Hold the message types by the file that defines them in MediaPipe."""

from sonjit.compat.mediapipe.framework.formats import (
    classification_pb2,
    detection_pb2,
    landmark_pb2,
    location_data_pb2,
    rect_pb2,
)
from sonjit.compat.mediapipe.not_covered import name_what_is_covered

__all__ = ["classification_pb2", "detection_pb2", "landmark_pb2", "location_data_pb2", "rect_pb2"]

name_what_is_covered(globals())
