"""Re-export `Landmark` and `NormalizedLandmark`."""

from sonjit.compat.mediapipe.containers import Landmark as Landmark
from sonjit.compat.mediapipe.containers import NormalizedLandmark as NormalizedLandmark
