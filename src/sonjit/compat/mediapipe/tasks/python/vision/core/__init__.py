"""The names of `mediapipe.tasks.python.vision.core`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import add_covered_names

if TYPE_CHECKING:
    from sonjit.compat.mediapipe import task_options as image_processing_options
    from sonjit.compat.mediapipe import task_options as vision_task_running_mode
    from sonjit.compat.mediapipe.tasks.python.vision.core import base_vision_task_api as base_vision_task_api
    from sonjit.compat.mediapipe.tasks.python.vision.core import image as image

__all__ = [
    "base_vision_task_api",
    "image",
    "image_processing_options",
    "vision_task_running_mode",
]

add_covered_names(globals())
