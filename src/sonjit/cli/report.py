"""Do a task and say what came of it: a progress bar, a closing line, a line per problem."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from sonjit.errors import SonjitError
    from sonjit.runs import Summary, Task


_ONE = {"hands": "hand", "faces": "face", "bodies": "body", "people": "person"}


def run(task: Task, *, jobs: int = 1) -> int:
    """Do a task with a progress bar and a closing line; 1 if anything could not be read."""
    from sonjit.cli.batch import media_files, run_files

    files = media_files(task.source) if task.source != "-" and task.outputs and task.save != "-" else None
    if files is None:
        return _run_one(task)
    counts = {"done": 0, "before": 0, "instances": 0}
    with progress(len(files), "files") as advance:

        def done(_: Path, result: Summary | SonjitError | None) -> None:
            counts["before"] += result is None
            if result is not None and not isinstance(result, Exception):
                counts["done"] += 1
                counts["instances"] += result.instances
            advance()

        failures = run_files(task, files, jobs=jobs, done=done)
    for line in failures:
        _say(f"sonjit: {line}")
    before = f", {counts['before']} finished before" if counts["before"] else ""
    failed = f", {len(failures)} failed" if failures else ""
    _say(f"{counts['done']} files, {_found(task, counts['instances'])}{before}{failed}; wrote {_outputs(task)}")
    return 1 if failures else 0


def _run_one(task: Task) -> int:
    from sonjit.runs import run_task

    with progress(None, "frames") as advance:
        summary = run_task(task, opened=advance.expect, advance=lambda _: advance())
    for line in summary.problems:
        _say(f"sonjit: {line}")
    if not task.outputs:
        _print_last(summary)
    rate = f" ({summary.frames / summary.seconds:.0f} frames/s)" if summary.frames > 1 else ""
    wrote = f"; wrote {_outputs(task)}" if task.outputs else ""
    frames = "1 frame" if summary.frames == 1 else f"{summary.frames} frames"
    _say(f"{frames}, {_found(task, summary.instances)} in {summary.seconds:.2f} s{rate}{wrote}")
    return 1 if summary.problems else 0


class Advance:
    """Moves a progress bar."""

    def __init__(self, step: Callable[[], None], expect: Callable[[int | None], None]) -> None:
        self._step, self.expect = step, expect

    def __call__(self) -> None:
        """One more is done."""
        self._step()


@contextmanager
def progress(total: int | None, unit: str) -> Generator[Advance]:
    """A progress bar on standard error; none where that is no terminal."""
    if not sys.stderr.isatty():
        yield Advance(lambda: None, lambda _: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), f"[dim]{unit}", TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(unit, total=total)
        yield Advance(lambda: bar.advance(task), lambda count: bar.update(task, total=count))


def _print_last(summary: Summary) -> None:
    """What stands in the newest frame, as a table on standard output."""
    instances = [] if summary.last is None else list(summary.last.instances())
    if not instances:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("what", "score", "id", "box px"):
        table.add_column(heading)
    for _, one in instances:
        what = f"{one.handedness} {one.kind}" if one.handedness else one.kind
        box = ", ".join(f"{value:.0f}" for value in one.box)
        table.add_row(what, f"{one.score:.2f}", "" if one.id is None else str(one.id), box)
    Console().print(table)


def _found(task: Task, count: int) -> str:
    from sonjit.runs import LISTS

    plural = LISTS[task.kind]
    return f"1 {_ONE[plural]}" if count == 1 else f"{count} {plural}"


def _outputs(task: Task) -> str:
    return " and ".join(task.outputs)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
