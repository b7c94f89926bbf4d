"""Compute the similarity of feature vectors."""

import numpy as np

from sonjit._util.errors import InputError
from sonjit.compat.mediapipe.containers import Embedding


def cosine_similarity(u: Embedding, v: Embedding) -> float:
    """Return the cosine of the angle between two feature vectors, -1 to 1.

    Raises:
        InputError: The vectors differ in length or type, are empty, or one of them is zero.
    """
    one, other = u.embedding, v.embedding
    if len(one) != len(other):
        raise InputError(
            f"Cannot compute cosine similarity between embeddings of different sizes ({len(one)} vs. {len(other)})."
        )
    if (one.dtype == np.uint8) != (other.dtype == np.uint8):
        raise InputError("Cannot compute cosine similarity between quantized and float embeddings.")
    if one.dtype == np.uint8:
        one, other = one.view(np.int8), other.view(np.int8)
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    if not norms:
        raise InputError("Cannot compute cosine similarity on embeddings that are empty or have a norm of 0.")
    return float(one @ other) / norms
