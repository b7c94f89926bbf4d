"""Re-export the names of `mediapipe.tasks.python.components`."""

from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.tasks.python.components import containers, processors, utils

__all__ = ["containers", "processors", "utils"]

name_what_is_covered(globals())
