"""Compute errors of two hands of a person.

Joints of two hands are (N, 42, 3): 21 of the right hand, then 21 of the left hand, each relative to its own root.
`roots` contains the index of each root, which is the last joint of a hand in InterHand2.6M's order. Source: Moon et
al. 2020, InterHand2.6M, and its released evaluation.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util import InputError
from sonjit_lab.metrics.alignment import root_relative
from sonjit_lab.metrics.keypoints import Average, joint_errors, mean_error
from sonjit_lab.metrics.statistics import Points, checked_points, flags, mean_without_nan, numbers

__all__ = [
    "average_precision",
    "handedness_accuracy",
    "handedness_hits",
    "mrrpe",
    "root_offset_errors",
    "two_hand_errors",
    "two_hand_mpjpe",
]

ROOTS = (20, 41)  # indices of the right and the left wrist in InterHand2.6M's order


class TwoHandError(NamedTuple):
    """Mean errors over all samples, single hands and interacting hands; NaN without any."""

    all: float
    single: float
    interacting: float


def two_hand_errors(
    predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, roots: tuple[int, int] = ROOTS
) -> NDArray[np.float64]:
    """Return errors (N, 42) of joints relative to the root of their hand. Hands without a valid root do not count."""
    points = checked_points(predicted, truth, valid)
    half = _half(points, roots)
    hands = (
        Points(points.predicted[..., of, :], points.truth[..., of, :], points.valid[..., of])
        for of in (slice(0, half), slice(half, 2 * half))
    )
    hand_roots = (roots[0], roots[1] - half)
    return np.concatenate(
        [joint_errors(*root_relative(*hand, root=root)) for hand, root in zip(hands, hand_roots, strict=True)], axis=-1
    )


def two_hand_mpjpe(errors: ArrayLike, interacting: ArrayLike, *, average: Average = "joint") -> TwoHandError:
    """Return the MPJPE of errors (N, 42) for single hands, interacting hands (N,) and both together.

    The roots' own errors, always 0, count as in the released evaluation.
    """
    table = numbers("errors", errors)
    if table.ndim != 2:
        raise InputError(f"errors {table.shape}: give (N, K)")
    two = flags("interacting", interacting, table.shape[:1])
    return TwoHandError(mean_error(table, average), mean_error(table[~two], average), mean_error(table[two], average))


def root_offset_errors(
    predicted: ArrayLike,
    truth: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    interacting: ArrayLike,
    roots: tuple[int, int] = ROOTS,
) -> NDArray[np.float64]:
    """Return the error (N,) of the left root relative to the right one; NaN without two hands with valid roots."""
    points = checked_points(predicted, truth, valid)
    if points.truth.ndim != 3:
        raise InputError(f"points {points.truth.shape}: give (N, K, D)")
    _half(points, roots)
    offsets = root_relative(*(array[:, list(roots)] for array in points), root=0)  # (N, 2, 3)
    errors = joint_errors(*offsets)[:, 1]
    return np.where(flags("interacting", interacting, errors.shape), errors, np.nan)


def mrrpe(
    predicted: ArrayLike,
    truth: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    interacting: ArrayLike,
    roots: tuple[int, int] = ROOTS,
) -> float:
    """Return the mean relative root position error of points (N, K, D), in their unit.

    It is NaN without interacting hands, which the mask `interacting` (N,) marks.
    """
    return mean_error(root_offset_errors(predicted, truth, valid, interacting=interacting, roots=roots))


def _half(points: Points, roots: tuple[int, int]) -> int:
    """Return the number of joints of one hand. Raise InputError if a root is not a joint of its hand."""
    half = points.truth.shape[-2] // 2
    if not 0 <= roots[0] < half <= roots[1] < points.truth.shape[-2]:
        raise InputError(f"roots {roots}: give one among joints 0 to {half - 1} and one among those after")
    return half


def handedness_hits(
    probabilities: ArrayLike, present: ArrayLike, valid: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return 1 where every hand is on the right side of 0.5, else 0. Exactly 0.5 is always wrong.

    Args:
        probabilities: Probability (N, H) of each hand, such as right and left.
        present: Truth (N, H): whether each hand is present.
        valid: Mask (N,); all samples by default.

    Returns:
        Hits (N,); NaN where the sample is invalid.

    Source: the released evaluation of InterHand2.6M; its paper calls the mean AP_h.
    """
    scores, truth_flags = _pair(probabilities, present)
    if scores.ndim != 2 or (scores < 0).any() or (scores > 1).any():
        raise InputError(f"probabilities {scores.shape}: give (N, H), each from 0 to 1")
    right = np.where(truth_flags, scores > 0.5, scores < 0.5)  # (N, H)
    hits = np.asarray(right.all(-1), np.float64)
    return hits if valid is None else np.where(flags("valid", valid, hits.shape), hits, np.nan)


def handedness_accuracy(probabilities: ArrayLike, present: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Return the mean of `handedness_hits` of probabilities (N, H), 0 to 1; NaN without a valid sample.

    >>> handedness_accuracy([[0.9, 0.1], [0.9, 0.5]], [[1, 0], [1, 0]])
    0.5
    """
    return mean_without_nan(handedness_hits(probabilities, present, valid))


def average_precision(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the area under the precision-recall steps. Equal scores form one step, and NaN is the lowest score.

    Args:
        scores: Scores (N,).
        positive: Mask (N,) of positive samples.

    Returns:
        Area, 0 to 1; NaN without positive samples.

    >>> average_precision([0.9, 0.8, 0.7], [True, False, True])
    0.8333333333333333
    """
    values, positives = _pair(scores, positive)
    if values.ndim != 1:
        raise InputError(f"scores {values.shape}: give (N,)")
    if not positives.any():
        return float("nan")
    # A positive without a score is never retrieved; a negative without a score ranks first.
    values, hits = np.where(np.isnan(values), np.inf, values), positives & ~np.isnan(values)
    ranked = hits | ~positives
    order = np.argsort(-values[ranked], kind="stable")
    values, hits = values[ranked][order], hits[ranked][order].cumsum()
    last = np.append(values[1:] != values[:-1], True)[: len(values)]  # of equal scores
    hits, ranks = hits[last], np.flatnonzero(last) + 1
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / ranks).sum() / positives.sum())


def _pair(scores: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values = numbers("scores", scores)
    return values, flags("truth", truth, values.shape)
