"""Re-export `Category`."""

from sonjit.compat.mediapipe.containers import Category as Category
