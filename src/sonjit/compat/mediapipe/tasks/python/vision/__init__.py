"""The vision tasks, their options and results, and drawing."""

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe._names import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import _options
    from sonjit.compat.mediapipe._options import ImageProcessingOptions as ImageProcessingOptions
    from sonjit.compat.mediapipe._options import RunningMode as RunningMode
    from sonjit.compat.mediapipe.solutions import drawing_styles as drawing_styles
    from sonjit.compat.mediapipe.solutions import drawing_utils as drawing_utils
    from sonjit.compat.mediapipe.tasks.python.vision import _hands, _people
    from sonjit.compat.mediapipe.tasks.python.vision._hands import *  # noqa: F403
    from sonjit.compat.mediapipe.tasks.python.vision._people import *  # noqa: F403

    core = _options
    gesture_recognizer = hand_landmarker = image_segmenter = _hands
    face_detector = face_landmarker = holistic_landmarker = pose_landmarker = _people

add_covered_names(globals())
