"""Define the interface of table writers and the header of tables."""

import codecs
import csv
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np

from sonjit._util import Float32Array, InputError, JsonObject
from sonjit._util.extensions import load_extensions
from sonjit._util.files import Draft, Output, failing_as_job
from sonjit.media.sources.base import Source
from sonjit.results import RESULT_TYPES, Body, Face, Frame, Hand, Instance, Person, Points, Result, shortest_floats
from sonjit.results.measures import in_degrees
from sonjit.results.skeletons import load_skeleton
from sonjit.results.skeletons.faces import BLENDSHAPES

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
"""Name of the error handler that writes a byte which is not UTF-8 as an escape such as `xff`, as in Parquet."""
_VALUES = ("x", "y", "z", "x_m", "y_m", "z_m", "visibility")
COLUMNS = (*("frame", "time", "instance", "id", "kind", "handedness", "score"), *("keypoint", "name"), *_VALUES)
"""`instance` counts the hands, faces, bodies or people of one frame, `keypoint` the points of one instance; x, y, z are
pixels, x_m, y_m, z_m metres. `kind` is "hand", "face" or "body"; a person is a body, followed by the hands and the face
of the same `instance`. A frame with nothing found keeps one row with only `frame` and `time` (and `source`)."""
ERROR_COLUMN = "error_px"  # the column after these if a table may contain refined hands
BOX_COLUMNS = ("x_min", "y_min", "x_max", "y_max")
INSTANCE_COLUMNS = (*("frame", "time", "instance", "key", "id", "kind", "handedness", "score"), *BOX_COLUMNS)
"""Columns of a table with a row per instance. `key` identifies an instance in its source: the track ID, or in
photographs `instance`."""
SOURCE_COLUMN = "source"  # the column after these for a folder of stills: the image's file
Row: TypeAlias = tuple[Any, ...]
"""A row's values in the order of the columns."""
RowRecord: TypeAlias = "Mapping[str, Any]"  # a row's values by the columns' names
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # starts of texts that spreadsheets read as formulas
_PARSERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("frame", "instance", "id", "keypoint"), int),
    **dict.fromkeys(("time", "score", *_VALUES, ERROR_COLUMN), float),
}


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
        known = {name: getattr(source, name) for name in ("width", "height", "fps")}
        geometry = {} if source.geometry is None else source.geometry.to_dict()
        start_s = round(source.offset_s, 6) or None
        more: dict[str, Any] = {"start_s": start_s, "geometry": geometry, "notes": tuple(source.notes)}
        return cls(source.name, model=model, kind=kind, **known, **more)

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

    def __init__(self, path: Path, encoding: str = "utf-8") -> None:
        super().__init__()
        self._draft = Draft(path)
        self._file = self._draft.path.open("w", encoding=encoding, newline="", errors=_ESCAPED)

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            self._close()
        self._draft.keep()

    def _close(self) -> None:
        self._file.close()

    def _abort(self) -> None:
        with suppress(OSError):  # a full disk refuses the rest of the buffer once more
            self._file.close()
        self._draft.drop()


