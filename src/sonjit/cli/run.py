"""Run a detector over one input: read, detect, write, draw, each in a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sonjit.detectors import create_detector, detect_frames
from sonjit.media import Header, draw_hands, open_drawing_writer, open_source, open_writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from sonjit.detectors import Detector
    from sonjit.media import DrawingWriter, FrameWriter
    from sonjit.results import Frame, Hand

_STILL = ("image", "folder")


@dataclass(frozen=True)
class Task:
    """One input and what becomes of it; can be sent to another process.

    Attributes:
        source: what `open_source` takes.
        kind: of detector.
        options: of `create_detector`, as given; what is not given depends on whether the input is a still.
        save: table to write, or None.
        draw: drawing to write, or None.
        limit: stop after so many frames.
    """

    source: str
    kind: str
    options: tuple[tuple[str, Any], ...] = ()
    save: str | None = None
    draw: str | None = None
    limit: int | None = None

    @property
    def model(self) -> str:
        """Name of the model for the table's header, e.g. `hands-full`."""
        return f"{self.kind}-{dict(self.options).get('model') or 'full'}"


@dataclass
class Summary:
    """What a task came to.

    Attributes:
        frames: pictures looked at.
        instances: found in all of them together.
        seconds: it took.
        last: the newest frame.
        problems: what could not be read, one line each.
    """

    frames: int = 0
    instances: int = 0
    seconds: float = 0.0
    last: Frame | None = None
    problems: list[str] = field(default_factory=list[str])


def run_task(
    task: Task,
    *,
    opened: Callable[[int | None], None] = lambda _: None,
    advance: Callable[[], None] = lambda: None,
) -> Summary:
    """Do one task. Ctrl-C keeps what was finished; any other failure leaves no half-written output.

    Args:
        task: what to do.
        opened: called with the expected number of pictures, or None, once the input is open.
        advance: called after each picture.
    """
    summary, start = Summary(), time.perf_counter()
    with open_source(task.source) as source, ExitStack() as stack:
        table = drawing = None
        if task.save is not None:
            table = stack.enter_context(open_writer(task.save, Header.from_source(source, task.model)))
        if task.draw is not None:
            drawing = stack.enter_context(open_drawing_writer(task.draw, source))
        detector = _detector(task.kind, source.kind in _STILL, task.options)
        detector.reset()
        opened(source.count if task.limit is None else min(source.count or task.limit, task.limit))
        sink = stack.enter_context(_Sink(table, drawing))
        for frame, rgb in detect_frames(source, detector):
            sink.put(frame, rgb)
            summary.frames += 1
            summary.instances += len(frame.hands)
            summary.last = frame
            advance()
            if task.limit is not None and summary.frames >= task.limit:
                break
        summary.problems = list(source.problems)
    summary.seconds = time.perf_counter() - start
    return summary


@lru_cache(maxsize=2)
def _detector(kind: str, still: bool, options: tuple[tuple[str, Any], ...]) -> Detector[Any, Hand]:
    """The detector for stills or streams, kept for the next file of a folder."""
    given = dict(options)
    given.setdefault("static_image", still)
    given.setdefault("smoothing", None if still else "one_euro")
    return create_detector(kind, **given)  # pyright: ignore[reportArgumentType]


class _Sink:
    """Writes and draws in a thread of its own, a few frames behind the detector."""

    def __init__(self, table: FrameWriter | None, drawing: DrawingWriter | None) -> None:
        self._table, self._drawing = table, drawing
        self._waiting: queue.Queue[tuple[Frame, NDArray[np.uint8]] | None] = queue.Queue(maxsize=4)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="sonjit-write", daemon=True)

    def put(self, frame: Frame, rgb: NDArray[np.uint8]) -> None:
        """Hand over one frame; raises what went wrong with an earlier one."""
        if self._failure is not None:
            raise self._failure
        if self._table is not None or self._drawing is not None:
            # The detector may go on with its own arrays: results are not changed after they are given out.
            self._waiting.put((frame, rgb))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._waiting.put(None)
        self._thread.join()
        if kind is None and self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._failure is not None:
                continue  # keep emptying the queue, so that the other side never waits for ever
            frame, rgb = item
            try:
                if self._table is not None:
                    self._table.write(frame)
                if self._drawing is not None:
                    self._drawing.write(draw_hands(rgb, frame.hands), frame.time, index=frame.index)
            except BaseException as failure:  # handed over to the main thread
                self._failure = failure


def with_paths(task: Task, source: Path, save: Path | None, draw: Path | None) -> Task:
    """The same task for one file of many."""
    return replace(
        task, source=str(source), save=None if save is None else str(save), draw=None if draw is None else str(draw)
    )
