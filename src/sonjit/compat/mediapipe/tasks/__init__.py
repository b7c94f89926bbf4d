"""MediaPipe's current API under its names."""

from sonjit.compat.mediapipe.not_covered import install_attribute_errors
from sonjit.compat.mediapipe.tasks import python
from sonjit.compat.mediapipe.tasks.python import BaseOptions, components, core, vision

__all__ = ["BaseOptions", "components", "core", "python", "vision"]

install_attribute_errors(globals())
