"""The covered solutions."""

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe._names import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import _connections, _solutions
    from sonjit.compat.mediapipe.solutions import drawing_styles as drawing_styles
    from sonjit.compat.mediapipe.solutions import drawing_utils as drawing_utils

    face_detection = face_mesh = hands = holistic = pose = selfie_segmentation = _solutions
    face_mesh_connections = hands_connections = pose_connections = _connections

add_covered_names(globals())
