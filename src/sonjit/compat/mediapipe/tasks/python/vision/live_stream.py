"""A live stream that never hangs: the newest frame wins, and a slow callback holds up nothing but itself."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_LOG = logging.getLogger("sonjit")
_CLOSING_S = 0.8
_FRESH_S = 0.02
"""A result that waited longer for the callback is left out where a newer one is under way."""
_OLD_S = 0.1
"""So is one whose frame was sent longer ago: it waited for a run, or its own took longer than others do."""
_SLOW = 1.5
"""Where even the quickest of the last runs takes long, a frame may be so many times that old: there is none younger."""


class _Newest(Generic[T]):
    """Room for one thing, which a newer one replaces."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._since = 0.0
        self._is_closed = self._is_taken = False

    def put(self, item: T) -> None:
        """Leave something to be taken, in place of what is not taken yet."""
        with self._changed:
            self._item, self._since = item, time.monotonic()
            self._changed.notify()

    @property
    def is_in_use(self) -> bool:
        """Whether something lies there, or was taken and is at work."""
        return self._item is not None or self._is_taken  # in this order: what is taken meanwhile is seen too

    def finish(self) -> None:
        """Say that what was taken is no longer at work."""
        self._is_taken = False

    def close(self) -> None:
        """Say that nothing more comes."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def take(self) -> tuple[T, float] | None:
        """Wait for something; it, and for how many seconds it lay there. None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._is_closed)
            self._is_taken = self._item is not None
            item, self._item = self._item, None
            return None if item is None else (item, time.monotonic() - self._since)


class LiveStream(Generic[T, R]):
    """Runs frames on one thread and gives their results to a callback on another.

    At most one frame and one result wait, the newest; a result that is no longer fresh, or of a frame sent more than
    100 ms ago, gives way to one under way, and to the end. What the callback or the run raises is logged, and the
    stream goes on.

    Args:
        run: the result of a frame; always called on the same thread.
        deliver: takes a frame and its result, in the order of the frames.
        end: frees what `run` needs, when it is called no more.
    """

    def __init__(self, run: Callable[[T], R], deliver: Callable[[T, R], None], end: Callable[[], None]) -> None:
        self._run, self._deliver, self._end = run, deliver, end
        self._frames: _Newest[T] = _Newest()
        self._results: _Newest[tuple[T, R, float]] = _Newest()
        self._runs_s: deque[float] = deque(maxlen=8)
        self._is_closing = False
        self._threads = [
            threading.Thread(target=target, name=f"sonjit-live-{name}", daemon=True)
            for name, target in (("run", self._run_all), ("callback", self._deliver_all))
        ]
        for thread in self._threads:
            thread.start()

    def send(self, frame: T) -> None:
        """Hand a frame over; returns at once."""
        self._frames.put(frame)

    def close(self) -> None:
        """Finish what is under way; within a second, whatever the callback does."""
        self._is_closing = True
        self._frames.close()
        until = time.monotonic() + _CLOSING_S
        for thread in self._threads:
            if thread is not threading.current_thread():  # a callback may close the stream
                thread.join(max(until - time.monotonic(), 0))
        if any(thread.is_alive() for thread in self._threads if thread is not threading.current_thread()):
            _LOG.warning("a live stream was closed while its callback was at work; it is not waited for")

    def _run_all(self) -> None:
        while (taken := self._frames.take()) is not None:
            frame, waited_s = taken
            started_s = time.monotonic()
            try:
                result = self._run(frame)
            except Exception:
                self._frames.finish()
                _LOG.exception("a frame of a live stream failed; the stream goes on")
            else:
                self._runs_s.append(time.monotonic() - started_s)
                self._frames.finish()  # before the result is looked at
                self._results.put((frame, result, started_s - waited_s))
        self._results.close()
        self._end()

    def _deliver_all(self) -> None:
        while (taken := self._results.take()) is not None:
            (frame, result, sent_s), waited_s = taken
            limit_s = max(_OLD_S, _SLOW * min(self._runs_s))
            is_old = waited_s > _FRESH_S or time.monotonic() - sent_s > limit_s
            if is_old and (self._frames.is_in_use or self._is_closing):
                continue
            try:
                self._deliver(frame, result)
            except Exception:
                _LOG.exception("the result_callback of a live stream failed; the stream goes on")
