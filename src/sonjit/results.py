"""Hand, Face, Body, Person and Frame: the one schema that every part of Sonjit produces and reads.

Conventions: image keypoints are continuous pixel coordinates of the input image (x right, y down, the top left
corner is 0, 0); world keypoints are metres in the camera's axes (x right, y down, z forward). What is unknown is
`None`; nothing found is an empty list. Nothing in here tells who a person is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np

from sonjit.skeletons import Skeleton, load_skeleton

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

Handedness = Literal["Left", "Right"]
Box = tuple[float, float, float, float]


class _ByValue:
    """Equality field by field, arrays bit by bit."""

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # holds arrays, which change

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        names = [item.name for item in fields(self)]  # pyright: ignore[reportArgumentType]
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)


@dataclass(eq=False, slots=True)
class Hand(_ByValue):
    """One hand in one image.

    Attributes:
        handedness: the person's own hand, "Left" or "Right".
        score: probability that the crop holds a hand (presence), 0..1.
        keypoints: (21, 3) float32: x, y in pixels of the input; z in the same scale, relative to the wrist,
            smaller is nearer to the camera.
        keypoints_3d: (21, 3) float32 metres, origin at the hand's geometric centre; at the camera's lens for a hand
            that was lifted (`sonjit.lifting`), NaN where its distance could not be told.
        id: stable while the hand is tracked; `None` for stills.
        handedness_score: probability of the label, 0.5..1.
        extra_keypoints: (E, 2) float32 pixels: what a landmark network of your own was taught beside the 21, in the
            order in which it was taught.
        visibility: (21,) float32 probability that a keypoint is in the image and not hidden, 0..1, where asked for
            (`create_detector("hands", visibility=True)`).
    """

    handedness: Handedness
    score: float
    keypoints: NDArray[np.float32]
    keypoints_3d: NDArray[np.float32]
    id: int | None = None
    handedness_score: float | None = None
    extra_keypoints: NDArray[np.float32] | None = None
    visibility: NDArray[np.float32] | None = None

    kind: ClassVar[str] = "hand"

    @property
    def skeleton(self) -> Skeleton:
        """Names and bones of the 21 keypoints."""
        return load_skeleton("hand_mediapipe21")

    @property
    def box(self) -> Box:
        """Tight box around the keypoints: x_min, y_min, x_max, y_max in pixels; may leave the image."""
        return box_around(self.keypoints)

    def to_dict(self, *, full: bool = False) -> dict[str, Any]:
        """The hand as plain JSON types, in the shape of tfjs-models' hand-pose-detection.

        `{"score", "handedness", "keypoints": [{"x", "y", "name"}], "keypoints3D": [{"x", "y", "z", "name"}]}`,
        image coordinates in pixels, 3D in metres. With `full=True` it also holds "id", "handednessScore", "box"
        and a "z" (pixels) per image keypoint, so that `from_dict` gives back the same hand exactly. A network of your
        own that was taught more keypoints adds "extraKeypoints": [{"x", "y"}]. Where visibility was asked for it is
        each keypoint's "score", as a body's is.
        """
        names = self.skeleton.keypoints
        scores = None if self.visibility is None else {"score": self.visibility}
        result: dict[str, Any] = {
            "score": self.score,
            "handedness": self.handedness,
            "keypoints": _points_to_dicts(self.keypoints, names, "xyz" if full else "xy", scores),
            "keypoints3D": _points_to_dicts(self.keypoints_3d, names, scores=scores),
        }
        if self.extra_keypoints is not None:
            result["extraKeypoints"] = _points_to_dicts(self.extra_keypoints, ("",) * len(self.extra_keypoints), "xy")
        if full:
            result |= {"id": self.id, "handednessScore": self.handedness_score, "box": _box_to_dict(self.box)}
        return result

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The hand that `to_dict(full=True)` wrote; a missing image z reads as NaN."""
        return cls(
            handedness=data["handedness"],
            score=data["score"],
            keypoints=_points_from_dicts(data["keypoints"]),
            keypoints_3d=_points_from_dicts(data["keypoints3D"]),
            id=data.get("id"),
            handedness_score=data.get("handednessScore"),
            extra_keypoints=_points_from_dicts(data["extraKeypoints"])[:, :2] if "extraKeypoints" in data else None,
            visibility=_scores_from_dicts(data["keypoints"]) if "score" in data["keypoints"][0] else None,
        )


