"""Run a detector over one input: read, detect, write, draw, each in a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from sonjit.detectors import create_detector, detect_frames
from sonjit.detectors.kinds import KINDS
from sonjit.lifting import create_lifter
from sonjit.media import (
    Header,
    draw_frame,
    mask_from_frame,
    open_drawing_writer,
    open_mask_writer,
    open_source,
    open_writer,
)
from sonjit.runs.annotations import Counting, Meaning, Said, table_columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from sonjit.detectors import Detector
    from sonjit.lifting import Lift
    from sonjit.media import Source
    from sonjit.results import Frame

_STILL = ("image", "folder")
STREAM_SMOOTHING = {name: kind.stream_smoothing for name, kind in KINDS.items()}
"""For each kind of detector how videos and cameras are smoothed where nothing is said."""
LISTS = {name: kind.list_name for name, kind in KINDS.items()}
"""For each kind of detector the list of a frame that holds its results."""


@dataclass(frozen=True)
class Task:
    """One input and what becomes of it; can be sent to another process.

    Attributes:
        source: what `open_source` takes.
        kind: of detector.
        options: of `create_detector`, as given; what is not given depends on whether the input is a still.
        save: table to write, or None.
        draw: drawing to write, or None.
        mask: cut-out of the people to write, or None.
        measures: write measures and gestures into the table.
        count: angle whose repetitions to count, as `Counting.from_text` reads it, or None.
        limit: stop after so many frames.
        lift: with what to put the hands into the camera's space, or None.
        name: what the table calls the source; by default as `source` says.
    """

    source: str
    kind: str
    options: tuple[tuple[str, Any], ...] = ()
    save: str | None = None
    draw: str | None = None
    mask: str | None = None
    measures: bool = False
    count: str | None = None
    limit: int | None = None
    lift: Lift | None = None
    name: str | None = None

    @property
    def model(self) -> str:
        """Name of the model for the table's header, e.g. `hands-full`, or `hands-full+internet`."""
        lifted = "" if self.lift is None else f"+{self.lift.network}"
        return f"{self.kind}-{dict(self.options)['model']}{lifted}"

    @property
    def columns(self) -> dict[str, type[float] | type[str]]:
        """Names and types of the table's further columns."""
        return table_columns(self.model, measures=self.measures, counts=self.count is not None)

    @property
    def counting(self) -> Counting | None:
        """What to count; InputError where it names no angle."""
        return None if self.count is None else Counting.from_text(self.count, self.kind)

    @property
    def outputs(self) -> list[str]:
        """Every file or folder to write."""
        return [output for output in (self.save, self.draw, self.mask) if output is not None]


@dataclass
class Summary:
    """What a task came to.

    Attributes:
        frames: images looked at.
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
    advance: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Do one task. Ctrl-C keeps what was finished; any other failure leaves no half-written output.

    Args:
        task: what to do.
        opened: called with the expected number of images, or None, once the input is open.
        advance: called with what it came to so far after each image; what either raises ends the task at once.
    """
    summary, start = Summary(), time.perf_counter()
    with open_source(task.source) as source, _Outputs(task, source) as outputs:
        detector = _detector(task.kind, source.kind in _STILL, task.options)
        detector.reset()
        lifter = None if task.lift is None else create_lifter(task.lift)
        opened(source.count if task.limit is None else min(source.count or task.limit, task.limit))
        with _Behind(outputs) as behind:
            for frame, rgb in detect_frames(source, detector):
                if lifter is not None:
                    frame.hands = lifter.lift(rgb, frame.hands)
                behind.put(frame, rgb)
                summary.frames += 1
                summary.instances += len(getattr(frame, LISTS[task.kind]))
                summary.last = frame
                advance(summary)
                if task.limit is not None and summary.frames >= task.limit:
                    break
        summary.problems = list(source.problems)
    summary.seconds = time.perf_counter() - start
    return summary


@lru_cache(maxsize=2)
def _detector(kind: str, still: bool, options: tuple[tuple[str, Any], ...]) -> Detector[Any]:
    """The detector for stills or streams, kept for the next file of a folder."""
    given = dict(options)
    given.setdefault("static_image", still)
    given.setdefault("smoothing", None if still else STREAM_SMOOTHING[kind])
    return create_detector(kind, **given)  # pyright: ignore[reportArgumentType]


class _Outputs:
    """The files that one task writes; a context manager that finishes or discards them together."""

    def __init__(self, task: Task, source: Source) -> None:
        self._stack = ExitStack()
        columns = task.columns
        self._meaning = Meaning(columns, task.counting)
        self._table = self._drawing = self._mask = None
        with ExitStack() as stack:  # a refusal of the second output takes back the first
            if task.save is not None:
                header = Header.from_source(source, task.model, LISTS[task.kind])
                header = replace(header, source=task.name or header.source)
                self._table = stack.enter_context(open_writer(task.save, header, columns))
            if task.draw is not None:
                self._drawing = stack.enter_context(open_drawing_writer(task.draw, source))
            if task.mask is not None:
                self._mask = stack.enter_context(open_mask_writer(task.mask, source))
            self._stack = stack.pop_all()
        self._speaks = bool(columns) or self._drawing is not None

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return any(output is not None for output in (self._table, self._drawing, self._mask))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def write(self, frame: Frame, rgb: NDArray[np.uint8]) -> None:
        """Write one frame to every output."""
        said = self._meaning.of(frame) if self._speaks else Said(None, [])
        if self._table is not None:
            self._table.write(frame, said.extras)
        if self._drawing is not None:
            drawn = draw_frame(rgb, frame, captions=said.captions)
            self._drawing.write(drawn, frame.time, index=frame.index)
        if self._mask is not None:
            self._mask.write(rgb, mask_from_frame(frame), frame.time, index=frame.index)


class _Behind:
    """Works in a thread of its own, a few frames behind the detector."""

    def __init__(self, outputs: _Outputs) -> None:
        self._outputs = outputs
        self._waiting: queue.Queue[tuple[Frame, NDArray[np.uint8]] | None] = queue.Queue(maxsize=4)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="sonjit-write", daemon=True)

    def put(self, frame: Frame, rgb: NDArray[np.uint8]) -> None:
        """Hand over one frame; raises what went wrong with an earlier one."""
        if self._failure is not None:
            raise self._failure
        if self._outputs:
            # Results are not changed after they are given out, so no copy is needed.
            self._waiting.put((frame, rgb))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt):
            self._failure = error  # the outputs will be thrown away: what waits need not be drawn
        self._waiting.put(None)
        self._thread.join()
        if kind is None and self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._failure is not None:
                continue  # keep emptying the queue, so that the other side never waits for ever
            try:
                self._outputs.write(*item)
            except BaseException as failure:  # handed over to the main thread
                self._failure = failure
