"""Compute errors and shares of correct keypoints.

All metrics use one matrix of errors in the unit of the points: **NaN where there is nothing to compare with** (invalid,
or truth not finite), **inf where nothing was predicted**. A missing keypoint then counts as a miss in PCK and AUC,
raises medians and makes means NaN. `found` ignores missing keypoints and `missing_count` counts them. `ErrorStream`
and `Kept` collect samples in batches: the first stores a few numbers per joint, the second all arrays.

Sources: Zimmermann et al. 2019, FreiHAND, and the evaluation of HO-3D and DexYCB (means by joint first, PCK with <=).
"""

from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util import InputError, unknown_name
from sonjit_lab.metrics.alignment import root_relative, similarity_aligned
from sonjit_lab.metrics.statistics import checked_points, mean_without_nan, numbers, ratio, rows

__all__ = [
    "ErrorStream",
    "Kept",
    "end_point_error",
    "found",
    "joint_errors",
    "joint_means",
    "joint_medians",
    "mean_error",
    "missing_count",
    "mpjpe",
    "pa_mpjpe",
    "pck",
    "pck_auc",
    "pck_curve",
]
Average = Literal["joint", "all"]
"""How to average: `joint` takes a mean per joint, then the mean over joints with data, as most servers do; `all` takes
the mean over all valid values.
"""
T = TypeVar("T")


class EndPointError(NamedTuple):
    """Mean over joints of their mean and of their median errors, in the unit of the points."""

    mean: float
    median: float


