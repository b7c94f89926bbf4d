"""Run networks on independent parts of an image at once, before the search needs their results.

The search itself runs in one thread and in a fixed order, so that its result does not depend on the threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from sonjit.engines import EngineOptions

_MOST_HELPERS = 4
N = TypeVar("N")
T = TypeVar("T")


class Helpers(Generic[N]):
    """Threads with networks of their own, each on one core. `load` makes the networks of a thread at its first call."""

    def __init__(self, load: Callable[[], N], count: int) -> None:
        self._load = load
        self._own = threading.local()
        self._lock = threading.Lock()  # networks load one after the other, and the later ones share the first
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="sonjit-ahead")

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run a call in the next free thread."""
        return self._threads.submit(self._run, call)

    def _run(self, call: Callable[[], T]) -> T:
        if not hasattr(self._own, "networks"):
            with self._lock:
                self._own.networks = self._load()
        return call()

    def close(self) -> None:
        """Wait for running calls, and end the threads."""
        self._threads.shutdown(cancel_futures=True)

    def networks(self, otherwise: N) -> N:
        """Return the networks of this thread, or others if it is no helper."""
        return getattr(self._own, "networks", otherwise)


def new_helpers(load: Callable[[], N], running: EngineOptions) -> Helpers[N] | None:
    """Return helpers for a detector that runs networks on several cores of its own, or None for another detector."""
    count = min(running.thread_count or _MOST_HELPERS, os.cpu_count() or 1, _MOST_HELPERS)
    return Helpers(load, count) if count > 1 and running.device == "CPU" and not running.shared else None


class Ahead(Generic[N]):
    """Results of the networks in one image, each computed once by the thread that needs it first."""

    def __init__(self, networks: N, helpers: Helpers[N] | None) -> None:
        self._networks, self._helpers = networks, helpers
        self._results: dict[Hashable, Future[Any]] = {}
        self._lock = threading.Lock()
        self._started: list[Future[None]] = []
        self._ended = False

    def start(self, calls: Sequence[Callable[[], None]], *, single: bool = False) -> None:
        """Start several calls, or a single one too, of which `once` keeps the results. Without helpers, do nothing."""
        if self._helpers is not None and len(calls) > (0 if single else 1):
            self._started += map(self._helpers.submit, calls)

    def once(self, key: Hashable, call: Callable[[N], T]) -> T:
        """Return the result of a call that depends on `key` and the image only. The first thread to ask computes it."""
        with self._lock:
            is_first = key not in self._results
            result: Future[T] = self._results.setdefault(key, Future())
        if is_first:
            try:
                result.set_result(
                    call(self._networks if self._helpers is None else self._helpers.networks(self._networks))
                )
            except BaseException as error:
                result.set_exception(error)
        return result.result()

    @property
    def ended(self) -> bool:
        """Whether no further result is needed."""
        return self._ended

    def end(self) -> None:
        """Leave out the calls that have not begun."""
        self._ended = True
        for call in self._started:
            call.cancel()
