"""Re-export `LandmarksDetectionResult`."""

from sonjit.compat.mediapipe.containers import LandmarksDetectionResult as LandmarksDetectionResult
