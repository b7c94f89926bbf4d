"""Re-export the names of `mediapipe.python._framework_bindings`."""

from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.python._framework_bindings import image, image_frame, timestamp

__all__ = ["image", "image_frame", "timestamp"]

name_what_is_covered(globals())
