"""Search key frames of a live stream in the time between its frames, which never wait for the search."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic

from sonjit._util import Image
from sonjit.detectors.observations import O
from sonjit.detectors.recordings.key_frames import KeyFrame
from sonjit.detectors.tracking import Track
from sonjit.engines import called_before_runs

if TYPE_CHECKING:
    from sonjit.detectors.interfaces import StillSearch

_MOST_SHARE = 1 / 3  # maximum share of a core that the search takes
_NICE = 10  # lower priority of the thread, which still has a tenth of a core where others use all
_MOST_PAUSE_S = 0.05  # maximum time for which a network waits for the end of a frame, so that each search ends


class LiveSearch(Generic[O]):
    """Search frames in a thread of its own, at most a third of the time of a core.

    `load` makes the search, if there is one, in that thread. The first frame waits for it, because a frame takes up to
    three times as long while networks load on another core. For the same reason the networks of the search start
    between frames, and the thread has a low priority.
    """

    def __init__(self, load: Callable[[], StillSearch[O] | None]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sonjit-key-frames")
        self._no_frame = threading.Event()  # set while no frame is being processed
        self._no_frame.set()
        self._waited_s = 0.0  # time for which the networks of a search have waited
        self._ready_s = -math.inf
        self._loading: Future[StillSearch[O] | None] | None = self._thread.submit(self._loaded, load)
        self.reset()

    def reset(self) -> None:
        """Forget the stream before."""
        self._running: tuple[float, dict[Track[O], O], Future[list[O]]] | None = None

    @contextmanager
    def paused(self) -> Generator[None]:
        """Start no network of the search inside, where a frame is processed."""
        self._no_frame.clear()
        try:
            yield
        finally:
            self._no_frame.set()

    def start(self, rgb: Image, now_s: float, tracks: Sequence[Track[O]]) -> bool:
        """Search an image (H, W, 3) with these tracks, unless the thread works or rests. Return whether it began."""
        if self._running is not None or time.monotonic() < self._ready_s:
            return False
        assert self._loading is not None
        search = self._loading.result()
        if search is None:
            return False
        shown = {track: track.observation for track in tracks if track.occluded_s is None}
        self._running = now_s, shown, self._thread.submit(self._run, search, rgb.copy())
        return True

    def take(self) -> KeyFrame[O] | None:
        """Return the result of a search once, when it has ended."""
        if self._running is None or not self._running[2].done():
            return None
        (now_s, shown, result), self._running = self._running, None
        return KeyFrame(now_s, result.result(), shown)

    def close(self) -> None:
        """Wait for a running search, and free the networks."""
        self._thread.shutdown(cancel_futures=True)
        self._loading = None

    def _loaded(self, load: Callable[[], StillSearch[O] | None]) -> StillSearch[O] | None:
        with called_before_runs(self._wait):
            search = load()
        if sys.platform == "linux":  # elsewhere, this is the priority of the process
            os.nice(_NICE)
        return search

    def _wait(self) -> None:
        start_s = time.monotonic()
        self._no_frame.wait(_MOST_PAUSE_S)
        self._waited_s += time.monotonic() - start_s

    def _run(self, search: StillSearch[O], rgb: Image) -> list[O]:
        self._waited_s, start_s = 0.0, time.monotonic()
        instances, _ = search(rgb)
        now_s = time.monotonic()
        self._ready_s = now_s + (1 / _MOST_SHARE - 1) * (now_s - start_s - self._waited_s)
        return instances
