"""Hand, Face, Body, Person and Frame: the one schema that every part of Sonjit produces and reads.

Conventions: image keypoints are continuous pixel coordinates of the input image (x right, y down, the top left
corner is 0, 0); world keypoints are metres in the camera's axes (x right, y down, z forward). What is unknown is
`None`; nothing found is an empty list. Nothing in here identifies a person.

A result type declares its fields once, in its `schema`: JSON, row tables, Parquet, the server and the page read that.
One that is registered from outside (`register_result`) goes through all of them, in `Frame.others`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, cast

from sonjit.arrays import Float32Array
from sonjit.result_schema import (
    RESULT_TYPES,
    Box,
    Points,
    PointScore,
    Result,
    Value,
    box_around,
    box_to_dict,
    register_result,
    shortest_floats,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sonjit.json_text import JsonObject
    from sonjit.skeletons import Skeleton

Handedness = Literal["Left", "Right"]
Phase: TypeAlias = Literal["begin", "progress", "end", "cancel"]
"""Of a motion."""

__all__ = [
    "RESULT_TYPES",
    "Body",
    "Box",
    "Face",
    "Frame",
    "Gesture",
    "Hand",
    "Handedness",
    "Instance",
    "MotionEvent",
    "Person",
    "Phase",
    "PointScore",
    "Points",
    "Result",
    "Value",
    "box_around",
    "box_to_dict",
    "register_result",
    "shortest_floats",
]


_VISIBILITY = PointScore("visibility", "score", column="visibility")
_XYZ, _XYZ_M = ("x", "y", "z"), ("x_m", "y_m", "z_m")


class Gesture(NamedTuple):
    """What a hand says.

    Attributes:
        name: one of `sonjit.gestures.GESTURES`, or a gesture that was taught.
        score: its probability, 0..1.
    """

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class MotionEvent:
    """One step of a motion of one hand.

    Attributes:
        name: one of `sonjit.gestures.MOTIONS`, or a custom motion, which is reported once, at its end.
        phase: `begin`, then `progress` with every frame, then `end`; `cancel` in place of `end` where the hand was lost
            or what began as a swipe became another movement.
        id: of the hand; of two the one that is tracked longest.
        handedness: of the hand.
        time: seconds.
        strength: 0..1: speed of a swipe, push or clap, size of a wave or circle, how far a pinch or fist is closed;
            of a custom motion its score.
        moved: hand lengths to the right and down in the image since the motion began.
        count: turns of a circle, and of a rotation, clockwise positive; single swings of a wave; of a zoom the distance
            of the hands, of a push the size of the hand, both over that at the begin; else 0.
    """

    name: str
    phase: Phase
    id: int
    handedness: Handedness
    time: float
    strength: float
    moved: tuple[float, float]
    count: float

    def to_dict(self) -> JsonObject:
        """As plain JSON types."""
        return {
            "name": self.name,
            "phase": self.phase,
            "id": self.id,
            "handedness": self.handedness,
            "time": round(self.time, 4),
            "strength": round(self.strength, 3),
            "moved": [round(one, 3) for one in self.moved],
            "count": round(self.count, 2),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The event that `to_dict` wrote, rounded as there."""
        x, y = data["moved"]
        given: dict[str, Any] = {**data, "moved": (x, y)}
        return cls(**given)


LEAST_SIDE_SCORE = 0.8
"""Of the label from which a hand's side is called known: on photographs, 82 of 82 such labels were right."""


