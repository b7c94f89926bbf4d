"""Re-export `BoundingBox`."""

from sonjit.compat.mediapipe.containers import BoundingBox as BoundingBox
