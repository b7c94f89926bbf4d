"""Re-export `ClassificationResult` and `Classifications`."""

from sonjit.compat.mediapipe.containers import ClassificationResult as ClassificationResult
from sonjit.compat.mediapipe.containers import Classifications as Classifications
