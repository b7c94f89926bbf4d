"""Re-export `ImageProcessingOptions`."""

from sonjit.compat.mediapipe.task_options import ImageProcessingOptions as ImageProcessingOptions
