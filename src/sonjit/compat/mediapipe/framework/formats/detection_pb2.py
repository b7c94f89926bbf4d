"""Re-export `Detection` and `DetectionList`."""

from sonjit.compat.mediapipe.message_types import Detection as Detection
from sonjit.compat.mediapipe.message_types import DetectionList as DetectionList
