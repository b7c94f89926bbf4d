"""A drawing writer that works in a thread of its own."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from sonjit.media.drawn import DrawingWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Job = tuple[NDArray[np.uint8], float | None, int | None]


class WriteBehind(DrawingWriter):
    """Hand pictures to another writer in the background, at most `depth` waiting.

    What goes wrong there is raised once, by the next `write` or by `close`; after it nothing more is written.
    """

    def __init__(self, writer: DrawingWriter, *, depth: int = 4) -> None:
        super().__init__()
        self._writer = writer
        self._jobs: queue.Queue[Job | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="sonjit-write-behind", daemon=True)
        self._thread.start()

    def write(self, rgb: NDArray[np.uint8], time: float | None, *, index: int | None = None) -> None:
        """Queue one picture; waits while `depth` are waiting already."""
        self._raise_error()
        self._jobs.put((rgb, time, index))

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._stopped or self._error is not None:
                continue  # keep emptying the queue, so that nobody waits for ever
            try:
                rgb, time, index = job
                self._writer.write(rgb, time, index=index)
            except BaseException as error:  # raised in the caller's thread
                self._error = error

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            self._stopped = True
            raise error

    def _finish(self) -> None:
        self._jobs.put(None)
        self._thread.join()
        self._raise_error()
        if self._stopped:
            self._writer.discard()
        else:
            self._writer.close()

    def _abort(self) -> None:
        self._stopped = True
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        self._writer.discard()
