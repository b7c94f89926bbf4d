"""Hold MediaPipe's current API under its names."""

from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.tasks import python
from sonjit.compat.mediapipe.tasks.python import BaseOptions, components, core, vision

__all__ = ["BaseOptions", "components", "core", "python", "vision"]

name_what_is_covered(globals())
