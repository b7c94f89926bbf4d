"""Options of classifiers."""

from sonjit.compat.mediapipe.tasks.python.components.processors import classifier_options
from sonjit.compat.mediapipe.tasks.python.components.processors.classifier_options import ClassifierOptions

__all__ = ["ClassifierOptions", "classifier_options"]
