"""Checked arrays of points, means, bootstrap intervals, and means by joint, finger, occlusion or group of people.

Intervals come from resampling with replacement; the same seed gives the same interval. The unit of resampling is a
sample, whose keypoints belong together, or a cluster of samples, such as all of a subject. Each part reports the mean
of what was predicted and the number of missing predictions.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util import InputError

__all__ = [
    "OCCLUSION_EDGES", "Part", "Points", "by_bin", "by_class", "by_joint", "by_joints", "group_report",
    "mean_interval",
]  # fmt: skip

_MAX_COORDINATE = 1e100  # coordinates beyond this are not measurements, and their squares would overflow

RESAMPLES: Final = 1000
_BLOCK: Final = 1 << 20  # weights in memory at one time
OCCLUSION_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)  # bins of the hidden share of a hand, as in Deformer's tables


class Points(NamedTuple):
    """Predicted and true points with a validity mask.

    Attributes:
        predicted: Points (..., K, D); NaN where a point was not predicted.
        truth: Points (..., K, D) in the same unit and frame; NaN where a point is invalid.
        valid: Mask (..., K); False where a point is invalid.
    """

    predicted: NDArray[np.float64]
    truth: NDArray[np.float64]
    valid: NDArray[np.bool_]


def checked_points(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> Points:
    """Return points (..., K, D) as float64, in their unit.

    Those with a truth that is not finite are invalid, those with such a prediction are missing. The mask `valid` is
    (..., K).
    """
    prediction, true = numbers("predicted", predicted), numbers("truth", truth)
    if prediction.ndim < 2 or prediction.shape != true.shape:
        raise InputError(f"predicted {prediction.shape} and truth {true.shape}: give arrays of one shape (..., K, D)")
    if prediction.shape[-1] == 0:
        raise InputError(f"points {prediction.shape}: give at least one coordinate")
    labelled = _finite(true)  # (..., K)
    if valid is not None:
        labelled &= flags("valid", valid, labelled.shape, "point")
    return Points(_mask_points(_finite(prediction), prediction), _mask_points(labelled, true), labelled)


def numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return values of any shape (...) as an array of float64, or raise InputError for values that are no numbers."""
    try:
        array = np.asarray(values)
        if array.dtype.kind != "c":
            return array.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{name}: give an array of real numbers, all rows of one length")


def flags(name: str, values: ArrayLike, shape: tuple[int, ...], unit: str = "sample") -> NDArray[np.bool_]:
    """Return values as a mask of the given shape, such as (N,), one per `unit`."""
    array = np.asarray(values)
    if array.shape != shape:
        raise InputError(f"{name} {array.shape}: give {shape}, one per {unit}")
    if array.dtype.kind not in "biuf" or not ((array == 0) | (array == 1)).all():
        raise InputError(f"{name}: give 0 or 1, or booleans")
    return array.astype(np.bool_)


def check_joint(joint: int, count: int) -> None:
    """Raise InputError unless `joint` is an index of one of `count` joints."""
    if np.asarray(joint).dtype.kind not in "iu" or not 0 <= joint < count:
        raise InputError(f"joint {joint}: the points have joints 0 to {count - 1}")


def rows(values: ArrayLike) -> NDArray[np.float64]:
    """Return values (..., K) as (N, K), in their unit; (N,) becomes one column.

    >>> rows([1, 2]).shape, rows([[[1, 2, 3]]]).shape
    ((2, 1), (1, 3))
    """
    array = numbers("values", values)
    if array.ndim < 2:
        return array.reshape(-1, 1)
    return array.reshape(int(np.prod(array.shape[:-1])), array.shape[-1])


