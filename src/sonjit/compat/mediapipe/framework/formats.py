"""The message types by the file that defines them in MediaPipe."""

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe._names import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import _messages

    classification_pb2 = detection_pb2 = landmark_pb2 = location_data_pb2 = rect_pb2 = _messages

__all__ = ["classification_pb2", "detection_pb2", "landmark_pb2", "location_data_pb2", "rect_pb2"]
__path__: list[str] = []  # a package: the modules have no files

add_covered_names(globals())
