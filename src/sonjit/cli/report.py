"""Do a task and say what came of it: a progress bar, a closing line, a line per problem."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from sonjit.cli.run import Summary, Task
    from sonjit.errors import SonjitError
    from sonjit.results import Hand


def run(task: Task, *, jobs: int = 1) -> int:
    """Do a task with a progress bar and a closing line; 1 if anything could not be read."""
    from sonjit.cli.batch import media_files, run_files

    files = media_files(task.source) if task.source != "-" and (task.save or task.draw) and task.save != "-" else None
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
    _say(f"{counts['done']} files, {counts['instances']} {task.kind}{before}{failed}; wrote {_outputs(task)}")
    return 1 if failures else 0


def _run_one(task: Task) -> int:
    from sonjit.cli.run import run_task

    with progress(None, "frames") as advance:
        summary = run_task(task, opened=advance.expect, advance=advance)
    for line in summary.problems:
        _say(f"sonjit: {line}")
    if not task.save and not task.draw:
        _print_last(summary)
    rate = f" ({summary.frames / summary.seconds:.0f} frames/s)" if summary.frames > 1 else ""
    wrote = f"; wrote {_outputs(task)}" if task.save or task.draw else ""
    frames = "1 frame" if summary.frames == 1 else f"{summary.frames} frames"
    _say(f"{frames}, {summary.instances} {task.kind} in {summary.seconds:.2f} s{rate}{wrote}")
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
    if summary.last is None or not summary.last.hands:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("hand", "score", "id", "wrist px", "box px"):
        table.add_column(heading)
    for hand in summary.last.hands:
        table.add_row(*_cells(hand))
    Console().print(table)


def _cells(hand: Hand) -> tuple[str, ...]:
    wrist = ", ".join(f"{v:.0f}" for v in hand.keypoints[0, :2])
    box = ", ".join(f"{v:.0f}" for v in hand.box)
    return hand.handedness, f"{hand.score:.2f}", "" if hand.id is None else str(hand.id), wrist, box


def _outputs(task: Task) -> str:
    return " and ".join(name for name in (task.save, task.draw) if name)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
