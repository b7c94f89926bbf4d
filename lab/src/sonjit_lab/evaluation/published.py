"""Published tables, and comparisons of results with them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from sonjit._util import InputError, data_files, unknown_name
from sonjit._util.settings import read_settings
from sonjit.report import documents as docs
from sonjit.report.documents import number
from sonjit_lab.evaluation import predictions
from sonjit_lab.evaluation.protocols import T


@dataclass(frozen=True)
class Column:
    """Metric of a published table."""

    metric: str  # name of the metric in Sonjit's evaluation
    title: str  # title in the published table
    unit: str  # unit of the numbers; "" for shares


@dataclass(frozen=True)
class Row:
    """Method of a published table."""

    method: str  # name of the method
    values: tuple[float, ...]  # value of each column; NaN where nothing was published
    source: str  # paper, table or page
    kind: str = ""  # input or training of the method; "" without
    reference: str = ""  # number in the references of the table's paper, such as "[36]"; "" without

    @property
    def title(self) -> str:
        """Return name and reference."""
        return f"{self.method} {self.reference}".strip()


@dataclass(frozen=True)
class PublishedTable:
    """Published benchmark."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    kind: str = ""  # heading of the rows' kinds if they have their own column; "" if they follow the method


@dataclass(frozen=True)
class GroupSummary:
    """Published statistics of the means of groups."""

    model: str  # name of the model
    factor: str  # factor in which the groups differ
    low: float  # smallest group mean
    high: float  # largest group mean
    mean: float = math.nan  # mean of the groups' means; NaN where not given, as for the following attributes
    stdev: float = math.nan  # standard deviation over the groups
    discrepancy: float = math.nan  # difference between groups: largest minus smallest, or average minus worst
    count: int | None = None  # number of groups; None where not given
    mode: str = ""  # tracking or reacquisition; "" where not given


@dataclass(frozen=True)
class PublishedGroups:
    """Groups of a published model card."""

    name: str
    title: str
    metric: str  # name of the metric in Sonjit's evaluation
    unit: str
    better: str  # direction of improvement: "lower" or "higher"
    source: str
    groups: tuple[GroupSummary, ...]
    goal: float = math.nan  # maximum discrepancy that the card allows; NaN without


def list_published() -> list[str]:
    """Return the sorted names of all published tables."""
    return sorted(_read_tables())


def load_table(name: str) -> PublishedTable:
    """Load a published benchmark.

    Raises:
        InputError: The name is unknown, or is that of a card's groups.
    """
    table = _load(name, PublishedTable, "columns", f"{name} contains the groups of a model card: use load_groups")
    for row in table.rows:
        if len(row.values) != len(table.columns):
            raise predictions.ImpossibleTableError(
                f"{name}: {row.method} has {len(row.values)} values for {len(table.columns)} columns"
            )
    return table


def load_groups(name: str) -> PublishedGroups:
    """Load the groups of a published card as printed; `check_summary` checks them.

    Raises:
        InputError: The name is unknown, or is that of a benchmark.
    """
    return _load(name, PublishedGroups, "groups", f"{name} contains the rows of a benchmark: use load_table")


def _load(name: str, kind: type[T], key: str, problem: str) -> T:
    if name not in (tables := _read_tables()):
        raise InputError(unknown_name("published table", name, sorted(tables)))
    if key not in tables[name]:
        raise InputError(problem)
    return read_settings(kind, {"name": name, **tables[name]})


@cache
def _read_tables() -> dict[str, Mapping[str, object]]:
    return data_files.read_toml_table(resources.files("sonjit_lab.evaluation") / "published.toml")