@dataclass(eq=False, slots=True)
class Face(_ByValue):
    """One face in one image. It holds positions only: nothing that could tell who it is.

    Attributes:
        score: probability of a face, 0..1: presence in the crop for meshes, the detector's for boxes.
        keypoints: (K, 3) float32: x, y in pixels of the input; z in the same scale, smaller is nearer to the camera.
            K is 478 with irises, 468 for the plain mesh, 6 (with z NaN) for a box.
        box: x_min, y_min, x_max, y_max in pixels: around the mesh, or the detector's own; may leave the image.
        id: stable while the face is tracked; `None` for stills.
    """

    score: float
    keypoints: NDArray[np.float32]
    box: Box
    id: int | None = None

    kind: ClassVar[str] = "face"
    handedness: ClassVar[None] = None
    keypoints_3d: ClassVar[None] = None
    visibility: ClassVar[None] = None

    @property
    def skeleton(self) -> Skeleton:
        """Names (of contours, for a mesh: many points share one, others have "") and connections."""
        count = len(self.keypoints)
        return load_skeleton("face_blazeface6" if count == 6 else f"face_mediapipe{count}")

    def to_dict(self, *, full: bool = False) -> dict[str, Any]:
        """The face as plain JSON types, in the shape of tfjs-models' face-landmarks-detection.

        `{"keypoints": [{"x", "y", "z", "name"?}], "box": {"xMin", "yMin", "xMax", "yMax", "width", "height"}}` in
        pixels; only points on a contour have a name. With `full=True` it also holds "score" and "id".
        """
        axes = "xy" if len(self.keypoints) == 6 else "xyz"
        result: dict[str, Any] = {
            "keypoints": _points_to_dicts(self.keypoints, self.skeleton.keypoints, axes),
            "box": _box_to_dict(self.box),
        }
        if full:
            result |= {"score": self.score, "id": self.id}
        return result

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The face that `to_dict(full=True)` wrote."""
        box = data["box"]
        x_min, y_min, x_max, y_max = np.array([box["xMin"], box["yMin"], box["xMax"], box["yMax"]], np.float32).tolist()
        return cls(
            score=data["score"],
            keypoints=_points_from_dicts(data["keypoints"]),
            box=(x_min, y_min, x_max, y_max),
            id=data.get("id"),
        )


@dataclass(eq=False, slots=True)
class Body(_ByValue):
    """One person's body in one image.

    Attributes:
        score: probability that the crop holds a person (presence), 0..1.
        keypoints: (33, 3) float32: x, y in pixels of the input; z in the same scale, relative to the hips, smaller is
            nearer to the camera.
        keypoints_3d: (33, 3) float32 metres, origin at the middle of the hips.
        visibility: (33,) float32 probability that a keypoint is in the image and not hidden, 0..1.
        presence: (33,) float32 probability that a keypoint is in the image, 0..1.
        id: stable while the body is tracked; `None` for stills.
        mask: (H, W) float32 probability of this person per pixel of the input, where asked for.
    """

    score: float
    keypoints: NDArray[np.float32]
    keypoints_3d: NDArray[np.float32]
    visibility: NDArray[np.float32]
    presence: NDArray[np.float32]
    id: int | None = None
    mask: NDArray[np.float32] | None = None

    kind: ClassVar[str] = "body"
    handedness: ClassVar[None] = None

    @property
    def skeleton(self) -> Skeleton:
        """Names and bones of the 33 keypoints."""
        return load_skeleton("body_blazepose33")

    @property
    def box(self) -> Box:
        """Tight box around the keypoints: x_min, y_min, x_max, y_max in pixels; may leave the image."""
        return box_around(self.keypoints)

    def to_dict(self, *, full: bool = False) -> dict[str, Any]:
        """The body as plain JSON types, in the shape of tfjs-models' pose-detection.

        `{"score", "keypoints": [{"x", "y", "z", "score", "name"}], "keypoints3D": [{"x", "y", "z", "score", "name"}]}`:
        pixels and metres; a keypoint's score is its visibility. With `full=True` it also holds "id", "box" and a
        "presence" per image keypoint. The mask is an image and never stands in JSON.
        """
        names, scores = self.skeleton.keypoints, {"score": self.visibility}
        image_scores = scores | {"presence": self.presence} if full else scores
        result: dict[str, Any] = {
            "score": self.score,
            "keypoints": _points_to_dicts(self.keypoints, names, scores=image_scores),
            "keypoints3D": _points_to_dicts(self.keypoints_3d, names, scores=scores),
        }
        if full:
            result |= {"id": self.id, "box": _box_to_dict(self.box)}
        return result

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The body that `to_dict(full=True)` wrote, without its mask."""
        return cls(
            score=data["score"],
            keypoints=_points_from_dicts(data["keypoints"]),
            keypoints_3d=_points_from_dicts(data["keypoints3D"]),
            visibility=_scores_from_dicts(data["keypoints"]),
            presence=np.array([point["presence"] for point in data["keypoints"]], np.float32),
            id=data.get("id"),
        )