def joint_errors(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return the Euclidean distance of each keypoint from its truth.

    Args:
        predicted: Points (..., K, D).
        truth: Points (..., K, D) in the same unit and frame.
        valid: Mask (..., K); all keypoints by default.

    Returns:
        Errors (..., K) in the unit of the points; NaN where the truth is unknown, inf where nothing was predicted.

    >>> joint_errors([[[0, 0], [3, 4], [np.nan, 1]]], [[[np.nan, 0], [0, 0], [0, 0]]])
    array([[nan,  5., inf]])
    """
    points = checked_points(predicted, truth, valid)
    apart = points.predicted - points.truth
    errors = np.sqrt(np.einsum("...d,...d->...", apart, apart))
    errors[np.isnan(errors)] = np.inf
    errors[~points.valid] = np.nan
    return errors


def check_average(average: str) -> None:
    """Raise InputError for an unknown way to average."""
    if average not in get_args(Average):
        raise InputError(unknown_name("average", average, get_args(Average)))


def missing_count(errors: ArrayLike) -> int:
    """Return the number of errors (..., K) that are inf: keypoints that should have been predicted and were not."""
    return int(np.isposinf(numbers("errors", errors)).sum())


def found(errors: ArrayLike) -> NDArray[np.float64]:
    """Return the errors (..., K) of predicted keypoints only. Report `missing_count` next to any metric of them."""
    array = numbers("errors", errors)
    return np.where(np.isposinf(array), np.nan, array)


def joint_means(errors: ArrayLike) -> NDArray[np.float64]:
    """Return the mean error (K,) of each joint over errors (..., K), in their unit.

    It is NaN without data or with a missing prediction.
    """
    means = _joint_means(errors)
    return np.where(np.isinf(means), np.nan, means)


def joint_medians(errors: ArrayLike) -> NDArray[np.float64]:
    """Return the median error (K,) of each joint over errors (..., K), in their unit; NaN if half is missing."""
    medians = [_median(column) for column in rows(errors).T]
    return np.array(medians, np.float64)


def mean_error(errors: ArrayLike, average: Average = "joint") -> float:
    """Return the mean over errors (..., K), in their unit; NaN without data or with a missing prediction.

    >>> mean_error([[1.0, 5.0], [3.0, np.nan]]), mean_error([[1.0, 5.0], [3.0, np.nan]], "all")
    (3.5, 3.0)
    """
    check_average(average)
    mean = mean_without_nan(_joint_means(errors) if average == "joint" else numbers("errors", errors))
    return mean if np.isfinite(mean) else float("nan")


def mpjpe(
    predicted: ArrayLike,
    truth: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    root: int | None = None,
    average: Average = "joint",
) -> float:
    """Return the mean per joint position error, in the unit of the points.

    Args:
        predicted: Points (..., K, D).
        truth: Points (..., K, D) in the same unit and frame.
        valid: Mask (..., K); all keypoints by default.
        root: Index of the joint to subtract from both first. A sample with an unknown root does not count.
        average: Averaging by joint first, or over all values.
    """
    points = checked_points(predicted, truth, valid)
    return mean_error(joint_errors(*(points if root is None else root_relative(*points, root=root))), average)


def pa_mpjpe(
    predicted: ArrayLike,
    truth: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    mirror: bool = False,
    average: Average = "joint",
) -> float:
    """Return the MPJPE after the best similarity (scale, rotation, translation) of each sample, fitted on its valid
    joints.

    Args:
        predicted: Points (N, K, D).
        truth: Points (N, K, D).
        valid: Mask (N, K); all keypoints by default.
        mirror: Also allow a reflection, as the servers of FreiHAND, HO-3D and DexYCB do.
        average: Averaging by joint first, or over all values.
    """
    return mean_error(joint_errors(*similarity_aligned(predicted, truth, valid, mirror=mirror)), average)


def end_point_error(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> EndPointError:
    """Return the means over joints of their mean and of their median errors of points (..., K, D), in their unit."""
    errors = joint_errors(predicted, truth, valid)
    return EndPointError(mean_error(errors), mean_without_nan(joint_medians(errors)))


def pck(errors: ArrayLike, threshold: float, *, average: Average = "joint", strict: bool = False) -> float:
    """Return the share of keypoints within a threshold, 0 to 1; NaN without data.

    Args:
        errors: Errors (..., K).
        threshold: Maximum error, in the unit of the errors.
        average: Averaging by joint first, or over all values.
        strict: Count errors below the threshold only, not those equal to it.

    >>> pck([[5.0, np.inf]], 5.0), pck([[5.0, np.inf]], 5.0, strict=True)
    (0.5, 0.0)
    """
    return float(pck_curve(errors, [threshold], average=average, strict=strict)[0])


def pck_curve(
    errors: ArrayLike, thresholds: ArrayLike, *, average: Average = "joint", strict: bool = False
) -> NDArray[np.float64]:
    """Return `pck`, 0 to 1, of errors (..., K) at each of T ascending thresholds in the unit of the errors, as (T,)."""
    return pck_from_hits(*hits_within(errors, thresholds, strict=strict), average=average)


def pck_auc(
    errors: ArrayLike, low: float, high: float, *, steps: int = 100, average: Average = "joint", strict: bool = False
) -> float:
    """Return the area under the PCK curve between two thresholds, as a share of the maximum: 0 to 1.

    Servers use 0 to 50 mm. STB and RHD are usually evaluated from 20 to 50 mm.

    Args:
        errors: Errors (..., K).
        low: Minimum threshold, in the unit of the errors.
        high: Maximum threshold.
        steps: Number of thresholds, ends included.
        average: Averaging by joint first, or over all values.
        strict: Count errors below each threshold only, not those equal to it.
    """
    thresholds = thresholds_between(low, high, steps)
    return area_under(thresholds, pck_curve(errors, thresholds, average=average, strict=strict))


def thresholds_between(low: float, high: float, steps: int) -> NDArray[np.float64]:
    """Return evenly spaced thresholds (steps,), ends included."""
    if not (np.isfinite([low, high]).all() and low < high and steps >= 2 and steps == int(steps)):
        raise InputError(f"thresholds from {low} to {high} in {steps} steps: give low below high and two or more steps")
    return np.linspace(low, high, int(steps))


def area_under(thresholds: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """Return the trapezoidal area under shares (T,) at thresholds (T,), divided by the range of the thresholds."""
    heights = (shares[1:] + shares[:-1]) / 2
    return float((heights * np.diff(thresholds)).sum() / (thresholds[-1] - thresholds[0]))


def hits_within(
    errors: ArrayLike, thresholds: ArrayLike, *, strict: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the errors (..., K) of each joint within each threshold (T, K), and all errors of each joint (K,).

    Errors and the ascending thresholds (T,) are in one unit.
    """
    table, limits = rows(errors), numbers("thresholds", thresholds)
    if (table < 0).any():
        raise InputError("errors: give distances, 0 or more")
    if limits.ndim != 1 or not (np.diff(limits) > 0).all() or not (np.isfinite(limits) & (limits >= 0)).all():
        raise InputError(f"thresholds {limits.tolist()}: give finite ones, 0 or more, ascending")
    joints, bins = table.shape[1], len(limits) + 1
    # The first threshold that each error is within; NaN and inf are within none, and come last.
    first = np.searchsorted(limits, table, side="right" if strict else "left")  # (N, K)
    first += np.arange(joints) * bins
    histogram = np.bincount(first.ravel(), minlength=joints * bins).reshape(joints, bins)
    hits = histogram[:, :-1].cumsum(1).T.astype(np.int64)  # (T, K)
    return hits, (~np.isnan(table)).sum(0).astype(np.int64)


def pck_from_hits(
    hits: NDArray[np.integer], counts: NDArray[np.integer], *, average: Average = "joint"
) -> NDArray[np.float64]:
    """Return the PCK (T,) of counts from `hits_within`."""
    check_average(average)
    if average == "all":
        return ratio(hits.sum(1), counts.sum())
    return np.array([mean_without_nan(shares) for shares in ratio(hits, counts)])


def _joint_means(errors: ArrayLike) -> NDArray[np.float64]:
    """Return means (K,): NaN without data, inf with a missing prediction."""
    table = rows(errors)
    counted = ~np.isnan(table)
    return ratio(np.where(counted, table, 0).sum(0), counted.sum(0))


def _median(errors: NDArray[np.float64]) -> float:
    evaluated = errors[~np.isnan(errors)]
    # The median of two middles, one of them inf, is inf too; numpy would take inf - inf on its way there.
    middle = (
        np.sort(evaluated)[[(evaluated.size - 1) // 2, evaluated.size // 2]] if evaluated.size else np.array([np.nan])
    )
    return float(middle.mean()) if np.isfinite(middle).all() else float("nan")


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
        """Add errors (..., K) as `joint_errors` returns them, in the unit of the thresholds."""
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
            mean = mean_without_nan(per_joint)
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
        self, sums: NDArray[np.float64], counts: NDArray[np.int64], missing: NDArray[np.int64], hits: NDArray[np.int64]
    ) -> None:
        if self._sums is None:
            self._sums = sums
            self._counts = counts
            self._missing = missing
            self._hits = hits
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

    >>> from sonjit_lab.metrics import average_precision
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
