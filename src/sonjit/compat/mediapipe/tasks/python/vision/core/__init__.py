"""What all vision tasks have in common."""

from sonjit.compat.mediapipe.tasks.python.vision.core import image_processing_options, vision_task_running_mode

__all__ = ["image_processing_options", "vision_task_running_mode"]