@dataclass(eq=False, slots=True)
class Person(_ByValue):
    """One person: a body with its own hands and face, each `None` where it was not found.

    Attributes:
        body: always there.
        left_hand, right_hand: the person's own.
        face: the mesh.
    """

    body: Body
    left_hand: Hand | None = None
    right_hand: Hand | None = None
    face: Face | None = None

    kind: ClassVar[str] = "person"

    @property
    def id(self) -> int | None:
        """The body's; its hands and face have the same."""
        return self.body.id

    @property
    def parts(self) -> list[Instance]:
        """Body, left hand, right hand and face, as far as they were found."""
        return [part for part in (self.body, self.left_hand, self.right_hand, self.face) if part is not None]

    def to_dict(self, *, full: bool = False) -> dict[str, Any]:
        """`{"body", "leftHand", "rightHand", "face"}`, each in its own shape or null; "id" with `full=True`."""
        result: dict[str, Any] = {"id": self.id} if full else {}
        for name, part in zip(_PARTS, (self.body, self.left_hand, self.right_hand, self.face), strict=True):
            result[name] = None if part is None else part.to_dict(full=full)
        return result

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The person that `to_dict(full=True)` wrote."""
        body, left, right, face = (data[name] for name in _PARTS)
        return cls(
            Body.from_dict(body),
            None if left is None else Hand.from_dict(left),
            None if right is None else Hand.from_dict(right),
            None if face is None else Face.from_dict(face),
        )


_PARTS = ("body", "leftHand", "rightHand", "face")
Instance: TypeAlias = "Hand | Face | Body"
"""What has keypoints of its own."""


@dataclass(slots=True)
class Frame:
    """What was found in one image of a source.

    Attributes:
        index: position in the source, from 0.
        time: seconds from the start of the video; `None` for stills.
        hands, faces, bodies, people: what was found; an empty list where there is none or it was not looked for.
        source: the image's own file for a folder of stills, else `None`.
    """

    index: int
    time: float | None
    hands: list[Hand] = field(default_factory=list[Hand])
    source: str | None = None
    faces: list[Face] = field(default_factory=list[Face])
    bodies: list[Body] = field(default_factory=list[Body])
    people: list[Person] = field(default_factory=list[Person])

    @classmethod
    def holding(
        cls, index: int, time: float | None, found: Sequence[Hand | Face | Body | Person], source: str | None = None
    ) -> Self:
        """The frame with what a detector gave, each in the list of its kind."""
        frame = cls(index, time, source=source)
        for one in found:
            getattr(frame, _LIST_OF[type(one)]).append(one)
        return frame

    def instances(self) -> Iterator[tuple[int, Instance]]:
        """Everything with keypoints of its own, with its number among its kind; parts have their person's number."""
        yield from enumerate(self.hands)
        yield from enumerate(self.faces)
        yield from enumerate(self.bodies)
        for number, person in enumerate(self.people):
            for part in person.parts:
                yield number, part

    def to_dict(self, kinds: tuple[str, ...] = ("hands",)) -> dict[str, Any]:
        """The frame as plain JSON types: "index", "time", a list per kind, and "source" for a folder of stills.

        Args:
            kinds: of "hands", "faces", "bodies", "people": which lists to write even where they are empty.
        """
        result: dict[str, Any] = {"index": self.index, "time": self.time}
        if self.source is not None:
            result["source"] = self.source
        for name in FRAME_KINDS:
            found: list[Hand | Face | Body | Person] = getattr(self, name)
            if found or name in kinds:
                result[name] = [instance.to_dict(full=True) for instance in found]
        return result

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The frame that `to_dict` wrote."""
        return cls(
            data["index"],
            data["time"],
            source=data.get("source"),
            **{name: [kind.from_dict(item) for item in data.get(name, [])] for name, kind in FRAME_KINDS.items()},  # pyright: ignore
        )


FRAME_KINDS: dict[str, type[Hand | Face | Body | Person]] = {
    "hands": Hand,
    "faces": Face,
    "bodies": Body,
    "people": Person,
}
"""Names of a frame's lists, with what they hold."""


_LIST_OF = {kind: name for name, kind in FRAME_KINDS.items()}


def box_around(keypoints: NDArray[np.float32]) -> Box:
    """Tight box around keypoints (K, 2 or more): x_min, y_min, x_max, y_max."""
    x, y = keypoints[:, 0], keypoints[:, 1]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def shortest_floats(array: NDArray[np.float32]) -> list[Any]:
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
    points: NDArray[np.float32],
    names: tuple[str, ...],
    axes: str = "xyz",
    scores: dict[str, NDArray[np.float32]] | None = None,
) -> list[dict[str, Any]]:
    """One dict per point (K, 3): its axes, its scores (K,) and its name where it has one."""
    scores = scores or {}
    columns = [shortest_floats(points[:, i]) for i in range(len(axes))] + [shortest_floats(s) for s in scores.values()]
    keys = (*axes, *scores)
    rows = [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]
    for row, name in zip(rows, names, strict=True):
        if name:
            row["name"] = name
    return rows


def _points_from_dicts(points: list[dict[str, Any]]) -> NDArray[np.float32]:
    """(K, 3) float32; a missing z is NaN."""
    return np.array([[point["x"], point["y"], point.get("z", np.nan)] for point in points], np.float32)


def _scores_from_dicts(points: list[dict[str, Any]]) -> NDArray[np.float32]:
    """(K,) float32."""
    return np.array([point["score"] for point in points], np.float32)


def _box_to_dict(box: Box) -> dict[str, float]:
    x_min, y_min, x_max, y_max = shortest_floats(np.array(box, np.float32))
    width, height = shortest_floats(np.array([x_max - x_min, y_max - y_min], np.float32))
    return {"xMin": x_min, "yMin": y_min, "xMax": x_max, "yMax": y_max, "width": width, "height": height}


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=True)
    return a == b
