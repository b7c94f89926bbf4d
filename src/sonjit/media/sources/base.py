"""Define the interface of image sources, and prefetch their frames in a thread."""

import math
import re
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Final, Literal, NamedTuple, Self

from sonjit._util import Image
from sonjit._util.files import Closing, protect, release
from sonjit.media.sources.geometry import Geometry

SourceKind = Literal["image", "folder", "video", "camera"]
AT_RATE: Final = ": read at "
"""Part of the note about a rate with which a video was opened, see `Source.select`."""


class SourceFrame(NamedTuple):
    """One image of a source.

    Attributes:
        index: Position in the source, from 0; unreadable images leave a gap.
        time: Time in seconds from the start of the video or the opening of the camera; None for stills.
        rgb: RGB image (H, W, 3), uint8.
    """

    index: int  # pyright: ignore[reportIncompatibleMethodOverride]  # a tuple's index() is not missed here
    time: float | None
    rgb: Image


class Source(Closing, ABC):
    """Images one after the other: a context manager and an iterable of `SourceFrame`.

    A thread prefetches images while the caller processes the current one. It ends when the caller leaves the loop,
    calls `close()` or leaves the `with` block. Files may be iterated again from the start.

    Attributes:
        name: Name of the source in messages and tables.
        kind: "image", "folder", "video" or "camera".
        width, height: Size of the first upright image in pixels; None if it is unknown.
        fps: Average frames per second; None for stills and if unknown.
        count: Expected number of images; None if unknown.
        files: Image files of a folder or glob in order, or the file of an image or video; empty for other sources.
        problems: Read failures so far, one line each; each iteration resets them.
        notes: What the images do not show as stored, such as a changed size, one line each.
        geometry: Transformation from the stored to the shown first image; None if it is unknown.
        offset_s: Start of the images on the clock of a player in seconds, where the sound begins before them.
        starts_late: True if the first frames are not read, see `select`.
        finished: True after an iteration has reached the end.
        reading_s: Seconds spent on reading and decoding in the background so far, without waiting.
    """

    kind: ClassVar[SourceKind]
    depth: ClassVar[int] = 4
    live: ClassVar[bool] = False
    newest: ClassVar[bool] = False  # drop the oldest image that waits instead of waiting for the caller

    def __init__(self, name: str) -> None:
        self.name = name
        self.width: int | None = None
        self.height: int | None = None
        self.fps: float | None = None
        self.count: int | None = None
        self.files: list[Path] = []
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.geometry: Geometry | None = None
        self.offset_s = 0.0
        self.finished = False
        self.reading_s = 0.0
        self.starts_late = False
        self._from_s = 0.0
        self._until_s = math.inf
        self._every = 1
        self._selection: list[str] = []
        self._running: list[ReadAhead] = []
        self._ends = list[Callable[[], object]]()
        protect(self)

    def keep(self, end: Callable[[], object]) -> None:
        """Call a function when the source is closed, such as one that removes what it reads from."""
        self._ends.append(end)

    def select(
        self, start_s: float = 0.0, end_s: float | None = None, every: int = 1, fps: float | None = None
    ) -> None:
        """Yield only some frames of a video or camera, which `remarks` names. They keep their index and time.

        Frames are read from a time in seconds up to another one, and only those whose index is a multiple of `every`.
        `fps` is the rate with which a video was opened, which `remarks` also names.
        """
        self._from_s = start_s
        self._until_s = math.inf if end_s is None else end_s
        self._every = every
        self.starts_late = start_s > 0
        limits = [f"at {fps:g} frames per second"] if fps is not None and self.kind == "video" else []
        limits += [f"from {start_s:g} s"] if start_s else []
        limits += [] if end_s is None else [f"until {end_s:g} s"]
        limits += [f"one of {every} frames"] if every > 1 else []
        if limits and self.kind in ("image", "folder"):
            self.note("start, end and every apply to videos, not to still images")
        elif limits:
            self._selection = [f"{self.name}: read {', '.join(limits)}"]

    def _selected(self, frames: Iterable[SourceFrame]) -> Iterator[SourceFrame]:
        last_s, is_empty = 0.0, True
        for frame in frames:
            if frame.time is not None:
                last_s = frame.time
                if last_s >= self._until_s:
                    break
                if last_s < self._from_s or frame.index % self._every:
                    continue
            is_empty = False
            yield frame
        if is_empty and self.starts_late:
            self.problems.append(f"{self.name}: no frame from {self._from_s:g} s, the last is at {last_s:.2f} s")

    def note(self, line: str) -> None:
        """Add a line to `notes`, once."""
        if line not in self.notes:
            self.notes.append(line)

    def remarks(self) -> tuple[str, ...]:
        """Return the selected part, notes and problems for the header of a table, each once."""
        return renamed((*self._selection, *self.notes, *self.problems), self.files, [self.name])

    def frame_source(self, index: int) -> str | None:
        """Return the name of an image of a folder in tables; None for other sources."""
        del index
        return None

    def __iter__(self) -> Iterator[SourceFrame]:
        self.problems.clear()
        ahead = ReadAhead(self._frames(), depth=self.depth, newest=self.newest)
        self._running.append(ahead)
        try:
            yield from self._selected(ahead)
            self.finished = self.finished or math.isinf(self._until_s)
        finally:
            self._running.remove(ahead)
            ahead.close()
            self.reading_s += ahead.busy_s

    def close(self) -> None:
        """Stop reading and release all resources. A second call has no effect."""
        release(self)
        for ahead in list(self._running):
            ahead.close()
        for end in self._ends:
            end()

    @abstractmethod
    def _frames(self) -> Generator[SourceFrame]:
        """Yield the images. Runs in a background thread."""


