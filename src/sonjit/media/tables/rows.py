"""Frames as rows, one per frame × instance × keypoint, and back.

The row table as CSV (RFC 4180).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sonjit.arrays import Float32Array
from sonjit.errors import InputError
from sonjit.extensions import load_extensions
from sonjit.files import failing_as_job
from sonjit.media.tables.base import (
    ColumnType,
    ColumnTypes,
    Extras,
    ExtraTypes,
    FrameWriter,
    Header,
    RowWriter,
    TextOutput,
    Value,
    known_extras,
)
from sonjit.results import RESULT_TYPES, Body, Face, Frame, Hand, Instance, Person, Points, Result, shortest_floats

_VALUES = ("x", "y", "z", "x_m", "y_m", "z_m", "visibility")
COLUMNS = (*("frame", "time", "instance", "id", "kind", "handedness", "score"), *("keypoint", "name"), *_VALUES)
"""`instance` counts the hands, faces, bodies or people of one frame, `keypoint` the points of one instance; x, y, z are
pixels, x_m, y_m, z_m metres. `kind` is "hand", "face" or "body"; a person is a body, followed by the hands and the face
of the same `instance`. A frame with nothing found keeps one row with only `frame` and `time` (and `source`)."""

SOURCE_COLUMN = "source"
"""The column after these for a folder of stills: the image's file."""

Row: TypeAlias = tuple[Any, ...]
"""A row's values in the order of the columns."""

RowRecord: TypeAlias = "Mapping[str, Any]"
"""A row's values by the columns' names."""


@dataclass(frozen=True)
class Layout:
    """Which columns a table has: `COLUMNS`, the source of stills, and further ones that hold an instance's measures."""

    with_source: bool = False
    extra: ExtraTypes = field(default_factory=dict[str, ColumnType])

    @property
    def columns(self) -> tuple[str, ...]:
        """Names, in order."""
        return (*COLUMNS, *((SOURCE_COLUMN,) if self.with_source else ()), *self.extra)

    def rows(self, frame: Frame, extras: Extras | None = None) -> list[Row]:
        """The rows of one frame as plain Python values; unknown is `None`, never NaN."""
        source = (frame.source,) if self.with_source else ()
        rows: list[Row] = []
        measured = known_extras(frame, extras, self.extra)
        for (number, one), measures in zip(frame.instances(), measured, strict=True):
            side = getattr(one, "handedness", None)
            start = (frame.index, frame.time, number, one.id, one.kind, side, _known(one.score))
            rows += [(*start, *point, *source, *measures) for point in _points(one)]
        nothing = (frame.index, frame.time, *(None,) * (len(COLUMNS) - 2), *source, *(None,) * len(self.extra))
        return rows or [nothing]


def _points(one: Instance) -> Iterator[Row]:
    """Number, name and values of each keypoint."""
    columns = dict.fromkeys(_VALUES, np.full(len(one.keypoints), np.nan, np.float32))
    for item in one.schema:
        points: Float32Array | None = getattr(one, item.name) if isinstance(item, Points) else None
        if isinstance(item, Points) and points is not None:
            columns |= dict(zip(item.columns, points.T, strict=False))
            scores = {score.column: getattr(one, score.name) for score in item.scores if score.column is not None}
            columns |= {name: values for name, values in scores.items() if values is not None}
    values = shortest_floats(np.column_stack([columns[name] for name in _VALUES]))  # (K, 7)
    for k, (name, row) in enumerate(zip(one.skeleton.keypoints, values, strict=True)):
        yield k, name or None, *map(_known, row)


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def frames_from_rows(rows: Iterable[RowRecord], *, people: bool = False) -> list[Frame]:
    """The frames whose rows these are, in their order; columns by name, unknown as `None`.

    Bodies become people where `people` says so or where any body is followed by a hand or face of its own number, which
    only a person's parts do: `Frame.instances()` lists hands and faces by themselves before the first body.
    """
    frames: list[tuple[Frame, list[tuple[int, Result]]]] = []
    by_frame = groupby(rows, key=lambda row: (row["frame"], row["time"], row.get(SOURCE_COLUMN)))
    for (index, time, source), of_frame in by_frame:
        frames.append((Frame(index, time, source=source), [_instance(group) for group in _groups(of_frame)]))
    people = people or any(_after_body(found) for _, found in frames)
    for frame, found in frames:
        for number, one in found:
            _put(frame, number, one, people=people)
    return [frame for frame, _ in frames]


def kind_of_frames(frames: Iterable[Frame]) -> str:
    """The first of a frame's lists in which any frame holds something; "hands" where all are empty."""
    held = {name for frame in frames for name in RESULT_TYPES if frame.results(name)}
    return next((name for name in RESULT_TYPES if name in held), "hands")


