"""Define the result types Hand, Face, Body, Person and Frame, and the events of a stream.

Conventions: image keypoints are continuous pixel coordinates of the input image (x right, y down, the top left
corner is 0, 0); world keypoints are metres in the camera's axes (x right, y down, z forward). Unknown values are
`None`. A frame without detections has empty lists. No field identifies a person.

A result type declares its fields once, in its `schema`: JSON, row tables, Parquet, the server and the page read that.
Registered types (`register_result`) use the same paths, through `Frame.others`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, Self, TypeAlias, TypeVar

import numpy as np

from sonjit._util import Float32Array, JsonObject, data_files
from sonjit.results.names import BodyKeypoint, FaceKeypoint, HandKeypoint
from sonjit.results.schema import Box, Points, PointScore, Result, Role, Value, register_result
from sonjit.results.skeletons import Skeleton

R = TypeVar("R", bound=Result)
Handedness = Literal["Left", "Right"]
Phase: TypeAlias = Literal["begin", "progress", "end", "cancel"]
"""Of a motion."""
EventType: TypeAlias = Literal["gesture", "motion", "measure", "repetition"]
"""Subject of an event."""
_VISIBILITY = PointScore("visibility", "score", column="visibility")
_ERROR = PointScore("error_px", "errorPx", full=True, column="error_px")
_XYZ, _XYZ_M = ("x", "y", "z"), ("x_m", "y_m", "z_m")
DISTANCE_COLUMNS: Final = ("distance_m", "distance_error_m")
"""Column names of the distance of a hand and its error."""
TRANSFORM_COLUMNS: Final = tuple(f"transform_{row}{column}" for row in range(4) for column in range(4))
"""Column names of the transform of a face."""
LEAST_SIDE_SCORE: float = data_files.load_spec("results")["known_side_score"]
"""Minimum score of a hand's label at which its side counts as known."""
Instance: TypeAlias = "Hand | Face | Body"
"""Result with its own keypoints. A person has those of its parts."""


