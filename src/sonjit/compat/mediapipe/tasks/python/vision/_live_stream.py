"""Process the frames of a live stream. The newest frame replaces older ones, and a slow callback delays only itself."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

_LOG = logging.getLogger("sonjit")
_CLOSING_S = 0.8
_MAX_WAIT_S = 0.02
"""Maximum time that a result waits for the callback. An older one is dropped if a newer one is in progress."""
_MAX_AGE_S = 0.1
"""Maximum age of a frame at delivery. The result of an older one is dropped if a newer one is in progress."""
_SLOW_RUNS = 1.5
"""Maximum age of a frame in fastest recent runs, where this is longer than `_MAX_AGE_S`: no frame is younger."""


class LiveStream:
    """Process frames in one thread and pass their results to a callback in another thread.

    At most one frame and one result wait, always the newest. Exceptions of both functions are logged, and the stream
    continues.

    Args:
        run: Function that returns the result of a frame. All calls come from one thread.
        deliver: Function that takes a frame and its result, in the order of the frames.
        end: Function that frees what `run` needs, called after the last run.
    """

    def __init__(self, run: Callable[[Any], Any], deliver: Callable[[Any, Any], None], end: Callable[[], None]) -> None:
        self._run, self._deliver, self._end = run, deliver, end
        self._frames, self._results = _Newest(), _Newest()
        self._runs_s: deque[float] = deque(maxlen=8)
        self._is_closing = False
        self._threads = [
            threading.Thread(target=target, name=f"sonjit-live-{name}", daemon=True)
            for name, target in (("run", self._run_all), ("callback", self._deliver_all))
        ]
        for thread in self._threads:
            thread.start()

    def send(self, frame: object) -> None:
        """Pass a frame to the stream and return at once."""
        self._frames.put(frame)

    def close(self) -> None:
        """Finish the frame in progress. This takes at most a second, even if the callback blocks."""
        self._is_closing = True
        self._frames.close()
        until = time.monotonic() + _CLOSING_S
        others = [thread for thread in self._threads if thread is not threading.current_thread()]
        for thread in others:  # a callback may close the stream
            thread.join(max(until - time.monotonic(), 0))
        if any(thread.is_alive() for thread in others):
            _LOG.warning("a live stream was closed while its callback was running; the callback is not waited for")

    def _run_all(self) -> None:
        while (taken := self._frames.take()) is not None:
            started_s = time.monotonic()
            try:
                result = self._run(taken.item)
            except Exception:
                self._frames.finish()
                _LOG.exception("a frame of a live stream failed; the stream continues")
            else:
                self._runs_s.append(time.monotonic() - started_s)
                self._frames.finish()  # before the callback thread checks for newer frames
                self._results.put((taken.item, result, started_s - taken.waited_s))
        self._results.close()
        self._end()

    def _deliver_all(self) -> None:
        while (taken := self._results.take()) is not None:
            frame, result, sent_s = taken.item
            max_age_s = max(_MAX_AGE_S, _SLOW_RUNS * min(self._runs_s))
            is_old = taken.waited_s > _MAX_WAIT_S or time.monotonic() - sent_s > max_age_s
            if is_old and (self._frames.in_use or self._is_closing):
                continue
            try:
                self._deliver(frame, result)
            except Exception:
                _LOG.exception("the result_callback of a live stream failed; the stream continues")


class _Taken(NamedTuple):
    """Item that was taken, and how many seconds it waited."""

    item: Any
    waited_s: float


class _Newest:
    """Queue of one item. A new item replaces the waiting one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: object | None = None
        self._since_s = 0.0
        self._is_closed = self._is_taken = False

    def put(self, item: object) -> None:
        """Add an item, in place of the waiting one."""
        with self._changed:
            self._item, self._since_s = item, time.monotonic()
            self._changed.notify()

    @property
    def in_use(self) -> bool:
        """Whether an item waits, or was taken and is not finished."""
        return self._item is not None or self._is_taken  # in this order, so that an item taken in between counts

    def finish(self) -> None:
        """Mark the taken item as finished."""
        self._is_taken = False

    def close(self) -> None:
        """End the queue after the waiting item."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def take(self) -> _Taken | None:
        """Wait for an item and return it. Return None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._is_closed)
            self._is_taken = self._item is not None
            item, self._item = self._item, None
            return None if item is None else _Taken(item, time.monotonic() - self._since_s)