def _groups(rows: Iterable[RowRecord]) -> Iterator[list[RowRecord]]:
    """The rows of each instance of one frame: a new one begins at each keypoint 0."""
    group: list[RowRecord] = []
    for row in rows:
        if row["instance"] is None:
            continue
        if row["keypoint"] == 0 and group:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _instance(rows: list[RowRecord]) -> tuple[int, Result]:
    """Number and instance of the rows of one."""
    first = rows[0]
    number, kind = first["instance"], first["kind"]
    where = f"frame {first['frame']}, instance {number}"
    if all(one.kind != kind for one in RESULT_TYPES.values()):
        load_extensions()
    result_type = next((one for one in RESULT_TYPES.values() if one.kind == kind and one is not Person), None)
    if result_type is None:
        raise InputError(f"{where}: unknown kind {kind!r}")
    counts = tuple(result_type.skeletons)
    wanted = [(number, kind, k) for k in range(len(rows))]
    if [(row["instance"], row["kind"], row["keypoint"]) for row in rows] != wanted or len(rows) not in counts:
        raise InputError(f"{where}: a {kind} has {' or '.join(map(str, counts))} keypoints in order")
    columns = {
        name: np.array([np.nan if row[name] is None else row[name] for row in rows], np.float32) for name in _VALUES
    }
    return number, result_type.from_columns(first, columns)


def _after_body(found: list[tuple[int, Result]]) -> bool:
    """Whether a body is followed by a hand or face of its number."""
    bodies: set[int] = set()
    for number, one in found:
        if isinstance(one, Body):
            bodies.add(number)
        elif number in bodies:
            return True
    return False


def _put(frame: Frame, number: int, one: Result, *, people: bool) -> None:
    """Add an instance to its list, or to the person whose body came right before it."""
    if people and isinstance(one, Body):
        frame.people.append(Person(one))
    elif people and frame.people and isinstance(one, (Hand, Face)):
        slot = "face" if isinstance(one, Face) else "left_hand" if one.handedness == "Left" else "right_hand"
        person = frame.people[-1]
        if number != len(frame.people) - 1 or getattr(person, slot) is not None:
            raise InputError(f"frame {frame.index}: {slot} {number} belongs to no body, or its body has one already")
        setattr(person, slot, one)
    else:
        frame.results(one.list_name).append(one)


class _CsvFile(TextOutput):
    """RFC 4180: comma, CRLF, UTF-8, one line of column names."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, newline="")
        self._csv = csv.writer(self._file)


class CsvRows(_CsvFile, RowWriter):
    """Plain rows as CSV."""

    def __init__(self, path: Path, columns: ColumnTypes) -> None:
        super().__init__(path)
        self._columns = columns
        self._csv.writerow(columns)

    def write(self, rows: Iterable[Mapping[str, Value]]) -> None:
        """Append rows."""
        with failing_as_job(self._draft.final):
            self._csv.writerows([row.get(name) for name in self._columns] for row in rows)


class CsvWriter(_CsvFile, FrameWriter):
    """Frames as CSV."""

    def __init__(self, path: Path, extra: ExtraTypes) -> None:
        super().__init__(path)
        self._extra = extra
        self._layout: Layout | None = None

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append the rows of one frame; the first frame decides whether there is a `source` column."""
        with failing_as_job(self._draft.final):
            self._csv.writerows(self._begin(frame.source is not None).rows(frame, extras))

    def _begin(self, with_source: bool) -> Layout:
        if self._layout is None:
            self._layout = Layout(with_source, self._extra)
            self._csv.writerow(self._layout.columns)
        return self._layout

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            self._begin(False)
        super()._finish()


_PARSERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("frame", "instance", "id", "keypoint"), int),
    **dict.fromkeys(("time", "score", "x", "y", "z", "x_m", "y_m", "z_m", "visibility"), float),
}


def load_csv(path: Path) -> tuple[Header, list[Frame]]:
    """Read what CsvWriter wrote; the header knows only the kind, from what was found."""
    with path.open(encoding="utf-8", newline="", errors="surrogateescape") as file:
        reader = csv.DictReader(file, strict=True)
        if missing := set(COLUMNS) - set(reader.fieldnames or ()):
            raise InputError(f"{path}: columns are missing: {', '.join(sorted(missing))}")
        frames = frames_from_rows(
            {name: _PARSERS.get(name, str)(text) if text else None for name, text in row.items()} for row in reader
        )
    return Header(kind=kind_of_frames(frames)), frames
