"""Tables that others published, as data: rows of a benchmark, and the groups of the model cards.

Nothing of them is believed blindly: a mean outside its own range cannot be, whoever printed it.

Published tables beside our metrics.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from sonjit.documents.document import BulletList, Heading, Table, Text, number
from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from sonjit.documents.document import Block
    from sonjit.evaluation.schema import EvaluationRecord, MetricRecord


class ImpossibleTableError(InputError):
    """A table whose own numbers contradict each other."""


@dataclass(frozen=True)
class Column:
    """One metric of a published table.

    Attributes:
        metric: by the name that Sonjit's evaluation gives it.
        title: as the table has it.
        unit: of its numbers; "" for shares.
    """

    metric: str
    title: str
    unit: str


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        method: its name.
        values: one per column; NaN where nothing was published.
        source: paper, table or page.
        kind: what sets it apart: its input, or how it was trained; "" without.
        reference: its number in the literature of the table's paper, such as "[36]"; "" where it has none.
    """

    method: str
    values: tuple[float, ...]
    source: str
    kind: str = ""
    reference: str = ""

    @property
    def title(self) -> str:
        """Name and reference."""
        return f"{self.method} {self.reference}".strip()


@dataclass(frozen=True)
class PublishedTable:
    """A published benchmark.

    Attributes:
        kind: heading of the rows' kinds, where they have a column of their own; "" where they stand by the method.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class GroupSummary:
    """Statistics of the means of groups, published or ours.

    Attributes:
        model: of which model.
        factor: what the groups differ in.
        mean: of the groups' means; NaN where it is not given, as below.
        low: the least of them.
        high: the greatest.
        stdev: over the groups.
        discrepancy: between groups: greatest minus least, or the average from the worst.
        count: how many groups; None where it is not given.
        mode: tracking or reacquisition; "" where it is not given.
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
    """The groups of a published model card.

    Attributes:
        metric: by the name that Sonjit's evaluation gives it.
        better: "lower" or "higher".
        goal: greatest discrepancy that the card allows; NaN without.
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
    """Names of all published tables, in order."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def load_table(name: str) -> PublishedTable:
    """A published benchmark.

    Raises:
        InputError: an unknown name, or the groups of a card.
    """
    data = _read(name)
    if "columns" not in data:
        raise InputError(f"{name} holds the groups of a model card: see load_groups")
    columns = tuple(Column(**one) for one in data["columns"])
    rows = tuple(Row(**one | {"values": tuple(map(float, one["values"]))}) for one in data["rows"])
    for row in rows:
        if len(row.values) != len(columns):
            raise ImpossibleTableError(f"{name}: {row.method} has {len(row.values)} values for {len(columns)} columns")
    return PublishedTable(name, data["title"], columns, rows, tuple(data.get("notes", ())), data.get("kind", ""))


def load_groups(name: str) -> PublishedGroups:
    """The groups of a published card, as printed; `check_summary` says whether they can be.

    Raises:
        InputError: an unknown name, or a table of a benchmark.
    """
    data = _read(name)
    if "groups" not in data:
        raise InputError(f"{name} holds the rows of a benchmark: see load_table")
    groups = tuple(GroupSummary(**one) for one in data["groups"])
    about = {key: value for key, value in data.items() if key != "groups"}
    return PublishedGroups(name=name, groups=groups, **about)


def check_summary(one: GroupSummary, *, rounding: float = 0.05) -> None:
    """Refuse what no groups can have: a mean outside their range, more spread than the range allows.

    Args:
        one: their statistics.
        rounding: by how much each number may be off for being printed with few digits.

    Raises:
        ImpossibleTableError: names model, factor, the number and what it contradicts.
    """
    whose = f"{one.model}, {one.factor}{f', {one.mode}' if one.mode else ''}"
    if one.low > one.high + rounding:
        raise ImpossibleTableError(f"{whose}: the least mean {one.low:g} is above the greatest, {one.high:g}")
    slack = 2 * rounding
    if not math.isnan(one.mean) and not one.low - slack <= one.mean <= one.high + slack:
        raise ImpossibleTableError(
            f"{whose}: the mean {one.mean:g} lies outside of its range, {one.low:g} to {one.high:g}"
        )
    if not math.isnan(one.stdev):
        groups = one.count if one.count and one.count > 1 else 2
        most = (one.high - one.low) / 2 * math.sqrt(groups / (groups - 1))  # Popoviciu's bound, of a sample
        if not 0 <= one.stdev <= most + slack:
            raise ImpossibleTableError(
                f"{whose}: groups between {one.low:g} and {one.high:g} cannot have a standard deviation of "
                f"{one.stdev:g}; at most {most:.3g}"
            )
    if not math.isnan(one.discrepancy) and not -slack <= one.discrepancy <= one.high - one.low + slack:
        raise ImpossibleTableError(
            f"{whose}: a discrepancy of {one.discrepancy:g} is more than the range, {one.low:g} to {one.high:g}"
        )


