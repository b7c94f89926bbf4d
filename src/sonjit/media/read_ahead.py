"""Run an iterator ahead of its reader in a thread of its own, a few items and no more."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """An iterator over the items of a generator that a background thread keeps `depth` items ahead.

    An exception of the generator is raised in the reader, at the place where it happened. `close()` stops the thread,
    waits for it and closes the generator in it; it may be called twice.

    Args:
        items: the generator; only the background thread runs it.
        depth: how many finished items wait at most.
        newest: throw the oldest waiting item away instead of waiting for the reader (for a live camera).
    """

    def __init__(self, items: Generator[T], *, depth: int = 4, newest: bool = False) -> None:
        self._items = items
        self._depth = depth
        self._newest = newest
        self._ready: deque[T] = deque()
        self._change = threading.Condition()
        self._error: BaseException | None = None
        self._ended = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sonjit-read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        with self._change:
            while not self._ready:
                if self._closed:
                    raise StopIteration
                if self._ended:
                    error, self._error = self._error, None
                    if error is not None:
                        raise error
                    raise StopIteration
                self._change.wait()
            item = self._ready.popleft()
            self._change.notify_all()
            return item

    def close(self) -> None:
        """Stop the thread and wait until it has ended."""
        with self._change:
            self._closed = True
            self._ready.clear()
            self._change.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._offer(item):
                    break
        except BaseException as error:  # handed to the reader, whatever it is
            self._error = error
        finally:
            try:
                self._items.close()
            finally:
                with self._change:
                    self._ended = True
                    self._change.notify_all()

    def _offer(self, item: T) -> bool:
        with self._change:
            if self._newest:
                while len(self._ready) >= self._depth:
                    self._ready.popleft()
            while len(self._ready) >= self._depth and not self._closed:
                self._change.wait()
            if self._closed:
                return False
            self._ready.append(item)
            self._change.notify_all()
            return True
