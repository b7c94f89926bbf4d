"""Worker threads that serve clients in turns, so that a busy client does not delay the others."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
_Task = tuple["Future[Any]", "Callable[[], Any]"]


class Workers:
    """A fixed number of threads. Each thread takes the next task of the client whose turn it is.

    The threads start with the first task, so that an app that never serves has none.

    Args:
        workers: Number of threads.
    """

    def __init__(self, workers: int) -> None:
        self._turns: deque[ClientQueue] = deque()  # queues with waiting tasks, the next one first
        self._changed = threading.Condition()
        self._is_started = self._is_closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"sonjit-worker-{number}", daemon=True)
            for number in range(workers)
        ]

    def new_queue(self) -> ClientQueue:
        """Return a queue for a client."""
        return ClientQueue(self)

    def close(self) -> None:
        """End the threads after their current tasks. Waiting tasks are cancelled."""
        with self._changed:
            self._is_closed = True
            queues = list(self._turns)
            self._turns.clear()
            self._changed.notify_all()
        for queue in queues:
            queue.cancel_waiting()
        for thread in self._threads if self._is_started else ():
            thread.join()

    def add(self, queue: ClientQueue, task: _Task) -> None:
        """Add a task to a queue."""
        with self._changed:
            if self._is_closed:
                task[0].cancel()
                return
            if not self._is_started:
                self._is_started = True
                for thread in self._threads:
                    thread.start()
            if not queue.waiting:
                self._turns.append(queue)
            queue.waiting.append(task)
            self._changed.notify()

    def _next(self) -> _Task | None:
        with self._changed:
            while not self._turns:
                if self._is_closed:
                    return None
                self._changed.wait()
            queue = self._turns.popleft()
            task = queue.waiting.popleft()
            if queue.waiting:
                self._turns.append(queue)
            return task

    def _serve(self) -> None:
        while task := self._next():
            _run(*task)
            del task  # it refers to an image, and the next task may come much later


class ClientQueue:
    """The tasks of one client. They start in order, but several may run at a time.

    Args:
        workers: Threads that run the tasks.

    Attributes:
        waiting: Tasks that no thread has started; only `Workers` changes them.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.waiting: deque[_Task] = deque()
        self._unfinished: set[Future[Any]] = set()

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function on one of the threads and return its result."""
        future: Future[T] = Future()
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        self._workers.add(self, (future, work))
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Cancel the waiting tasks and wait for the running ones."""
        self.cancel_waiting()
        running = [asyncio.wrap_future(future) for future in list(self._unfinished)]
        await asyncio.gather(*running, return_exceptions=True)

    def cancel_waiting(self) -> None:
        """Cancel the tasks that no thread has started."""
        for future in list(self._unfinished):
            future.cancel()


def _run(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # raised again where the result is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
