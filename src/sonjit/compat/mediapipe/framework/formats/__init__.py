"""Message types for landmarks, classifications, detections and rectangles."""

from sonjit.compat.mediapipe.framework.formats import (
    classification_pb2,
    detection_pb2,
    landmark_pb2,
    location_data_pb2,
    rect_pb2,
)
from sonjit.compat.mediapipe.not_covered import name_what_is_covered

__all__ = ["classification_pb2", "detection_pb2", "landmark_pb2", "location_data_pb2", "rect_pb2"]

for _module in (classification_pb2, detection_pb2, landmark_pb2, location_data_pb2, rect_pb2):
    name_what_is_covered(vars(_module))