def ratio(sums: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return the means of sums and counts (N, ...), in the unit of the sums; NaN where the count is 0."""
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def mean_without_nan(values: NDArray[np.floating]) -> float:
    """Return the mean of the values (...) that are not NaN, in their unit; NaN without any.

    >>> mean_without_nan(np.array([1.0, np.nan, 3.0])), mean_without_nan(np.array([]))
    (2.0, nan)
    """
    evaluated = values[~np.isnan(values)]
    return float(evaluated.mean()) if evaluated.size else float("nan")


def _finite(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask (..., K) of the points (..., K, D) with finite coordinates."""
    if not points.size or (
        points.min() > -_MAX_COORDINATE and points.max() < _MAX_COORDINATE
    ):  # the usual case, at once
        return np.ones(points.shape[:-1], np.bool_)
    return np.asarray((np.abs(points) < _MAX_COORDINATE).all(-1), np.bool_)


def _mask_points(mask: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points (..., K, D) with NaN where the mask (..., K) is False."""
    return points if mask.all() else np.where(mask[..., None], points, np.nan)


class Interval(NamedTuple):
    """Ends of a confidence interval of a mean; NaN with fewer than two samples."""

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
    """Return the percentile bootstrap of the mean over all finite values (N,) or (N, K), in their unit.

    Rows or clusters of rows are resampled.
    """
    if resamples < 1:
        raise InputError(f"resamples={resamples}: give 1 or more")
    table = rows(values)
    finite = np.isfinite(table)
    sums = np.where(finite, table, 0).sum(1, keepdims=True)
    drawn = resampled_means(sums, finite.sum(1, keepdims=True), resamples=resamples, seed=seed, clusters=clusters)
    return intervals(drawn, level)[0]


def resampled_means(
    sums: NDArray[Any],
    counts: NDArray[Any],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> NDArray[np.float64]:
    """Return resampled means (resamples, M) of M quantities from their sums and counts in each sample (N, M).

    A mean is NaN where a resample has no value of a quantity, and always for a quantity in fewer than two samples.
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
        for item in weights:
            item[:] = np.bincount(random.integers(max(1, samples), size=samples), minlength=samples)
        totals = weights @ both
        means[start : start + times] = ratio(totals[:, : sums.shape[1]], totals[:, sums.shape[1] :])
    means[:, (counts > 0).sum(0) < 2] = np.nan
    return means


def intervals(drawn: NDArray[np.float64], level: float = 0.95) -> list[Interval]:
    """Return the central interval, in their unit, of the given level for each column of means (R, M) of R resamples."""
    if not 0 < level < 1:
        raise InputError(f"level={level}: give a share between 0 and 1")
    return [_interval(column[~np.isnan(column)], level) for column in drawn.T]


def _interval(drawn: NDArray[np.float64], level: float) -> Interval:
    if not drawn.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(low, high)


def _by_cluster(values: NDArray[np.generic], clusters: Sequence[Hashable]) -> NDArray[np.float64]:
    """Return values (N, M) summed by cluster as (C, M)."""
    if len(clusters) != len(values):
        raise InputError(f"{len(clusters)} clusters for {len(values)} samples: give one per sample")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    total = np.zeros((len(numbers), values.shape[1]))
    np.add.at(total, [numbers[label] for label in clusters], values)
    return total


class Part(NamedTuple):
    """One row of a table.

    Attributes:
        name: Name of the joint, finger or bin.
        mean: Mean of the finite values, in their unit; NaN without any.
        interval: Confidence interval of the mean.
        counted: Number of values in the mean.
        missing: Number of keypoints that were not predicted.
    """

    name: str
    mean: float
    interval: Interval
    counted: int
    missing: int


def by_joint(values: ArrayLike, names: Sequence[str], *, clusters: Sequence[Hashable] | None = None) -> list[Part]:
    """Return the mean, in their unit, of each joint of values (N, K), by K names."""
    parts = {name: (joint,) for joint, name in enumerate(names)}
    if len(parts) != rows(values).shape[1]:
        raise InputError(f"{len(parts)} different names for {rows(values).shape[1]} joints: give one for each")
    return by_joints(values, parts, clusters=clusters)


def by_joints(
    values: ArrayLike, groups: Mapping[str, Sequence[int]], *, clusters: Sequence[Hashable] | None = None
) -> list[Part]:
    """Return the means, in their unit, of sets of joints of values (N, K), such as a skeleton's `groups`."""
    table = rows(values)
    for joint in (joint for joints in groups.values() for joint in joints):
        check_joint(joint, table.shape[1])
    chosen = np.zeros((table.shape[1], len(groups)))
    for column, joints in enumerate(groups.values()):
        chosen[list(joints), column] = 1
    return _parts(table, chosen, list(groups), None, clusters)


def by_bin(
    values: ArrayLike,
    levels: ArrayLike,
    edges: Sequence[float] = OCCLUSION_EDGES,
    *,
    clusters: Sequence[Hashable] | None = None,
) -> list[Part]:
    """Return the means of values (N, K) by bins of a level (N,) such as the hidden share. The last bin includes its
    upper edge.

    Samples with an unknown level, or one beyond the edges, are in no bin. Bins of shares are named in per cent.
    """
    table, binned = rows(values), numbers("levels", levels)
    if binned.shape != (len(table),) or len(edges) < 2 or not all(low < high for low, high in pairwise(edges)):
        raise InputError(f"levels {binned.shape} at edges {list(edges)}: give ({len(table)},) and ascending edges")
    inside = [(binned >= low) & (binned < high) for low, high in pairwise(edges)]
    inside[-1] |= binned == edges[-1]
    names = [f"{100 * low:g}-{100 * high:g} %" for low, high in pairwise(edges)]
    everything = np.ones((table.shape[1], 1))
    return _parts(table, everything, names, np.stack(inside, 1), clusters)


def by_class(
    values: ArrayLike,
    classes: Sequence[Collection[str]],
    names: Sequence[str],
    *,
    clusters: Sequence[Hashable] | None = None,
) -> list[Part]:
    """Return the means of values (N, K) by class. Each of N samples has any number of the classes `names`."""
    table = rows(values)
    if any(isinstance(sample_classes, str) for sample_classes in classes):
        raise InputError("classes: give a collection of names per sample, not a text")
    if len(classes) != len(table):
        raise InputError(f"{len(classes)} samples' classes for {len(table)} samples: give one for each")
    inside = np.array([[name in sample_classes for name in names] for sample_classes in classes], np.bool_).reshape(
        len(table), len(names)
    )
    return _parts(table, np.ones((table.shape[1], 1)), list(names), inside, clusters)


def _parts(
    table: NDArray[np.float64],
    chosen: NDArray[np.float64],
    names: Sequence[str],
    inside: NDArray[np.bool_] | None,
    clusters: Sequence[Hashable] | None,
) -> list[Part]:
    """Return the parts of joints `chosen` (K, M or 1) in samples `inside` (N, M), or in all samples."""
    finite = np.isfinite(table)
    shown = 1 if inside is None else inside
    sums = np.where(finite, table, 0) @ chosen * shown  # (N, M)
    counts, missing = finite @ chosen * shown, np.isposinf(table) @ chosen * shown
    drawn = resampled_means(sums, counts, clusters=clusters)
    rows_ = zip(
        names,
        ratio(sums.sum(0), counts.sum(0)).tolist(),
        intervals(drawn),
        counts.sum(0).astype(int).tolist(),
        missing.sum(0).astype(int).tolist(),
        strict=True,
    )
    return [Part(*row) for row in rows_]


@dataclass(frozen=True)
class GroupReport:
    """Means of groups and the differences between them; NaN where no group has a value.

    Attributes:
        groups: Group labels, sorted.
        means: Mean of each group; NaN for a group without values, which the other attributes ignore.
        counts: Number of samples with a value, by group.
        left_out: Number of samples without a value, by group: not evaluated or not predicted.
        average: Mean of the groups' means with equal weights.
        stdev_population: Population standard deviation of the groups' means.
        stdev_sample: Sample standard deviation of the groups' means; NaN with one group.
        range: Minimum and maximum mean.
    """

    groups: tuple[Hashable, ...]
    means: tuple[float, ...]
    counts: tuple[int, ...]
    left_out: tuple[int, ...]
    average: float
    stdev_population: float
    stdev_sample: float
    range: tuple[float, float]

    @property
    def max_minus_min(self) -> float:
        """Return the difference between the largest and the smallest mean."""
        return self.range[1] - self.range[0]

    def worst_vs_average(self, *, higher_is_better: bool) -> float:
        """Return the difference between the worst group and the average, 0 or more."""
        return self.average - self.range[0] if higher_is_better else self.range[1] - self.average


def group_report(values: ArrayLike, groups: Sequence[Hashable]) -> GroupReport:
    """Return the means by group.

    Args:
        values: Values (N,), one per sample. Values that are not finite are ignored and counted.
        groups: Sortable labels of the N samples; None for a sample without a known group, which is ignored.

    >>> group_report([1, 2, 5], ["a", "a", "b"]).means
    (1.5, 5.0)
    """
    numbers_ = numbers("values", values)
    if numbers_.ndim != 1 or len(groups) != len(numbers_):
        raise InputError(f"values {numbers_.shape} for {len(groups)} labels: give one of each per sample")
    members: dict[Hashable, list[float]] = {}
    for value, group in zip(numbers_.tolist(), groups, strict=True):
        if group is not None:
            members.setdefault(group, []).append(value)
    try:
        labels = sorted(members)  # type: ignore[type-var]
    except TypeError:
        raise InputError("groups: give labels of one kind, text or numbers") from None
    finite_values = [np.array([value for value in members[label] if np.isfinite(value)]) for label in labels]
    means = np.array([mean_without_nan(group_values) for group_values in finite_values], np.float64)
    sound = means[~np.isnan(means)]
    return GroupReport(
        groups=tuple(labels),
        means=tuple(means.tolist()),
        counts=tuple(len(group_values) for group_values in finite_values),
        left_out=tuple(len(members[label]) - len(item) for label, item in zip(labels, finite_values, strict=True)),
        average=mean_without_nan(means),
        stdev_population=float(sound.std()) if sound.size else float("nan"),
        stdev_sample=float(sound.std(ddof=1)) if sound.size > 1 else float("nan"),
        range=(float(sound.min()), float(sound.max())) if sound.size else (float("nan"), float("nan")),
    )
