"""Published tables beside our figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonjit.documents.document import Heading, Points, Table, Text, number
from sonjit.evaluation.published import (
    ImpossibleTableError,
    PublishedTable,
    check_summary,
    list_published,
    load_groups,
    load_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sonjit.documents.document import Block


def published_blocks(record: Mapping[str, Any]) -> Iterator[Block]:
    """Every published table of a record's protocol that has a figure of ours, and the groups of published cards."""
    main = {run["main"] for run in record["runs"]}
    tables = [(table, comparison(table, record)) for table in map(load_table, record["protocol"]["tables"])]
    shown = [(table, block) for table, block in tables if block is not None]
    groups = [block for figure in sorted(main) for block in published_groups(cards_of(figure), figure)]
    if not shown and not groups:
        return
    yield Heading("Beside what was published")
    for table, block in shown:
        yield Heading(table.title, 3)
        yield block
        yield from map(Text, table.notes)
    yield from groups


def comparison(table: PublishedTable, record: Mapping[str, Any]) -> Table | None:
    """A published table with a row of ours per mode; None where no figure of ours is in it."""
    ours: list[tuple[str, ...]] = []
    for run in record["runs"]:
        figures = {one["name"]: one for one in run["figures"]}
        cells = [
            number(_in_unit(figures[column.figure], column.unit)) if column.figure in figures else "–"
            for column in table.columns
        ]
        if any(cell != "–" for cell in cells):
            ours.append((f"Sonjit: {record['model']['name']}, {run['mode']}", *cells, _sets(record)))
    if not ours:
        return None
    headings = ("method", *(f"{one.title} {one.unit}".strip() for one in table.columns), "data or source")
    rows = [
        (f"{row.method}{f' ({row.kind})' if row.kind else ''}", *(number(value) for value in row.values), row.source)
        for row in table.rows
    ]
    return Table(headings, (*ours, *rows))


def published_groups(names: tuple[str, ...], figure: str) -> Iterator[Block]:
    """Groups of published cards for a figure; what cannot be is told, not shown."""
    for name in names:
        card = load_groups(name)
        if card.figure != figure:
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
            yield Points(tuple(refused))
        yield Text(f"Source: {card.source}. On pictures that were never published: they do not rank against ours.")


def cards_of(figure: str) -> tuple[str, ...]:
    """Published cards with that figure."""
    return tuple(name for name in list_published() if name.startswith("card-") and load_groups(name).figure == figure)


def _in_unit(figure: Mapping[str, Any], unit: str) -> float | None:
    """A figure in a published table's unit: shares and per cent differ by 100."""
    value = figure["value"]
    if value is None or figure["unit"] == unit:
        return value
    return value / 100 if figure["unit"] == "%" else value * 100


def _sets(record: Mapping[str, Any]) -> str:
    samples = record["samples"]
    return f"{', '.join(one['set'] for one in record['data'])}: {samples} picture{'s' * (samples != 1)}"
