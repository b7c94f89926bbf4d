"""Re-export `NormalizedRect`, `Rect` and `RectF`."""

from sonjit.compat.mediapipe.containers import NormalizedRect as NormalizedRect
from sonjit.compat.mediapipe.containers import Rect as Rect
from sonjit.compat.mediapipe.containers import RectF as RectF
