"""Metrics of more samples than one wants to hold: update by batches, merge what processes found, compute at the end.

`ErrorStream` holds a few numbers per joint however many samples there are, and gives exactly what the whole would.
Medians and average precision have no such form: `Kept` keeps their arrays, which grow with the samples; in float32
21 errors of a hand are 84 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit.errors import InputError
from sonjit.metrics.keypoints import Average, area_under, hits_within, pck_from_hits, thresholds_between
from sonjit.metrics.statistics import known_mean, ratio, rows

T = TypeVar("T")


class StreamedErrors(NamedTuple):
    """What an `ErrorStream` has seen; NaN without data.

    Attributes:
        mean: as `mean_error`; NaN with a missing prediction.
        per_joint: (K,) as `joint_means`.
        pck: (T,) at each threshold.
        auc: under them.
        counted: keypoints that were evaluated, missing ones too.
        missing: keypoints that were not predicted.
    """

    mean: float
    per_joint: NDArray[np.float64]
    pck: NDArray[np.float64]
    auc: float
    counted: int
    missing: int


class ErrorStream:
    """Means, PCK and AUC of errors that come in batches.

    Args:
        low: least threshold of PCK, in the unit of the errors.
        high: greatest.
        steps: how many, ends included.
        average: by joint first, or over all.
        strict: below a threshold instead of at most at it.
    """

    def __init__(
        self, low: float, high: float, *, steps: int = 100, average: Average = "joint", strict: bool = False
    ) -> None:
        self._thresholds = thresholds_between(low, high, steps)
        self._average: Average = average
        self._strict = strict
        self._sums: NDArray[np.float64] | None = None  # of found errors: (K,)
        self._counts = self._missing = np.zeros(0, np.int64)  # (K,)
        self._hits = np.zeros((steps, 0), np.int64)  # (T, K)

    def update(self, errors: ArrayLike) -> None:
        """Take errors (..., K) as `joint_errors` gives them."""
        table = rows(errors)
        hits, counts = hits_within(table, self._thresholds, strict=self._strict)
        sums = np.where(np.isfinite(table), table, 0).sum(0)
        self._add(sums, counts, np.isposinf(table).sum(0), hits)

    def merge(self, other: Self) -> None:
        """Take what another stream with the same thresholds has seen."""
        if not np.array_equal(self._thresholds, other._thresholds) or self._strict != other._strict:
            raise InputError("merge: the streams' thresholds differ; make both with the same ones")
        if other._sums is not None:
            self._add(other._sums, other._counts, other._missing, other._hits)

    def compute(self) -> StreamedErrors:
        """Everything so far."""
        sums = np.zeros(0) if self._sums is None else self._sums
        per_joint = np.where(self._missing > 0, np.nan, ratio(sums, self._counts))
        if self._missing.any():
            mean = float("nan")
        elif self._average == "joint":
            mean = known_mean(per_joint)
        else:
            mean = float(ratio(sums.sum(), self._counts.sum()))
        shares = pck_from_hits(self._hits, self._counts, average=self._average)
        area = area_under(self._thresholds, shares)
        return StreamedErrors(mean, per_joint, shares, area, int(self._counts.sum()), int(self._missing.sum()))

    def _add(
        self,
        sums: NDArray[np.float64],
        counts: NDArray[np.int64],
        missing: NDArray[np.int64],
        hits: NDArray[np.int64],
    ) -> None:
        if self._sums is None:
            self._sums, self._counts, self._missing, self._hits = sums, counts, missing, hits
            return
        if sums.shape != self._sums.shape:
            raise InputError(f"errors of {len(sums)} joints after errors of {len(self._sums)}: give as many each time")
        self._sums = self._sums + sums
        self._counts = self._counts + counts
        self._missing = self._missing + missing
        self._hits = self._hits + hits


class Kept(Generic[T]):
    """A metric that needs everything at once: batches are kept as they come and joined at the end.

    Args:
        metric: of arrays along whose first axis the batches follow each other.

    >>> from sonjit.metrics import average_precision
    >>> precision = Kept(average_precision)
    >>> precision.update([0.9, 0.8], [1, 0])
    >>> precision.update([0.7], [1])
    >>> round(precision.compute(), 4)
    0.8333
    """

    def __init__(self, metric: Callable[..., T]) -> None:
        self._metric = metric
        self._batches: list[tuple[NDArray[Any], ...]] = []

    def update(self, *arrays: ArrayLike) -> None:
        """Keep one batch of each array."""
        batch = tuple(np.asarray(array) for array in arrays)
        if len({len(array) for array in batch}) > 1:
            raise InputError(f"a batch of {', '.join(str(len(array)) for array in batch)}: give as many of each")
        self._batches.append(batch)

    def merge(self, other: Self) -> None:
        """Take what another one has kept."""
        self._batches += other._batches

    def compute(self) -> T:
        """The metric of all batches."""
        if not self._batches:
            raise InputError("nothing to compute: update with at least one batch, which may be empty")
        return self._metric(*(np.concatenate(arrays) for arrays in zip(*self._batches, strict=True)))
