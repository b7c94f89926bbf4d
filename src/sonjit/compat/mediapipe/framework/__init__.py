"""The message types under MediaPipe's import paths."""

from sonjit.compat.mediapipe._names import add_covered_names
from sonjit.compat.mediapipe.framework import formats

__all__ = ["formats"]

add_covered_names(globals())