@register_result
@dataclass(eq=False, repr=False, slots=True)
class Hand(Result):
    """One hand in one image.

    `to_dict()` has the shape of tfjs-models' hand-pose-detection: `{"score", "handedness", "keypoints": [{"x", "y",
    "name"}], "keypoints3D": [{"x", "y", "z", "name"}]}`, image coordinates in pixels, 3D in metres. With `full=True`
    it also holds "id", "handednessScore", "box" and a "z" (pixels) per image keypoint. Further keypoints of a network
    of your own are in "extraKeypoints": [{"x", "y"}]; visibility is each keypoint's "score", as a body's is; a gesture
    that was told is in "gesture": {"name", "score"}.

    Attributes:
        handedness: the person's own hand, "Left" or "Right".
        score: probability that the crop holds a hand (presence), 0..1.
        keypoints: (21, 3) float32: x, y in pixels of the input; z in the same scale, relative to the wrist,
            smaller is nearer to the camera.
        keypoints_3d: (21, 3) float32 metres, origin at the hand's geometric centre; at the camera's lens for a hand
            that was lifted (`sonjit.lifting`), NaN where its distance is unknown.
        id: stable while the hand is tracked; `None` for stills.
        handedness_score: probability of the label, 0.5..1; see `side`.
        extra_keypoints: (E, 2) float32 pixels: what a landmark network of your own was trained to give beside the 21,
            in its order.
        visibility: (21,) float32 probability that a keypoint is in the image and not hidden, 0..1, where asked for
            (`create_detector("hands", visibility=True)`).
        gesture: what the hand says, where asked for (`create_detector("hands", gestures="canned")`), steady over the
            frames of a stream; None where it makes no gesture that is known.
        appearance: (21, A) float32: what the hand network's maps show at each keypoint, and where it is corrected to;
            gestures are told by it and the keypoints. It has no unit, is not compared, and not written into files;
            None where the detector did not read it: the published full network's is, in images, with
            `visibility=True` or `search="thorough"`.
    """

    handedness: Handedness
    score: float
    keypoints: Float32Array
    keypoints_3d: Float32Array
    id: int | None = None
    handedness_score: float | None = None
    extra_keypoints: Float32Array | None = None
    visibility: Float32Array | None = None
    gesture: Gesture | None = None
    appearance: Float32Array | None = field(default=None, compare=False)

    kind: ClassVar[str] = "hand"
    list_name: ClassVar[str] = "hands"
    skeletons: ClassVar[Mapping[int, str]] = {21: "hand_mediapipe21"}
    schema: ClassVar[tuple[Value | Points, ...]] = (
        Value("score", "score"),
        Value("handedness", "handedness"),
        Points("keypoints", "keypoints", _XYZ, (_VISIBILITY,), strict_axes=2),
        Points("keypoints_3d", "keypoints3D", _XYZ_M, (_VISIBILITY,)),
        Points("extra_keypoints", "extraKeypoints", named=False),
        Value("gesture", "gesture", is_optional=True, record=Gesture),
        Value("id", "id", full=True),
        Value("handedness_score", "handednessScore", full=True),
        Value("box", "box", full=True, is_box=True),
    )

    @property
    def side(self) -> Handedness | None:
        """`handedness` where its probability is 0.8 or more, or not given; None where the side is unknown."""
        known = self.handedness_score is None or self.handedness_score >= LEAST_SIDE_SCORE
        return self.handedness if known else None

    @property
    def title(self) -> str:
        """`Right hand`, `Left hand`, or `hand` where the side is unknown."""
        return f"{self.side} hand" if self.side else "hand"


