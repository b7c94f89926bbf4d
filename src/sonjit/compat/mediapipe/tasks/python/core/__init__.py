"""Re-export the names of `mediapipe.tasks.python.core`."""

from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.tasks.python.core import base_options

__all__ = ["base_options"]

name_what_is_covered(globals())
