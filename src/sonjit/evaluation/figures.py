"""Figures with their intervals, and the parts that they are made of."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sonjit.documents.plots import Curve
from sonjit.metrics import by_bin, by_joint, by_joints, found, mean_error, missing_count
from sonjit.metrics.bootstrap import intervals, resampled_means

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from sonjit.metrics import Part
    from sonjit.skeletons import Skeleton

Average = Literal["joint", "all"]
_MOST_JOINTS = 42
"""Of which each gets a row of its own; a face mesh is told by its parts alone."""


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes:
        name: of the metric, as the published tables name it.
        title: for people.
        value: of what was predicted; NaN where nothing was judged.
        low: end of its 95 % interval; NaN where nothing can be said of it.
        high: the other end.
        unit: of all three.
        better: which way.
        counted: how many values it is of.
        missing: how many were not predicted, and are in no mean.
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
class Summary:
    """What a run comes to.

    Attributes:
        figures: the table.
        parts: by "joint", "finger" or "hidden": rows, of the main figure.
        curves: PCK.
        values: of the main figure, one per thing judged; NaN where it has none, inf where nothing was predicted.
    """

    figures: list[Figure] = field(default_factory=list[Figure])
    parts: dict[str, list[Part]] = field(default_factory=dict[str, "list[Part]"])
    curves: list[Curve] = field(default_factory=list[Curve])
    values: list[float] = field(default_factory=list[float])

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; NaN and inf stay."""
        return {
            "figures": [asdict(one) for one in self.figures],
            "parts": {name: [_part(row) for row in rows] for name, rows in self.parts.items()},
            "curves": [asdict(one) for one in self.curves],
        }


def mean_figure(
    name: str,
    title: str,
    errors: NDArray[np.float64],
    unit: str,
    *,
    average: Average = "all",
    clusters: Sequence[Hashable] | None = None,
    better: Literal["lower", "higher"] = "lower",
) -> Figure:
    """The mean of errors (N, K) that were predicted, with its interval.

    Args:
        name: of the metric.
        title: for people.
        errors: NaN is not judged, inf not predicted.
        unit: of them.
        average: by joint first, or over all.
        clusters: (N,) what is drawn together, such as all of a subject.
        better: which way.
    """
    known = found(errors)
    low, high = _interval(known, average, clusters)
    counted = int(np.isfinite(known).sum())
    return Figure(name, title, mean_error(known, average), unit, better, low, high, counted, missing_count(errors))


def areas_under_pck(errors: NDArray[np.float64], low: float, high: float, steps: int) -> NDArray[np.float64]:
    """What each error (N, K) gives to the area under the curve of PCK, 0..1: their mean is the AUC.

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
    """Errors (N, K) by joint, by finger or other named part, and by how much is hidden."""
    parts: dict[str, list[Part]] = {}
    if skeleton is not None and len(skeleton.keypoints) == errors.shape[1]:
        if errors.shape[1] <= _MOST_JOINTS:
            parts["joint"] = by_joint(errors, skeleton.keypoints, clusters=clusters)
        if skeleton.groups:
            parts["part"] = by_joints(errors, skeleton.groups, clusters=clusters)
    if np.isfinite(hidden).any():
        parts["hidden"] = by_bin(errors, hidden, clusters=clusters)
    return parts


def row_means(errors: NDArray[np.float64]) -> list[float]:
    """Mean of each row (N, K): NaN where nothing was judged, inf where nothing was predicted."""
    means: list[float] = []
    for row in errors:
        judged = row[~np.isnan(row)]
        known = judged[np.isfinite(judged)]
        means.append(float(known.mean()) if known.size else math.inf if judged.size else math.nan)
    return means


def stacked(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Rows (K,) as (N, K)."""
    return np.stack(rows) if rows else np.zeros((0, 1))


def _interval(known: NDArray[np.float64], average: Average, clusters: Sequence[Hashable] | None) -> tuple[float, float]:
    finite = np.isfinite(known)
    sums = np.where(finite, known, 0.0)
    if average == "all":
        drawn = resampled_means(sums.sum(1, keepdims=True), finite.sum(1, keepdims=True), clusters=clusters)
    elif (finite.sum(0) == 1).any():
        return math.nan, math.nan  # nothing can be said of a joint that one sample has, nor of a mean with it
    else:
        drawn = _known_means(resampled_means(sums, finite.astype(np.int64), clusters=clusters))
    low, high = intervals(drawn)[0]
    return low, high


def _known_means(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of rows (R, K) without their NaN, as (R, 1)."""
    known = np.isfinite(table)
    counts = known.sum(1, keepdims=True)
    return np.where(counts > 0, np.where(known, table, 0).sum(1, keepdims=True) / np.maximum(counts, 1), np.nan)


def _part(row: Part) -> dict[str, Any]:
    return {
        "name": row.name,
        "mean": row.mean,
        "low": row.interval.low,
        "high": row.interval.high,
        "counted": row.counted,
        "missing": row.missing,
    }
