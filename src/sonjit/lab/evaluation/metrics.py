"""Compute the metrics of a run with their intervals and parts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from sonjit.lab.documents.plots import Curve
from sonjit.lab.evaluation.conditions import CONDITIONS, class_order
from sonjit.lab.evaluation.schema import CurveRecord, MetricRecord, PartRecord, SummaryRecord
from sonjit.lab.metrics import (
    by_bin,
    by_class,
    by_joint,
    by_joints,
    found,
    mean_error,
    missing_count,
)
from sonjit.lab.metrics.statistics import intervals, resampled_means

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.lab.metrics import Part
    from sonjit.results.skeletons import Skeleton

Average = Literal["joint", "all"]

_MAX_JOINTS = 42
"""Maximum number of joints with a row each. A face mesh is reported by its parts only."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: Name of the metric, as in the published tables.
        title: Title for reports.
        value: Value over all predictions; NaN if nothing was evaluated.
        low: Lower end of the 95 % interval; NaN where undefined.
        high: Upper end of the interval.
        unit: Unit of value and interval.
        better: Direction of improvement.
        counted: Number of values.
        missing: Number of missing predictions, which are in no mean.
    """

    name: str
    title: str
    value: float
    unit: str
    better: Literal["lower", "higher"] = "lower"
    low: float = math.nan
    high: float = math.nan
    counted: int = 0
    missing: int = 0


@dataclass
class MetricSummary:
    """Summary of a run.

    Attributes:
        metrics: Metrics of the table.
        parts: Rows of the main metric by "joint", "finger" or "hidden".
        curves: PCK curves.
        values: Main metric of each evaluated item; NaN without a value, inf where nothing was predicted.
    """

    metrics: list[Metric] = field(default_factory=list[Metric])
    parts: dict[str, list[Part]] = field(default_factory=dict[str, "list[Part]"])
    curves: list[Curve] = field(default_factory=list[Curve])
    values: list[float] = field(default_factory=list[float])

    def to_dict(self) -> SummaryRecord:
        """Return plain JSON types; NaN and inf stay."""
        return SummaryRecord(
            metrics=[MetricRecord(**asdict(metric)) for metric in self.metrics],
            parts={name: [_part(row) for row in rows] for name, rows in self.parts.items()},
            curves=[CurveRecord(**asdict(curve)) for curve in self.curves],
        )


def mean_metric(
    name: str,
    title: str,
    errors: NDArray[np.float64],
    unit: str,
    *,
    average: Average = "all",
    clusters: Sequence[Hashable] | None = None,
    better: Literal["lower", "higher"] = "lower",
) -> Metric:
    """Return the mean of the predicted errors (N, K) with its interval.

    Args:
        name: Name of the metric.
        title: Title for reports.
        errors: Errors (N, K): NaN is not evaluated, inf not predicted.
        unit: Unit of the errors.
        average: Averaging by joint first, or over all values.
        clusters: Unit of resampling (N,), such as the subject.
        better: Direction of improvement.
    """
    known = found(errors)
    low, high = _interval(known, average, clusters)
    counted = int(np.isfinite(known).sum())
    return Metric(
        name=name,
        title=title,
        value=mean_error(known, average),
        unit=unit,
        better=better,
        low=low,
        high=high,
        counted=counted,
        missing=missing_count(errors),
    )


def areas_under_pck(errors: NDArray[np.float64], low: float, high: float, steps: int) -> NDArray[np.float64]:
    """Return the contribution of each error (N, K) to the area under the PCK curve, 0 to 1: their mean is the AUC.

    >>> areas_under_pck(np.array([[0.0, 10.0, np.inf]]), 0, 10, 3)
    array([[1.  , 0.25, 0.  ]])
    """
    thresholds = np.linspace(low, high, steps)
    weights = np.convolve(np.diff(thresholds), [0.5, 0.5]) / (high - low)  # (T,) trapezoids
    after = np.append(np.cumsum(weights[::-1])[::-1], 0.0)  # of the thresholds from each on
    areas = after[np.searchsorted(thresholds, errors)]
    return np.where(np.isnan(errors), np.nan, areas)


def parts_of(
    errors: NDArray[np.float64],
    skeleton: Skeleton | None,
    hidden: NDArray[np.float64],
    clusters: Sequence[Hashable] | None,
) -> dict[str, list[Part]]:
    """Return errors (N, K) by joint, by finger or other named part, and by hidden share."""
    parts: dict[str, list[Part]] = {}
    if skeleton is not None and len(skeleton.keypoints) == errors.shape[1]:
        if errors.shape[1] <= _MAX_JOINTS:
            parts["joint"] = by_joint(errors, skeleton.keypoints, clusters=clusters)
        if skeleton.groups:
            parts["part"] = by_joints(errors, skeleton.groups, clusters=clusters)
    if np.isfinite(hidden).any():
        parts["hidden"] = by_bin(errors, hidden, clusters=clusters)
    return parts


def parts_by_condition(
    values: NDArray[np.float64], conditions: Sequence[Mapping[str, str]], clusters: Sequence[Hashable] | None
) -> dict[str, list[Part]]:
    """Return values (N, K) by the classes of each condition of N items. Conditions that are unknown for all items are
    absent.
    """
    parts: dict[str, list[Part]] = {}
    for factor in CONDITIONS:
        classes = [set(filter(None, item.get(factor, "").split("; "))) for item in conditions]
        names = sorted(set[str]().union(*classes), key=class_order)
        if names:
            parts[factor] = by_class(values, classes, names, clusters=clusters)
    return parts


def row_means(errors: NDArray[np.float64]) -> list[float]:
    """Return the mean of each row (N, K): NaN if nothing was evaluated, inf if nothing was predicted."""
    means: list[float] = []
    for row in errors:
        evaluated = row[~np.isnan(row)]
        known = evaluated[np.isfinite(evaluated)]
        means.append(float(known.mean()) if known.size else math.inf if evaluated.size else math.nan)
    return means


def stack_rows(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return rows (K,) as (N, K)."""
    return np.stack(rows) if rows else np.zeros((0, 1))


def _interval(known: NDArray[np.float64], average: Average, clusters: Sequence[Hashable] | None) -> tuple[float, float]:
    finite = np.isfinite(known)
    sums = np.where(finite, known, 0.0)
    if average == "all":
        drawn = resampled_means(sums.sum(1, keepdims=True), finite.sum(1, keepdims=True), clusters=clusters)
    elif (finite.sum(0) == 1).any():
        return math.nan, math.nan  # undefined for a joint that one sample has, and for a mean with it
    else:
        drawn = _known_means(resampled_means(sums, finite.astype(np.int64), clusters=clusters))
    low, high = intervals(drawn)[0]
    return low, high


def _known_means(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of rows (R, K) without NaN, as (R, 1)."""
    known = np.isfinite(table)
    counts = known.sum(1, keepdims=True)
    return np.where(counts > 0, np.where(known, table, 0).sum(1, keepdims=True) / np.maximum(counts, 1), np.nan)


def _part(row: Part) -> PartRecord:
    return {
        "name": row.name,
        "mean": row.mean,
        "low": row.interval.low,
        "high": row.interval.high,
        "counted": row.counted,
        "missing": row.missing,
    }
