"""Re-export `Timestamp`."""

from sonjit.compat.mediapipe.timestamp import Timestamp as Timestamp
