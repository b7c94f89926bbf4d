"""Re-export `cosine_similarity`."""

from sonjit.compat.mediapipe.cosine_similarity import cosine_similarity as cosine_similarity
