"""Re-export `ImageFormat` and `ImageFrame`."""

from sonjit.compat.mediapipe.image import ImageFormat as ImageFormat
from sonjit.compat.mediapipe.image_frame import ImageFrame as ImageFrame
