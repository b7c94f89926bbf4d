"""Declare the fields of result types, and convert them to and from JSON and table rows.

The package `sonjit.results` contains the types that the detectors return. A type of your own derives from `Result` and
declares its fields in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, TypeAlias, TypeVar, cast

import numpy as np

from sonjit._util import Float32Array, Json, JsonObject, extensions, json_from
from sonjit.geometry.boxes import Box, box_around
from sonjit.results.skeletons import Skeleton, load_skeleton

R = TypeVar("R", bound="Result")

RESULT_TYPES: extensions.Registry[type[Result]] = extensions.Registry("list of results")
"""Result types by the name of a frame's list."""
VIEW_KEYS: Final = {"mirrored": "is_mirrored", "flipped": "is_flipped"}
"""Keys in JSON, and columns of row tables, of the attributes that state how a result was seen; absent if all are False.
"""
_MIRRORED_POSE = np.array([[1, -1, -1, -1], [-1, 1, 1, 1], [-1, 1, 1, 1], [1, 1, 1, 1]], np.float32)
"""Signs of a pose (4, 4) between the mirror images of both its spaces."""
_FLOAT32_RANGE = np.finfo(np.float32).min, np.finfo(np.float32).max


Role: TypeAlias = Literal["pixels", "metres", "points", "box", "mask", "pose"]
"""What a field describes in the image, which decides how it changes when its result is moved or mirrored.

pixels: points (N, 2 or 3) in pixels of the image. metres: points (N, 2 or 3) around an origin. points: `HandPoints`.
box: a `Box`. mask: a value (H, W) per pixel of the image. pose: a matrix (4, 4) to the camera.
"""


@dataclass(frozen=True)
class Value:
    """Attribute that JSON contains unchanged; a float32 array becomes lists of numbers."""

    name: str  # name of the attribute
    key: str  # key in JSON
    full: bool = False  # only `to_dict(full=True)` contains it
    is_box: bool = False  # the value is a `Box`, an object in JSON
    is_pose: bool = False  # the value is a matrix (4, 4) to the camera
    is_optional: bool = False  # JSON omits the key if the value is None
    # Named tuple type of the value, an object in JSON. None means another type.
    record: type[tuple[Any, ...]] | None = None

    def to_dict(self, value: Any) -> JsonObject:  # noqa: ANN401  # any value
        """Return the key and the plain JSON value of the attribute, or nothing."""
        if self.is_box:
            return {self.key: box_to_dict(value)}
        if value is None and self.is_optional:
            return {}
        if value is not None and self.record is not None:
            return {self.key: value._asdict()}
        return {self.key: shortest_floats(value) if isinstance(value, np.ndarray) else value}


@dataclass(frozen=True)
class PointScore:
    """Attribute with a number (K,) per keypoint, and its key in a keypoint's JSON, which may be only in full.

    `column` is that of row tables, or None.
    """

    name: str
    key: str
    full: bool = False
    column: str | None = None


@dataclass(frozen=True)
class Points:
    """Attribute with keypoints, (K, 2 or 3) float32: in pixels, or in metres if the names of columns end in `_m`."""

    name: str  # name of the attribute
    key: str  # key of the list in JSON
    columns: tuple[str, ...] = ()  # columns of x, y and z in row tables; may be empty
    scores: tuple[PointScore, ...] = ()  # scores of each point
    strict_axes: int | None = None  # number of coordinates in JSON that is not full. None means all.
    flat_counts: tuple[int, ...] = ()  # numbers of keypoints without z, such as the six of a face's box
    named: bool = True  # write the skeleton's names of the points

    @property
    def role(self) -> Role:
        """Return the role of the points in the image."""
        return "metres" if any(column.endswith("_m") for column in self.columns) else "pixels"

    def axes(self, points: Float32Array, *, full: bool) -> str:
        """Return the axes of "xyz" that JSON contains for points (K, 2 or 3) in pixels or metres."""
        if len(points) in self.flat_counts:
            return "xy"
        return "xyz"[: points.shape[1]] if full else "xyz"[: points.shape[1]][: self.strict_axes]


