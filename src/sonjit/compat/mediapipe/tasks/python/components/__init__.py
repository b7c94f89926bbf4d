"""What results hold, and options of classifiers."""

from sonjit.compat.mediapipe.tasks.python.components import containers, processors

__all__ = ["containers", "processors"]
