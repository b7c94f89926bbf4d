"""Define the header of tables, the interface of table writers, and the types of their values."""

import codecs
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias

from sonjit._util import JsonObject
from sonjit._util.files import Draft, Output, failing_as_job
from sonjit.media.sources.base import Source
from sonjit.results import RESULT_TYPES, Frame

Extras: TypeAlias = Sequence[Mapping[str, float | str | None]]
"""Further values of a frame's instances, one mapping for each in the order of `Frame.instances()`."""
ExtraTypes: TypeAlias = Mapping[str, type[int] | type[float] | type[str]]
"""Names of further columns and their types: integers, numbers or text."""
Value: TypeAlias = bool | int | float | str | None  # value of a cell
ColumnType: TypeAlias = type[bool] | type[int] | type[float] | type[str]  # type of a column
ColumnTypes: TypeAlias = Mapping[str, ColumnType]  # columns of rows by name
TableRows: TypeAlias = Literal["keypoint", "instance", "wide"]
"""What a row of a table describes: a keypoint, an instance without its keypoints, or an instance with a column per
keypoint and axis."""
_ESCAPED = "sonjit-escaped"
"""Name of the error handler that writes a byte which is not UTF-8 as an escape such as `xff`."""
_PERIOD_S = 1.0  # time after which the frames written before are passed to the system


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Return the escapes of the lone surrogates that stand for the bytes of a file name."""
    assert isinstance(error, UnicodeEncodeError)
    codes = map(ord, error.object[error.start : error.end])
    escapes = (f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}" for code in codes)
    return "".join(escapes), error.end


codecs.register_error(_ESCAPED, _escape)


def escaped(text: str) -> str:
    r"""Return text with the bytes of a file name that are not UTF-8 as escapes.

    >>> print(escaped("a\udcff.jpg"))
    a\xff.jpg
    """
    return text.encode(errors=_ESCAPED).decode()


@dataclass(frozen=True)
class Header:
    """Description of a table's source; unknown values are `None`.

    Attributes:
        source: Name of the source: a path, a glob or `camera:0`.
        width, height: Size of the first image in pixels.
        fps: Frames per second; None for stills.
        model: Name of the model that found the instances.
        kind: Name of the list that every frame has, even if empty: "hands", "faces", "bodies" or "people".
        version: Version of Sonjit that found the instances.
        options: Options that differ from the defaults.
        sources: "width" and "height" in pixels of each file by its name, and "fps", "start_s" and "geometry" if known;
            empty for one source.
        start_s: Time of the first image on the clock of a player in seconds, if the sound begins before the images.
        geometry: How stored pixels became the images: "crop" in pixels, "pixel_aspect", "rotation_deg" clockwise, and
            "mirrored"; empty if nothing changed.
        notes: What was left out or changed while reading, one line each.
    """

    source: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    model: str | None = None
    kind: str = "hands"
    version: str | None = None
    options: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)
    sources: Mapping[str, JsonObject] = field(default_factory=dict[str, JsonObject], hash=False)
    start_s: float | None = None
    geometry: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        RESULT_TYPES.find(self.kind)

    @classmethod
    def from_source(cls, source: Source, model: str | None = None, kind: str = "hands") -> Self:
        """Create the header of an open source."""
        properties = {name: getattr(source, name) for name in ("width", "height", "fps")}
        geometry = {} if source.geometry is None else source.geometry.to_dict()
        start_s = round(source.offset_s, 6) or None
        notes = tuple(source.notes)
        return cls(source.name, model=model, kind=kind, start_s=start_s, geometry=geometry, notes=notes, **properties)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Create a header from the values of `to_dict`; ignore other keys."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__.keys() & data.keys()})

    def to_dict(self) -> JsonObject:
        """Return the header as JSON types, with "kind" unless it is hands, and other optional keys where known."""
        data: JsonObject = {item.name: getattr(self, item.name) for item in fields(self)}
        if self.kind == "hands":
            del data["kind"]
        optional = ("version", "options", "sources", "start_s", "geometry", "notes")
        return {name: value for name, value in data.items() if value or name not in optional}


@dataclass(frozen=True)
class Summary:
    """The sheet that readers of a workbook see first: sentences, a table, and facts."""

    name: str  # of the sheet
    lead: Sequence[str]  # sentences above the table
    headings: Sequence[str]  # names of the columns
    rows: Sequence[Sequence[float | str | None]]  # of the table
    facts: Sequence[tuple[str, str]]  # names and texts below the table


class TextOutput(Output):
    """Text file that receives its final name at the end."""

    leaves = "lines"

    def __init__(self, path: Path, encoding: str = "utf-8") -> None:
        super().__init__()
        self._draft = Draft(path, leaves=self.leaves)
        self._file = self._draft.path.open("w", encoding=encoding, newline="", errors=_ESCAPED)
        self._passed_s = time.monotonic()

    def _pass_on(self) -> None:
        """Pass what was written to the system, once a period, so that a killed process leaves it in the draft."""
        if time.monotonic() - self._passed_s >= _PERIOD_S:
            self._file.flush()
            self._passed_s = time.monotonic()

    def _complete(self) -> None:
        with failing_as_job(self._draft.final):
            self._file.close()

    def _abort(self) -> None:
        self._release()
        self._draft.drop()

    def _leave(self) -> list[Path]:
        self._release()
        return self._draft.leave()

    def _release(self) -> None:
        with suppress(OSError):  # a full disk refuses the rest of the buffer once more
            self._file.close()


class FrameWriter(Output):
    """A table being written, frame by frame. Formats with a header add remarks and sources at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.remarks: Sequence[str] = ()  # what was left out or changed while reading, one line each
        self.sources: dict[str, JsonObject] = {}  # "width", "height" and "fps" of each file by its name
        self.more_paths: list[str] = []  # paths of further files that the writer made at the end
        self.notes: list[str] = []  # hints for the user about what was written, one line each
        self.summary: Summary | None = None  # first sheet of a workbook, known before the first frame

    @abstractmethod
    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append the results of one image.

        `extras` are values of the further columns that `open_writer` received, one mapping per instance in the order of
        `frame.instances()`; what a mapping lacks is unknown.
        """

    def write_event(self, record: Mapping[str, object]) -> None:
        """Append an event that ended, in a format with a place for events outside of frames. Others ignore it."""


class RowWriter(Output):
    """Open table of rows that are not frames."""

    nests: ClassVar[bool] = False  # rows may contain lists and objects

    @abstractmethod
    def write(self, rows: Iterable[Mapping[str, Value]]) -> None:
        """Append rows: values by column; what is missing is unknown."""
