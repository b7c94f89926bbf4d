"""Hold the message types under MediaPipe's import paths."""

from sonjit.compat.mediapipe.framework import formats
from sonjit.compat.mediapipe.not_covered import name_what_is_covered

__all__ = ["formats"]

name_what_is_covered(globals())
