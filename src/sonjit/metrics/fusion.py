"""A window's poses, each carried to every frame by predicted motion and weighed by confidence, as Deformer does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.metrics.arrays import numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def fused_poses(
    poses: ArrayLike, forward: ArrayLike, backward: ArrayLike, confidence: ArrayLike
) -> NDArray[np.float64]:
    """Weighted means of a window's poses, for each of its frames.

    Args:
        poses: (T, P) in a form that can be added, such as 6D rotations.
        forward: (T, P) motion from each frame to the next.
        backward: (T, P) motion from each frame to the one before.
        confidence: (T,) before softmax.

    Returns:
        (T, P): frame j's mean over i of pose i plus the motions on the way from i to j.

    Source: Fu et al. 2023, Deformer, with the index range of the released code: backward motions j + 1 to i.
    """
    arrays = [numbers("poses", one) for one in (poses, forward, backward)]
    scores = numbers("confidence", confidence)
    if any(one.ndim != 2 or one.shape != arrays[0].shape for one in arrays) or scores.shape != arrays[0].shape[:1]:
        shapes = ", ".join(str(one.shape) for one in (*arrays, scores))
        raise InputError(f"poses, motions, confidence {shapes}: give three arrays (T, P) and one (T,)")
    own, ahead, back = arrays
    ahead = np.cumsum(ahead, 0) - ahead  # sum of the motions before each frame
    back = np.cumsum(back, 0)
    frames = np.arange(len(own))
    later = (frames[:, None] < frames)[..., None]  # (i, j): j comes after i
    moved = np.where(later, ahead[None] - ahead[:, None], back[:, None] - back[None])  # (i, j, P)
    weights = np.exp(scores - scores.max(initial=-np.inf))
    weights /= weights.sum()
    return np.einsum("i,ijp->jp", weights, own[:, None] + moved)
