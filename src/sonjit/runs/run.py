"""The one loop over an input: read, process, and write in a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from sonjit.runs.processor import Outputs, Summary, is_still

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from sonjit.media import Source, SourceFrame
    from sonjit.runs.processor import Pass, Session

_NOTHING = Outputs()


def run_input(
    session: Session,
    source: Source,
    outputs: Outputs = _NOTHING,
    *,
    limit: int | None = None,
    opened: Callable[[int | None], None] = lambda _: None,
    advance: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Process one input. Ctrl-C keeps what was finished; any other failure leaves no half-written output.

    Args:
        session: what is done with it.
        source: open; it is closed by who opened it.
        outputs: where the results go.
        limit: stop after so many frames.
        opened: called with the expected number of images, or None, before the first of them.
        advance: called with what it came to so far after each image; what either raises ends the pass at once.
    """
    summary, start = Summary(), time.perf_counter()
    session.prepare(still=is_still(source))
    with session.begin(source, outputs) as work:
        opened(source.count if limit is None else min(source.count or limit, limit))
        with _Writing(work, anything=bool(outputs.paths)) as writing:
            for frame in source:
                result = work.process(frame)
                writing.put(frame, result)
                summary.frames += 1
                summary.instances += work.count(result)
                advance(summary)
                if limit is not None and summary.frames >= limit:
                    break
        summary.problems = list(source.problems)
    summary.written = outputs.paths
    work.report(summary)
    summary.seconds = time.perf_counter() - start
    return summary


class _Writing:
    """Writes in a thread of its own, a few frames behind."""

    def __init__(self, work: Pass[Any], *, anything: bool) -> None:
        self._work, self._anything = work, anything
        self._waiting: queue.Queue[tuple[SourceFrame, object] | None] = queue.Queue(maxsize=4)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sonjit-write", daemon=True)

    def put(self, frame: SourceFrame, result: object) -> None:
        """Hand over one frame; raises what went wrong with an earlier one."""
        if self._failure is not None:
            raise self._failure
        if self._anything:
            # Results are not changed after they are given out, so no copy is needed.
            self._waiting.put((frame, result))

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

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._failure is not None:
                continue  # keep emptying the queue, so that the other side never waits for ever
            try:
                self._work.write(*item)
            except BaseException as failure:  # handed over to the main thread
                self._failure = failure
