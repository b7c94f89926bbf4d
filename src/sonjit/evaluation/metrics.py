"""Metrics with their intervals, and the parts that they are made of.

How evenly a model serves groups of people: a table per factor, what is too few to evaluate, and the worst group.
"""

from __future__ import annotations

import csv
import math
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from sonjit.documents.plots import Curve
from sonjit.errors import InputError
from sonjit.evaluation.conditions import CONDITIONS, class_order
from sonjit.evaluation.published import GroupSummary, check_summary
from sonjit.evaluation.schema import CurveRecord, MetricRecord, PartRecord, SummaryRecord, Units
from sonjit.metrics import (
    by_bin,
    by_class,
    by_joint,
    by_joints,
    found,
    group_report,
    mean_error,
    mean_interval,
    missing_count,
)
from sonjit.metrics.statistics import intervals, resampled_means

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sonjit.metrics import Part
    from sonjit.skeletons import Skeleton

Average = Literal["joint", "all"]

_MOST_JOINTS = 42
"""Of which each gets a row of its own; a face mesh is reported by its parts alone."""


@dataclass(frozen=True)
class Metric:
    """One number.

    Attributes:
        name: of the metric, as the published tables name it.
        title: for people.
        value: of what was predicted; NaN where nothing was evaluated.
        low: end of its 95 % interval; NaN where it is undefined.
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
class MetricSummary:
    """What a run comes to.

    Attributes:
        metrics: the table.
        parts: by "joint", "finger" or "hidden": rows, of the main metric.
        curves: PCK.
        values: of the main metric, one per thing evaluated; NaN where it has none, inf where nothing was predicted.
    """

    metrics: list[Metric] = field(default_factory=list[Metric])
    parts: dict[str, list[Part]] = field(default_factory=dict[str, "list[Part]"])
    curves: list[Curve] = field(default_factory=list[Curve])
    values: list[float] = field(default_factory=list[float])

    def to_dict(self) -> SummaryRecord:
        """As plain JSON types; NaN and inf stay."""
        return SummaryRecord(
            metrics=[MetricRecord(**asdict(one)) for one in self.metrics],
            parts={name: [_part(row) for row in rows] for name, rows in self.parts.items()},
            curves=[CurveRecord(**asdict(one)) for one in self.curves],
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
    """The mean of errors (N, K) that were predicted, with its interval.

    Args:
        name: of the metric.
        title: for people.
        errors: NaN is not evaluated, inf not predicted.
        unit: of them.
        average: by joint first, or over all.
        clusters: (N,) what is drawn together, such as all of a subject.
        better: which way.
    """
    known = found(errors)
    low, high = _interval(known, average, clusters)
    counted = int(np.isfinite(known).sum())
    return Metric(name, title, mean_error(known, average), unit, better, low, high, counted, missing_count(errors))


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


def parts_by_condition(
    values: NDArray[np.float64], conditions: Sequence[Mapping[str, str]], clusters: Sequence[Hashable] | None
) -> dict[str, list[Part]]:
    """Values (N, K) by each factor's classes that N things are seen under; only factors that are known of any."""
    parts: dict[str, list[Part]] = {}
    for factor in CONDITIONS:
        classes = [set(filter(None, one.get(factor, "").split("; "))) for one in conditions]
        names = sorted(set[str]().union(*classes), key=class_order)
        if names:
            parts[factor] = by_class(values, classes, names, clusters=clusters)
    return parts


def row_means(errors: NDArray[np.float64]) -> list[float]:
    """Mean of each row (N, K): NaN where nothing was evaluated, inf where nothing was predicted."""
    means: list[float] = []
    for row in errors:
        evaluated = row[~np.isnan(row)]
        known = evaluated[np.isfinite(evaluated)]
        means.append(float(known.mean()) if known.size else math.inf if evaluated.size else math.nan)
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
        return math.nan, math.nan  # undefined for a joint that one sample has, and for a mean with it
    else:
        drawn = _known_means(resampled_means(sums, finite.astype(np.int64), clusters=clusters))
    low, high = intervals(drawn)[0]
    return low, high


