"""Run a task and report its results: a progress bar, a line per problem and a closing line."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit._util import pluralize
from sonjit._util.pools import Progress
from sonjit.cli import CONTROLS, print_error
from sonjit.runs import Inputs, Outputs, Summary, Task, detect, run_job

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Sequence

    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from sonjit.cli.options import BatchOptions
    from sonjit.media.tables.base import Extras
    from sonjit.results import Frame


def run_and_report(task: Task, inputs: Inputs, outputs: Outputs, batch: BatchOptions) -> int:
    """Run a task with a progress bar, and print its results. The exit status is 1 if there were problems."""
    if batch.reading != inputs.reading:
        inputs = Inputs.find(inputs.named, batch.reading)
    earlier = [path for path in outputs.paths if Path(path).is_file()]
    with progress_bar(None, inputs.unit) as bar:
        summary = run_job(
            task, inputs, outputs, limit=batch.limit, jobs=batch.jobs, workers=batch.workers, progress=bar
        )
    for line in (*summary.problems, *summary.notes):
        print_error(line)
    if summary.last is not None and not outputs.paths and not outputs.json:
        _print_instances(summary.last, summary.measured)
    else:
        sys.stdout.writelines(f"{line.translate(CONTROLS)}\n" for line in summary.lines)
    replaced = ", ".join(path for path in earlier if path in summary.written)
    note = f"; replaced an earlier {replaced}".translate(CONTROLS) if replaced else ""
    sys.stderr.write(f"{closing_line(summary, task.count_text(summary.instances))}{note}\n")
    if summary.hidden is not None:
        sys.stderr.write(f"{summary.hidden}\n")
    if batch.timing and summary.frames:
        sys.stderr.write(timing_line(summary) + "\n")
    return 1 if summary.problems else 0


def closing_line(summary: Summary, instances: str) -> str:
    """Return a line with the number of inputs and instances, the duration and the written files."""
    written = summary.written
    first, last = (written[:-1], written[-1]) if 0 < len(written) <= 4 else (written[:1], f"{len(written) - 1} more")
    shown = f"{', '.join(first)} and {last}" if first else last
    wrote = f"; wrote {shown}".translate(CONTROLS) if written else ""
    before = f", {summary.skipped} finished before" if summary.skipped else ""
    if summary.files is not None:
        failed = f", {len(summary.problems)} failed" if summary.problems else ""
        return f"{pluralize(summary.files, 'file')}, {instances}{before}{failed}{wrote}"
    rate = f" ({summary.frames / summary.seconds:.0f} frames/s)" if summary.frames > 1 else ""
    return f"{pluralize(summary.frames, 'frame')}, {instances}{before} in {summary.seconds:.2f} s{rate}{wrote}"


def timing_line(summary: Summary) -> str:
    """Return a line with the time of each part per image. The parts run in parallel.

    >>> from collections import defaultdict
    >>> from sonjit.runs import Summary
    >>> times = defaultdict(float, read=0.02, detect=0.08, write=0.06, draw=0.01)
    >>> timing_line(Summary(frames=10, times=times))
    'per image (in parallel): read 2.0 ms, detect 8.0 ms, write 6.0 ms with draw 1.0 ms'
    """
    texts = {part: f"{part} {1e3 * seconds / summary.frames:.1f} ms" for part, seconds in summary.times.items()}
    drawing = f" with {texts['draw']}" if "draw" in texts else ""
    return f"per image (in parallel): {', '.join(texts[p] for p in ('read', 'detect', 'write') if p in texts)}{drawing}"


@contextmanager
def progress_bar(total: int | None, unit: str) -> Generator[Progress]:
    """Show a progress bar on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), "[dim]{task.description}", TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        # The first run on a computer compiles the networks, which takes some seconds.
        yield _ShownProgress(bar, bar.add_task(f"{unit}, starting", total=total), unit)


class _ShownProgress(Progress):
    """Progress on a bar of rich."""

    def __init__(self, bar: Bar, task: TaskID, unit: str) -> None:
        self._bar, self._task, self._unit = bar, task, unit

    def start(self, total: int | None) -> None:
        """Set the length of the bar."""
        self._bar.update(self._task, total=total, completed=0)

    def advance(self, count: int = 1, *, instances: int = 0) -> None:  # the bar shows steps only
        """Move the bar."""
        self._bar.update(self._task, advance=count, description=self._unit)


def _print_instances(frame: Frame, measured: Extras | None) -> None:
    """Print the instances of a frame as a table on standard output, and their measures as another table."""
    instances = [instance for _, instance in frame.instances()]
    if not instances:
        return
    rows = [
        (
            part.title,
            f"{part.score:.2f}",
            "" if part.id is None else str(part.id),
            ", ".join(f"{x:.0f}" for x in part.box),
        )
        for part in instances
    ]
    _print_columns([("what", "score", "id", "box px"), *rows])
    if measured:
        sys.stdout.write("\n")
        titles = [instance.title + ("" if instance.id is None else f" #{instance.id}") for instance in instances]
        names = dict.fromkeys(name for values in measured for name in values)
        lines = [
            (name, *(detect.value_text(measures[name]) if name in measures else "" for measures in measured))
            for name in names
        ]
        print_table(("measure", *titles), lines, right=titles, wrapped=("measure", *titles))


def _print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Print short cells in columns, without Rich, which loads slowly."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip().translate(CONTROLS)}\n")


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    width: int = 200,
    right: Collection[str] = (),
    wrapped: Collection[str] = (),
) -> None:
    """Print a table on standard output, `width` characters wide if it is redirected, so that no name is cut.

    `right` are the headings of right-justified columns, `wrapped` of those that may take several lines.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        justify = "right" if heading in right else "left"
        table.add_column(heading, justify=justify, no_wrap=heading not in wrapped)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else width).print(table)