@register_result
@dataclass(eq=False, repr=False, slots=True)
class Face(Result):
    """One face in one image. It holds positions only: nothing that could identify a person.

    `to_dict()` has the shape of tfjs-models' face-landmarks-detection: `{"keypoints": [{"x", "y", "z", "name"?}],
    "box": {"xMin", "yMin", "xMax", "yMax", "width", "height"}}` in pixels; only points on a contour have a name. With
    `full=True` it also holds "score" and "id", and where they are known "blendshapes", an object of numbers by name,
    and "transform", the rows of the matrix.

    Attributes:
        score: probability of a face, 0..1: presence in the crop for meshes, the detector's for boxes.
        keypoints: (K, 3) float32: x, y in pixels of the input; z in the same scale, smaller is nearer to the camera.
            K is 478 with irises, 468 for the plain mesh, 6 (with z NaN) for a box.
        box: x_min, y_min, x_max, y_max in pixels: around the mesh, or the detector's own; may leave the image.
        id: stable while the face is tracked; `None` for stills.
        blendshapes: how much of each expression the face shows, 0..1, by the 52 names of
            `sonjit.skeletons.blendshapes.BLENDSHAPES`; None where not asked for (`blendshapes=True`).
        transform: (4, 4) float32 from MediaPipe's canonical face to the camera, in centimetres, x right, y up, z
            towards the viewer; None where not asked for (`transform=True`). The distance is that of a camera with a
            vertical field of view of 63 degrees.
    """

    score: float
    keypoints: Float32Array
    box: Box  # pyright: ignore[reportIncompatibleMethodOverride]  # the detector's own, or around the mesh
    id: int | None = None
    blendshapes: dict[str, float] | None = None
    transform: Float32Array | None = None

    kind: ClassVar[str] = "face"
    handedness: ClassVar[None] = None
    keypoints_3d: ClassVar[None] = None
    visibility: ClassVar[None] = None
    list_name: ClassVar[str] = "faces"
    skeletons: ClassVar[Mapping[int, str]] = {
        478: "face_mediapipe478",
        468: "face_mediapipe468",
        6: "face_blazeface6",
    }
    schema: ClassVar[tuple[Value | Points, ...]] = (
        Points("keypoints", "keypoints", _XYZ, flat_counts=(6,)),
        Value("box", "box", is_box=True),
        Value("score", "score", full=True),
        Value("id", "id", full=True),
        Value("blendshapes", "blendshapes", full=True, is_optional=True),
        Value("transform", "transform", full=True, is_optional=True),
    )


