"""What a result type is: its fields, declared once, and how they become JSON and rows of tables and come back.

`sonjit.results` holds the types; one from outside derives from `Result` and is made known with `register_result`.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np

from sonjit.arrays import Float32Array
from sonjit.extensions import Registry
from sonjit.skeletons import Skeleton, load_skeleton

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sonjit.json_text import Json, JsonObject

Box = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max in pixels."""
R = TypeVar("R", bound="Result")


@dataclass(frozen=True)
class Value:
    """An attribute that is in JSON as it is.

    Attributes:
        name: of the attribute.
        key: in JSON.
        full: only `to_dict(full=True)` holds it.
        is_box: it is a `Box`, an object in JSON.
        is_optional: JSON lacks it where it is None. A float32 array is lists of numbers in JSON.
        record: of the value, a named tuple, which is an object in JSON; None for any other.
    """

    name: str
    key: str
    full: bool = False
    is_box: bool = False
    is_optional: bool = False
    record: type[tuple[Any, ...]] | None = None

    def to_dict(self, value: Any) -> JsonObject:  # noqa: ANN401  # whatever the attribute holds
        """What JSON holds of a value of the attribute: its key and plain types, or nothing."""
        if self.is_box:
            return {self.key: box_to_dict(value)}
        if value is None and self.is_optional:
            return {}
        if value is not None and self.record is not None:
            return {self.key: value._asdict()}
        return {self.key: shortest_floats(value) if isinstance(value, np.ndarray) else value}


@dataclass(frozen=True)
class PointScore:
    """A number per keypoint: an attribute (K,) float32.

    Attributes:
        name: of the attribute.
        key: of a keypoint in JSON.
        full: only `to_dict(full=True)` holds it.
        column: in row tables; None where they have none.
    """

    name: str
    key: str
    full: bool = False
    column: str | None = None


@dataclass(frozen=True)
class Points:
    """Keypoints: an attribute (K, 2 or 3) float32.

    Attributes:
        name: of the attribute.
        key: of the list in JSON.
        columns: of x, y, z in row tables; empty where these have none.
        scores: that are beside each point.
        strict_axes: how many coordinates are in JSON that is not full; None for all.
        flat_counts: numbers of keypoints that have no z, such as the six of a face's box.
        named: whether points carry the skeleton's names.
    """

    name: str
    key: str
    columns: tuple[str, ...] = ()
    scores: tuple[PointScore, ...] = ()
    strict_axes: int | None = None
    flat_counts: tuple[int, ...] = ()
    named: bool = True

    def axes(self, points: Float32Array, *, full: bool) -> str:
        """Of "xyz" those that are in JSON for points (K, 2 or 3)."""
        if len(points) in self.flat_counts:
            return "xy"
        return "xyz"[: points.shape[1]] if full else "xyz"[: points.shape[1]][: self.strict_axes]


