"""Groups of samples, by which results are compared for fairness."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from sonjit._util import InputError
from sonjit_lab.evaluation import predictions
from sonjit_lab.evaluation.metrics import class_order
from sonjit_lab.evaluation.protocols import FEWEST
from sonjit_lab.metrics import group_report, mean_interval

_GROUP_KEYS = ("dataset", "sample", "subject", "instance")
_PAIR_SEPARATOR = " x "


@dataclass(frozen=True)
class GroupRow:
    """Row of a table of groups."""

    name: str  # name of the group
    count: int  # number of instances with a value
    missing: int  # number of instances that were not found
    subjects: int  # number of different people, 0 where unknown
    mean: float  # mean of the values; NaN without any, as for the following attributes
    stdev: float  # sample standard deviation of the values
    least: float  # minimum value
    greatest: float  # maximum value
    low: float  # lower end of the mean's 95 % interval
    high: float  # upper end of the interval
    enough: bool  # True if the group is large enough to be evaluated


@dataclass(frozen=True)
class Factor:
    """Factor in which groups differ."""

    name: str  # name of a column of the group file, or of two
    rows: tuple[GroupRow, ...]  # groups in order
    unknown: int  # number of instances without a known group
    worst: str = ""  # name of the worst group; "" with fewer than two that can be evaluated
    # mean of the means of those groups, with equal weights; NaN with fewer than two, as for the following
    average: float = math.nan
    stdev: float = math.nan  # standard deviation of those means
    gap: float = math.nan  # gap between the worst group and the average
    range: float = math.nan  # largest minus smallest mean


def load_group_file(path: Path) -> list[dict[str, str]]:
    """Read a CSV file with `subject` or `sample` (and `dataset`, `instance`), then a column per factor."""
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


def groups_of(units: predictions.Units) -> list[dict[str, str]]:
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
    units: predictions.Units,
    groups: Sequence[Mapping[str, str]],
    *,
    better: Literal["lower", "higher"],
    fewest: int = FEWEST,
) -> list[Factor]:
    """Return each factor of a group file, then each pair of factors, from the units of a run in eval.json."""
    units = predictions.labelled_units(units)
    keys = [name for name in _GROUP_KEYS if name in groups[0]]
    by_key: dict[tuple[str, ...], Mapping[str, str]] = {}
    for row in groups:
        key = tuple((row[name] or "").strip() for name in keys)
        if by_key.setdefault(key, row) != row:
            raise InputError(f"the file of --groups has different rows of {', '.join(key)}; give one")
    columns = [["" if item is None else str(item) for item in units[key]] for key in keys]
    rows = [by_key.get(key) for key in zip(*columns, strict=True)]
    if not any(rows):
        example = ", ".join(f"{key} {column[0]}" for key, column in zip(keys, columns, strict=True) if column)
        raise InputError(f"the file of --groups contains no sample of the evaluation, such as {example}")
    names = [name for name in groups[0] if name and name not in _GROUP_KEYS]
    labels = {name: [(row[name] or "").strip() or None if row else None for row in rows] for name in names}
    for first, second in combinations(names, 2):
        pairs = zip(labels[first], labels[second], strict=True)
        labels[first + _PAIR_SEPARATOR + second] = [_PAIR_SEPARATOR.join((a, b)) if a and b else None for a, b in pairs]
    return [_factor(name, units, item, higher=better == "higher", fewest=fewest) for name, item in labels.items()]


def _factor(name: str, units: predictions.Units, labels: Sequence[str | None], *, higher: bool, fewest: int) -> Factor:
    rows = tuple(
        _row(group, units, [index for index, label in enumerate(labels) if label == group], fewest)
        for group in sorted({label for label in labels if label is not None}, key=class_order)
    )
    evaluated, unknown = [row for row in rows if row.enough], sum(label is None for label in labels)
    if len(evaluated) < 2:
        return Factor(name, rows, unknown)
    report = group_report([row.mean for row in evaluated], [row.name for row in evaluated])
    worst = (min if higher else max)(evaluated, key=lambda row: row.mean).name
    gap = report.worst_vs_average(higher_is_better=higher)
    return Factor(name, rows, unknown, worst, report.average, report.stdev_sample, gap, report.max_minus_min)


def _row(name: str, units: predictions.Units, indices: Sequence[int], fewest: int) -> GroupRow:
    values = np.array([units["value"][index] for index in indices], np.float64)  # None becomes NaN
    finite_values = values[np.isfinite(values)]
    subjects = [units["subject"][index] for index in indices]
    clusters = [  # of resampling: a person, or an image
        ("sample", units["sample"][index]) if subject is None else ("subject", subject)
        for index, subject in zip(indices, subjects, strict=True)
    ]
    low, high = mean_interval(values, clusters=clusters)
    return GroupRow(
        name=name,
        count=int(finite_values.size),
        missing=sum(not units["found"][index] for index in indices),
        subjects=len(set(subjects) - {None}),
        mean=float(finite_values.mean()) if finite_values.size else math.nan,
        stdev=float(finite_values.std(ddof=1)) if finite_values.size > 1 else math.nan,
        least=float(finite_values.min()) if finite_values.size else math.nan,
        greatest=float(finite_values.max()) if finite_values.size else math.nan,
        low=low,
        high=high,
        enough=finite_values.size >= fewest,
    )


def verdict(factor: Factor, goal: float, unit: str) -> str:
    """Return one sentence that compares the worst group's gap to the average with a goal, NaN without one."""
    few = [row.name for row in factor.rows if not row.enough]
    small = f" Too small to evaluate: {', '.join(few)}." if few else ""
    if not factor.worst:
        return f"By {factor.name}: fewer than two groups are large enough to compare.{small}"
    gap = f"By {factor.name}: the worst group, {factor.worst}, is {factor.gap:.2f} {unit} worse than the average"
    if math.isnan(goal):
        return f"{gap}. No goal was set.{small}"
    return f"{gap}, {'within' if factor.gap <= goal else 'beyond'} the goal of {goal:g} {unit}.{small}"
