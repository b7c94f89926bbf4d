"""Metrics over more samples than fit in memory: update by batches, merge the results of processes, compute at the end.

`ErrorStream` stores a few numbers per joint for any number of samples and gives exactly the result of one batch.
Medians and average precision have no such form. `Kept` stores their arrays, which grow with the samples: the 21 errors
of a hand take 84 bytes in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util.errors import InputError
from sonjit.lab.metrics.keypoints import (
    Average,
    area_under,
    check_average,
    hits_within,
    pck_from_hits,
    thresholds_between,
)
from sonjit.lab.metrics.statistics import known_mean, ratio, rows

T = TypeVar("T")


class StreamedErrors(NamedTuple):
    """Summary of an `ErrorStream`; NaN without data.

    Attributes:
        mean: Mean as `mean_error` returns it; NaN with a missing prediction.
        per_joint: Means (K,) as `joint_means` returns them.
        pck: PCK (T,) at each threshold.
        auc: Area under the PCK curve.
        counted: Number of evaluated keypoints, missing ones included.
        missing: Number of keypoints that were not predicted.
    """

    mean: float
    per_joint: NDArray[np.float64]
    pck: NDArray[np.float64]
    auc: float
    counted: int
    missing: int


class ErrorStream:
    """Mean, PCK and AUC of errors that arrive in batches.

    Args:
        low: Minimum threshold of PCK, in the unit of the errors.
        high: Maximum threshold.
        steps: Number of thresholds, ends included.
        average: Averaging by joint first, or over all values.
        strict: Count errors below a threshold only, not those equal to it.
    """

    def __init__(
        self, low: float, high: float, *, steps: int = 100, average: Average = "joint", strict: bool = False
    ) -> None:
        check_average(average)
        self._thresholds = thresholds_between(low, high, steps)
        self._average: Average = average
        self._strict = strict
        self._sums: NDArray[np.float64] | None = None  # of found errors: (K,)
        self._counts = self._missing = np.zeros(0, np.int64)  # (K,)
        self._hits = np.zeros((steps, 0), np.int64)  # (T, K)

    def update(self, errors: ArrayLike) -> None:
        """Add errors (..., K) as `joint_errors` returns them."""
        table = rows(errors)
        hits, counts = hits_within(table, self._thresholds, strict=self._strict)
        sums = np.where(np.isfinite(table), table, 0).sum(0)
        self._add(sums, counts, np.isposinf(table).sum(0), hits)

    def merge(self, other: Self) -> None:
        """Add the errors of another stream with the same thresholds."""
        if not np.array_equal(self._thresholds, other._thresholds) or self._strict != other._strict:
            raise InputError("merge: the streams' thresholds differ; make both with the same ones")
        if other._sums is not None:
            self._add(other._sums, other._counts, other._missing, other._hits)

    def compute(self) -> StreamedErrors:
        """Return the summary of all errors so far."""
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
        return StreamedErrors(
            mean=mean,
            per_joint=per_joint,
            pck=shares,
            auc=area,
            counted=int(self._counts.sum()),
            missing=int(self._missing.sum()),
        )

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
    """Metric that needs all data at once: stores batches and joins them at the end.

    Args:
        metric: Function of arrays whose first axis concatenates the batches.

    >>> from sonjit.lab.metrics import average_precision
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
        """Store one batch of each array."""
        batch = tuple(np.asarray(array) for array in arrays)
        if len({len(array) for array in batch}) > 1:
            raise InputError(f"a batch of {', '.join(str(len(array)) for array in batch)}: give as many of each")
        self._batches.append(batch)

    def merge(self, other: Self) -> None:
        """Add the batches of another object."""
        self._batches += other._batches

    def compute(self) -> T:
        """Return the metric of all batches."""
        if not self._batches:
            raise InputError("nothing to compute: update with at least one batch, which may be empty")
        return self._metric(*(np.concatenate(arrays) for arrays in zip(*self._batches, strict=True)))