class Result:
    """What every result type has; equal field by field, arrays bit by bit.

    A subclass is a dataclass with `keypoints`, `score` and `id`, and the class attributes below.

    Attributes:
        kind: of one, in the singular: "hand".
        list_name: of the list of a frame that holds them: "hands".
        schema: what is in JSON, in its order.
        skeletons: which skeleton the keypoints are of, by their number.
        members: parts with keypoints of their own, by attribute: JSON name and type; a person has some.
    """

    __slots__ = ()
    __hash__ = None  # pyright: ignore[reportAssignmentType]  # holds arrays, which change

    kind: ClassVar[str]
    list_name: ClassVar[str]
    schema: ClassVar[tuple[Value | Points, ...]]
    skeletons: ClassVar[Mapping[int, str]]
    members: ClassVar[Mapping[str, tuple[str, type[Result]]]] = {}

    if TYPE_CHECKING:
        score: float
        keypoints: Float32Array
        id: int | None

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        names = [item.name for item in fields(self) if item.compare]  # pyright: ignore[reportArgumentType]
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)

    @property
    def skeleton(self) -> Skeleton:
        """Names and bones of the keypoints."""
        return load_skeleton(self.skeletons[len(self.keypoints)])

    @property
    def title(self) -> str:
        """What it is, in words: its kind, such as "face"; a hand whose side is known says it: "Right hand"."""
        return self.kind

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the keypoints, in their order; "" for those of a face mesh that lie on no contour."""
        return self.skeleton.keypoints

    def __getitem__(self, name: str) -> Float32Array:
        """The keypoint of a name, (3,): `hand["index_finger_tip"]`; where several have it, all, (n, 3): `face["lips"]`.

        Raises:
            InputError: no keypoint has that name.
        """
        names = self.names
        if not name or names.count(name) < 2:
            return self.keypoints[self.skeleton.index(name)]
        return self.keypoints[[k for k, other in enumerate(names) if other == name]]

    def normalized_keypoints(self, width: int, height: int) -> Float32Array:
        """Keypoints (K, 3) in parts of the image, as MediaPipe gives them: x, z over the width, y over the height."""
        return self.keypoints / np.array([width, height, width], np.float32)

    def centred_keypoints(self, width: int, height: int) -> Float32Array:
        """Keypoints (K, 3) in pixels from the middle of the image, as of a stage: x right, y down, z as it is."""
        return self.keypoints - np.array([width / 2, height / 2, 0], np.float32)

    def __repr__(self) -> str:
        """One line: `<Hand Right 0.98 #1, 21 keypoints in 105, 220, 310, 480>`."""
        side = f" {self.handedness}" if getattr(self, "handedness", None) else ""  # pyright: ignore
        number = "" if self.id is None else f" #{self.id}"
        box = ", ".join(f"{value:.0f}" for value in self.box)
        return f"<{type(self).__name__}{side} {self.score:.2f}{number}, {len(self.keypoints)} keypoints in {box}>"

    @property
    def box(self) -> Box:
        """Tight box around the keypoints: x_min, y_min, x_max, y_max in pixels; may leave the image."""
        return box_around(self.keypoints)

    @property
    def parts(self) -> Sequence[Result]:
        """What has keypoints of its own: the instance itself, or a person's body, hands and face."""
        return [self]

    def to_dict(self, *, full: bool = False) -> JsonObject:
        """As plain JSON types in the shape of tfjs-models; with `full=True` as `from_dict` reads it back exactly."""
        result: JsonObject = {}
        names = self.skeleton.keypoints
        for item in self.schema:
            value = getattr(self, item.name)
            if isinstance(item, Points):
                if value is not None:
                    scores = {s.key: getattr(self, s.name) for s in item.scores if full or not s.full}
                    scores = {key: array for key, array in scores.items() if array is not None}
                    own = names if item.named else ("",) * len(value)
                    result[item.key] = _points_to_dicts(value, own, item.axes(value, full=full), scores)
            elif full or not item.full:
                result |= item.to_dict(value)
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict(full=True)` wrote; a missing z reads as NaN."""
        values: dict[str, Any] = {}
        wanted = _parameters(cls)
        for item in cls.schema:
            if item.name not in wanted.names:
                continue
            given = data.get(item.key) if item.name in wanted.optional else data[item.key]
            if given is None:
                values[item.name] = None
            elif isinstance(item, Points):
                values[item.name] = _points_from_dicts(given)[:, : 3 if item.columns else 2]
                values |= {one.name: _scores_from_dicts(given, one.key) for one in item.scores if one.key in given[0]}
            elif item.record is not None:
                values[item.name] = item.record(**given)
            elif isinstance(given, list):
                values[item.name] = np.array(given, np.float32)
            else:
                values[item.name] = _box_from_dict(given) if item.is_box else given
        return cls(**values)

    @classmethod
    def from_columns(cls, first: Mapping[str, Any], columns: Mapping[str, Float32Array]) -> Self:
        """From the rows of a table: the first row, and the columns (K,) of numbers; what they lack is unknown."""
        score = first["score"]
        values: dict[str, Any] = {"score": np.nan if score is None else score, "id": first["id"]}
        wanted = _parameters(cls)
        if "handedness" in wanted.names:
            values["handedness"] = first["handedness"]
        for item in cls.schema:
            if isinstance(item, Points) and item.columns:
                values[item.name] = np.column_stack([columns[name] for name in item.columns])
                for one in item.scores:
                    known = (
                        np.full(len(columns["x"]), np.nan, np.float32) if one.column is None else columns[one.column]
                    )
                    is_unknown = np.isnan(known).all() and one.name in wanted.optional
                    values[one.name] = None if is_unknown else known.copy()
            elif item.name == "box" and "box" in wanted.names:
                points = values["keypoints"]
                values["box"] = box_around(points) if len(points) > 6 else (np.nan,) * 4  # six determine no box
        return cls(**values)


@dataclass(frozen=True)
class _Parameters:
    """Of a result type's constructor: all, and those with a default."""

    names: frozenset[str]
    optional: frozenset[str]


def _parameters(kind: type[Result]) -> _Parameters:
    items = fields(kind)  # pyright: ignore[reportArgumentType]
    optional = {one.name for one in items if one.default is not MISSING}
    return _Parameters(frozenset(one.name for one in items), frozenset(optional))


RESULT_TYPES: Registry[type[Result]] = Registry("list of results")
"""Result types by the name of a frame's list."""


def register_result(kind: type[R]) -> type[R]:
    """Make a result type known under its `list_name`; a decorator.

    Raises:
        InputError: another type has that list.
    """
    RESULT_TYPES.add(kind.list_name, kind, replace=RESULT_TYPES.get(kind.list_name) is kind)
    return kind


def box_around(keypoints: Float32Array) -> Box:
    """Tight box around keypoints (K, 2 or more): x_min, y_min, x_max, y_max."""
    x, y = keypoints[:, 0], keypoints[:, 1]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def shortest_floats(array: Float32Array) -> list[Any]:
    """A float32 array as nested lists of the shortest decimals that read back to the same float32.

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
    """One dict per point (K, 3): its axes, its scores (K,) and its name where it has one."""
    columns = [shortest_floats(points[:, i]) for i in range(len(axes))] + [shortest_floats(s) for s in scores.values()]
    keys = (*axes, *scores)
    rows = (dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True))
    return [row | {"name": name} if name else row for row, name in zip(rows, names, strict=True)]


def _points_from_dicts(points: Sequence[Mapping[str, Any]]) -> Float32Array:
    """(K, 3) float32; a missing z is NaN."""
    return np.array([[point["x"], point["y"], point.get("z", np.nan)] for point in points], np.float32)


def _scores_from_dicts(points: Sequence[Mapping[str, Any]], key: str) -> Float32Array:
    """(K,) float32."""
    return np.array([point[key] for point in points], np.float32)


def _box_from_dict(box: Mapping[str, float]) -> Box:
    x_min, y_min, x_max, y_max = np.array([box[key] for key in ("xMin", "yMin", "xMax", "yMax")], np.float32).tolist()
    return x_min, y_min, x_max, y_max


_LEAST, _MOST = np.finfo(np.float32).min, np.finfo(np.float32).max


def box_to_dict(box: Box) -> JsonObject:
    """A box as plain JSON types, in tfjs-models' shape."""
    x_min, y_min, x_max, y_max = shortest_floats(np.array(box, np.float32))
    with np.errstate(over="ignore"):  # of absurd numbers the difference may be more than float32 holds
        width, height = shortest_floats(np.array([x_max - x_min, y_max - y_min], np.float32).clip(_LEAST, _MOST))
    return {"xMin": x_min, "yMin": y_min, "xMax": x_max, "yMax": y_max, "width": width, "height": height}


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=True)
    return a == b
