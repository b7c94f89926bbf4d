"""Message types for landmarks and classifications."""

from sonjit.compat.mediapipe.framework.formats import classification_pb2, landmark_pb2

__all__ = ["classification_pb2", "landmark_pb2"]