class Gesture(NamedTuple):
    """Gesture of a hand.

    Attributes:
        name: Name in `sonjit.gestures.GESTURES`, or of a custom gesture.
        score: Probability of the gesture, 0..1.
    """

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class MotionEvent:
    """One step of a motion of one hand.

    Attributes:
        name: Name in `sonjit.gestures.MOTIONS`, or of a custom motion, which is reported once at its end.
        phase: `begin`, then `progress` with every frame, then `end`; `cancel` in place of `end` where the hand was lost
            or what began as a swipe became another movement.
        id: ID of the hand; with two hands, the one that is tracked longest.
        handedness: Handedness of the hand.
        time: Time of the event in seconds.
        strength: Strength 0..1: speed of a swipe, push or clap, size of a wave or circle, how far a pinch or fist is
            closed; of a custom motion its score.
        moved: Movement since the begin of the motion, to the right and down in the image, in hand lengths.
        count: Turns of a circle, and of a rotation, clockwise positive; single swings of a wave; of a zoom the distance
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
        """Return the event as JSON types."""
        record: JsonObject = asdict(self)
        record["time"] = round(self.time, 4)
        record["strength"] = round(self.strength, 3)
        record["moved"] = [round(item, 3) for item in self.moved]
        record["count"] = round(self.count, 2)
        return record

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Create an event from the rounded values that `to_dict` wrote."""
        values = dict(data)
        x, y = values["moved"]
        values["moved"] = x, y
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Event:
    """The begin or end of a held gesture, of a motion, or of a measure beyond a limit; or a finished repetition.

    Attributes:
        name: Name of the gesture, motion or measure; of a repetition the angle.
        type: Subject of the event, see `EventType`. A repetition has only the phase `end`.
        phase: `begin` or `end`; `cancel` in place of `end` if the instance of a motion or measure was lost, or if the
            motion became another one.
        begin: Time of the begin in seconds.
        end: Time of the end in seconds; None at the begin.
        id: Track ID of the instance.
        handedness: Handedness of a hand; None for other instances.
        value: Highest score of a gesture, highest strength of a motion, the extreme of a measure so far, or the
            lowest angle of a repetition.
    """

    name: str
    type: EventType
    phase: Literal["begin", "end", "cancel"]
    begin: float
    end: float | None
    id: int
    handedness: Handedness | None
    value: float

    def to_dict(self) -> JsonObject:
        """Return the event as JSON types, with times in tenths of a millisecond and the value in five digits."""
        record: JsonObject = asdict(self)
        record["begin"] = round(self.begin, 4)
        record["end"] = None if self.end is None else round(self.end, 4)
        record["value"] = float(f"{self.value:.5g}")
        return record

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Create an event from the rounded values that `to_dict` wrote."""
        return cls(**data)


class HandPoints(NamedTuple):
    """Keypoints of one hand, in pixels and in metres, see `Hand`.

    Attributes:
        keypoints: Keypoints (21, 3) as float32.
        keypoints_3d: Keypoints (21, 3) as float32 in metres.
    """

    keypoints: Float32Array
    keypoints_3d: Float32Array

    def flipped(self, width: int) -> Self:
        """Return the keypoints with x mirrored in an image of that width in pixels."""
        mirror = np.array([-1, 1, 1], np.float32)
        return type(self)(self.keypoints * mirror + np.array([width, 0, 0], np.float32), self.keypoints_3d * mirror)


@register_result
@dataclass(eq=False, repr=False, slots=True)
class Hand(Result):
    """One hand in one image.

    `to_dict()` has the shape of tfjs-models' hand-pose-detection: `{"score", "handedness", "keypoints": [{"x", "y",
    "name"}], "keypoints3D": [{"x", "y", "z", "name"}]}`, image coordinates in pixels, 3D in metres. With `full=True`
    it also has "id", "handednessScore", "box", and for each image keypoint a "z" and, if it is known, "errorPx", in
    pixels. Further keypoints of a network of your own are in "extraKeypoints": [{"x", "y"}]; visibility is each
    keypoint's "score", as a body's is; a gesture of the hand is in "gesture": {"name", "score"}. If they are known,
    "distanceM" and "distanceErrorM" are in metres.

    Attributes:
        handedness: Side of the person's own hand, "Left" or "Right".
        score: Probability that the crop contains a hand (presence), 0..1.
        keypoints: Keypoints (21, 3) as float32: x, y in pixels of the input; z relative to the wrist, smaller is nearer
            to the camera. Refined keypoints have z in the scale of x and y. Published z is ordinal, 0.2 to 0.6 times as
            large.
        keypoints_3d: Keypoints (21, 3) as float32 in metres, origin at the hand's geometric centre; at the camera's
            lens for a hand that was lifted (`sonjit_lab.lifting`), NaN where its distance is unknown.
        id: Track id, stable while the hand is tracked; None for stills.
        handedness_score: Probability of the label, 0.5..1; see `side`.
        extra_keypoints: Additional keypoints (E, 2) of a custom landmark network, in pixels as float32, in its order.
        visibility: Probability (21,) as float32 that a keypoint is in the image and not occluded, 0..1. Requires
            `create_detector("hands", visibility=True)`.
        gesture: Gesture of the hand, smoothed over the frames of a stream; None for unknown gestures. Requires
            `create_detector("hands", gestures="canned")`.
        appearance: Features (21, A) as float32 of the landmark network at each keypoint, without a unit. Gestures are
            classified by them and the keypoints. They are neither compared nor written. The published full network
            gives them in stills, with `visibility=True` or `search="thorough"`; otherwise None.
        error_px: Expected distance (21,) as float32 of x and y from the right position, in pixels of the input.
            Requires `create_detector("hands", keypoints="refined")`; None for occluded hands.
        published: Published keypoints of a hand with refined ones, smoothed as these are; otherwise None. They are
            neither compared nor written.
        distance_m: Distance in metres from the lens to the origin of `keypoints_3d`. Requires
            `create_detector("hands", distance=True)`.
        distance_error_m: Standard deviation of the distance in metres.
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
    error_px: Float32Array | None = None
    published: HandPoints | None = field(default=None, compare=False)
    distance_m: float | None = None
    distance_error_m: float | None = None

    kind: ClassVar[str] = "hand"
    drawing: ClassVar[object] = "sonjit.media.drawing.instances:HAND"
    measure_names: ClassVar[tuple[str, ...] | str] = "sonjit.results.measures.hands:HAND_MEASURES"
    list_name: ClassVar[str] = "hands"
    skeletons: ClassVar[Mapping[int, str | Skeleton]] = {21: "hand_mediapipe21"}
    schema: ClassVar[tuple[Value | Points, ...]] = (
        Value("score", "score"),
        Value("handedness", "handedness"),
        Points("keypoints", "keypoints", _XYZ, (_VISIBILITY, _ERROR), strict_axes=2),
        Points("keypoints_3d", "keypoints3D", _XYZ_M, (_VISIBILITY,)),
        Points("extra_keypoints", "extraKeypoints", named=False),
        Value("gesture", "gesture", is_optional=True, record=Gesture),
        Value("id", "id", full=True),
        Value("handedness_score", "handednessScore", full=True),
        Value("box", "box", full=True, is_box=True),
        Value("distance_m", "distanceM", full=True, is_optional=True),
        Value("distance_error_m", "distanceErrorM", full=True, is_optional=True),
    )
    unwritten: ClassVar[Mapping[str, Role]] = {"published": "points"}

    if TYPE_CHECKING:

        @property
        def names(self) -> tuple[HandKeypoint, ...]: ...

        def __getitem__(self, name: HandKeypoint) -> Float32Array: ...  # pyright: ignore[reportIncompatibleMethodOverride]  # its own names

    @property
    def side(self) -> Handedness | None:
        """Return `handedness` if its probability is at least 0.8 or unknown. Otherwise return None."""
        is_certain = self.handedness_score is None or self.handedness_score >= LEAST_SIDE_SCORE
        return self.handedness if is_certain else None

    @property
    def looks_left(self) -> bool:
        """Whether the keypoints have the shape of a left hand: `handedness`, exchanged if the hand is mirrored."""
        return (self.handedness == "Left") != self.is_mirrored

    @property
    def gesture_points(self) -> HandPoints:
        """Return the published keypoints, on which gestures were trained, or the hand's own if they are unknown."""
        return self.published or HandPoints(self.keypoints, self.keypoints_3d)

    def measure(self) -> dict[str, float]:
        """Return every measure of `HAND_MEASURES`; unknown measures are NaN."""
        return resolve_name("sonjit.results.measures.hands:measure_hand")(self)

    def further_values(self) -> dict[str, float | str | None]:
        """Return the gesture and the distance, if it is known."""
        name, score = self.gesture or (None, None)
        values: dict[str, float | str | None] = {"gesture": name, "gesture_score": score}
        if self.distance_m is not None:
            values |= dict(zip(DISTANCE_COLUMNS, (self.distance_m, self.distance_error_m), strict=True))
        return values

    @property
    def title(self) -> str:
        """Return `Right hand`, `Left hand`, or `hand` if the side is unknown."""
        return f"{self.side} hand" if self.side else "hand"


@register_result
@dataclass(eq=False, repr=False, slots=True)
class Face(Result):
    """Face in one image. It contains only positions, nothing that identifies a person.

    `to_dict()` has the shape of tfjs-models' face-landmarks-detection: `{"keypoints": [{"x", "y", "z", "name"?}],
    "box": {"xMin", "yMin", "xMax", "yMax", "width", "height"}}` in pixels; only points on a contour have a name. With
    `full=True` it also has "score" and "id", and if they are known "blendshapes", an object of numbers by name,
    and "transform", the rows of the matrix.

    Attributes:
        score: Probability of a face, 0..1: presence in the crop for meshes, the detector's score for boxes.
        keypoints: Keypoints (K, 3) as float32: x, y in pixels of the input; z in the same scale, smaller is nearer to
            the camera. K is 478 with irises, 468 for the plain mesh, 6 (with z NaN) for a box.
        box: Box around the mesh or from the detector: x_min, y_min, x_max, y_max in pixels. It may exceed the image.
        id: Track id, stable while the face is tracked; None for stills.
        blendshapes: Strength of each expression, 0..1, by names of
            `sonjit.results.skeletons.faces.BLENDSHAPES`: all 52 with a task bundle, otherwise 22, or 14 without
            irises. Requires `blendshapes=True`; otherwise None.
        transform: Matrix (4, 4) as float32 from an average face to the camera, in centimetres, x right, y up, z towards
            the viewer. The origin of the average face is between the eyes; with a task bundle it is MediaPipe's
            canonical face with its own origin. The distance is that of a camera with a vertical field of view of 63
            degrees. Requires `transform=True`; otherwise None.
    """

    score: float
    keypoints: Float32Array
    box: Box  # pyright: ignore[reportIncompatibleMethodOverride]  # the detector's own, or around the mesh
    id: int | None = None
    blendshapes: dict[str, float] | None = None
    transform: Float32Array | None = None

    kind: ClassVar[str] = "face"
    drawing: ClassVar[object] = "sonjit.media.drawing.instances:FACE"
    measure_names: ClassVar[tuple[str, ...] | str] = "sonjit.results.measures.faces:FACE_MEASURES"
    handedness: ClassVar[None] = None
    keypoints_3d: ClassVar[None] = None
    visibility: ClassVar[None] = None
    list_name: ClassVar[str] = "faces"
    skeletons: ClassVar[Mapping[int, str | Skeleton]] = {
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
        Value("transform", "transform", full=True, is_optional=True, is_pose=True),
    )

    def measure(self) -> dict[str, float]:
        """Return every measure of `FACE_MEASURES`; all are NaN for a face without a mesh."""
        return resolve_name("sonjit.results.measures.faces:measure_face")(self)

    def further_values(self) -> dict[str, float | str | None]:
        """Return the blendshapes and the transform, if they are known."""
        values: dict[str, float | str | None] = {**(self.blendshapes or {})}
        if self.transform is not None:
            values |= dict(zip(TRANSFORM_COLUMNS, self.transform.ravel().tolist(), strict=True))
        return values

    if TYPE_CHECKING:

        def __getitem__(self, name: FaceKeypoint) -> Float32Array: ...  # pyright: ignore[reportIncompatibleMethodOverride]  # its own names


@register_result
@dataclass(eq=False, repr=False, slots=True)
class Body(Result):
    """One person's body in one image.

    `to_dict()` has the shape of tfjs-models' pose-detection: `{"score", "keypoints": [{"x", "y", "z", "score",
    "name"}], "keypoints3D": [{"x", "y", "z", "score", "name"}]}`: pixels and metres; a keypoint's score is its
    visibility. With `full=True` it also has "id", "box" and a "presence" per image keypoint. The mask is an image
    and is never in JSON.

    Attributes:
        score: Probability that the crop contains a person (presence), 0..1.
        keypoints: Keypoints (33, 3) as float32: x, y in pixels of the input; z is an ordinal depth relative to the
            hips, smaller is nearer to the camera, three to four times as large as x and y.
        keypoints_3d: Keypoints (33, 3) as float32 in metres, origin at the middle of the hips.
        visibility: Probability (33,) as float32 that a keypoint is in the image and not occluded, 0..1.
        presence: Probability (33,) as float32 that a keypoint is in the image, 0..1.
        id: Track id, stable while the body is tracked; None for stills.
        mask: Probability (H, W) as float32 of this person per input pixel; None unless requested.
    """

    score: float
    keypoints: Float32Array
    keypoints_3d: Float32Array
    visibility: Float32Array
    presence: Float32Array
    id: int | None = None
    mask: Float32Array | None = None

    kind: ClassVar[str] = "body"
    drawing: ClassVar[object] = "sonjit.media.drawing.instances:BODY"
    measure_names: ClassVar[tuple[str, ...] | str] = "sonjit.results.measures.bodies:BODY_MEASURES"
    handedness: ClassVar[None] = None
    list_name: ClassVar[str] = "bodies"
    skeletons: ClassVar[Mapping[int, str | Skeleton]] = {33: "body_blazepose33"}
    schema: ClassVar[tuple[Value | Points, ...]] = (
        Value("score", "score"),
        Points("keypoints", "keypoints", _XYZ, (_VISIBILITY, PointScore("presence", "presence", full=True))),
        Points("keypoints_3d", "keypoints3D", _XYZ_M, (_VISIBILITY,)),
        Value("id", "id", full=True),
        Value("box", "box", full=True, is_box=True),
    )
    unwritten: ClassVar[Mapping[str, Role]] = {"mask": "mask"}

    def measure(self) -> dict[str, float]:
        """Return every measure of `BODY_MEASURES`, without the wrists, which require the hands of a person."""
        return resolve_name("sonjit.results.measures.bodies:measure_body")(self)

    if TYPE_CHECKING:

        @property
        def names(self) -> tuple[BodyKeypoint, ...]: ...

        def __getitem__(self, name: BodyKeypoint) -> Float32Array: ...  # pyright: ignore[reportIncompatibleMethodOverride]  # its own names


@register_result
@dataclass(eq=False, repr=False, slots=True)
class Person(Result):
    """One person: a body with its own hands and face, each `None` where it was not found.

    `to_dict()` is `{"body", "leftHand", "rightHand", "face"}`, each in its own shape or null; "id" with `full=True`.

    Attributes:
        body: Body of the person.
        left_hand, right_hand: Hands of the person, or None.
        face: Face mesh of the person, or None.
    """

    body: Body
    left_hand: Hand | None = None
    right_hand: Hand | None = None
    face: Face | None = None

    kind: ClassVar[str] = "person"
    handedness: ClassVar[None] = None
    list_name: ClassVar[str] = "people"
    skeletons: ClassVar[Mapping[int, str | Skeleton]] = Body.skeletons
    schema: ClassVar[tuple[Value | Points, ...]] = ()
    members: ClassVar[Mapping[str, tuple[str, type[Result]]]] = {
        "body": ("body", Body),
        "left_hand": ("leftHand", Hand),
        "right_hand": ("rightHand", Hand),
        "face": ("face", Face),
    }
    """The parts by attribute: JSON name and type."""

    if TYPE_CHECKING:

        @property
        def names(self) -> tuple[BodyKeypoint, ...]: ...

        def __getitem__(self, name: BodyKeypoint) -> Float32Array: ...  # pyright: ignore[reportIncompatibleMethodOverride]  # its own names

    def measure(self) -> dict[str, float]:
        """Return the measures of the body, with the wrists."""
        measure_body = resolve_name("sonjit.results.measures.bodies:measure_body")
        return measure_body(self.body, self.left_hand, self.right_hand)

    @property
    def id(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Return the track id, which the body, its hands and its face share."""
        return self.body.id

    @property
    def score(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Return the score of the body."""
        return self.body.score

    @property
    def is_mirrored(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the keypoints of the parts show the mirror image of the person."""
        return self.body.is_mirrored

    @is_mirrored.setter
    def is_mirrored(self, value: bool) -> None:
        for part in self.parts:
            part.is_mirrored = value

    @property
    def is_flipped(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether x of the parts was mirrored."""
        return self.body.is_flipped

    @is_flipped.setter
    def is_flipped(self, value: bool) -> None:
        for part in self.parts:
            part.is_flipped = value

    @property
    def keypoints(self) -> Float32Array:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Return the keypoints of the body."""
        return self.body.keypoints

    @property
    def skeleton(self) -> Skeleton:
        """Return the skeleton of the body."""
        return self.body.skeleton

    @property
    def parts(self) -> list[Instance]:
        """Return the detected parts in the order body, left hand, right hand, face."""
        return [part for part in (self.body, self.left_hand, self.right_hand, self.face) if part is not None]
