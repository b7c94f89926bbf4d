"""What every source of pictures looks like from outside: image, folder, video and camera alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

from sonjit.media.read_ahead import ReadAhead

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SourceKind = Literal["image", "folder", "video", "camera"]


class SourceFrame(NamedTuple):
    """One picture of a source.

    Attributes:
        index: position in the source, from 0; a picture that could not be read leaves a gap.
        time: seconds from the start of the video, or since the camera was opened; `None` for stills.
        rgb: (H, W, 3) uint8 RGB.
    """

    index: int  # pyright: ignore[reportIncompatibleMethodOverride]  # a tuple's index() is not missed here
    time: float | None
    rgb: NDArray[np.uint8]


class Source(ABC):
    """Pictures one after the other: a context manager and an iterable of `SourceFrame`.

    Reading runs ahead in a thread of its own while the caller works on the picture before; leaving the loop, `close()`
    or the end of the `with` block ends it. Files may be iterated again from the start.

    Attributes:
        name: what the caller named, for messages and tables.
        kind: "image", "folder", "video" or "camera".
        width, height: size of the first picture in pixels, upright; `None` where it is not known.
        fps: frames per second on average; `None` for stills and where it is not stated.
        count: how many pictures are expected; `None` where it is not known.
        files: the picture files of a folder or glob, in order; the one file of an image or video; else empty.
        problems: what could not be read so far, one line each; filled anew by each iteration.
        finished: whether an iteration has reached the end.
    """

    kind: ClassVar[SourceKind]
    depth: ClassVar[int] = 4
    live: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.width: int | None = None
        self.height: int | None = None
        self.fps: float | None = None
        self.count: int | None = None
        self.files: list[Path] = []
        self.problems: list[str] = []
        self.finished = False
        self._running: list[ReadAhead[SourceFrame]] = []

    def frame_source(self, index: int) -> str | None:
        """The file of one picture of a folder, as tables name it; `None` for every other kind."""
        del index
        return None

    def __iter__(self) -> Iterator[SourceFrame]:
        self.problems.clear()
        ahead = ReadAhead(self._frames(), depth=self.depth, newest=self.live)
        self._running.append(ahead)
        try:
            yield from ahead
            self.finished = True
        finally:
            self._running.remove(ahead)
            ahead.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and free what is open; may be called twice."""
        for ahead in list(self._running):
            ahead.close()

    @abstractmethod
    def _frames(self) -> Generator[SourceFrame]:
        """The pictures, in a background thread."""