class Result:
    """Base of all result types; equal if all fields are equal, arrays bit by bit.

    A subclass is a dataclass with the fields `keypoints`, `score` and `id`, and the class attributes below. It owns its
    skeleton, its measures, its table columns and its drawing.

    Attributes:
        kind: Name of one instance: "hand".
        list_name: Name of the list in a frame: "hands".
        schema: Fields in JSON and columns in row tables, in their order.
        unwritten: Roles of the fields that are neither in JSON nor in tables and depend on the place in the image.
        skeletons: Skeleton by the number of keypoints: one of `list_skeletons()`, or a `Skeleton` of your own.
        members: JSON name and type of parts with their own keypoints, by attribute. Only a person has members.
        measure_names: Names of all measures that `measure` returns, or the import string of the tuple.
        drawing: Instance of `sonjit.media.drawing.Drawing`, or its import string. None draws the lines of the skeleton.
    """

    __slots__ = ("_flipped", "_mirrored")  # unset for False
    __hash__ = None  # pyright: ignore[reportAssignmentType]  # it has arrays, which change

    kind: ClassVar[str]
    list_name: ClassVar[str]
    schema: ClassVar[tuple[Value | Points, ...]]
    unwritten: ClassVar[Mapping[str, Role]] = {}
    skeletons: ClassVar[Mapping[int, str | Skeleton]]
    members: ClassVar[Mapping[str, tuple[str, type[Result]]]] = {}
    measure_names: ClassVar[tuple[str, ...] | str] = ()
    drawing: ClassVar[object] = None

    if TYPE_CHECKING:
        score: float
        keypoints: Float32Array
        id: int | None

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        names = [item.name for item in fields(self) if item.compare]  # pyright: ignore[reportArgumentType]
        is_same_view = self.is_mirrored == cast("Result", other).is_mirrored
        return is_same_view and all(_same(getattr(self, name), getattr(other, name)) for name in names)

    @property
    def is_mirrored(self) -> bool:
        """Whether the keypoints show the mirror image of the person, whose sides `handedness` and names state.

        Detectors set it with `mirrored`, unless `flip_horizontal` mirrors the selfie view back, and with
        `flip_horizontal` of an image that is no selfie view.
        """
        return getattr(self, "_mirrored", False)

    @is_mirrored.setter
    def is_mirrored(self, value: bool) -> None:
        self._mirrored = value

    @property
    def is_flipped(self) -> bool:
        """Whether x was mirrored, so that the result does not lie on the image in which it was found."""
        return getattr(self, "_flipped", False)

    @is_flipped.setter
    def is_flipped(self, value: bool) -> None:
        self._flipped = value

    @property
    def skeleton(self) -> Skeleton:
        """Return the names and bones of the keypoints."""
        skeleton = self.skeletons[len(self.keypoints)]
        return load_skeleton(skeleton) if isinstance(skeleton, str) else skeleton

    @property
    def title(self) -> str:
        """Return a short description, such as "face" or, for a hand of known side, "Right hand"."""
        return self.kind

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the keypoints in order; "" for points of a face mesh that lie on no contour."""
        return self.skeleton.keypoints

    def __getitem__(self, name: str) -> Float32Array:
        """Return the keypoint (3,) of a name, as in `hand["index_finger_tip"]`, or all (n, 3), as in `face["lips"]`.

        Raise InputError if no keypoint has that name.
        """
        shared = [k for k, other in enumerate(self.names) if name and other == name]
        return self.keypoints[shared if len(shared) > 1 else self.skeleton.index(name)]

    def normalized_keypoints(self, width: int, height: int) -> Float32Array:
        """Return keypoints (K, 3) as MediaPipe does: x and z divided by the width, y by the height."""
        return self.keypoints / np.array([width, height, width], np.float32)

    def centred_keypoints(self, width: int, height: int) -> Float32Array:
        """Return keypoints (K, 3) in pixels from the image centre: x right, y down, z unchanged."""
        return self.keypoints - np.array([width / 2, height / 2, 0], np.float32)

    def __repr__(self) -> str:
        """Return one line, such as `<Hand Right 0.98 #1, 21 keypoints in 5, 22, 31, 48>`. It omits an unknown side."""
        side = f" {self.side}" if getattr(self, "side", None) else ""  # pyright: ignore
        number = "" if self.id is None else f" #{self.id}"
        box = ", ".join(f"{value:.0f}" for value in self.box)
        return f"<{type(self).__name__}{side} {self.score:.2f}{number}, {len(self.keypoints)} keypoints in {box}>"

    @property
    def box(self) -> Box:
        """Return the tight keypoint box: x_min, y_min, x_max, y_max in pixels. It may exceed the image."""
        return box_around(self.keypoints)

    @property
    def parts(self) -> Sequence[Result]:
        """Return the parts with keypoints: the instance itself, or a person's body, hands and face."""
        return [self]

    def move(self, x: int, y: int, width: int, height: int) -> None:
        """Move the result from a part of an image, which begins at x and y, to the image of that width and height."""
        offset = np.array([x, y, 0], np.float32)
        for part in self.parts:
            for name, role, value in _placed_fields(part):
                match role:
                    case "pixels":
                        setattr(part, name, value + offset[: value.shape[1]])
                    case "points":
                        setattr(part, name, value._replace(keypoints=value.keypoints + offset))
                    case "box":
                        setattr(part, name, (value[0] + x, value[1] + y, value[2] + x, value[3] + y))
                    case "mask":
                        below, right = height - y - value.shape[0], width - x - value.shape[1]
                        setattr(part, name, np.pad(value, ((y, below), (x, right))))
                    case "metres" | "pose":  # relative to the instance, or to the camera
                        pass

    def flip(self, width: int) -> None:
        """Mirror x in an image of that width in pixels. Names keep the person's own left and right."""
        mirror, offset = np.array([-1, 1, 1], np.float32), np.array([width, 0, 0], np.float32)
        for part in self.parts:
            part.is_mirrored, part.is_flipped = not part.is_mirrored, not part.is_flipped
            for name, role, value in _placed_fields(part):
                match role:
                    case "pixels":
                        axes = value.shape[1]
                        setattr(part, name, value * mirror[:axes] + offset[:axes])
                    case "metres":
                        setattr(part, name, value * mirror[: value.shape[1]])
                    case "points":
                        setattr(part, name, value.flipped(width))
                    case "box":
                        left, right = (float(np.float32(width - x)) for x in (value[2], value[0]))
                        setattr(part, name, (left, value[1], right, value[3]))
                    case "mask":
                        setattr(part, name, np.ascontiguousarray(value[:, ::-1]))
                    case "pose":
                        setattr(part, name, value * _MIRRORED_POSE)

    def freeze(self) -> Self:
        """Give the result its own arrays, which are read-only, and return it. Detectors and readers of tables call it.

        An edit in place of a result's array is then an error of NumPy, and never reaches the tracker.
        """
        for owner in (self, *self.parts) if self.members else self.parts:
            for name, value in _present_fields(owner):
                if isinstance(value, (np.ndarray, tuple, list, dict)):
                    object.__setattr__(owner, name, _read_only(value))
        return self

    def measure(self) -> dict[str, float]:
        """Return all measures of this instance by name; NaN is unknown."""
        return {}

    def further_values(self) -> dict[str, float | str | None]:
        """Return what row tables contain of this instance besides its measures, by the names of the columns."""
        return {}

    def to_dict(self, *, full: bool = False) -> JsonObject:
        """Return plain JSON types in the shape of tfjs-models; `from_dict` reads `full=True` back exactly."""
        result: JsonObject = {"id": self.id} if self.members and full else {}
        for name, (key, _) in self.members.items():
            part: Result | None = getattr(self, name)
            result[key] = None if part is None else part.to_dict(full=full)
        names = self.skeleton.keypoints
        for item in self.schema:
            value = getattr(self, item.name)
            if isinstance(item, Points):
                if value is not None:
                    scores = {s.key: getattr(self, s.name) for s in item.scores if full or not s.full}
                    scores = {key: array for key, array in scores.items() if array is not None}
                    keys = names if item.named else ("",) * len(value)
                    result[item.key] = _points_to_dicts(value, keys, item.axes(value, full=full), scores)
            elif full or not item.full:
                result |= item.to_dict(value)
        view = VIEW_KEYS.items() if full and not self.members else ()
        return result | {key: True for key, name in view if getattr(self, name)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the result that `to_dict(full=True)` wrote; a missing z becomes NaN."""
        values: dict[str, Any] = {}
        for name, (key, kind) in cls.members.items():
            values[name] = None if data[key] is None else kind.from_dict(data[key])
        parameters, optional = _parameters(cls)
        for item in cls.schema:
            if item.name not in parameters:
                continue
            value = data.get(item.key) if item.name in optional else data[item.key]
            if value is None:
                values[item.name] = None
            elif isinstance(item, Points):
                points = np.array([[point["x"], point["y"], point.get("z", np.nan)] for point in value], np.float32)
                values[item.name] = points[:, : 3 if item.columns else 2]
                for score in item.scores:
                    if score.key in value[0]:
                        values[score.name] = np.array([point[score.key] for point in value], np.float32)
            elif item.record is not None:
                values[item.name] = item.record(**value)
            elif isinstance(value, list):
                values[item.name] = np.array(value, np.float32)
            elif item.is_box:
                corners = [value[key] for key in ("xMin", "yMin", "xMax", "yMax")]
                values[item.name] = tuple(np.array(corners, np.float32).tolist())
            else:
                values[item.name] = value
        return _seen(cls(**values), data)

    @classmethod
    def from_columns(cls, first: Mapping[str, Any], columns: Mapping[str, Float32Array]) -> Self:
        """Return the result from its first table row and its columns (K,) of numbers; missing values are unknown."""
        score = first["score"]
        values: dict[str, Any] = {"score": np.nan if score is None else score, "id": first["id"]}
        parameters, optional = _parameters(cls)
        if "handedness" in parameters:
            values["handedness"] = first["handedness"]
        for item in cls.schema:
            if isinstance(item, Points) and item.columns:
                values[item.name] = np.column_stack([columns[name] for name in item.columns])
                for point_score in item.scores:
                    unknown = np.full(len(columns["x"]), np.nan, np.float32)
                    entry = unknown if point_score.column is None else columns[point_score.column]
                    is_unknown = np.isnan(entry).all() and point_score.name in optional
                    values[point_score.name] = None if is_unknown else entry.copy()
            elif item.name == "box" and "box" in parameters:
                points = values["keypoints"]
                values["box"] = box_around(points) if len(points) > 6 else (np.nan,) * 4  # six determine no box
        return _seen(cls(**values), first)


def _seen(result: R, data: Mapping[str, Any]) -> R:
    """Return a frozen result that was read from `data`, which states how it was seen."""
    for key, name in VIEW_KEYS.items():
        if data.get(key):
            setattr(result, name, True)
    return result.freeze()


def _present_fields(part: Result) -> list[tuple[str, Any]]:
    """Return the names and values of the fields that are not None."""
    values = [(name, getattr(part, name)) for name in _field_names(type(part))]
    return [(name, value) for name, value in values if value is not None]


def _placed_fields(part: Result) -> list[tuple[str, Role, Any]]:
    """Return the names, roles and values of the fields that depend on the place in the image and are not None."""
    return [(name, role, value) for name, role in _roles(type(part)) if (value := getattr(part, name)) is not None]


@cache
def _roles(kind: type[Result]) -> tuple[tuple[str, Role], ...]:
    """Return the roles of the fields of a result type by name."""
    roles: dict[str, Role] = {}
    for item in kind.schema:
        if isinstance(item, Points):
            roles[item.name] = item.role
        elif item.is_box or item.is_pose:
            roles[item.name] = "box" if item.is_box else "pose"
    return tuple((name, role) for name, role in (roles | dict(kind.unwritten)).items() if name in _field_names(kind))


@cache
def _field_names(kind: type[Result]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))  # pyright: ignore[reportArgumentType]


def _read_only(value: Any) -> Any:  # noqa: ANN401  # whatever an attribute contains
    """Return a read-only copy of an array, or of the arrays in a tuple, list or dictionary."""
    if isinstance(value, np.ndarray):
        if value.flags.writeable or value.base is not None:
            value = value.copy()
            value.flags.writeable = False
        return value
    if isinstance(value, dict):
        return {key: _read_only(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_read_only(item) for item in value]
    if isinstance(value, tuple) and any(isinstance(item, np.ndarray) for item in value):
        items = [_read_only(item) for item in value]
        return type(value)(*items) if type(value) is not tuple else tuple(items)  # a named tuple takes its fields
    return value


def _parameters(kind: type[Result]) -> tuple[set[str], set[str]]:
    """Return the parameters of a result type's constructor, and those with a default."""
    items = fields(kind)  # pyright: ignore[reportArgumentType]
    return {item.name for item in items}, {item.name for item in items if item.default is not MISSING}


def unmirrored(result: R, width: int = 0) -> R:
    """Return a result as in the image of that width in pixels that is not mirrored, or itself if it is not mirrored."""
    return _flipped(result, width) if result.is_mirrored else result


def in_image(result: R, width: int) -> R:
    """Return a result as it lies on the image of that width in pixels, without `flip_horizontal`."""
    return _flipped(result, width) if result.is_flipped else result


def _flipped(result: R, width: int) -> R:
    other = copy(result)
    for name in result.members:
        setattr(other, name, copy(getattr(result, name)))
    other.flip(width)
    return other


def register_result(kind: type[R]) -> type[R]:
    """Register a result type under its `list_name`, as a decorator.

    A class that is defined again, such as by a reloaded module or a notebook cell, replaces its predecessor. Raise
    InputError if another type has that list.
    """
    entry = RESULT_TYPES.get(kind.list_name)
    is_same = entry is not None and (entry.__module__, entry.__qualname__) == (kind.__module__, kind.__qualname__)
    RESULT_TYPES.add(kind.list_name, kind, replace=is_same)
    return kind


def shortest_floats(array: Float32Array) -> list[Any]:
    """Return a float32 array (N,) or (N, D), in any unit, as lists of the shortest decimals that read back exactly.

    >>> shortest_floats(np.array([[0.1, 2.5]], np.float32))
    [[0.1, 2.5]]
    """
    flat = [float(text) for text in array.astype(np.float32).ravel().astype("U").tolist()]
    if array.ndim == 1:
        return flat
    width = array.shape[1]
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _points_to_dicts(
    points: Float32Array, names: tuple[str, ...], axes: str, scores: Mapping[str, Float32Array]
) -> list[Json]:
    """Return one dict per point (K, 3), with its axes, its scores (K,) and its name if it has one."""
    keys, columns = (*axes, *scores), np.column_stack([points[:, : len(axes)], *scores.values()])
    rows = (dict(zip(keys, row, strict=True)) for row in shortest_floats(columns))
    return [row | {"name": name} if name else row for row, name in zip(rows, names, strict=True)]


def box_to_dict(box: Box) -> JsonObject:
    """Return a box as JSON types, with the members of tfjs-models."""
    x_min, y_min, x_max, y_max = shortest_floats(np.array(box, np.float32))
    with np.errstate(over="ignore"):  # the difference of huge numbers may overflow float32
        width, height = shortest_floats(np.array([x_max - x_min, y_max - y_min], np.float32).clip(*_FLOAT32_RANGE))
    return {"xMin": x_min, "yMin": y_min, "xMax": x_max, "yMax": y_max, "width": width, "height": height}


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=True)
    return a == b


def results_to_json(results: Sequence[Result], additions: Sequence[JsonObject] | None = None, *, full: bool) -> str:
    """Return results of one detector as a JSON list, with members in the order of `Frame.instances`."""
    remaining = iter(additions or ())
    records = [result.to_dict(full=full) for result in results]
    for result, record in zip(results, records, strict=True):
        part_records = [record[key] for key, _ in result.members.values()] if result.members else [record]
        for part, part_record in zip(
            result.parts, cast("list[JsonObject]", [*filter(None, part_records)]), strict=True
        ):
            part_record |= ({"skeleton": part.skeleton.name} if full else {}) | next(remaining, {})
    return json_from(records)
