"""Run a job and say what came of it: a progress bar, a closing line, a line per problem."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from rich.table import Table

    from sonjit.cli.options import FileName, Several
    from sonjit.media.tables.base import Extras
    from sonjit.results import Frame, Instance
    from sonjit.runs import Outputs, Processor, Summary


def report_job(sources: Sequence[FileName], processor: Processor, outputs: Outputs, several: Several) -> int:
    """Run a job with a progress bar, a line per problem and a closing line; 1 if anything could not be read."""
    from sonjit.runs import Inputs, Job, run_job

    job = Job(Inputs.find(map(str, sources)), outputs, several.limit, several.jobs, several.workers)
    with progress(None, "frames" if job.inputs.files is None else "files") as advance:
        summary = run_job(job, processor, expect=advance.expect, advance=advance)
    for line in (*summary.problems, *summary.notes):
        _say(f"sonjit: {line}")
    if summary.last is not None and not outputs.paths and not outputs.json:
        _print_last(summary.last, summary.measured)
    else:
        sys.stdout.writelines(f"{line}\n" for line in summary.lines)
    _say(closing_line(summary, processor.found(summary.instances)))
    if several.timing and summary.frames:
        _say(timing_line(summary))
    return 1 if summary.problems else 0


def closing_line(summary: Summary, found: str) -> str:
    """How much was processed and found, how long it took, and what was written."""
    from sonjit.runs.processor import counted

    written = summary.written
    shown = " and ".join(written) if len(written) <= 4 else f"{written[0]} and {len(written) - 1} more"
    wrote = f"; wrote {shown}" if written else ""
    before = f", {summary.skipped} finished before" if summary.skipped else ""
    if summary.files is not None:
        failed = f", {len(summary.problems)} failed" if summary.problems else ""
        return f"{counted(summary.files, 'file', 'files')}, {found}{before}{failed}{wrote}"
    rate = f" ({summary.frames / summary.seconds:.0f} frames/s)" if summary.frames > 1 else ""
    return f"{counted(summary.frames, 'frame', 'frames')}, {found}{before} in {summary.seconds:.2f} s{rate}{wrote}"


def timing_line(summary: Summary) -> str:
    """How long each part took for an image: those that go on side by side do not add up.

    >>> from sonjit.runs import Summary
    >>> from sonjit.runs.processor import Times
    >>> parts = Times(finding=0.08, reading=0.02, writing=0.06, drawing=0.01)
    >>> timing_line(Summary(frames=10, times=parts))
    'each image, side by side: reading 2.0 ms, finding 8.0 ms, writing 6.0 ms with drawing 1.0 ms'
    """
    ms = {part: f"{part} {1e3 * seconds / summary.frames:.1f} ms" for part, seconds in summary.times.items()}
    drawing = f" with {ms.pop('drawing')}" if "drawing" in ms else ""
    parts = [ms[part] for part in ("reading", "finding", "writing") if part in ms]
    return f"each image, side by side: {', '.join(parts)}{drawing}"


class Advance:
    """Moves a progress bar."""

    def __init__(self, step: Callable[[], None], expect: Callable[[int | None], None]) -> None:
        self._step, self.expect = step, expect

    def __call__(self) -> None:
        """One more is done."""
        self._step()


@contextmanager
def progress(total: int | None, unit: str) -> Generator[Advance]:
    """A progress bar on standard error; none where that is not a terminal."""
    if not sys.stderr.isatty():
        yield Advance(lambda: None, lambda _: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), f"[dim]{unit}", TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(unit, total=total)
        yield Advance(lambda: bar.advance(task), lambda count: bar.update(task, total=count))


def _print_last(frame: Frame, measured: Extras | None) -> None:
    """What is in the newest frame, as a table on standard output; what was measured, as another one."""
    instances = list(frame.instances())
    if not instances:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("what", "score", "id", "box px"):
        table.add_column(heading)
    for _, one in instances:
        box = ", ".join(f"{value:.0f}" for value in one.box)
        table.add_row(one.title, f"{one.score:.2f}", "" if one.id is None else str(one.id), box)
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    if measured:
        console.print()
        console.print(_measures_table(instances, measured))


def _measures_table(instances: Sequence[tuple[int, Instance]], measured: Extras) -> Table:
    """A row for each value, a column for each instance."""
    from rich.table import Table

    from sonjit.runs.detect import shown_value

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("measure")
    for _, one in instances:
        table.add_column(one.title + ("" if one.id is None else f" #{one.id}"), justify="right")
    for name in dict.fromkeys(name for values in measured for name in values):
        table.add_row(name, *(shown_value(values[name]) if name in values else "" for values in measured))
    return table


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