def check_summary(summary: GroupSummary) -> None:
    """Refuse impossible statistics: a mean outside of the range, or more spread than the range allows."""
    rounding = 0.05  # the largest of each printed number
    low = summary.low
    high = summary.high
    slack = 2 * rounding
    groups = max(summary.count or 0, 2)
    bound = (high - low) / 2 * math.sqrt(groups / (groups - 1))  # Popoviciu's bound, of a sample
    if low > high + rounding:
        problem = f"the minimum {low:g} is above the maximum {high:g}"
    elif summary.mean < low - slack or summary.mean > high + slack:
        problem = f"the mean {summary.mean:g} is outside of its range, {low:g} to {high:g}"
    elif summary.stdev < 0 or summary.stdev > bound + slack:
        problem = (
            f"groups between {low:g} and {high:g} cannot have a standard deviation of {summary.stdev:g}; "
            f"at most {bound:.3g}"
        )
    elif summary.discrepancy < -slack or summary.discrepancy > high - low + slack:
        problem = f"a discrepancy of {summary.discrepancy:g} is more than the range, {low:g} to {high:g}"
    else:
        return
    mode = f", {summary.mode}" if summary.mode else ""
    raise predictions.ImpossibleTableError(f"{summary.model}, {summary.factor}{mode}: {problem}")


def published_blocks(record: predictions.EvaluationRecord) -> Iterator[docs.Block]:
    """Yield published tables that share a metric with a record of their protocol, and the groups of published cards."""
    main = {run["main"] for run in record["runs"]}
    tables = [(table, comparison(table, record)) for table in map(load_table, record["protocol"]["tables"])]
    shown = [(table, block) for table, block in tables if block is not None]
    groups = [block for metric in sorted(main) for block in published_groups(metric)]
    if shown or groups:
        yield docs.Heading("Comparison with published results")
    for table, block in shown:
        yield docs.Heading(table.title, 3)
        yield block
        yield from map(docs.Text, table.notes)
    yield from groups


def comparison(table: PublishedTable, record: predictions.EvaluationRecord) -> docs.Table | None:
    """Return a published table with a row of ours per mode; None without a common metric."""
    model, samples = record["model"], record["samples"]
    name = ", ".join([model["name"], *model.get("settings", {}).values()])
    sets = f"{', '.join(item['set'] for item in record['data'])}: {samples} image{'s' * (samples != 1)}"
    ours: list[tuple[str, ...]] = []
    for run in record["runs"]:
        metrics = {metric["name"]: metric for metric in run["metrics"]}
        cells = [
            number(_convert_unit(metrics[column.metric], column.unit)) if column.metric in metrics else "–"
            for column in table.columns
        ]
        if any(cell != "–" for cell in cells):
            kind = (model.get("supervision", "–"),) if table.kind else ()
            ours.append((f"Sonjit: {name}, {run['mode']}", *kind, *cells, sets))
    return table_block(table, ours) if ours else None


def _convert_unit(metric: predictions.MetricRecord, unit: str) -> float | None:
    """Return a metric in a published table's unit: shares and per cent differ by 100."""
    value = metric["value"]
    if value is None or metric["unit"] == unit:
        return value
    return value / 100 if metric["unit"] == "%" else value * 100


def table_block(table: PublishedTable, ours: Sequence[tuple[str, ...]] = ()) -> docs.Table:
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
    return docs.Table(("method", *kind, *headings, "data or source"), (*ours, *rows), text_columns=1 + len(kind))


def published_groups(metric: str) -> Iterator[docs.Block]:
    """Yield the groups of published cards for a metric, and report impossible ones."""
    for card in cards_of(metric):
        rows: list[tuple[str, ...]] = []
        refused: list[str] = []
        for group in card.groups:
            try:
                check_summary(group)
            except predictions.ImpossibleTableError as error:
                refused.append(f"not shown: {error}")
                continue
            model_and_mode = f"{group.model}{f', {group.mode}' if group.mode else ''}"
            cells = (group.mean, group.stdev, group.low, group.high, group.high - group.low)
            rows.append((model_and_mode, group.factor, *(number(value) for value in cells), str(group.count or "–")))
        yield docs.Heading(f"Published: {card.title}", 3)
        headings = ("model", "by", "mean %", "sd", "least", "greatest", "greatest - least", "groups")
        yield docs.Table(headings, tuple(rows))
        if refused:
            yield docs.BulletList(tuple(refused))
        yield docs.Text(f"Source: {card.source}. On images that were never published: they do not rank against ours.")


def cards_of(metric: str) -> list[PublishedGroups]:
    """Return the published cards with that metric."""
    cards = (load_groups(name) for name in list_published() if name.startswith("card-"))
    return [card for card in cards if card.metric == metric]
