"""Re-export the names of `mediapipe.tasks.python.vision.core`."""

from sonjit.compat.mediapipe.not_covered import name_what_is_covered
from sonjit.compat.mediapipe.tasks.python.vision.core import (
    base_vision_task_api,
    image,
    image_processing_options,
    vision_task_running_mode,
)

__all__ = ["base_vision_task_api", "image", "image_processing_options", "vision_task_running_mode"]

name_what_is_covered(globals())
