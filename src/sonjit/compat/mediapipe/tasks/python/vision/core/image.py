"""Re-export `Image` and `ImageFormat`."""

from sonjit.compat.mediapipe.image import Image as Image
from sonjit.compat.mediapipe.image import ImageFormat as ImageFormat
