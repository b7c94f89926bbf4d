"""Holistic: people with their own hands and face.

The detection loop handles bodies like any other kind. Hands are searched at the wrists of each body and the face at its
head, so small and distant ones are found too. They are then tracked from frame to frame. The tracked parts belong to
the track of one person and end with it.

Source: Grishchenko and Bazarevsky 2020, MediaPipe Holistic. The published graph tracks a single person.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from sonjit._util import Float32Array, Image, InputError
from sonjit.detectors.crops import check_shapes
from sonjit.detectors.interfaces import Kind
from sonjit.detectors.kinds import KindEntry, Model, PageSupport, face_networks
from sonjit.detectors.kinds.body import BODY, Bodies, BodyObservation, body_smoothers, load_bodies
from sonjit.detectors.kinds.face import FaceMeshes, FaceObservation, box_around_face
from sonjit.detectors.kinds.hands import HANDS, HandObservation, Hands, hand_smoothers, load_hands_of_people
from sonjit.detectors.observations import Observation, is_same_object
from sonjit.detectors.options import PUBLISHED_THRESHOLDS, FaceOptions, GraphThresholds, HolisticOptions
from sonjit.detectors.smoothing import KeypointSmoother, keypoint_smoothers
from sonjit.detectors.tracking import Track
from sonjit.engines import Engine, load_engine
from sonjit.geometry.boxes import (
    RotatedBox,
    box_around,
    crop_on_grid,
    points_from_crop,
    size_of,
    square_box,
    upright_rotation,
    wrap_angle,
)
from sonjit.results import Hand, Handedness, Person

P = TypeVar("P", bound=Observation)
# Indices of body keypoints (left, right).
_WRIST, _PINKY, _INDEX = (15, 16), (17, 18), (19, 20)
_HEAD = list(range(11))
_HAND_SCALE = 2.7
_HAND_SHIFT = -0.1
"""Size of a hand's crop relative to the hand of the body, and its shift in sizes, as in MediaPipe's graph."""
_EYES = [5, 2]  # the person's right eye first
_HEAD_SCALE = 3.0  # size of a head's crop relative to the head of the body, as in MediaPipe's graph
_MIN_VISIBILITY = 0.1  # minimum visibility of a wrist or head whose hand or face is sought
_MIN_HEAD_PX = 8  # minimum side of a head in which a face is sought, in pixels
_MIN_FACE_SCORE = 0.5  # minimum score of a face in the crop of a head
_MIN_BODY_SHIFT = 0.1  # minimum shift of the body, in widths of a part's box, that moves the box
_MAX_WRIST_DISTANCE = 1.0  # maximum distance, in hand sizes, between the wrist of a hand and that of its body
_OTHER_SIDE_COST = 0.5  # distance that is added if a hand is of the other side, in hand sizes
_RECROP = "hand_roi_refinement.tflite"
_PART_INTERVAL = 2
"""Maximum frames between searches for a missing hand or face. A search is cheap, because the body limits it."""


@dataclass(frozen=True)
class Agreement:
    """Maximum differences between a tracked box and the box of a search at which the tracked box is kept.

    Source: options of the `RoiTrackingCalculator` in MediaPipe's holistic graph.
    """

    rotation: float  # difference of the angles in radians
    shift: float  # distance along each axis of the image, relative to the size of the searched box
    scale: float  # difference of the sizes, relative to the size of the searched box
    margin: float  # margin of the searched box, relative to its size, that must not contain tracked keypoints

    def accepts(self, tracked: RotatedBox, keypoints: Float32Array, detected: RotatedBox) -> bool:
        """Check whether the tracked box is near the detected box, which must contain its keypoints (K, 2) in pixels."""
        size = detected.width
        if (
            abs(wrap_angle(tracked.rotation - detected.rotation)) > self.rotation
            or max(abs(tracked.cx - detected.cx), abs(tracked.cy - detected.cy)) > self.shift * size
            or abs(tracked.width - size) > self.scale * size
        ):
            return False
        cosine, sine = math.cos(detected.rotation), math.sin(detected.rotation)
        offsets = (keypoints - (detected.cx, detected.cy)) @ np.array([[cosine, -sine], [sine, cosine]])
        return bool(np.abs(offsets).max() < (1 - self.margin) * size / 2)


_HAND_AGREEMENT = Agreement(rotation=math.radians(40), shift=0.2, scale=0.4, margin=0.1)
_FACE_AGREEMENT = Agreement(rotation=math.radians(15), shift=0.1, scale=0.3, margin=0.2)


@dataclass(eq=False)
class _Part:
    """A hand or face of one person, tracked from frame to frame."""

    smoother: KeypointSmoother | None
    box: RotatedBox | None = None  # crop of the next frame, or None if the part is not tracked
    # (2,) Position of the part in the body's keypoints when the box was made, in pixels
    anchor: Float32Array | None = None
    wait: int = 0  # frames until the next search
    keypoints: Float32Array | None = None  # (K, 2) Keypoints that the box was made of

    def observe(
        self,
        observe: Callable[[RotatedBox], P],
        box_after: Callable[[P], RotatedBox],
        search: Callable[[], RotatedBox | None],
        *,
        anchor: Float32Array,
        agreement: Agreement | None,
        min_score: float,
        interval: int,
    ) -> P | None:
        """Observe the part in one image. `anchor` is its position (2,) in the body's keypoints, in pixels.

        With an agreement, the part is searched, and the tracked box is used if it agrees with the found one. Otherwise
        the part is searched only if it is not in its tracked box.
        """
        observation = None
        if agreement is not None:
            box = search()
            if box is not None and self.box is not None and self.keypoints is not None:
                box = self.box if agreement.accepts(self.box, self.keypoints, box) else box
            self.box = None
            observation = None if box is None else observe(box)
        else:
            if self.box is not None and self.anchor is not None:
                moved = anchor - self.anchor
                # Smaller shifts are noise of the body's keypoints.
                if np.linalg.norm(moved) > _MIN_BODY_SHIFT * self.box.width:
                    self.box = self.box._replace(cx=self.box.cx + float(moved[0]), cy=self.box.cy + float(moved[1]))
                observation = observe(self.box)
            if self.box is not None and (observation is None or observation.score <= min_score):
                self.box, self.wait = None, 0  # lost: search at the body's keypoints in the same frame
            if self.box is None and self.wait > 0:
                self.wait -= 1
                return None
            if self.box is None:
                self.wait = interval - 1
                box = search()
                observation = None if box is None else observe(box)
        if observation is None or observation.score <= min_score:
            return None
        self.box = box_after(observation)
        self.anchor = anchor
        self.keypoints = observation.keypoints[:, :2]
        return observation

    def smooth(self, observation: P, now_s: float) -> P:
        """Return the observation, smoothed if smoothing is enabled."""
        return observation if self.smoother is None else self.smoother(observation, now_s)


@dataclass(frozen=True, eq=False)
class PersonObservation(BodyObservation):
    """A body of a still with its left and right hand and its face."""

    hands: tuple[HandObservation | None, HandObservation | None] = (None, None)
    face: FaceObservation | None = None


class Holistic(Kind[BodyObservation, Person]):
    """Detect bodies with their hands and faces.

    `recrop` maps an image of a forearm's end to (1, 1, 1, 4): the hand's centre and the middle of its lower edge, in
    pixels of the input. Missing parts are searched every `search_interval` frames. Thresholds of faces and hands may
    differ from `min_presence_score`. For `merge_nested` see `is_same_object`.
    """

    overlap_keypoints = Bodies.overlap_keypoints

    def __init__(
        self,
        bodies: Bodies,
        hands: Hands,
        faces: FaceMeshes,
        recrop: Engine,
        *,
        new_hand_smoother: Callable[[], KeypointSmoother | None],
        new_face_smoother: Callable[[], KeypointSmoother | None],
        min_presence_score: float,
        search_interval: int,
        merge_nested: bool = False,
        thresholds: GraphThresholds = PUBLISHED_THRESHOLDS,
    ) -> None:
        self.bodies = bodies
        self.hands = hands
        self.faces = faces
        self._recrop = recrop
        self._face_thread = ThreadPoolExecutor(1, thread_name_prefix="sonjit-face")
        self.at_close.callback(self._face_thread.shutdown)
        self._new_hand_smoother, self._new_face_smoother = new_hand_smoother, new_face_smoother
        custom = thresholds.hand_presence, thresholds.face_presence, thresholds.face_detection
        defaults = min_presence_score, min_presence_score, _MIN_FACE_SCORE
        self._min_hand, self._min_face, self._min_face_found = (
            default if item is None else item for item, default in zip(custom, defaults, strict=True)
        )
        self._interval = search_interval
        self._searches_parts = thresholds.searches_parts
        self._merge_nested = merge_nested
        self._carried: WeakKeyDictionary[Track[BodyObservation], list[_Part]] = WeakKeyDictionary()

    def find(self, rgb: Image, min_score: float) -> list[RotatedBox]:
        """Return boxes of people in an image (H, W, 3), best first."""
        return self.bodies.find(rgb, min_score)

    def observe(self, rgb: Image, box: RotatedBox) -> BodyObservation:
        """Run the landmark network of bodies on one box of an image (H, W, 3), in pixels."""
        return self.bodies.observe(rgb, box)

    def follow(self, track: Track[BodyObservation]) -> RotatedBox:
        return self.bodies.follow(track)

    def box_after(self, observation: BodyObservation) -> RotatedBox:
        return self.bodies.box_after(observation)

    def is_same_instance(self, box: RotatedBox, other: RotatedBox) -> bool:
        return self.bodies.is_same_instance(box, other)

    def propagate(self, observation: BodyObservation, shift: Float32Array, score: float) -> BodyObservation:
        """Return the observation of an occluded body, shifted by (2,) pixels."""
        return self.bodies.propagate(observation, shift, score)

    def result(self, rgb: Image, observation: BodyObservation, track: Track[BodyObservation] | None) -> Person:
        """Return the body with its hands and face in an image (H, W, 3). An occluded person has a body only."""
        if track is not None and track.occluded_s is not None:
            return Person(self.bodies.result(rgb, observation, track), None, None, None)
        parts = self._parts_of(track)
        if isinstance(observation, PersonObservation):
            hands, face = list(observation.hands), observation.face
        else:
            body = observation if track is None or self._searches_parts else track.observation
            hands, face = self._observe_parts(rgb, body, parts)
        now_s = 0.0 if track is None else track.seen_s
        id = None if track is None else track.id
        left, right = (
            None if hand is None else self._hand(part.smooth(self.hands.refine(hand), now_s), name, id)
            for hand, part, name in zip(hands, parts, ("Left", "Right"), strict=False)
        )
        mesh = None
        if face is not None:
            mesh = self.faces.result(rgb, parts[2].smooth(face, now_s), None)
            mesh.id = id
        return Person(self.bodies.result(rgb, observation, track), left, right, mesh)

    def _observe_parts(
        self, rgb: Image, body: BodyObservation, parts: Sequence[_Part]
    ) -> tuple[list[HandObservation | None], FaceObservation | None]:
        """Return the hands and face of a body. Smoothed bodies, which lag, are used only as in MediaPipe."""
        is_searched = self._searches_parts  # as MediaPipe's graph does
        observed_face = self._face_thread.submit(  # its network uses one thread, so it runs in parallel with the hands
            parts[2].observe,
            partial(self.faces.observe, rgb),
            self.faces.box_after,
            lambda: self._face_box(rgb, body),
            anchor=body.keypoints[_HEAD, :2].mean(axis=0),
            agreement=_FACE_AGREEMENT if is_searched else None,
            min_score=self._min_face,
            interval=self._interval,
        )
        hands = [
            part.observe(
                partial(self.hands.observe, rgb),
                self.hands.box_after,
                partial(self.hand_crop, rgb, body, side),
                anchor=body.keypoints[_WRIST[side], :2],
                agreement=_HAND_AGREEMENT if is_searched else None,
                min_score=self._min_hand,
                interval=self._interval,
            )
            for side, part in enumerate(parts[:2])
        ]
        if not is_searched:
            self._drop_strays(body, parts, hands)
        return hands, observed_face.result()

    def face_in(self, rgb: Image, body: BodyObservation) -> FaceObservation | None:
        """Return the face in the head crop of a body of an image (H, W, 3), or None."""
        box = self._face_box(rgb, body)
        face = None if box is None else self.faces.observe(rgb, box)
        return None if face is None or face.score <= self._min_face else face

    def _parts_of(self, track: Track[BodyObservation] | None) -> list[_Part]:
        """Return the tracked left hand, right hand and face of a person. Stills get new parts."""
        parts = None if track is None else self._carried.get(track)
        if parts is None:
            new_smoothers = self._new_hand_smoother, self._new_hand_smoother, self._new_face_smoother
            parts = [_Part(new_smoother()) for new_smoother in new_smoothers]
            if track is not None:
                self._carried[track] = parts
        return parts

    def _drop_strays(self, body: BodyObservation, parts: Sequence[_Part], hands: list[HandObservation | None]) -> None:
        """Drop hands that are far from the wrist of the body, and duplicates of the other hand."""
        distances = [math.inf if hand is None else wrist_distance(body, side, hand) for side, hand in enumerate(hands)]
        for side, hand in enumerate(hands):
            other = hands[1 - side]
            duplicate = (
                hand is not None and other is not None and is_same_object(hand, other, merge_nested=self._merge_nested)
            )
            if hand is not None and (
                distances[side] > _MAX_WRIST_DISTANCE or (duplicate and distances[side] > distances[1 - side])
            ):
                hands[side] = None
                parts[side].box = None

    def _hand(self, observation: HandObservation, handedness: Handedness, id: int | None) -> Hand:
        """Return the public result. The body decides the side."""
        left_score = observation.left if handedness == "Left" else 1 - observation.left
        return Hand(
            handedness,
            observation.score,
            observation.keypoints,
            observation.keypoints_3d,
            id,
            left_score,
            error_px=observation.error_px,
            published=observation.published_points,
        )

    def hand_crop(self, rgb: Image, body: BodyObservation, side: int) -> RotatedBox | None:
        """Return the box of a hand near a wrist in an image (H, W, 3) by the re-crop network, or None."""
        rough = hand_box(body, side)
        return None if rough is None else recropped_box(rgb, rough, self._recrop)

    def _face_box(self, rgb: Image, body: BodyObservation) -> RotatedBox | None:
        """Return the box of the face that the face detector finds around the head, or None."""
        head = head_box(body)
        if head is not None and self.faces.mirrored:  # its eyes are exchanged
            head = head._replace(rotation=wrap_angle(head.rotation + math.pi))
        return None if head is None else self.faces.find_in(rgb, head, self._min_face_found)


def hand_box(body: BodyObservation, side: int) -> RotatedBox | None:
    """Estimate a box around a hand (side 0 left, 1 right) from a body in pixels, or None for a hidden wrist."""
    if body.visibility[_WRIST[side]] < _MIN_VISIBILITY:
        return None
    ends = [_WRIST[side], _INDEX[side], _PINKY[side]]
    wrist, index, pinky = body.keypoints[ends, :2].astype(np.float64)
    knuckles = ((2 * index + pinky) / 3).tolist()
    side_px = 2 * math.dist(knuckles, wrist)
    box = RotatedBox(knuckles[0], knuckles[1], side_px, side_px, upright_rotation(wrist.tolist(), knuckles))
    return square_box(box, scale=_HAND_SCALE, shift_y=_HAND_SHIFT)


def head_box(body: BodyObservation) -> RotatedBox | None:
    """Return a square box around the head, with level eyes, or None if its keypoints are not visible."""
    if body.visibility[_HEAD].max() < _MIN_VISIBILITY:
        return None
    points = body.keypoints[_HEAD, :2].astype(np.float64)
    right, left = points[_EYES].tolist()
    box = box_around_face(box_around(points), right, left, scale=_HEAD_SCALE)
    return None if box.width < _MIN_HEAD_PX else box


def recropped_box(rgb: Image, rough: RotatedBox, network: Engine) -> RotatedBox:
    """Return the box in pixels of the hand that the re-crop network finds in an estimated box of an image (H, W, 3)."""
    height, width = network.input.shape[1:3]
    crop_on_grid(rgb, rough, network.input[0])
    points = np.zeros((2, 3), np.float32)
    points[:, :2] = network.run()[0].reshape(2, 2) / (width, height)
    centre, bottom = points_from_crop(points, rough)[:, :2].astype(np.float64)
    side_px = 2 * math.dist(centre, bottom)
    dx, dy = (bottom - centre).tolist()
    rotation = wrap_angle(-math.pi / 2 - math.atan2(-dy, dx))
    box = RotatedBox(centre[0].item(), centre[1].item(), side_px, side_px, rotation)
    return square_box(box, scale=1.0, shift_y=_HAND_SHIFT)


def wrist_distance(body: BodyObservation, side: int, hand: HandObservation) -> float:
    """Return the distance between the wrists of a body and a hand, in hand sizes."""
    return math.dist(body.keypoints[_WRIST[side], :2], hand.keypoints[0, :2]) / size_of(hand.keypoints[:, :2])


def hands_of_bodies(
    bodies: Sequence[BodyObservation], hands: Sequence[HandObservation]
) -> dict[tuple[int, int], HandObservation]:
    """Assign hands to arms, by body and side (0 left, 1 right). Each arm has at most one hand."""
    pairs = sorted(
        (distance + _OTHER_SIDE_COST * (hand.left if side else 1 - hand.left), (number, side), which)
        for number, body in enumerate(bodies)
        for side in (0, 1)
        for which, hand in enumerate(hands)
        if (distance := wrist_distance(body, side, hand)) < _MAX_WRIST_DISTANCE
    )
    chosen: dict[tuple[int, int], int] = {}
    for _, arm, which in pairs:
        if arm not in chosen and which not in chosen.values():
            chosen[arm] = which
    return {arm: hands[which] for arm, which in chosen.items()}


def load_holistic(options: HolisticOptions) -> Holistic:
    """Load the bodies of one model with matching hands and faces. Custom networks replace those of the body."""
    weights = HOLISTIC.models[options.model].weights
    bundle, thresholds = options.bundle, GraphThresholds(overlap=options.thresholds.face_overlap)
    if bundle is not None and bundle.task == "holistic_landmarker":
        if options.hand_model or options.face_model:
            raise InputError(f"hand_model and face_model cannot be combined with {bundle.name}")
        hands = load_hands_of_people(options, weights["hand"], bundle.file("hand_landmarks_detector.tflite"))
        recrop_file = bundle.file(_RECROP)
        of_faces = options.as_kind(
            FaceOptions,
            model="attention",
            blendshapes=options.blendshapes,
            thresholds=thresholds,
            mirrored=options.mirrored,
        )
        faces = face_networks.load_bundle_faces(of_faces, bundle, of_people=True)
    else:
        hand = HANDS.models[options.hand_model].weights["landmark"] if options.hand_model else weights["hand"]
        hands, recrop_file = load_hands_of_people(options, hand), options.file(weights["recrop"])
        published = replace(options, detector_model=None, landmark_model=None, thresholds=thresholds)
        face_model = options.face_model or weights["face"].removeprefix("face-")
        faces = face_networks.load_meshes(published, face_model, blendshapes=options.blendshapes)
    # The network that finds a hand at the end of a forearm is small.
    running = replace(options.running, precision="f32", threads=options.running.threads or 1)
    recrop = load_engine(recrop_file, running)
    check_shapes(recrop, recrop_file, "hand re-crop network", size=256, outputs=(4,))
    return Holistic(
        load_bodies(options),
        hands,
        faces,
        recrop,
        new_hand_smoother=hand_smoothers(options),
        new_face_smoother=keypoint_smoothers(options),
        min_presence_score=options.min_presence_score,
        search_interval=min(options.search_interval, _PART_INTERVAL),
        merge_nested=options.search != "fast",
        thresholds=options.thresholds,
    )


def _model(body: str, *, hand: str, face: str) -> Model:
    """Return a model of people with the networks of a body, hands and faces."""
    networks = {"hand": f"hand-{hand}", "face": f"face-{face}", "face_detector": "face-short", "recrop": "hand-recrop"}
    return Model(body, {**BODY.models[body].weights, **networks})


HOLISTIC = KindEntry(
    name="holistic",
    result=Person,
    summary="Find people: each body with its own hands and face.",
    plural="people",
    models={
        "full": _model("full", hand="full", face="attention"),
        "lite": _model("lite", hand="lite", face="mesh"),
        "heavy": _model("heavy", hand="full", face="attention"),
    },
    model_help="Model of the body. lite also uses the lighter hand and face networks.",
    options=HolisticOptions,
    load=load_holistic,
    smoothers=body_smoothers,
    instances=("body", "hand", "face"),
    search="sonjit.detectors.search.people:search_people",
    search_weights=("face-full", "palm-full", "person-detector"),
    examples=(("sonjit holistic clip.mp4 --max-instances 2 --save clip.json --draw drawn.mp4", "follows two people."),),
    weight_groups=("holistic",),
    pages=PageSupport(networks={"search": "face-full", "people": "person-detector", "palms": "palm-full"}),
)
