"""What is done with the images of an input: described, loaded, and at work on one input."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from sonjit.media import DrawingBeside

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path
    from types import TracebackType

    from sonjit.media import DrawingWriter, Source, SourceFrame
    from sonjit.media.tables.base import Extras
    from sonjit.results import Frame

T = TypeVar("T")


@dataclass(frozen=True)
class Outputs:
    """Where the results of one input go; None for what is not wanted.

    Attributes:
        save: table, or another file of results.
        draw: annotated image, folder of images or video.
        mask: cut-out image, folder of images or video.
        figures: what the network computed on the way: an image, or a folder of images.
        json: print each frame as a line of JSON on standard output.
    """

    save: str | None = None
    draw: str | None = None
    mask: str | None = None
    figures: str | None = None
    json: bool = False

    @property
    def paths(self) -> list[str]:
        """Every file or folder to write."""
        return [path for path in (self.save, self.draw, self.mask, self.figures) if path is not None]


class Times(dict[str, float]):
    """Seconds that each part of the work took."""

    def add(self, part: str, seconds: float) -> None:
        """Add to a part's time."""
        self[part] = self.get(part, 0.0) + seconds

    @contextmanager
    def of(self, part: str) -> Generator[None]:
        """Add the time inside the block to a part's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(part, time.perf_counter() - start)


@dataclass
class Summary:
    """What came of one or several inputs.

    Attributes:
        frames: images processed.
        instances: found in all of them together.
        seconds: it took.
        files: inputs finished; None where one input was processed.
        skipped: inputs that were finished before.
        last: the newest frame of a detector.
        measured: values of the further columns of each instance of it, such as its measures.
        lines: what to report of the results, one line each.
        notes: what the user should know of them, one line each.
        written: files and folders.
        times: of reading, finding and writing, which go on side by side, and of drawing, a part of writing.
        problems: what could not be read, one line each.
    """

    frames: int = 0
    instances: int = 0
    seconds: float = 0.0
    files: int | None = None
    skipped: int = 0
    last: Frame | None = None
    measured: Extras | None = None
    lines: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    written: list[str] = field(default_factory=list[str])
    times: Times = field(default_factory=lambda: Times())
    problems: list[str] = field(default_factory=list[str])


class Table(Protocol):
    """A table being written, as one that gathers the tables of several inputs needs it."""

    def append_part(self, path: Path, index: int, source: str | None) -> None:
        """Append what a `.jsonl` table of one file holds.

        Args:
            path: of that table.
            index: of the file among all, which is a still's index; frames of a video keep their own.
            source: what the table calls the file.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Processor(ABC):
    """Says what is to be done; loads nothing, and can be sent to another process.

    Subclasses are frozen dataclasses: their fields are what the results depend on.
    """

    save_ending: ClassVar[str] = ".json"
    """Of the file that an input gets in a folder of results."""
    figures_ending: ClassVar[str] = ""
    tables_take_videos: ClassVar[bool] = False
    """Whether one table may hold the frames of videos beside stills."""

    @abstractmethod
    def found(self, count: int) -> str:
        """So many instances in words: `1 hand`, `2 hands`."""

    @abstractmethod
    def load(self) -> Session:
        """Load what every input needs."""

    def open_table(self, save: str, source: Source) -> Table | None:
        """One table over many files; None where only one pass over all of them together can write it."""
        del save, source
        return None


class Session(ABC):
    """Loaded networks, for one input after the other; a context manager that frees them."""

    def prepare(self, *, still: bool) -> None:  # noqa: B027  # not every session has more to load
        """Load what inputs of this kind need on top; may be called again.

        Args:
            still: an image or several that do not follow each other, not a video or camera.
        """

    @abstractmethod
    def begin(self, source: Source, outputs: Outputs) -> Pass[Any]:
        """Begin with an open source: open its outputs, refusing what cannot be written before any work."""

    def close(self) -> None:  # noqa: B027
        """Free the networks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Resettable(Protocol):
    """What is loaded for inputs one after the other."""

    def reset(self) -> None:
        """The next image follows no other."""
        ...

    def close(self) -> None:
        """Free the networks."""
        ...


L = TypeVar("L", bound=Resettable)


class StillAndStream(Session, Generic[L]):
    """A session that loads one thing for stills and another for streams, when the first of them comes."""

    def __init__(self) -> None:
        self._loaded: dict[bool, L] = {}

    @abstractmethod
    def open(self, *, still: bool) -> L:
        """Load it."""

    def prepare(self, *, still: bool) -> None:
        """Load it, once."""
        if still not in self._loaded:
            self._loaded[still] = self.open(still=still)

    def fresh(self, source: Source) -> L:
        """What was loaded for such a source; it holds nothing of the input before."""
        loaded = self._loaded[is_still(source)]
        loaded.reset()
        return loaded

    def close(self) -> None:
        """Free the networks."""
        for loaded in self._loaded.values():
            loaded.close()
        self._loaded.clear()


class Pass(ABC, Generic[T]):
    """One input at work.

    As a context manager it finishes all outputs together at the end and at Ctrl-C, and discards them together when
    another exception passes.

    Attributes:
        outputs: what it writes.
        times: of the parts of its work so far.
    """

    def __init__(self) -> None:
        self.outputs = ExitStack()
        self.times = Times()
        self._beside: dict[str, DrawingBeside] = {}

    def beside_others(self, drawing: DrawingWriter, path: str, outputs: Outputs) -> DrawingWriter:
        """A drawing that is dropped alone where its encoder refuses it; as it is where nothing else is written."""
        if len(outputs.paths) + outputs.json == 1:
            return drawing
        self._beside[path] = DrawingBeside(drawing)
        return self._beside[path]

    def report_dropped(self, summary: Summary) -> None:
        """Say which drawings were dropped."""
        for path, drawing in self._beside.items():
            if drawing.problem is not None:
                summary.problems.append(drawing.problem)
                summary.written = [one for one in summary.written if one != path]

    @abstractmethod
    def process(self, frame: SourceFrame) -> T:
        """What is found in the next image."""

    @abstractmethod
    def count(self, result: T) -> int:
        """How many instances it is."""

    def write(self, frame: SourceFrame, result: T) -> None:  # what has no outputs writes nothing
        """Write what was found in one image; called in order, in another thread, a few images behind."""

    def report(self, summary: Summary) -> None:
        """Add to the closing report; called when the outputs are finished."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.outputs.__exit__(kind, error, traceback)


def table_header(source: Source, model: str) -> Mapping[str, object]:
    """What files of results say once about their source."""
    return {
        "source": source.name, "width": source.width, "height": source.height, "fps": source.fps, "model": model,
    }  # fmt: skip


def counted(count: int, one: str, several: str) -> str:
    """A number of things in words.

    >>> counted(1, "frame", "frames")
    '1 frame'
    """
    return f"{count} {one if count == 1 else several}"


def is_still(source: Source) -> bool:
    """Whether the images of a source stand alone."""
    return source.kind in ("image", "folder")