class FrameWriter(Output):
    """A table being written, frame by frame. Formats with a header add remarks and sources at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.remarks: Sequence[str] = ()  # what was left out or changed while reading, one line each
        self.sources: dict[str, JsonObject] = {}  # "width", "height" and "fps" of each file by its name
        self.more_paths: list[str] = []  # paths of further files that the writer made at the end
        self.notes: list[str] = []  # hints for the user about what was written, one line each

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


def extra_types(extra: Iterable[str] | ExtraTypes, used: Iterable[str]) -> ExtraTypes:
    """Return the types of additional columns by name, by default numbers. Raise InputError for a duplicate name."""
    types = extra if isinstance(extra, Mapping) else dict.fromkeys(extra, float)
    if clash := set(types) & set(used):
        raise InputError(f"a further column cannot be called {', '.join(sorted(clash))}: tables have that one already")
    return types


def known_extras(frame: Frame, extras: Extras | None, types: ExtraTypes) -> list[tuple[float | str | None, ...]]:
    """Return the values of the additional columns per instance of a frame, in their unit; None if unknown or NaN."""
    count = sum(1 for _ in frame.instances())
    if extras is None:
        return [(None,) * len(types)] * count
    if len(extras) != count:
        raise InputError(f"frame {frame.index}: {len(extras)} extras for {count} instances; give one mapping for each")
    extras = [values if types.keys() >= values.keys() else in_degrees(values) for values in extras]
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


@dataclass(frozen=True)
class Layout:
    """Columns of a row table."""

    with_source: bool = False  # add the file of each image
    # Additional columns with the measures of an instance
    extra: ExtraTypes = field(default_factory=dict[str, ColumnType])
    rows: TableRows = "keypoint"  # what a row describes
    # Number of keypoints of each kind that have columns in wide rows
    points: Mapping[str, int] = field(default_factory=dict[str, int])
    with_error: bool = False  # add the expected error of each keypoint

    @property
    def values(self) -> tuple[str, ...]:
        """Return the columns of a keypoint that are numbers."""
        return (*_VALUES, ERROR_COLUMN) if self.with_error else _VALUES

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Return the column names in order."""
        source = (SOURCE_COLUMN,) if self.with_source else ()
        if self.rows == "keypoint":
            return (*COLUMNS, *self.values[len(_VALUES) :], *source, *self.extra)
        points = (name for kind, count in self.points.items() for name in _point_columns(kind, count, self.values))
        return tuple(dict.fromkeys((*source, *INSTANCE_COLUMNS, *self.extra, *points)))

    def make_rows(self, frame: Frame, extras: Extras | None = None) -> list[Row]:
        """Return the rows of a frame as Python values, with None instead of NaN."""
        measured = known_extras(frame, extras, self.extra)
        if self.rows != "keypoint":
            return self._instance_rows(frame, measured)
        source = (frame.source,) if self.with_source else ()
        rows: list[Row] = []
        for (number, result), measures in zip(frame.instances(), measured, strict=True):
            side = getattr(result, "handedness", None)
            start = (frame.index, frame.time, number, result.id, result.kind, side, _known(result.score))
            rows += [(*start, *point, *source, *measures) for point in _points(result, self.values)]
        unknown = (None,) * (len(COLUMNS) - 2 + len(self.values) - len(_VALUES))
        nothing = (frame.index, frame.time, *unknown, *source, *(None,) * len(self.extra))
        return rows or [nothing]

    def _instance_rows(self, frame: Frame, measured: Sequence[Sequence[float | str | None]]) -> list[Row]:
        """Return a row per instance; a frame without instances has one row."""
        shared = {SOURCE_COLUMN: frame.source, "frame": frame.index, "time": frame.time}
        found: list[dict[str, object]] = []
        for (number, result), values in zip(frame.instances(), measured, strict=True):
            row: dict[str, object] = {**shared, "instance": number, "id": result.id}
            row["key"] = number if result.id is None else result.id
            row |= {"kind": result.kind, "handedness": getattr(result, "handedness", None)}
            row |= {"score": _rounded(result.score)}
            row |= dict(zip(BOX_COLUMNS, [_known(round(value, 2)) for value in result.box], strict=True))
            row |= {name: _rounded(value, name) for name, value in zip(self.extra, values, strict=True)}
            if result.kind in self.points:
                names = _point_columns(result.kind, len(result.keypoints), self.values)
                axes = [self.values.index(axis) for axis in _axes(result.kind, self.values)]
                points = _points(result, self.values)
                row |= dict(zip(names, (point[2 + axis] for point in points for axis in axes), strict=True))
            found.append(row)
        return [tuple(row.get(name) for name in self.columns) for row in found or [shared]]


class RowMaker:
    """Convert frames to rows. The columns are known with the first frames."""

    def __init__(self, header: Header, extra: ExtraTypes, rows: TableRows, begin: Callable[[Layout], object]) -> None:
        self._result_type = RESULT_TYPES[header.kind]
        self._is_refined = header.options.get("keypoints") == "refined" or bool(header.options.get("distance"))
        is_known = bool(header.version) or self._is_refined  # a run of Sonjit names all of its options
        self._knows_options = is_known or self._result_type not in (Hand, Person)
        self._extra, self._begin = extra, begin
        self._rows: TableRows = rows
        self._waiting: list[tuple[Frame, Extras | None]] = []
        self._layout: Layout | None = None

    def __call__(self, frame: Frame, extras: Extras | None) -> list[Row]:
        """Return the rows that can be written after a frame."""
        if self._layout is not None:
            return self._layout.make_rows(frame, extras)
        self._waiting.append((frame, extras))
        # only the first face shows how many keypoints its model has, and without options the first hand its columns
        waits = not self._knows_options or (self._rows == "wide" and self._result_type is Face)
        is_shown = any(isinstance(instance, (Hand, Face)) for _, instance in frame.instances())
        return self.finish() if is_shown or not waits else []

    def finish(self) -> list[Row]:
        """Return the rows of all frames that wait for the columns."""
        if self._layout is None:
            frames = [frame for frame, _ in self._waiting]
            with_source = bool(frames) and frames[0].source is not None
            points = wide_points(frames, self._result_type) if self._rows == "wide" else {}
            with_error = self._is_refined or has_errors(frames)
            self._layout = Layout(with_source, self._extra, self._rows, points, with_error)
            self._begin(self._layout)
        rows = [row for frame, extras in self._waiting for row in self._layout.make_rows(frame, extras)]
        self._waiting.clear()
        return rows


