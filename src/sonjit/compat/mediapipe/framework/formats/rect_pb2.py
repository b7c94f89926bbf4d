"""Re-export `NormalizedRect` and `Rect`."""

from sonjit.compat.mediapipe.message_types import NormalizedRect as NormalizedRect
from sonjit.compat.mediapipe.message_types import Rect as Rect
