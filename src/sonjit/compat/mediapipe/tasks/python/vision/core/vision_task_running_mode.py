"""Re-export `VisionTaskRunningMode`."""

from sonjit.compat.mediapipe.task_options import VisionTaskRunningMode as VisionTaskRunningMode
