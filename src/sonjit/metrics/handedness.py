"""Which hands there are: accuracy as InterHand2.6M's code counts it, and average precision as its paper names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.metrics.arrays import known_mean, numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def handedness_hits(
    probabilities: ArrayLike, present: ArrayLike, valid: ArrayLike | None = None
) -> NDArray[np.float64]:
    """1 where every hand is on the right side of 0.5, else 0; 0.5 itself is wrong both ways.

    Args:
        probabilities: (N, H) that each hand is there, such as right and left.
        present: (N, H) whether it is.
        valid: (N,); all by default.

    Returns:
        (N,); NaN where the sample is not valid.

    Source: the released evaluation of InterHand2.6M; its paper calls the mean AP_h.
    """
    scores, there = _pair(probabilities, present)
    right = np.where(there, scores > 0.5, scores < 0.5)  # (N, H)
    hits = np.asarray(right.all(-1), np.float64)
    return hits if valid is None else np.where(np.asarray(valid).astype(np.bool_), hits, np.nan)


def handedness_accuracy(probabilities: ArrayLike, present: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Mean of `handedness_hits`, 0..1; NaN without a valid sample.

    >>> handedness_accuracy([[0.9, 0.1], [0.9, 0.5]], [[1, 0], [1, 0]])
    0.5
    """
    return known_mean(handedness_hits(probabilities, present, valid))


def average_precision(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under precision over recall in steps, equal scores at once; a score that is NaN is as wrong as can be.

    Args:
        scores: (N,).
        positive: (N,) whether each sample is one of those sought.

    Returns:
        0..1; NaN where none is sought.

    >>> average_precision([0.9, 0.8, 0.7], [True, False, True])
    0.8333333333333333
    """
    values, sought = _pair(scores, positive)
    if values.ndim != 1:
        raise InputError(f"scores {values.shape}: give (N,)")
    if not sought.any():
        return float("nan")
    # One that is sought is then never found, and any other is found before all.
    values, hits = np.where(np.isnan(values), np.inf, values), sought & ~np.isnan(values)
    listed = hits | ~sought
    order = np.argsort(-values[listed], kind="stable")
    values, hits = values[listed][order], hits[listed][order].cumsum()
    last = np.append(values[1:] != values[:-1], True)[: len(values)]  # of equal scores
    hits, taken = hits[last], np.flatnonzero(last) + 1
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / taken).sum() / sought.sum())


def _pair(scores: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, there = numbers("scores", scores), np.asarray(truth)
    if values.shape != there.shape:
        raise InputError(f"scores {values.shape} and truth {there.shape}: give two arrays of one shape")
    return values, there.astype(np.bool_)
