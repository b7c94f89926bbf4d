"""The message types by the file that defines them in MediaPipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import message_types as classification_pb2
    from sonjit.compat.mediapipe import message_types as detection_pb2
    from sonjit.compat.mediapipe import message_types as landmark_pb2
    from sonjit.compat.mediapipe import message_types as location_data_pb2
    from sonjit.compat.mediapipe import message_types as rect_pb2

__all__ = [
    "classification_pb2",
    "detection_pb2",
    "landmark_pb2",
    "location_data_pb2",
    "rect_pb2",
]

add_covered_names(globals())
