"""Compare groups of people in a table per factor.

A table shows how evenly a model serves groups, which groups are too small to evaluate, and which group has the worst
value.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from sonjit._util.errors import InputError
from sonjit.lab.evaluation.conditions import class_order
from sonjit.lab.evaluation.published import GroupSummary, check_summary
from sonjit.lab.evaluation.schema import Units
from sonjit.lab.metrics import (
    group_report,
    mean_interval,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


FEWEST = 20
"""Minimum number of instances of a group."""
_GROUP_KEYS = ("dataset", "sample", "subject", "instance")
_PAIR_SEPARATOR = " x "


@dataclass(frozen=True)
class GroupRow:
    """Row of a table of groups.

    Attributes:
        name: Name of the group.
        count: Number of instances with a value.
        missing: Number of instances that were not found.
        subjects: Number of different people, 0 where unknown.
        mean: Mean of the values; NaN without any, as for the following attributes.
        stdev: Sample standard deviation of the values.
        least: Minimum value.
        greatest: Maximum value.
        low: Lower end of the mean's 95 % interval.
        high: Upper end of the interval.
        enough: True if the group is large enough to be evaluated.
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
    """Factor in which groups differ.

    Attributes:
        name: Name of a column of the group file, or of two.
        rows: Groups in order.
        average: Mean of the means of the groups that can be evaluated, with equal weights; NaN with fewer than two, as
            for the following attributes.
        stdev: Standard deviation of those means.
        gap: Gap between the worst group and the average.
        range: Largest minus smallest mean.
        worst: Name of the worst group; "" with fewer than two.
        unknown: Number of instances without a known group.
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
    """Read the rows of a CSV file with `subject`, or `sample` and optionally `dataset` and `instance`, then a column
    per factor.

    Raises:
        InputError: The file is missing or damaged, names no person, or has no factor.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--groups {path}: cannot be read as CSV ({error})") from None
    if not rows:
        raise InputError(f"--groups {path} has no row below its headings")
    names = [name for name in rows[0] if name]
    if not {"subject", "sample"} & set(names):
        raise InputError(f"--groups {path} requires a column subject or sample; it has {', '.join(names)}")
    if not set(names) - set(_GROUP_KEYS):
        raise InputError(f"--groups {path} requires a column per factor, such as gender, age, fitzpatrick or region")
    return rows


def groups_of(units: Units) -> list[dict[str, str]]:
    """Return rows in the form of a group file from the labels of the data set; empty if it labels no groups."""
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
    """Return each factor of a group file, then each pair of factors.

    Args:
        units: Units of a run in eval.json: sample, subject, instance, value and so on, one per instance.
        groups: Rows of the group file.
        model: Name of the model, shown in error messages.
        better: Direction of improvement.
        fewest: Minimum number of instances of a group.

    Raises:
        InputError: The file names no person of the run.
        ImpossibleTableError: A table contradicts itself.
    """
    names = [name for name in groups[0] if name and name not in _GROUP_KEYS]
    rows = _rows_of_units(units, groups)
    labels = {name: [(row[name] or "").strip() or None if row else None for row in rows] for name in names}
    for first, second in combinations(names, 2):
        pairs = zip(labels[first], labels[second], strict=True)
        labels[first + _PAIR_SEPARATOR + second] = [_PAIR_SEPARATOR.join((a, b)) if a and b else None for a, b in pairs]
    return [_factor(name, units, item, model=model, better=better, fewest=fewest) for name, item in labels.items()]


def _rows_of_units(units: Units, groups: Sequence[Mapping[str, str]]) -> list[Mapping[str, str] | None]:
    """Return the row of each unit in the group file, or None.

    Raises:
        InputError: The file names no unit.
    """
    keys = [name for name in _GROUP_KEYS if name in groups[0]]
    by_key = {tuple((row[key] or "").strip() for key in keys): row for row in groups}
    columns = [["" if item is None else str(item) for item in units[key]] for key in keys]
    rows = [by_key.get(key) for key in zip(*columns, strict=True)]
    if not any(rows):
        example = ", ".join(f"{key} {column[0]}" for key, column in zip(keys, columns, strict=True) if column)
        raise InputError(f"the file of --groups contains no sample of the evaluation, such as {example}")
    return rows


def verdict(factor: Factor, goal: float, unit: str) -> str:
    """Return one sentence that compares the worst group with a goal.

    Args:
        factor: Factor in which the groups differ.
        goal: Maximum gap between the worst group and the average; NaN without a goal.
        unit: Unit of goal and gap.
    """
    few = [row.name for row in factor.rows if not row.enough]
    small = f" Too small to evaluate: {', '.join(few)}." if few else ""
    if not factor.worst:
        return f"By {factor.name}: fewer than two groups are large enough to compare.{small}"
    gap = f"By {factor.name}: the worst group, {factor.worst}, is {factor.gap:.2f} {unit} worse than the average"
    if math.isnan(goal):
        return f"{gap}. No goal was set.{small}"
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
        _row(group, units, [index for index, label in enumerate(labels) if label == group], fewest)
        for group in sorted({label for label in labels if label is not None}, key=class_order)
    )
    evaluated = [row for row in rows if row.enough]
    unknown = sum(label is None for label in labels)
    if len(evaluated) < 2:
        return Factor(
            name=name,
            rows=rows,
            average=math.nan,
            stdev=math.nan,
            gap=math.nan,
            range=math.nan,
            worst="",
            unknown=unknown,
        )
    report = group_report([row.mean for row in evaluated], [row.name for row in evaluated])
    low, high = report.range
    summary = GroupSummary(
        model=model,
        factor=name,
        low=low,
        high=high,
        mean=report.average,
        stdev=report.stdev_sample,
        discrepancy=report.max_minus_min,
        count=len(evaluated),
    )
    check_summary(summary, rounding=1e-9 * max(1.0, abs(high)))
    worst = (min if better == "higher" else max)(evaluated, key=lambda row: row.mean)
    gap = report.worst_vs_average(higher_is_better=better == "higher")
    return Factor(
        name=name,
        rows=rows,
        average=report.average,
        stdev=report.stdev_sample,
        gap=gap,
        range=report.max_minus_min,
        worst=worst.name,
        unknown=unknown,
    )


def _row(name: str, units: Units, indices: Sequence[int], fewest: int) -> GroupRow:
    values = np.array([_number(units["value"][index]) for index in indices], np.float64)
    known = values[np.isfinite(values)]
    subjects = {units["subject"][index] for index in indices} - {None}
    clusters = [_person(units, index) for index in indices]
    low, high = mean_interval(values, clusters=clusters)
    return GroupRow(
        name=name,
        count=int(known.size),
        missing=sum(not units["found"][index] for index in indices),
        subjects=len(subjects),
        mean=float(known.mean()) if known.size else math.nan,
        stdev=float(known.std(ddof=1)) if known.size > 1 else math.nan,
        least=float(known.min()) if known.size else math.nan,
        greatest=float(known.max()) if known.size else math.nan,
        low=low,
        high=high,
        enough=known.size >= fewest,
    )


def _person(units: Units, index: int) -> tuple[str, str]:
    """Return the unit of resampling: a person, or an image."""
    subject = units["subject"][index]
    return ("subject", str(subject)) if subject is not None else ("sample", str(units["sample"][index]))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
