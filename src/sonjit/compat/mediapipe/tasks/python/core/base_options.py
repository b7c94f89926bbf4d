"""Re-export `BaseOptions` and `ModelError`."""

from sonjit.compat.mediapipe.errors import ModelError as ModelError
from sonjit.compat.mediapipe.task_options import BaseOptions as BaseOptions