def renamed(lines: Iterable[str], files: Iterable[object], labels: Iterable[str]) -> tuple[str, ...]:
    """Return lines, each once. One that begins with the path of a file begins with its label instead.

    >>> renamed(["a/1.jpg: 16-bit", "a/2.jpg is empty", "a/1.jpg: 16-bit"], ["a/1.jpg", "a/2.jpg"], ["1", "2"])
    ('1: 16-bit', '2 is empty')
    """
    names = dict(zip(map(str, files), labels, strict=False))
    ends = {
        line: next((m.start() for m in re.finditer(":? ", line) if line[: m.start()] in names), 0) for line in lines
    }
    return tuple(dict.fromkeys(names.get(line[:end], "") + line[end:] for line, end in ends.items()))


class ReadAhead:
    """An iterator over the items of a generator that a background thread keeps `depth` items ahead.

    An exception of the generator is raised in the reader. With `newest`, the oldest item is discarded instead of
    waiting for the reader, as for live cameras. `busy_s` are the seconds spent in the generator.
    """

    def __init__(self, items: Generator[SourceFrame], *, depth: int = 4, newest: bool = False) -> None:
        self._items = items
        self._depth = depth
        self._newest = newest
        self._ready: deque[SourceFrame] = deque()
        self._change = threading.Condition()
        self._error: BaseException | None = None
        self._ended = False
        self._closed = False
        self.busy_s = 0.0
        self._thread = threading.Thread(target=self._run, name="sonjit-read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SourceFrame:
        with self._change:
            self._change.wait_for(lambda: self._ready or self._closed or self._ended)
            if not self._ready:
                error, self._error = None if self._closed else self._error, None
                raise error or StopIteration
            self._change.notify_all()
            return self._ready.popleft()

    def close(self) -> None:
        """Stop the thread, wait until it has ended and has closed the generator. A second call has no effect."""
        with self._change:
            self._closed = True
            self._ready.clear()
            self._change.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        start = time.perf_counter()
        try:
            for item in self._items:
                self.busy_s += time.perf_counter() - start
                if not self._offer(item):
                    break
                start = time.perf_counter()
        except BaseException as error:  # handed to the reader, whatever it is
            self._error = error
        finally:
            try:
                self._items.close()
            finally:
                with self._change:
                    self._ended = True
                    self._change.notify_all()

    def _offer(self, item: SourceFrame) -> bool:
        with self._change:
            if self._newest:
                while len(self._ready) >= self._depth:
                    self._ready.popleft()
            self._change.wait_for(lambda: len(self._ready) < self._depth or self._closed)
            if self._closed:
                return False
            self._ready.append(item)
            self._change.notify_all()
            return True
