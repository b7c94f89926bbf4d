"""What every metric asks of its arrays, and means that bear having nothing to average.

How sure a mean is: intervals from samples drawn anew, with replacement. The same seed gives the same interval.

What is drawn is whole samples, whose keypoints belong together, or whole clusters of them, such as all of a subject.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit.errors import InputError

_FAR = 1e100
"""A coordinate beyond is not a measurement, and its square not a number."""


class Points(NamedTuple):
    """Predicted and true points, and which of the true ones count.

    Attributes:
        predicted: (..., K, D); NaN where a point was not predicted.
        truth: (..., K, D) in the same unit and frame; NaN where a point does not count.
        valid: (..., K); False where a point does not count.
    """

    predicted: NDArray[np.float64]
    truth: NDArray[np.float64]
    valid: NDArray[np.bool_]


def checked_points(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> Points:
    """Points as float64; those whose truth is not finite do not count, those whose prediction is not are missing.

    Raises:
        InputError: shapes that do not fit one another.
    """
    prediction, true = numbers("predicted", predicted), numbers("truth", truth)
    if prediction.ndim < 2 or prediction.shape != true.shape:
        raise InputError(
            f"predicted {prediction.shape} and truth {true.shape}: give two arrays of one shape (..., K, D)"
        )
    known = _measured(true)  # (..., K)
    if valid is not None:
        given = np.asarray(valid)
        if given.shape != known.shape:
            raise InputError(f"valid {given.shape}: give {known.shape}, one per point")
        known &= given.astype(np.bool_)
    return Points(_only(_measured(prediction), prediction), _only(known, true), known)


def numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Values as an array of float64, or a line that says which ones are none."""
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: give an array of numbers, all rows of one length") from None


def rows(values: ArrayLike) -> NDArray[np.float64]:
    """Values (..., K) as (N, K); (N,) counts as one column.

    >>> rows([1, 2]).shape, rows([[[1, 2, 3]]]).shape
    ((2, 1), (1, 3))
    """
    array = numbers("values", values)
    if array.ndim < 2:
        return array.reshape(-1, 1)
    return array.reshape(int(np.prod(array.shape[:-1])), array.shape[-1])


def ratio(sums: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.float64]:
    """Means from sums and counts; NaN where nothing was counted."""
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def known_mean(values: NDArray[np.floating]) -> float:
    """Mean of what is not NaN; NaN where nothing is.

    >>> known_mean(np.array([1.0, np.nan, 3.0])), known_mean(np.array([]))
    (2.0, nan)
    """
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _measured(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points (..., K, D) are numbers throughout: (..., K)."""
    if not points.size or (points.min() > -_FAR and points.max() < _FAR):  # the usual case, at once
        return np.ones(points.shape[:-1], np.bool_)
    return np.asarray((np.abs(points) < _FAR).all(-1), np.bool_)


def _only(there: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (..., K, D) with NaN for those (..., K) that are not there."""
    return points if there.all() else np.where(there[..., None], points, np.nan)


RESAMPLES: Final = 1000
_BLOCK: Final = 1 << 20  # weights held at once, to keep memory flat


class Interval(NamedTuple):
    """Where a mean lies with the level asked for; NaN where fewer than two samples say nothing of it."""

    low: float
    high: float


def mean_interval(
    values: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> Interval:
    """Percentile bootstrap of the mean over all values (N,) or (N, K) that are finite, drawn by rows."""
    table = rows(values)
    known = np.isfinite(table)
    sums = np.where(known, table, 0).sum(1, keepdims=True)
    drawn = resampled_means(sums, known.sum(1, keepdims=True), resamples=resamples, seed=seed, clusters=clusters)
    return intervals(drawn, level)[0]


def resampled_means(
    sums: NDArray[Any],
    counts: NDArray[Any],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> NDArray[np.float64]:
    """Means (resamples, M) of M quantities from their sums and counts in each sample (N, M).

    NaN where a draw has none of a quantity, and throughout for one that fewer than two samples have.
    """
    if clusters is not None:
        sums, counts = _by_cluster(sums, clusters), _by_cluster(counts, clusters)
    random = np.random.default_rng(seed)
    samples = len(sums)
    both = np.concatenate([sums, counts], 1).astype(np.float64)  # (N, 2 M)
    means = np.full((resamples, sums.shape[1]), np.nan)
    step = max(1, _BLOCK // max(1, samples))
    for start in range(0, resamples, step):
        times = min(step, resamples - start)
        weights = np.empty((times, samples))
        for one in weights:
            one[:] = np.bincount(random.integers(max(1, samples), size=samples), minlength=samples)
        totals = weights @ both
        means[start : start + times] = ratio(totals[:, : sums.shape[1]], totals[:, sums.shape[1] :])
    means[:, (counts > 0).sum(0) < 2] = np.nan
    return means


def intervals(drawn: NDArray[np.float64], level: float = 0.95) -> list[Interval]:
    """The middle part, of that level, of each column of means (resamples, M)."""
    if not 0 < level < 1:
        raise InputError(f"level={level}: give a share between 0 and 1")
    return [_interval(column[~np.isnan(column)], level) for column in drawn.T]


def _interval(drawn: NDArray[np.float64], level: float) -> Interval:
    if not drawn.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(low, high)


def _by_cluster(values: NDArray[np.generic], clusters: Sequence[Hashable]) -> NDArray[np.float64]:
    """Values (N, M) added up by cluster: (C, M)."""
    if len(clusters) != len(values):
        raise InputError(f"{len(clusters)} clusters for {len(values)} samples: give one per sample")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    total = np.zeros((len(numbers), values.shape[1]))
    np.add.at(total, [numbers[label] for label in clusters], values)
    return total
