"""Re-export `NormalizedKeypoint`."""

from sonjit.compat.mediapipe.containers import NormalizedKeypoint as NormalizedKeypoint
