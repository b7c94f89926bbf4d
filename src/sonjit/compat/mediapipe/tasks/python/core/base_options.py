"""Re-export `BaseOptions` and `ModelError`."""

from sonjit.compat.mediapipe.task_options import BaseOptions as BaseOptions
from sonjit.compat.mediapipe.task_options import ModelError as ModelError
