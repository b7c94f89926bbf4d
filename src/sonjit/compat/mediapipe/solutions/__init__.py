"""The covered solutions."""

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe._names import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe.solutions import drawing_styles as drawing_styles
    from sonjit.compat.mediapipe.solutions import drawing_utils as drawing_utils
    from sonjit.compat.mediapipe.solutions import face_detection as face_detection
    from sonjit.compat.mediapipe.solutions import face_mesh as face_mesh
    from sonjit.compat.mediapipe.solutions import face_mesh_connections as face_mesh_connections
    from sonjit.compat.mediapipe.solutions import hands as hands
    from sonjit.compat.mediapipe.solutions import hands_connections as hands_connections
    from sonjit.compat.mediapipe.solutions import holistic as holistic
    from sonjit.compat.mediapipe.solutions import pose as pose
    from sonjit.compat.mediapipe.solutions import pose_connections as pose_connections
    from sonjit.compat.mediapipe.solutions import selfie_segmentation as selfie_segmentation

add_covered_names(globals())