def _read(name: str) -> Mapping[str, Any]:
    if name not in (known := list_published()):
        raise InputError(f"unknown published table {name!r}; known: {', '.join(known)}")
    return tomllib.loads(_folder().joinpath(f"{name}.toml").read_text("utf-8"))


def _folder() -> Traversable:
    return resources.files("sonjit.evaluation") / "published"


def published_blocks(record: EvaluationRecord) -> Iterator[Block]:
    """Every published table of a record's protocol that has a metric of ours, and the groups of published cards."""
    main = {run["main"] for run in record["runs"]}
    tables = [(table, comparison(table, record)) for table in map(load_table, record["protocol"]["tables"])]
    shown = [(table, block) for table, block in tables if block is not None]
    groups = [block for metric in sorted(main) for block in published_groups(cards_of(metric), metric)]
    if not shown and not groups:
        return
    yield Heading("Beside what was published")
    for table, block in shown:
        yield Heading(table.title, 3)
        yield block
        yield from map(Text, table.notes)
    yield from groups


def comparison(table: PublishedTable, record: EvaluationRecord) -> Table | None:
    """A published table with a row of ours per mode; None where no metric of ours is in it."""
    model = record["model"]
    name = ", ".join([model["name"], *model.get("settings", {}).values()])
    ours: list[tuple[str, ...]] = []
    for run in record["runs"]:
        metrics = {one["name"]: one for one in run["metrics"]}
        cells = [
            number(_in_unit(metrics[column.metric], column.unit)) if column.metric in metrics else "–"
            for column in table.columns
        ]
        if any(cell != "–" for cell in cells):
            kind = (model.get("supervision", "–"),) if table.kind else ()
            ours.append((f"Sonjit: {name}, {run['mode']}", *kind, *cells, _sets(record)))
    return table_block(table, ours) if ours else None


def table_block(table: PublishedTable, ours: Sequence[tuple[str, ...]] = ()) -> Table:
    """A published table, below rows of ours: method, kind where the table has a column of it, values, data."""
    headings = (f"{one.title} {one.unit}".strip() for one in table.columns)
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
    """Groups of published cards for a metric; what cannot be shown is reported."""
    for name in names:
        card = load_groups(name)
        if card.metric != metric:
            continue
        rows: list[tuple[str, ...]] = []
        refused: list[str] = []
        for one in card.groups:
            try:
                check_summary(one)
            except ImpossibleTableError as error:
                refused.append(f"not shown: {error}")
                continue
            who = f"{one.model}{f', {one.mode}' if one.mode else ''}"
            cells = (one.mean, one.stdev, one.low, one.high, one.high - one.low)
            rows.append((who, one.factor, *(number(value) for value in cells), str(one.count or "–")))
        yield Heading(f"Published: {card.title}", 3)
        yield Table(("model", "by", "mean %", "sd", "least", "greatest", "greatest - least", "groups"), tuple(rows))
        if refused:
            yield BulletList(tuple(refused))
        yield Text(f"Source: {card.source}. On images that were never published: they do not rank against ours.")


def cards_of(metric: str) -> tuple[str, ...]:
    """Published cards with that metric."""
    return tuple(name for name in list_published() if name.startswith("card-") and load_groups(name).metric == metric)


def _in_unit(metric: MetricRecord, unit: str) -> float | None:
    """A metric in a published table's unit: shares and per cent differ by 100."""
    value = metric["value"]
    if value is None or metric["unit"] == unit:
        return value
    return value / 100 if metric["unit"] == "%" else value * 100


def _sets(record: EvaluationRecord) -> str:
    samples = record["samples"]
    return f"{', '.join(one['set'] for one in record['data'])}: {samples} image{'s' * (samples != 1)}"
