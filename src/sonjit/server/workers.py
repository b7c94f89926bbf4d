"""Worker threads that serve clients in turns, so that a busy one never holds up the others."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_Work = tuple["Future[Any]", "Callable[[], Any]"]


class Workers:
    """A fixed number of threads; each takes the next piece of work of the lane whose turn it is.

    Args:
        workers: threads.
    """

    def __init__(self, workers: int) -> None:
        self._turn: deque[Lane] = deque()  # lanes with work that waits, the next one first
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"sonjit-worker-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def lane(self) -> Lane:
        """A queue of a client's own."""
        return Lane(self)

    def close(self) -> None:
        """End the threads once what they do now is done; work that waits is cancelled."""
        with self._changed:
            self._is_closed = True
            lanes = list(self._turn)
            self._turn.clear()
            self._changed.notify_all()
        for lane in lanes:
            lane.cancel_waiting()
        for thread in self._threads:
            thread.join()

    def add(self, lane: Lane, work: _Work) -> None:
        """Queue a piece of work in a lane."""
        with self._changed:
            if self._is_closed:
                work[0].cancel()
                return
            if not lane.waiting:
                self._turn.append(lane)
            lane.waiting.append(work)
            self._changed.notify()

    def _next(self) -> _Work | None:
        with self._changed:
            while not self._turn:
                if self._is_closed:
                    return None
                self._changed.wait()
            lane = self._turn.popleft()
            work = lane.waiting.popleft()
            if lane.waiting:
                self._turn.append(lane)
            return work

    def _serve(self) -> None:
        while work := self._next():
            _do(*work)
            del work  # holds an image, and the next may be long in coming


class Lane:
    """One client's work: in order, but several pieces of it may run at once.

    Attributes:
        waiting: what no thread has taken yet; belongs to the workers.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.waiting: deque[_Work] = deque()
        self._under_way: set[Future[Any]] = set()

    async def run(self, work: Callable[[], T]) -> T:
        """What a piece of work gives, done by one of the worker threads."""
        future: Future[T] = Future()
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        self._workers.add(self, (future, work))
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Cancel what waits, and wait for what runs."""
        self.cancel_waiting()
        running = [asyncio.wrap_future(future) for future in list(self._under_way)]
        await asyncio.gather(*running, return_exceptions=True)

    def cancel_waiting(self) -> None:
        """Cancel what no thread has begun."""
        for future in list(self._under_way):
            future.cancel()


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # it is raised where the result is waited for
        future.set_exception(error)
    else:
        future.set_result(result)