@register_result
@dataclass(eq=False, repr=False, slots=True)
class Body(Result):
    """One person's body in one image.

    `to_dict()` has the shape of tfjs-models' pose-detection: `{"score", "keypoints": [{"x", "y", "z", "score",
    "name"}], "keypoints3D": [{"x", "y", "z", "score", "name"}]}`: pixels and metres; a keypoint's score is its
    visibility. With `full=True` it also holds "id", "box" and a "presence" per image keypoint. The mask is an image
    and is never in JSON.

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
    keypoints: Float32Array
    keypoints_3d: Float32Array
    visibility: Float32Array
    presence: Float32Array
    id: int | None = None
    mask: Float32Array | None = None

    kind: ClassVar[str] = "body"
    handedness: ClassVar[None] = None
    list_name: ClassVar[str] = "bodies"
    skeletons: ClassVar[Mapping[int, str]] = {33: "body_blazepose33"}
    schema: ClassVar[tuple[Value | Points, ...]] = (
        Value("score", "score"),
        Points("keypoints", "keypoints", _XYZ, (_VISIBILITY, PointScore("presence", "presence", full=True))),
        Points("keypoints_3d", "keypoints3D", _XYZ_M, (_VISIBILITY,)),
        Value("id", "id", full=True),
        Value("box", "box", full=True, is_box=True),
    )


@register_result
@dataclass(eq=False, repr=False, slots=True)
class Person(Result):
    """One person: a body with its own hands and face, each `None` where it was not found.

    `to_dict()` is `{"body", "leftHand", "rightHand", "face"}`, each in its own shape or null; "id" with `full=True`.

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
    list_name: ClassVar[str] = "people"
    schema: ClassVar[tuple[Value | Points, ...]] = ()
    members: ClassVar[Mapping[str, tuple[str, type[Result]]]] = {
        "body": ("body", Body),
        "left_hand": ("leftHand", Hand),
        "right_hand": ("rightHand", Hand),
        "face": ("face", Face),
    }
    """The parts by attribute: JSON name and type."""

    @property
    def id(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The body's; its hands and face have the same."""
        return self.body.id

    @property
    def score(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The body's."""
        return self.body.score

    @property
    def keypoints(self) -> Float32Array:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The body's."""
        return self.body.keypoints

    @property
    def skeleton(self) -> Skeleton:
        """The body's."""
        return self.body.skeleton

    @property
    def parts(self) -> list[Instance]:
        """Body, left hand, right hand and face, as far as they were found."""
        return [part for part in (self.body, self.left_hand, self.right_hand, self.face) if part is not None]

    def to_dict(self, *, full: bool = False) -> JsonObject:
        """`{"body", "leftHand", "rightHand", "face"}`, each in its own shape or null; "id" with `full=True`."""
        result: JsonObject = {"id": self.id} if full else {}
        for name, (key, _) in self.members.items():
            part: Instance | None = getattr(self, name)
            result[key] = None if part is None else part.to_dict(full=full)
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The person that `to_dict(full=True)` wrote."""
        given = {name: (kind, data[key]) for name, (key, kind) in cls.members.items()}
        parts: dict[str, Any] = {n: None if part is None else kind.from_dict(part) for n, (kind, part) in given.items()}
        return cls(**parts)


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
        others: results of types that were registered from outside, by the name of their list.
        motions: steps of the motions of hands, where the detector was given `gestures`.
    """

    index: int
    time: float | None
    hands: list[Hand] = field(default_factory=list[Hand])
    source: str | None = None
    faces: list[Face] = field(default_factory=list[Face])
    bodies: list[Body] = field(default_factory=list[Body])
    people: list[Person] = field(default_factory=list[Person])
    others: dict[str, list[Result]] = field(default_factory=dict[str, list[Result]])
    motions: list[MotionEvent] = field(default_factory=list[MotionEvent])

    @classmethod
    def holding(cls, index: int, time: float | None, found: Sequence[Result], source: str | None = None) -> Self:
        """The frame with what a detector gave, each in the list of its type."""
        frame = cls(index, time, source=source)
        for one in found:
            frame.results(one.list_name).append(one)
        return frame

    def results(self, list_name: str) -> list[Result]:
        """One of the frame's lists: `frame.results("hands")` is `frame.hands`."""
        if list_name in _OWN_LISTS:
            return getattr(self, list_name)
        return self.others.setdefault(list_name, [])

    def all_results(self) -> Iterator[Result]:
        """Everything in every list."""
        for list_name in RESULT_TYPES:
            yield from self.results(list_name)

    def instances(self) -> Iterator[tuple[int, Instance]]:
        """Everything with keypoints of its own, with its number in its list; parts have their person's number."""
        for list_name in RESULT_TYPES:
            for number, one in enumerate(self.results(list_name)):
                for part in one.parts:
                    yield number, cast("Instance", part)

    def to_dict(self, lists: Sequence[str] = ("hands",)) -> JsonObject:
        """The frame as plain JSON types: "index", "time", its lists, "source" for a folder of stills, "motions" if any.

        Args:
            lists: names of those to write even where they are empty, such as "hands" or "people".
        """
        result: JsonObject = {"index": self.index, "time": self.time}
        if self.source is not None:
            result["source"] = self.source
        for name in RESULT_TYPES:
            found = self.results(name)
            if found or name in lists:
                result[name] = [instance.to_dict(full=True) for instance in found]
        if self.motions:
            result["motions"] = [one.to_dict() for one in self.motions]
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The frame that `to_dict` wrote."""
        frame = cls(data["index"], data["time"], source=data.get("source"))
        for name, kind in RESULT_TYPES.items():
            frame.results(name).extend(kind.from_dict(item) for item in data.get(name, []))
        frame.motions.extend(map(MotionEvent.from_dict, data.get("motions", [])))
        return frame


_OWN_LISTS = ("hands", "faces", "bodies", "people")
