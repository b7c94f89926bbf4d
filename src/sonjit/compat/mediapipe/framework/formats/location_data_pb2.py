"""Re-export `LocationData`."""

from sonjit.compat.mediapipe.message_types import LocationData as LocationData
