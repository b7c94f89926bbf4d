"""Define the interface of table writers and the header of tables."""

from __future__ import annotations

import codecs
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias

from sonjit._util.errors import InputError
from sonjit._util.files import Draft, Output, failing_as_job
from sonjit._util.json_text import JsonObject
from sonjit.media.sources.base import Source
from sonjit.results import RESULT_TYPES, Frame

Extras: TypeAlias = Sequence[Mapping[str, float | str | None]]
"""Further values of a frame's instances, one mapping for each in the order of `Frame.instances()`."""

ExtraTypes: TypeAlias = Mapping[str, type[int] | type[float] | type[str]]
"""Names of further columns and their types: integers, numbers or text."""

Value: TypeAlias = bool | int | float | str | None
"""Value of a cell."""

ColumnType: TypeAlias = type[bool] | type[int] | type[float] | type[str]
"""Type of a column."""

ColumnTypes: TypeAlias = Mapping[str, ColumnType]
"""Columns of rows by name."""

TableRows: TypeAlias = Literal["keypoint", "instance", "wide"]
"""What a row of a table describes: a keypoint, an instance without its keypoints, or an instance with a column per
keypoint and axis."""

_ESCAPED = "sonjit-escaped"
"""Name of the error handler that writes a byte which is not UTF-8 as an escape such as `xff`, as in Parquet."""


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Return the escapes of the lone surrogates that stand for the bytes of a file name."""
    assert isinstance(error, UnicodeEncodeError)
    codes = map(ord, error.object[error.start : error.end])
    escapes = (f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}" for code in codes)
    return "".join(escapes), error.end


codecs.register_error(_ESCAPED, _escape)


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
        sources: "width" and "height" in pixels of each file by its name, and "fps" of videos; empty for one source.
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
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    sources: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    start_s: float | None = None
    geometry: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        RESULT_TYPES.find(self.kind)

    @classmethod
    def from_source(cls, source: Source, model: str | None = None, kind: str = "hands") -> Self:
        """Create the header of an open source."""
        return cls(
            source=source.name,
            width=source.width,
            height=source.height,
            fps=source.fps,
            model=model,
            kind=kind,
            start_s=round(source.offset_s, 6) or None,
            geometry={} if source.geometry is None else source.geometry.to_dict(),
            notes=tuple(source.notes),
        )

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


class TextOutput(Output):
    """Text file that receives its final name at the end."""

    def __init__(self, path: Path, *, newline: str, encoding: str = "utf-8") -> None:
        super().__init__()
        self._draft = Draft(path)
        self._file = self._draft.path.open("w", encoding=encoding, newline=newline, errors=_ESCAPED)

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            self._file.close()
        self._draft.keep()

    def _abort(self) -> None:
        try:
            self._file.close()
        except OSError:  # a full disk refuses the rest of the buffer once more
            pass
        finally:
            self._draft.drop()


class FrameWriter(Output):
    """A table being written, frame by frame.

    Attributes:
        sources: "width", "height" and "fps" of each file by its name. Formats with a header add them at the end.
        more_paths: Paths of further files that the writer made at the end.
        notes: Hints for the user about what was written, one line each.
        remarks: What was left out or changed while reading, one line each. Formats with a header add it at the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.remarks: Sequence[str] = ()
        self.sources: dict[str, JsonObject] = {}
        self.more_paths: list[str] = []
        self.notes: list[str] = []

    @abstractmethod
    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append one frame.

        Args:
            frame: Results of one image.
            extras: Values of the further columns that `open_writer` received, one mapping per instance in the order
                of `frame.instances()`; what a mapping lacks is unknown.
        """

    def write_event(self, record: Mapping[str, object]) -> None:
        """Append an event that ended, in a format with a place for events outside of frames. Others ignore it."""


class RowWriter(Output):
    """Open table of rows that are not frames.

    Attributes:
        nests: Rows may contain lists and objects.
    """

    nests: ClassVar[bool] = False

    @abstractmethod
    def write(self, rows: Iterable[Mapping[str, Value]]) -> None:
        """Append rows: values by column; what is missing is unknown."""


def extra_types(extra: Iterable[str] | ExtraTypes, used: Iterable[str]) -> ExtraTypes:
    """Return the types of additional columns by name, by default numbers. A duplicate name is an InputError."""
    types = extra if isinstance(extra, Mapping) else dict.fromkeys(extra, float)
    if clash := set(types) & set(used):
        raise InputError(f"a further column cannot be called {', '.join(sorted(clash))}: tables have that one already")
    return types


def known_extras(frame: Frame, extras: Extras | None, types: ExtraTypes) -> list[tuple[float | str | None, ...]]:
    """Return the values of the additional columns per instance of a frame; None if unknown or NaN.

    Raises:
        InputError: The number of mappings differs from that of instances, or a value has no column of its type.
    """
    count = sum(1 for _ in frame.instances())
    if extras is None:
        return [(None,) * len(types)] * count
    if len(extras) != count:
        raise InputError(f"frame {frame.index}: {len(extras)} extras for {count} instances; give one mapping for each")
    for values in extras:
        if unknown := set(values) - set(types):
            raise InputError(f"no column for {', '.join(sorted(unknown))}: name it in open_writer(…, extra=…)")
    return [tuple(_checked(name, values.get(name), kind) for name, kind in types.items()) for values in extras]


def _checked(name: str, value: float | str | None, kind: ColumnType) -> float | str | None:
    if value is None or (isinstance(value, str) and kind is str):
        return value
    if isinstance(value, str) or kind is str:
        raise InputError(f"{name} is {value!r}, but its column contains {'text' if kind is str else 'numbers'}: "
                         f"give extra={{{name!r}: {'float' if kind is str else 'str'}}}")  # fmt: skip
    return kind(value) if math.isfinite(value) else None
