"""Re-export `Detection` and `DetectionResult`."""

from sonjit.compat.mediapipe.containers import Detection as Detection
from sonjit.compat.mediapipe.containers import DetectionResult as DetectionResult
