"""Published tables as data, next to Sonjit's metrics.

The tables contain rows of benchmarks and the groups of model cards. They are checked too, because a mean outside of its
own range is impossible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from sonjit._util.data_files import read_toml_table
from sonjit._util.errors import InputError, unknown_name
from sonjit.lab.documents.document import BulletList, Heading, Table, Text, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from sonjit.lab.documents.document import Block
    from sonjit.lab.evaluation.schema import EvaluationRecord, MetricRecord


class ImpossibleTableError(InputError):
    """Error of a table with contradictory numbers."""


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
