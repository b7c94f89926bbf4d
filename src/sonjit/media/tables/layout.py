"""Lay out frames as rows: the columns of a table, and the values of each row."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeAlias

import numpy as np

from sonjit._util import Float32Array, InputError
from sonjit.media.tables.base import ColumnType, Extras, ExtraTypes, Header, TableRows
from sonjit.results import RESULT_TYPES, Face, Frame, Hand, Instance, Person, Points, Result, shortest_floats
from sonjit.results.measures import in_degrees
from sonjit.results.schema import VIEW_KEYS
from sonjit.results.skeletons import load_skeleton
from sonjit.results.skeletons.faces import BLENDSHAPES

VALUES = ("x", "y", "z", "x_m", "y_m", "z_m", "visibility")
COLUMNS = (*("frame", "time", "instance", "id", "kind", "handedness", "score"), *("keypoint", "name"), *VALUES)
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


def extra_types(extra: Iterable[str] | ExtraTypes, used: Iterable[str]) -> ExtraTypes:
    """Return the types of additional columns by name, by default numbers. Raise InputError for a duplicate name."""
    types = extra if isinstance(extra, Mapping) else dict.fromkeys(extra, float)
    if clash := set(types) & set(used):
        raise InputError(f"a further column cannot be called {', '.join(sorted(clash))}: tables have that one already")
    return types


def types_of(values: Iterable[Mapping[str, float | str | None]]) -> ExtraTypes:
    """Return the types of the additional values by name. A column of integers and other numbers has numbers."""
    kinds_by_name: dict[str, set[ColumnType]] = {}
    for mapping in values:
        for name, value in mapping.items():
            kinds = kinds_by_name.setdefault(name, set())
            if value is not None:
                kinds.add(str if isinstance(value, str) else int if isinstance(value, int) else float)
    return {name: str if str in kinds else int if kinds == {int} else float for name, kinds in kinds_by_name.items()}


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
        raise InputError(
            f"{name} is {value!r}, but its column contains {'text' if kind is str else 'numbers'}: "
            f"give extra={{{name!r}: {'float' if kind is str else 'str'}}}"
        )
    return kind(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Layout:
    """Columns of a row table."""

    with_source: bool  # add the file of each image
    extra: ExtraTypes  # additional columns with the measures of an instance
    rows: TableRows  # what a row describes
    points: Mapping[str, int]  # number of keypoints of each kind that have columns in wide rows
    with_error: bool  # add the expected error of each keypoint
    with_view: bool  # add whether results are mirrored and flipped

    @property
    def values(self) -> tuple[str, ...]:
        """Return the columns of a keypoint that are numbers."""
        return (*VALUES, ERROR_COLUMN) if self.with_error else VALUES

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Return the column names in order."""
        source = (SOURCE_COLUMN,) if self.with_source else ()
        if self.rows == "keypoint":
            return (*COLUMNS, *self.values[len(VALUES) :], *self._view, *source, *self.extra)
        points = (name for kind, count in self.points.items() for name in _point_columns(kind, count, self.values))
        return tuple(dict.fromkeys((*source, *INSTANCE_COLUMNS, *self._view, *self.extra, *points)))

    @property
    def _view(self) -> tuple[str, ...]:
        return tuple(VIEW_KEYS) if self.with_view else ()

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
            view = [int(getattr(result, VIEW_KEYS[name])) for name in self._view]
            rows += [(*start, *point, *view, *source, *measures) for point in _points(result, self.values)]
        unknown = (None,) * (len(COLUMNS) - 2 + len(self.values) - len(VALUES) + len(self._view))
        nothing = (frame.index, frame.time, *unknown, *source, *(None,) * len(self.extra))
        return rows or [nothing]

    def _instance_rows(self, frame: Frame, measured: Sequence[Sequence[float | str | None]]) -> list[Row]:
        """Return a row per instance; a frame without instances has one row."""
        shared = {SOURCE_COLUMN: frame.source, "frame": frame.index, "time": frame.time}
        rows: list[dict[str, object]] = []
        for (number, result), values in zip(frame.instances(), measured, strict=True):
            row: dict[str, object] = {**shared, "instance": number, "id": result.id}
            row["key"] = number if result.id is None else result.id
            row |= {"kind": result.kind, "handedness": getattr(result, "handedness", None)}
            row |= {"score": _rounded(result.score)}
            row |= {name: int(getattr(result, VIEW_KEYS[name])) for name in self._view}
            row |= dict(zip(BOX_COLUMNS, [_known(round(value, 2)) for value in result.box], strict=True))
            row |= {name: _rounded(value, name) for name, value in zip(self.extra, values, strict=True)}
            if result.kind in self.points:
                names = _point_columns(result.kind, len(result.keypoints), self.values)
                axes = [self.values.index(axis) for axis in _axes(result.kind, self.values)]
                points = _points(result, self.values)
                row |= dict(zip(names, (point[2 + axis] for point in points for axis in axes), strict=True))
            rows.append(row)
        return [tuple(row.get(name) for name in self.columns) for row in rows or [shared]]


class RowMaker:
    """Convert frames to rows. The columns are known with the first frames."""

    def __init__(self, header: Header, extra: ExtraTypes, rows: TableRows, begin: Callable[[Layout], object]) -> None:
        self._result_type = RESULT_TYPES[header.kind]
        self._is_refined = header.options.get("keypoints") == "refined" or bool(header.options.get("distance"))
        is_known = bool(header.version) or self._is_refined  # a run of Sonjit names all of its options
        chosen = {name.rpartition(".")[2] for name, value in header.options.items() if value}
        self._is_changed = not chosen.isdisjoint(("mirrored", "flip_horizontal"))
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
            with_view = self._is_changed or has_view(frames)
            self._layout = Layout(with_source, self._extra, self._rows, points, with_error, with_view)
            self._begin(self._layout)
        rows = [row for frame, extras in self._waiting for row in self._layout.make_rows(frame, extras)]
        self._waiting.clear()
        return rows


def has_errors(frames: Iterable[Frame]) -> bool:
    """Check whether the expected errors of a hand are known."""
    return any(hand.error_px is not None for frame in frames for hand in frame.parts_of(Hand))


def has_view(frames: Iterable[Frame]) -> bool:
    """Check whether a result is mirrored or flipped."""
    instances = (instance for frame in frames for _, instance in frame.instances())
    return any(instance.is_mirrored or instance.is_flipped for instance in instances)


def wide_points(frames: Iterable[Frame], result_type: type[Result] | None = None) -> dict[str, int]:
    """Return the number of keypoints of each kind in frames, and of `result_type` also if no frame contains it."""
    counts = {result.kind: len(result.keypoints) for frame in frames for _, result in frame.instances()}
    if result_type is None:
        return counts
    kinds = [kind for _, kind in Person.members.values()] if result_type is Person else [result_type]
    return {kind.kind: counts.get(kind.kind, next(iter(kind.skeletons))) for kind in kinds} | counts


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