def _known_means(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of rows (R, K) without their NaN, as (R, 1)."""
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


FEWEST = 20
"""Instances that a group needs to be evaluated."""

_KEYS = ("dataset", "sample", "subject", "instance")
_JOIN = " x "


@dataclass(frozen=True)
class GroupRow:
    """One group.

    Attributes:
        name: of it.
        count: instances with a value.
        missing: instances that were not found.
        subjects: different people, 0 where they are not known.
        mean: of the values; NaN without any, as below.
        stdev: of a sample.
        least: value.
        greatest: value.
        low: end of the mean's 95 % interval.
        high: the other end.
        enough: it can be evaluated.
    """

    name: str
    count: int
    missing: int
    subjects: int
    mean: float
    stdev: float
    least: float
    greatest: float
    low: float
    high: float
    enough: bool


@dataclass(frozen=True)
class Factor:
    """What groups differ in.

    Attributes:
        name: of a column of the groups' file, or of two.
        rows: its groups, in order.
        average: of the means of those that can be evaluated, each the same weight; NaN with fewer than two, as below.
        stdev: of those means.
        gap: of the worst from the average.
        range: greatest minus least mean.
        worst: name of the worst; "" with fewer than two.
        unknown: instances of no known group.
    """

    name: str
    rows: tuple[GroupRow, ...]
    average: float
    stdev: float
    gap: float
    range: float
    worst: str
    unknown: int


def load_group_file(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file: `subject`, or `sample` and where wanted `dataset` and `instance`, then a column per factor.

    Raises:
        InputError: the file is missing or damaged, names nobody, or has no factor.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--groups {path}: cannot be read as CSV ({error})") from None
    if not rows:
        raise InputError(f"--groups {path}: holds no row below its headings")
    names = [name for name in rows[0] if name]
    if not {"subject", "sample"} & set(names):
        raise InputError(f"--groups {path}: needs a column subject or sample; it has {', '.join(names)}")
    if not set(names) - set(_KEYS):
        raise InputError(f"--groups {path}: needs a column per factor, such as gender, age, fitzpatrick or region")
    return rows


def groups_of(units: Units) -> list[dict[str, str]]:
    """Rows as a groups' file has them, from what the data set itself says; none where it says nothing."""
    names = sorted({name for group in units["group"] for name in group})
    rows = zip(units["dataset"], units["sample"], units["instance"], units["group"], strict=True)
    return [
        {"dataset": dataset, "sample": sample, "instance": str(instance)}
        | {name: group.get(name, "") for name in names}
        for dataset, sample, instance, group in rows
        if names
    ]


def factors_of(
    units: Units,
    groups: Sequence[Mapping[str, str]],
    *,
    model: str,
    better: Literal["lower", "higher"],
    fewest: int = FEWEST,
) -> list[Factor]:
    """Each factor of a groups' file, then each two of them together.

    Args:
        units: of a run in eval.json: sample, subject, instance, value and so on, one per instance.
        groups: rows of the file.
        model: for messages.
        better: which way values are good.
        fewest: instances that a group needs.

    Raises:
        InputError: the file names nobody of the run.
        ImpossibleTableError: a table that contradicts itself.
    """
    names = [name for name in groups[0] if name and name not in _KEYS]
    keys = [name for name in _KEYS if name in groups[0]]
    by_key = {tuple((row[key] or "").strip() for key in keys): row for row in groups}
    columns = [["" if one is None else str(one) for one in units[key]] for key in keys]
    found = [by_key.get(key) for key in zip(*columns, strict=True)]
    if not any(found):
        example = ", ".join(f"{key} {column[0]}" for key, column in zip(keys, columns, strict=True) if column)
        raise InputError(f"the groups' file names nobody of the evaluation, whose first is {example}")
    labels = {name: [(row[name] or "").strip() or None if row else None for row in found] for name in names}
    for first, second in combinations(names, 2):
        pairs = zip(labels[first], labels[second], strict=True)
        labels[first + _JOIN + second] = [_JOIN.join((a, b)) if a and b else None for a, b in pairs]
    return [_factor(name, units, one, model=model, better=better, fewest=fewest) for name, one in labels.items()]


def verdict(factor: Factor, goal: float, unit: str) -> str:
    """One sentence on the worst group against a goal.

    Args:
        factor: what the groups differ in.
        goal: greatest gap of the worst group from the average; NaN where none is set.
        unit: of both.
    """
    few = [row.name for row in factor.rows if not row.enough]
    small = f" Too small to evaluate: {', '.join(few)}." if few else ""
    if not factor.worst:
        return f"By {factor.name}: fewer than two groups are large enough to compare.{small}"
    gap = f"By {factor.name}: the worst group, {factor.worst}, is {factor.gap:.2f} {unit} worse than the average"
    if math.isnan(goal):
        return f"{gap}; no goal was set.{small}"
    return f"{gap}, {'within' if factor.gap <= goal else 'beyond'} the goal of {goal:g} {unit}.{small}"


def _factor(
    name: str,
    units: Units,
    labels: Sequence[str | None],
    *,
    model: str,
    better: Literal["lower", "higher"],
    fewest: int,
) -> Factor:
    rows = tuple(
        _row(group, units, [place for place, label in enumerate(labels) if label == group], fewest)
        for group in sorted({label for label in labels if label is not None}, key=class_order)
    )
    evaluated = [row for row in rows if row.enough]
    unknown = sum(label is None for label in labels)
    if len(evaluated) < 2:
        return Factor(name, rows, math.nan, math.nan, math.nan, math.nan, "", unknown)
    report = group_report([row.mean for row in evaluated], [row.name for row in evaluated])
    low, high = report.range
    summary = GroupSummary(
        model, name, low, high, report.average, report.stdev_sample, report.max_minus_min, len(evaluated)
    )
    check_summary(summary, rounding=1e-9 * max(1.0, abs(high)))
    worst = (min if better == "higher" else max)(evaluated, key=lambda row: row.mean)
    gap = report.worst_vs_average(higher_is_better=better == "higher")
    return Factor(name, rows, report.average, report.stdev_sample, gap, report.max_minus_min, worst.name, unknown)


def _row(name: str, units: Units, places: Sequence[int], fewest: int) -> GroupRow:
    values = np.array([_number(units["value"][place]) for place in places], np.float64)
    known = values[np.isfinite(values)]
    subjects = {units["subject"][place] for place in places} - {None}
    clusters = [_person(units, place) for place in places]
    low, high = mean_interval(values, clusters=clusters)
    return GroupRow(
        name,
        int(known.size),
        sum(not units["found"][place] for place in places),
        len(subjects),
        float(known.mean()) if known.size else math.nan,
        float(known.std(ddof=1)) if known.size > 1 else math.nan,
        float(known.min()) if known.size else math.nan,
        float(known.max()) if known.size else math.nan,
        low,
        high,
        enough=known.size >= fewest,
    )


def _person(units: Units, place: int) -> tuple[str, str]:
    """What the bootstrap draws as one: a person, or an image."""
    subject = units["subject"][place]
    return ("subject", str(subject)) if subject is not None else ("sample", str(units["sample"][place]))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