def has_errors(frames: Iterable[Frame]) -> bool:
    """Check whether the expected errors of a hand are known."""
    instances = (instance for frame in frames for _, instance in frame.instances())
    return any(isinstance(instance, Hand) and instance.error_px is not None for instance in instances)


def wide_points(frames: Iterable[Frame], result_type: type[Result] | None = None) -> dict[str, int]:
    """Return the number of keypoints of each kind in frames, and of `result_type` also if no frame contains it."""
    found = {result.kind: len(result.keypoints) for frame in frames for _, result in frame.instances()}
    if result_type is None:
        return found
    kinds = [kind for _, kind in Person.members.values()] if result_type is Person else [result_type]
    return {kind.kind: found.get(kind.kind, next(iter(kind.skeletons))) for kind in kinds} | found


@cache
def _axes(kind: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns of one keypoint of a kind."""
    items = [item for item in _result_type(kind).schema if isinstance(item, Points)]
    named = [*(axis for item in items for axis in item.columns), *(s.column for item in items for s in item.scores)]
    return tuple(name for name in values if name in named)


@cache
def _point_columns(kind: str, count: int, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the column names of all keypoints of a kind."""
    skeleton = _result_type(kind).skeletons[count]
    names = (load_skeleton(skeleton) if isinstance(skeleton, str) else skeleton).keypoints
    counts = Counter(names)  # points of a face mesh on one contour share its name
    labels = [name if name and counts[name] == 1 else f"{name or 'point'}_{k}" for k, name in enumerate(names)]
    return tuple(f"{label}_{axis}" for label in labels for axis in _axes(kind, values))


def _result_type(kind: str) -> type[Result]:
    return next(result for result in RESULT_TYPES.values() if result.kind == kind)


def _rounded(value: float | str | None, name: str = "") -> float | str | None:
    """Return a number with five significant digits, or a blendshape with four decimals: finer than the error."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return round(value, 4) if name in BLENDSHAPES else float(f"{value:.5g}")


def _points(result: Instance, names: tuple[str, ...]) -> Iterator[Row]:
    """Yield the index, name and values of each keypoint."""
    columns = dict.fromkeys(names, np.full(len(result.keypoints), np.nan, np.float32))
    for item in result.schema:
        points: Float32Array | None = getattr(result, item.name) if isinstance(item, Points) else None
        if isinstance(item, Points) and points is not None:
            columns |= dict(zip(item.columns, points.T, strict=False))
            scores = {score.column: getattr(result, score.name) for score in item.scores if score.column is not None}
            columns |= {name: values for name, values in scores.items() if values is not None}
    table = np.column_stack([columns[name] for name in names])  # (K, V)
    values = shortest_floats(table)
    for k, column in np.argwhere(~np.isfinite(table)).tolist():
        values[k][column] = None
    for k, (name, row) in enumerate(zip(result.skeleton.keypoints, values, strict=True)):
        yield k, name or None, *row


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def frames_from_rows(rows: Iterable[RowRecord], *, people: bool = False) -> list[Frame]:
    """Convert rows, as columns by name with None for unknown values, to frames in order.

    Bodies become people if `people`, or if any body is followed by a hand or face of its index, which only parts are.
    """
    frames: list[tuple[Frame, list[tuple[int, Result]]]] = []
    by_frame = groupby(rows, key=lambda row: (row["frame"], row["time"], row.get(SOURCE_COLUMN)))
    for (index, time, source), of_frame in by_frame:
        frames.append((Frame(index, time, source=source), [_instance(group) for group in _groups(of_frame)]))
    people = people or any(_after_body(found) for _, found in frames)
    for frame, found in frames:
        for number, result in found:
            _put(frame, number, result, people=people)
    return [frame for frame, _ in frames]


def _groups(rows: Iterable[RowRecord]) -> list[list[RowRecord]]:
    """Return the rows of each instance of a frame. Keypoint 0 starts a new instance."""
    groups: list[list[RowRecord]] = []
    for row in rows:
        if row["instance"] is not None:
            if row["keypoint"] == 0 or not groups:
                groups.append([])
            groups[-1].append(row)
    return groups


def _instance(rows: list[RowRecord]) -> tuple[int, Result]:
    """Convert the rows of an instance to its index and result."""
    first = rows[0]
    number, kind = first["instance"], first["kind"]
    where = f"frame {first['frame']}, instance {number}"
    if all(result.kind != kind for result in RESULT_TYPES.values()):
        load_extensions()
    result_type = next(
        (result for result in RESULT_TYPES.values() if result.kind == kind and result is not Person), None
    )
    if result_type is None:
        raise InputError(f"{where}: unknown kind {kind!r}")
    counts = tuple(result_type.skeletons)
    points_of_kind = [(number, kind, k) for k in range(len(rows))]
    if [(row["instance"], row["kind"], row["keypoint"]) for row in rows] != points_of_kind or len(rows) not in counts:
        raise InputError(f"{where}: a {kind} has {' or '.join(map(str, counts))} keypoints in order")
    columns = {
        name: np.array([np.nan if row.get(name) is None else row[name] for row in rows], np.float32)
        for name in (*_VALUES, ERROR_COLUMN)
    }
    return number, result_type.from_columns(first, columns)


def _after_body(found: list[tuple[int, Result]]) -> bool:
    """Check whether a body is followed by a hand or face of the same index."""
    bodies: set[int] = set()
    for number, result in found:
        if isinstance(result, Body):
            bodies.add(number)
        elif number in bodies:
            return True
    return False


def _put(frame: Frame, number: int, result: Result, *, people: bool) -> None:
    """Add an instance to its list, or to the person whose body came right before it."""
    if people and isinstance(result, Body):
        frame.people.append(Person(result))
    elif people and frame.people and isinstance(result, (Hand, Face)):
        slot = "face" if isinstance(result, Face) else "left_hand" if result.handedness == "Left" else "right_hand"
        person = frame.people[-1]
        if number != len(frame.people) - 1 or getattr(person, slot) is not None:
            raise InputError(f"frame {frame.index}: {slot} {number} belongs to no body, or its body has one already")
        setattr(person, slot, result)
    else:
        frame.add([result])


class CsvRows(TextOutput, RowWriter):
    """Plain rows as CSV by RFC 4180: comma, CRLF, UTF-8, one line of column names."""

    def __init__(self, path: Path, header: Mapping[str, object] | None, columns: ColumnTypes) -> None:
        super().__init__(path)
        del header
        self._csv = csv.writer(self._file)
        self._columns = columns
        self._csv.writerow(columns)

    def write(self, rows: Iterable[Mapping[str, Value]]) -> None:
        with failing_as_job(self._draft.final):
            self._csv.writerows([_as_cell(row.get(name)) for name in self._columns] for row in rows)


class CsvWriter(TextOutput, FrameWriter):
    """Frames as CSV like `CsvRows`. Instances have a byte order mark, by which spreadsheet programs recognise UTF-8."""

    def __init__(self, path: Path, header: Header, extra: ExtraTypes, rows: TableRows) -> None:
        super().__init__(path, "utf-8" if rows == "keypoint" else "utf-8-sig")
        self._csv = csv.writer(self._file)
        self._rows_from = RowMaker(header, extra, rows, self._begin)
        self._has_text = False  # columns with texts of users, such as names of files

    def _begin(self, layout: Layout) -> None:
        self._has_text = SOURCE_COLUMN in layout.columns or str in layout.extra.values()
        self._csv.writerow(layout.columns)

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        self._write(self._rows_from(frame, extras))

    def _write(self, rows: Iterable[Row]) -> None:
        with failing_as_job(self._draft.final):
            self._csv.writerows([map(_as_cell, row) for row in rows] if self._has_text else rows)

    def _finish(self) -> None:
        self._write(self._rows_from.finish())
        super()._finish()


def _as_cell(value: Any) -> Any:  # noqa: ANN401  # of any column
    """Return a text that spreadsheets would read as a formula with an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(_FORMULA) else value


def _from_cell(text: str) -> str:
    """Return a text without the apostrophe of `_as_cell`."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text


def load_csv(path: Path) -> tuple[Header, list[Frame]]:
    """Read what CsvWriter wrote; the header knows only the kind, from what was found."""
    with path.open(encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
        reader = csv.DictReader(file, strict=True)
        if missing := set(COLUMNS) - set(reader.fieldnames or ()):
            raise InputError(f"columns are missing: {', '.join(sorted(missing))}")
        frames = frames_from_rows(
            {name: _PARSERS.get(name, _from_cell)(text) if text else None for name, text in row.items()}
            for row in reader
        )
    kinds = {name for frame in frames for name in RESULT_TYPES if frame.results(name)}
    return Header(kind=next((name for name in RESULT_TYPES if name in kinds), "hands")), frames
