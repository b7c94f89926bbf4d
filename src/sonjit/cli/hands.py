"""`sonjit hands`: 21 keypoints per hand from images, folders, videos and cameras."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sonjit.cli.run import Summary, Task
    from sonjit.errors import SonjitError
    from sonjit.results import Hand

_OUTPUT = Group("Output", sort_key=1)
_FINDING = Group("Finding", sort_key=2)
_RUNNING = Group("Running", sort_key=3)


def hands(
    source: Annotated[str, Parameter(name="INPUT")],
    /,
    *,
    save: Annotated[str | None, Parameter(group=_OUTPUT)] = None,
    draw: Annotated[str | None, Parameter(group=_OUTPUT)] = None,
    limit: Annotated[int | None, Parameter(group=_OUTPUT)] = None,
    max_instances: Annotated[int, Parameter(group=_FINDING)] = 2,
    model: Annotated[Literal["lite", "full"], Parameter(group=_FINDING)] = "full",
    mirrored: Annotated[bool, Parameter(group=_FINDING, negative="")] = False,
    flip_horizontal: Annotated[bool, Parameter(group=_FINDING, negative="")] = False,
    static_image: Annotated[bool | None, Parameter(group=_FINDING)] = None,
    smoothing: Annotated[Literal["none", "published", "one_euro"] | None, Parameter(group=_FINDING)] = None,
    min_detection_score: Annotated[float, Parameter(group=_FINDING)] = 0.5,
    min_presence_score: Annotated[float, Parameter(group=_FINDING)] = 0.5,
    search_interval: Annotated[int, Parameter(group=_FINDING)] = 5,
    jobs: Annotated[int, Parameter(group=_RUNNING)] = 1,
    models_dir: Annotated[str | None, Parameter(group=_RUNNING)] = None,
    detector_model: Annotated[str | None, Parameter(group=_RUNNING)] = None,
    landmark_model: Annotated[str | None, Parameter(group=_RUNNING)] = None,
    engine: Annotated[Literal["openvino", "onnxruntime"], Parameter(group=_RUNNING)] = "openvino",
    device: Annotated[str, Parameter(group=_RUNNING)] = "CPU",
    precision: Annotated[Literal["auto", "f32", "bf16", "f16", "int8"], Parameter(group=_RUNNING)] = "auto",
    threads: Annotated[int | None, Parameter(group=_RUNNING)] = None,
) -> int:
    """Find hands: 21 keypoints each, left or right, in pixels and in metres.

    `sonjit hands photo.jpg` prints what is in a picture.

    `sonjit hands clip.mp4 --save clip.csv --draw clip-drawn.mp4` writes a table and a drawn video.

    `sonjit hands recordings/ --save tables/ --jobs 4` writes one table per file; run it again to go on after a stop.

    `sonjit hands camera:0 --mirrored --draw me.mp4` records until Ctrl-C.

    Args:
        source: An image, a folder, a glob in quotes, a video, `camera:0`, or `-` for standard input.
        save: Table to write: .json, .jsonl, .csv or .parquet, or - for JSON lines on standard output. For many files a
            folder, or a name with {name} in it such as 'tables/{name}.csv'.
        draw: Picture or video to write with the hands drawn in; for many files a folder.
        limit: Stop after so many frames.
        max_instances: Hands to hold at most.
        model: lite is faster, full more exact.
        mirrored: The input is a selfie view: left and right are exchanged in it.
        flip_horizontal: Flip the x of the output.
        static_image: Take every picture on its own; by default so for images, not for videos.
        smoothing: Of keypoints over time; by default one_euro for videos and cameras, none for images.
        min_detection_score: Least score of a found palm, 0 to 1.
        min_presence_score: Least score of a hand in its crop, 0 to 1.
        search_interval: Frames between searches for more hands while some are held; 1 finds them soonest.
        jobs: Processes for a folder or glob.
        models_dir: Folder with the published weight files.
        detector_model: Palm detector of your own.
        landmark_model: Landmark network of your own.
        engine: Which runtime.
        device: CPU, GPU, NPU or AUTO.
        precision: auto takes bf16 where the CPU has it natively, else f32.
        threads: Per process; 0 for all cores.
    """
    from sonjit.cli.run import Task

    options: dict[str, Any] = {
        "max_instances": max_instances,
        "model": model,
        "mirrored": mirrored,
        "flip_horizontal": flip_horizontal,
        "min_detection_score": min_detection_score,
        "min_presence_score": min_presence_score,
        "search_interval": search_interval,
        "models_dir": models_dir,
        "detector_model": detector_model,
        "landmark_model": landmark_model,
        "engine": engine,
        "device": device,
        "precision": precision,
        "threads": threads,
    }
    if static_image is not None:
        options["static_image"] = static_image
    if smoothing is not None:
        options["smoothing"] = None if smoothing == "none" else smoothing
    if jobs < 1:
        raise InputError(f"--jobs {jobs}: give at least 1")
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: give at least 1 frame")
    return run(Task(source, "hands", tuple(options.items()), save, draw, limit), jobs=jobs)


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
