"""Re-export `Embedding` and `EmbeddingResult`."""

from sonjit.compat.mediapipe.containers import Embedding as Embedding
from sonjit.compat.mediapipe.containers import EmbeddingResult as EmbeddingResult
