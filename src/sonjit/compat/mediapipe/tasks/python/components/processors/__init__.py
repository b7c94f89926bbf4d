"""Re-export `ClassifierOptions`."""

from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.task_options import ClassifierOptions
from sonjit.compat.mediapipe.tasks.python.components.processors import classifier_options

__all__ = ["ClassifierOptions", "classifier_options"]

name_what_is_covered(globals())
