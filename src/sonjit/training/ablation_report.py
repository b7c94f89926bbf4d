"""The table of a grid beside the published one, as JSON, Markdown and a page."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from sonjit.documents.document import (
    Heading,
    Plot,
    Points,
    Table,
    Text,
    html_from,
    markdown_from,
    number,
    plots_of,
    save_files,
)
from sonjit.documents.plots import bars_svg
from sonjit.training.ablation import order_of, record_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sonjit.documents.document import Block
    from sonjit.training.ablation import AblationResult, RowResult


def save_ablation(result: AblationResult, out: Path) -> str:
    """Write ablation.json, ablation.md and ablation.html into a folder that is there; gives the Markdown.

    Raises:
        InputError: the folder cannot be written to.
        JobError: the disk refuses.
    """
    title = f"{result.grid.title} ({result.recipe}, {result.name})"
    blocks = list(_blocks(result))
    text = markdown_from(title, blocks)
    record = json.dumps(_without_nan(record_of(result)), indent=1, ensure_ascii=False) + "\n"
    page = html_from(title, blocks)
    save_files(out, {**plots_of(blocks), "ablation.json": record, "ablation.md": text, "ablation.html": page})
    return text


def _blocks(result: AblationResult) -> Iterator[Block]:
    grid, rows = result.grid, result.rows
    digits = _digits(rows)
    unit = f", {grid.unit}" if grid.unit else ""
    seeds = ", ".join(map(str, grid.seeds))
    better = "higher" if grid.higher_is_better else "lower"
    published = any(row.published is not None for row in rows)
    if result.smoke:
        yield Text("At the smoke size: the order of the rows is what can be compared, not the figures.")
    headings = ("", f"{grid.figure}{unit}", "95 % interval", *grid.also, *(("published",) if published else ()))
    yield Table(
        headings,
        tuple(
            (
                row.label,
                number(row.mean.value, digits),
                f"{number(row.mean.low, digits)} to {number(row.mean.high, digits)}",
                *(f"{value:.4g}" for value in row.also),
                *((number(row.published),) if published else ()),
            )
            for row in rows
        ),
    )
    yield Text(f"Means over seeds {seeds}; intervals by Student's t; {better} is better.")
    if published:
        yield Text(f"Published: {grid.source}.")
    holds, steps = order_of(result)
    if holds is not None:
        yield Text("The published order holds." if holds else "The published order does not hold.")
        yield Points(tuple(steps))
    bars = [(row.label, row.mean.value, row.mean.low, row.mean.high) for row in rows]
    yield Plot("ablation", bars_svg(bars, grid.unit, grid.title), f"{grid.title}: means and intervals")
    if grid.notes:
        yield Heading("Notes")
        yield Points(grid.notes)


def _digits(rows: Sequence[RowResult]) -> int:
    """As many as show three places that count in the largest mean."""
    largest = max((abs(row.mean.value) for row in rows), default=0)
    return 2 if largest == 0 else max(0, 3 - math.floor(math.log10(largest)))


def _without_nan(value: Any) -> Any:  # noqa: ANN401  # anything of JSON
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
