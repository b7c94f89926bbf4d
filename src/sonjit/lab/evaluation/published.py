"""Published tables as data, next to Sonjit's metrics, and tables of groups of people.

The published tables contain rows of benchmarks and the groups of model cards. They are checked too, because a mean
outside of its own range is impossible. A table of groups shows how evenly a model serves groups, which groups are too
small to evaluate, and which group has the worst value.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sonjit._util.data_files import read_toml_table
from sonjit._util.errors import InputError, unknown_name
from sonjit.lab.documents import Block, BulletList, Heading, Table, Text, number
from sonjit.lab.evaluation.metrics import class_order
from sonjit.lab.evaluation.records import EvaluationRecord, ImpossibleTableError, MetricRecord, Units
from sonjit.lab.metrics import (
    group_report,
    mean_interval,
)


@dataclass(frozen=True)
class Column:
    """Metric of a published table.

    Attributes:
        metric: Name of the metric in Sonjit's evaluation.
        title: Title in the published table.
        unit: Unit of the numbers; "" for shares.
    """

    metric: str
    title: str
    unit: str


@dataclass(frozen=True)
class Row:
    """Method of a published table.

    Attributes:
        method: Name of the method.
        values: Value of each column; NaN where nothing was published.
        source: Paper, table or page.
        kind: Input or training of the method; "" without.
        reference: Number in the references of the table's paper, such as "[36]"; "" without.
    """

    method: str
    values: tuple[float, ...]
    source: str
    kind: str = ""
    reference: str = ""

    @property
    def title(self) -> str:
        """Return name and reference."""
        return f"{self.method} {self.reference}".strip()


@dataclass(frozen=True)
class PublishedTable:
    """Published benchmark.

    Attributes:
        kind: Heading of the rows' kinds if they have their own column; "" if they follow the method.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class GroupSummary:
    """Statistics of the means of groups, published or computed.

    Attributes:
        model: Name of the model.
        factor: Factor in which the groups differ.
        mean: Mean of the groups' means; NaN where not given, as for the following attributes.
        low: Smallest group mean.
        high: Largest group mean.
        stdev: Standard deviation over the groups.
        discrepancy: Difference between groups: largest minus smallest, or average minus worst.
        count: Number of groups; None where not given.
        mode: Tracking or reacquisition; "" where not given.
    """

    model: str
    factor: str
    low: float
    high: float
    mean: float = math.nan
    stdev: float = math.nan
    discrepancy: float = math.nan
    count: int | None = None
    mode: str = ""


@dataclass(frozen=True)
class PublishedGroups:
    """Groups of a published model card.

    Attributes:
        metric: Name of the metric in Sonjit's evaluation.
        better: Direction of improvement: "lower" or "higher".
        goal: Maximum discrepancy that the card allows; NaN without.
    """

    name: str
    title: str
    metric: str
    unit: str
    better: str
    source: str
    groups: tuple[GroupSummary, ...]
    goal: float = math.nan


