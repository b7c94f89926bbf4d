"""The message types under MediaPipe's import paths."""

from sonjit.compat.mediapipe.framework import formats
from sonjit.compat.mediapipe.not_covered import install_attribute_errors

__all__ = ["formats"]

install_attribute_errors(globals())
