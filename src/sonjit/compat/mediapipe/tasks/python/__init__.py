"""Hold the options, the results and the vision tasks."""

from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.task_options import BaseOptions
from sonjit.compat.mediapipe.tasks.python import components, core, vision

__all__ = ["BaseOptions", "components", "core", "vision"]

name_what_is_covered(globals())
