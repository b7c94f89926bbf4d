"""Message types for landmarks, classifications and detections."""

from sonjit.compat.mediapipe.framework.formats import classification_pb2, detection_pb2, landmark_pb2, location_data_pb2

__all__ = ["classification_pb2", "detection_pb2", "landmark_pb2", "location_data_pb2"]
