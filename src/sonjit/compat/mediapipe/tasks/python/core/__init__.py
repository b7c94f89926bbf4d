"""Options that all tasks have."""

from sonjit.compat.mediapipe.tasks.python.core import base_options

__all__ = ["base_options"]
