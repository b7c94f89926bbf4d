"""Re-export `NormalizedRect` and `Rect`."""

from sonjit.compat.mediapipe.containers import NormalizedRect as NormalizedRect
from sonjit.compat.mediapipe.containers import Rect as Rect