def list_published() -> list[str]:
    """Return the sorted names of all published tables."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def load_table(name: str) -> PublishedTable:
    """Load a published benchmark.

    Raises:
        InputError: The name is unknown, or is that of a card's groups.
    """
    data = _read(name)
    if "columns" not in data:
        raise InputError(f"{name} contains the groups of a model card: use load_groups")
    columns = tuple(Column(**column) for column in data["columns"])
    rows = tuple(Row(**row | {"values": tuple(map(float, row["values"]))}) for row in data["rows"])
    for row in rows:
        if len(row.values) != len(columns):
            raise ImpossibleTableError(f"{name}: {row.method} has {len(row.values)} values for {len(columns)} columns")
    return PublishedTable(
        name=name,
        title=data["title"],
        columns=columns,
        rows=rows,
        notes=tuple(data.get("notes", ())),
        kind=data.get("kind", ""),
    )


def load_groups(name: str) -> PublishedGroups:
    """Load the groups of a published card as printed; `check_summary` checks them.

    Raises:
        InputError: The name is unknown, or is that of a benchmark.
    """
    data = _read(name)
    if "groups" not in data:
        raise InputError(f"{name} contains the rows of a benchmark: use load_table")
    groups = tuple(GroupSummary(**group) for group in data["groups"])
    about = {key: value for key, value in data.items() if key != "groups"}
    return PublishedGroups(name=name, groups=groups, **about)


def check_summary(summary: GroupSummary, *, rounding: float = 0.05) -> None:
    """Refuse impossible statistics: a mean outside of the range, or more spread than the range allows.

    Args:
        summary: Statistics of the groups.
        rounding: Maximum rounding error of each printed number.

    Raises:
        ImpossibleTableError: The message names model, factor, the number and the contradiction.
    """
    label = f"{summary.model}, {summary.factor}{f', {summary.mode}' if summary.mode else ''}"
    if summary.low > summary.high + rounding:
        raise ImpossibleTableError(f"{label}: the minimum {summary.low:g} is above the maximum {summary.high:g}")
    slack = 2 * rounding
    if not math.isnan(summary.mean) and not summary.low - slack <= summary.mean <= summary.high + slack:
        raise ImpossibleTableError(
            f"{label}: the mean {summary.mean:g} is outside of its range, {summary.low:g} to {summary.high:g}"
        )
    if not math.isnan(summary.stdev):
        groups = summary.count if summary.count and summary.count > 1 else 2
        bound = (summary.high - summary.low) / 2 * math.sqrt(groups / (groups - 1))  # Popoviciu's bound, of a sample
        if not 0 <= summary.stdev <= bound + slack:
            raise ImpossibleTableError(
                f"{label}: groups between {summary.low:g} and {summary.high:g} cannot have a standard deviation of "
                f"{summary.stdev:g}; at most {bound:.3g}"
            )
    if not math.isnan(summary.discrepancy) and not -slack <= summary.discrepancy <= summary.high - summary.low + slack:
        raise ImpossibleTableError(
            f"{label}: a discrepancy of {summary.discrepancy:g} is more than the range, "
            f"{summary.low:g} to {summary.high:g}"
        )


def _read(name: str) -> Mapping[str, Any]:
    if name not in (known := list_published()):
        raise InputError(unknown_name("published table", name, known))
    return read_toml_table(_folder() / f"{name}.toml")


def _folder() -> Traversable:
    return resources.files("sonjit.lab.evaluation") / "published"


def published_blocks(record: EvaluationRecord) -> Iterator[Block]:
    """Yield every published table of a record's protocol that shares a metric with it, and the groups of published
    cards.
    """
    main = {run["main"] for run in record["runs"]}
    tables = [(table, comparison(table, record)) for table in map(load_table, record["protocol"]["tables"])]
    shown = [(table, block) for table, block in tables if block is not None]
    groups = [block for metric in sorted(main) for block in published_groups(cards_of(metric), metric)]
    if not shown and not groups:
        return
    yield Heading("Comparison with published results")
    for table, block in shown:
        yield Heading(table.title, 3)
        yield block
        yield from map(Text, table.notes)
    yield from groups


def comparison(table: PublishedTable, record: EvaluationRecord) -> Table | None:
    """Return a published table with a row of ours per mode; None without a common metric."""
    model = record["model"]
    name = ", ".join([model["name"], *model.get("settings", {}).values()])
    ours: list[tuple[str, ...]] = []
    for run in record["runs"]:
        metrics = {metric["name"]: metric for metric in run["metrics"]}
        cells = [
            number(_convert_unit(metrics[column.metric], column.unit)) if column.metric in metrics else "–"
            for column in table.columns
        ]
        if any(cell != "–" for cell in cells):
            kind = (model.get("supervision", "–"),) if table.kind else ()
            ours.append((f"Sonjit: {name}, {run['mode']}", *kind, *cells, _sets(record)))
    return table_block(table, ours) if ours else None


def table_block(table: PublishedTable, ours: Sequence[tuple[str, ...]] = ()) -> Table:
    """Return a published table below our rows: method, kind if the table has that column, values, data."""
    headings = (f"{column.title} {column.unit}".strip() for column in table.columns)
    rows = [
        (
            *((row.title, row.kind) if table.kind else (f"{row.title}{f' ({row.kind})' if row.kind else ''}",)),
            *map(number, row.values),
            row.source,
        )
        for row in table.rows
    ]
    kind = (table.kind,) if table.kind else ()
    return Table(("method", *kind, *headings, "data or source"), (*ours, *rows), text_columns=1 + len(kind))


def published_groups(names: tuple[str, ...], metric: str) -> Iterator[Block]:
    """Yield the groups of published cards for a metric, and report impossible ones."""
    for name in names:
        card = load_groups(name)
        if card.metric != metric:
            continue
        rows: list[tuple[str, ...]] = []
        refused: list[str] = []
        for group in card.groups:
            try:
                check_summary(group)
            except ImpossibleTableError as error:
                refused.append(f"not shown: {error}")
                continue
            model_and_mode = f"{group.model}{f', {group.mode}' if group.mode else ''}"
            cells = (group.mean, group.stdev, group.low, group.high, group.high - group.low)
            rows.append((model_and_mode, group.factor, *(number(value) for value in cells), str(group.count or "–")))
        yield Heading(f"Published: {card.title}", 3)
        yield Table(("model", "by", "mean %", "sd", "least", "greatest", "greatest - least", "groups"), tuple(rows))
        if refused:
            yield BulletList(tuple(refused))
        yield Text(f"Source: {card.source}. On images that were never published: they do not rank against ours.")


def cards_of(metric: str) -> tuple[str, ...]:
    """Return the published cards with that metric."""
    return tuple(name for name in list_published() if name.startswith("card-") and load_groups(name).metric == metric)


def _convert_unit(metric: MetricRecord, unit: str) -> float | None:
    """Return a metric in a published table's unit: shares and per cent differ by 100."""
    value = metric["value"]
    if value is None or metric["unit"] == unit:
        return value
    return value / 100 if metric["unit"] == "%" else value * 100


def _sets(record: EvaluationRecord) -> str:
    samples = record["samples"]
    return f"{', '.join(item['set'] for item in record['data'])}: {samples} image{'s' * (samples != 1)}"


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
