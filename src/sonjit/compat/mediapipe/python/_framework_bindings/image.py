"""Re-export `Image`."""

from sonjit.compat.mediapipe.image import Image as Image
