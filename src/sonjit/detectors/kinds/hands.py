"""MediaPipe Hands: palm detector and 21 landmarks.

Source: Zhang et al. 2020, MediaPipe Hands: On-device Real-time Hand Tracking; the constants are those of
mediapipe 0.10.21's CPU graph.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from sonjit._util import Float32Array, FloatArray, Image, InputError, RealArray
from sonjit.detectors import interfaces, observations, ssd, tracking
from sonjit.detectors.crops import check_shapes, crop_for
from sonjit.detectors.kinds import KindEntry, Model, PageSupport, hand_heads
from sonjit.detectors.options import CommonOptions, HandOptions, HolisticOptions
from sonjit.detectors.smoothing import Filter, KeypointSmoother, keypoint_smoothers
from sonjit.engines import Engine, load_ahead, load_engine
from sonjit.engines.precision import Landmarks, available_precision
from sonjit.geometry import boxes, cameras
from sonjit.geometry.windows import window_around
from sonjit.results import Hand, HandPoints
from sonjit.results.skeletons import load_skeleton

_BONES: Final = load_skeleton("hand_mediapipe21").bones
_PARENTS, _CHILDREN = (list(column) for column in zip(*_BONES, strict=True))
_LENGTH_BONES: Final = [_CHILDREN.index(keypoint) for keypoint in (9, 10, 11, 12)]
"""Bones from the wrist to the tip of the middle finger."""
_USUAL_LENGTH_M: Final = 0.173
"""Mean distance of adults along the bones from the wrist keypoint to the tip of the middle finger."""
_USUAL_BONES: Final = np.array(
    [
        *(0.235, 0.193, 0.156, 0.127),
        *(0.528, 0.219, 0.127, 0.101),
        *(0.513, 0.239, 0.140, 0.108),
        *(0.490, 0.216, 0.129, 0.099),
        *(0.469, 0.167, 0.100, 0.081),
    ]
)
"""Median bone lengths (20,) of rendered hands relative to that distance, in the published definition of keypoints."""
_TRACK_SHARE: Final = 0.3
"""Share of a track's mean in its bone proportions. People differ less than the estimates of single frames."""
_LENGTH_SD, _VIEW_SD, _POSE_SD = 0.07, 0.13, 0.14
"""Standard deviations relative to the distance: of the hand lengths of adults, of the focal lengths of cameras with an
assumed view, and of the distance of rendered hands with known length and camera."""
O = TypeVar("O", bound=observations.Observation)  # noqa: E741
PALM_GRID = ssd.AnchorGrid(input_size=192, strides=(8, 16, 16, 16))
_WRIST, _INDEX_MCP, _MIDDLE_MCP, _RING_MCP = 0, 5, 9, 13
_PALM_WRIST, _PALM_MIDDLE_MCP = 0, 2  # of the palm detector's seven keypoints
BOX_KEYPOINTS = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]  # all but the last two joints of each finger
PALM_KEYPOINTS = (
    "wrist",
    *(f"{finger}_finger_mcp" for finger in ("index", "middle", "ring", "pinky")),
    "thumb_cmc",
    "thumb_mcp",
)
"""Keypoints of the palm detector, whose bounding square is the square of the palm."""
_Z_SCALE = 0.4
_FROM_PALM = {"scale": 2.6, "shift_y": -0.5}  # hand box relative to the square of the palm
_AROUND_HAND = {"scale": 2.0, "shift_y": -0.1}  # relative to the box around wrist, palm and first joints
_NEAR_WINDOW, _NEAR_SCORE = 2.5, 0.3
"""Side of the window in which a lost hand is searched, in sides of its crop, and minimum score of a palm there."""
_KEYPOINTS = 21
_MIRROR = np.array([-1, 1, 1], np.float32)
_BUNDLE_TURN_RAD = boxes.wrap_angle(90 - math.pi / 2)
"""Rotation of first crops in the graph of a hand landmarker, which passes 90 degrees as radians."""


class HandSizes:
    """Bone lengths and distances of the hands of a detector.

    One image does not show the size of a hand, so that the hand length is known or usual, and a field of view is
    assumed for an unknown camera. Bone proportions are between the usual ones and the mean over the frames of a track.
    """

    def __init__(self, hand_length_m: float | None = None, camera: cameras.Intrinsics | None = None) -> None:
        self._length_m = hand_length_m or _USUAL_LENGTH_M
        self._camera = camera
        assumed = (0 if hand_length_m else _LENGTH_SD, 0 if camera else _VIEW_SD)
        self._error = math.hypot(_POSE_SD, *assumed)
        self._means: WeakKeyDictionary[tracking.Track[Any], tuple[FloatArray, int]] = WeakKeyDictionary()

    def measure(
        self, points: Float32Array, xy_px: Float32Array, size: tuple[int, int], track: tracking.Track[Any] | None
    ) -> tuple[Float32Array, float | None, float | None]:
        """Return keypoints (21, 3) with the bone lengths of a track, the distance and its standard deviation in metres.

        `points` (21, 3) are metres in the camera's axes, and `xy_px` (21, 2) pixels. Stills have no track. The distance
        of the origin from the lens may be unknown.
        """
        metres = points.astype(np.float64)
        vectors = metres[_CHILDREN] - metres[_PARENTS]
        lengths = np.linalg.norm(vectors, axis=1)
        mean = lengths
        if track is not None:
            mean, frames = self._means.get(track, (np.zeros(len(_BONES)), 0))
            if track.occluded_s is None:
                mean = mean + (lengths - mean) / (frames + 1)
                self._means[track] = mean, frames + 1
        mean_shares = mean / max(mean[_LENGTH_BONES].sum(), 1e-9)
        shares = _USUAL_BONES + _TRACK_SHARE * (mean_shares - _USUAL_BONES)
        sized, sizes = np.zeros_like(metres), shares * self._length_m / shares[_LENGTH_BONES].sum()
        for (parent, child), vector, before, length in zip(_BONES, vectors, lengths, sizes, strict=True):
            sized[child] = sized[parent] + vector * (length / max(before, 1e-9))
        sized += metres.mean(0) - sized.mean(0)
        place = cameras.translation_to_view(sized, xy_px, self._camera or cameras.assumed_camera(*size))
        keypoints_3d = sized.astype(np.float32)
        if place is None:
            return keypoints_3d, None, None
        distance = float(np.linalg.norm(place))
        return keypoints_3d, distance, distance * self._error


@dataclass(frozen=True, eq=False)
class RefinableCrop:
    """Inputs of the refinement of a hand and the box of its crop; `mirrored`: the crop is of the mirrored image."""

    inputs: hand_heads.RefinementInputs
    box: boxes.RotatedBox
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class HandObservation:
    """Observation of a hand in one box; see `Observation`."""

    score: float
    keypoints: Float32Array
    keypoints_3d: Float32Array
    left: float
    extra: Float32Array | None = None
    visibility: Float32Array | None = None
    appearance: hand_heads.AppearanceInputs | None = None
    maps: Float32Array | None = None  # (21, L) maps of the network at the keypoints; None without heads
    refinable: RefinableCrop | None = None  # inputs of the refinement; None without one, and for refined keypoints
    error_px: Float32Array | None = None  # (21,) expected error of refined keypoints in pixels; None for others
    published: "HandObservation | None" = None  # observation before the refinement; None for published keypoints
    colours: None = None

    @property
    def published_points(self) -> HandPoints | None:
        """Return the keypoints before the refinement; None for published keypoints."""
        return self.published and HandPoints(self.published.keypoints, self.published.keypoints_3d)


def palm_squares(palms: RealArray) -> FloatArray:
    """Return the square (P, 4) around each palm's keypoints (P, 7, 2) in pixels: centre x, y, width, height."""
    low, high = palms.min(1).astype(np.float64), palms.max(1)
    side = (high - low).max(1, keepdims=True)
    return np.concatenate([(low + high) / 2, side, side], 1)


def box_from_palm(palm: ssd.Detection, turn_rad: float = 0.0) -> boxes.RotatedBox:
    """Return the box of a hand from a palm's box and keypoints in pixels, with the fingers up or turned by an angle."""
    wrist, middle_mcp = palm.keypoints[[_PALM_WRIST, _PALM_MIDDLE_MCP]].tolist()
    rotation = boxes.wrap_angle(boxes.upright_rotation(wrist, middle_mcp) + turn_rad)
    return boxes.square_box(boxes.box_from_corners(palm.box.tolist(), rotation), **_FROM_PALM)


class Hands(interfaces.Kind[HandObservation, Hand]):
    """Detect hands and their landmarks.

    The palm detector, if there is one, gives (1, 2016, 18) and (1, 2016, 1). The landmark network has a square input
    image. Its outputs are keypoints (1, 63) in its pixels, presence (1, 1), handedness (1, 1) and world keypoints (1,
    63), and further ones that `heads` and `refinement` read. A custom network may return more keypoints.

    Args:
        visibility: True to include visibility in results. Without it, the heads provide only side and appearance.
        refinement: Refinement of the keypoints in results. Tracking uses the network's own keypoints.
        sizes: Bone lengths and distances of the hands in results; None for no distances.
        turn_rad: Additional clockwise rotation of the boxes of palms.
    """

    certain_presence, sure_score = 0.9, 0.0

    def __init__(
        self,
        palms: ssd.SingleShotDetector | None,
        landmarks: Engine,
        *,
        mirrored: bool,
        heads: hand_heads.HandHeads | None = None,
        visibility: bool = True,
        refinement: hand_heads.HandRefinement | None = None,
        sizes: HandSizes | None = None,
        turn_rad: float = 0.0,
    ) -> None:
        self.palms, self._turn_rad = palms, turn_rad
        self._landmarks = landmarks
        self._mirrored = mirrored
        self._heads = heads
        self._shows_visibility = visibility
        self._refinement = refinement
        self._sizes = sizes
        self._size = landmarks.input.shape[1]
        self._to_fraction = np.array([1, 1, 1 / _Z_SCALE], np.float32) / self._size

    def find(self, rgb: Image, min_score: float) -> list[boxes.RotatedBox]:
        """Return boxes of hands from the palms in an image (H, W, 3), best first."""
        palms = [] if self.palms is None else self.palms.find(rgb, min_score)
        return [box_from_palm(palm, self._turn_rad) for palm in palms]

    def find_near(self, rgb: Image, box: boxes.RotatedBox) -> list[boxes.RotatedBox]:
        """Return boxes of hands, in pixels, from the palms in a window around a box of an image (H, W, 3)."""
        window = window_around(box.cx, box.cy, _NEAR_WINDOW * box.width, rgb)
        if self.palms is None or window is None:
            return []
        palms = self.palms.find(window.cut(rgb), _NEAR_SCORE)
        return [window.placed(box_from_palm(palm, self._turn_rad)) for palm in palms]

    def observe(self, rgb: Image, box: boxes.RotatedBox) -> HandObservation:
        """Run the landmark network on a box of an image (H, W, 3): keypoints (21, 3), presence and handedness."""
        crop_for(self._landmarks, rgb, box)
        image, presence, handedness, world, *taps = self._landmarks.run()
        # The network was trained on selfie views: there its label is the person's own hand.
        left = float(handedness.flat[0])
        visibility = None
        appearance = None
        maps = None
        in_crop = image.reshape(-1, 3)
        keypoints = in_crop / np.float32(self._size)
        if self._heads is not None:
            visibility, left, appearance, maps = self._heads.read(keypoints, taps)
        refinable = None
        if self._refinement is not None:
            inputs = [tap.copy() for tap in taps[:-1]]  # the engine reuses its output buffers
            refinable = RefinableCrop(hand_heads.RefinementInputs(keypoints, world.reshape(-1, 3).copy(), inputs), box)
        points = boxes.points_from_crop(in_crop * self._to_fraction, box)
        return HandObservation(
            score=float(presence.flat[0]),
            keypoints=points[:_KEYPOINTS],
            keypoints_3d=world.reshape(-1, 3)[:_KEYPOINTS] @ boxes.turn_matrix(box),
            left=left if self._mirrored else 1 - left,
            extra=points[_KEYPOINTS:, :2] if len(points) > _KEYPOINTS else None,
            visibility=visibility,
            appearance=appearance,
            maps=maps,
            refinable=refinable,
        )

    def observe_mirrored(self, rgb: Image, box: boxes.RotatedBox) -> HandObservation:
        """Observe a box in the mirrored image (H, W, 3). Return keypoints in pixels and the side in the original."""
        height, width = rgb.shape[:2]
        reach = 0.75 * box.width
        left, top = (min(max(int(at - reach), 0), size - 1) for at, size in ((box.cx, width), (box.cy, height)))
        right = max(min(int(box.cx + reach) + 1, width), left + 1)
        bottom = max(min(int(box.cy + reach) + 1, height), top + 1)
        cut = np.ascontiguousarray(rgb[top:bottom, left:right][:, ::-1])
        mirrored = self.observe(cut, box._replace(cx=right - box.cx, cy=box.cy - top, rotation=-box.rotation))
        return replace(
            mirrored,
            keypoints=mirrored.keypoints * _MIRROR + np.array([right, top, 0], np.float32),
            keypoints_3d=mirrored.keypoints_3d * _MIRROR,
            left=1 - mirrored.left,
            appearance=None,  # it describes the mirrored image
            refinable=replace(mirrored.refinable, mirrored=True) if mirrored.refinable else None,
        )

    def refine(self, observation: HandObservation) -> HandObservation:
        """Return the observation with refined keypoints; the same observation without a refinement."""
        crop = observation.refinable
        if self._refinement is None or observation.published is not None:
            return observation
        published = replace(observation, refinable=None)
        if crop is None:  # occluded
            return replace(observation, published=published)
        (keypoints, world, error), box = self._refinement(crop.inputs), crop.box
        before = boxes.points_from_crop(crop.inputs.keypoints * (self._to_fraction * self._size), box)
        shift = boxes.points_from_crop(keypoints, box) - before
        shift_3d = (world - crop.inputs.world) @ boxes.turn_matrix(box)
        if crop.mirrored:
            shift, shift_3d = shift * _MIRROR, shift_3d * _MIRROR
        return replace(
            observation,
            keypoints=observation.keypoints + shift,
            keypoints_3d=observation.keypoints_3d + shift_3d,
            refinable=None,
            error_px=error * np.float32(box.width),
            published=published,
        )

    def box_after(self, observation: HandObservation) -> boxes.RotatedBox:
        return box_around_hand(observation.keypoints)

    def propagate(self, observation: HandObservation, shift: Float32Array, score: float) -> HandObservation:
        """Return the observation of an occluded hand, shifted by (2,) pixels, without visibility and appearance."""
        extra, visibility = observation.extra, observation.visibility
        return replace(
            super().propagate(observation, shift, score),
            extra=None if extra is None else extra + shift,
            visibility=None if visibility is None else np.zeros_like(visibility),
            appearance=None,
            refinable=None,
        )

    def result(self, rgb: Image, observation: HandObservation, track: tracking.Track[HandObservation] | None) -> Hand:
        """Return the public result for an image (H, W, 3).

        A track has the side with the most evidence over its frames.
        """
        left = observation.left if track is None or track.left is None else track.left
        shown = observation.appearance
        hand = Hand(
            handedness="Left" if left > 0.5 else "Right",
            score=observation.score,
            keypoints=observation.keypoints,
            keypoints_3d=observation.keypoints_3d,
            id=None if track is None else track.id,
            handedness_score=max(left, 1 - left),
            extra_keypoints=observation.extra,
            visibility=observation.visibility if self._shows_visibility else None,
            appearance=self._heads.appearance(shown) if self._heads and shown else None,
            error_px=observation.error_px,
            published=observation.published_points,
        )
        if self._sizes is not None:
            size = rgb.shape[1], rgb.shape[0]
            sized = self._sizes.measure(hand.keypoints_3d, hand.keypoints[:, :2], size, track)
            hand.keypoints_3d, hand.distance_m, hand.distance_error_m = sized
        return hand


def box_around_hand(keypoints: RealArray) -> boxes.RotatedBox:
    """Return the crop of a hand (21, 2) in pixels: upright, twice as large as wrist, palm and first joints."""
    points = keypoints[:, :2].astype(np.float64)
    knuckles = ((points[_INDEX_MCP] + points[_RING_MCP]) / 2 + points[_MIDDLE_MCP]) / 2
    rotation = boxes.upright_rotation(points[_WRIST].tolist(), knuckles.tolist())
    return boxes.square_box(boxes.rotated_box_around(points[BOX_KEYPOINTS], rotation), **_AROUND_HAND)


class HandSmoother(KeypointSmoother):
    """Smoother of hands, which smooths the published keypoints of refined hands too, for gestures."""

    def __init__(self, pattern: Filter) -> None:
        super().__init__(pattern)
        self._published = KeypointSmoother(pattern)

    def __call__(self, observation: O, now_s: float) -> O:
        """Return the observation with smoothed keypoints."""
        smoothed = super().__call__(observation, now_s)
        if isinstance(smoothed, HandObservation) and smoothed.published is not None:
            smoothed = replace(smoothed, published=self._published(smoothed.published, now_s))
        return smoothed


def hand_smoothers(options: CommonOptions) -> Callable[[], KeypointSmoother | None]:
    """Return a factory of smoothers of hands, whose published graph does not smooth."""
    return keypoint_smoothers(options, HandSmoother)


def load_palm_detector(options: CommonOptions, name: str, detector_file: Path | None = None) -> ssd.SingleShotDetector:
    """Load a published palm detector by name, or a custom one."""
    file = detector_file or options.file(name)
    precision = available_precision(options.precision, file)  # it runs rarely, so f32 is fast enough
    palms = load_engine(file, replace(options.running, precision=precision))
    check_shapes(palms, file, "palm detector", size=PALM_GRID.input_size, outputs=(2016 * 18, 2016))
    return ssd.SingleShotDetector(palms, PALM_GRID)


def load_hands(options: HandOptions, heads_kind: type[hand_heads.HandHeads] = hand_heads.HandHeads) -> Hands:
    """Load the palm detector and the landmark network of one model, with heads of a class."""
    weights = HANDS.models[options.model].weights
    detector_file = options.detector_file(weights["detector"])
    loading = load_ahead(lambda: load_palm_detector(options, weights["detector"], detector_file))
    hand_file = options.landmark_file(weights["landmark"])

    is_own, refines = options.landmark_model is not None, options.keypoints == "refined" or options.distance
    if is_own and (options.visibility or refines):
        refined = "distance=True" if options.distance else 'keypoints="refined"'
        raise _needs_published_networks("visibility=True" if options.visibility else refined, hand_file)
    needs_heads = options.visibility or ((options.is_thorough or options.has_key_frames) and not is_own)
    heads = hand_heads.load_hand_heads(options.model, heads_kind) if needs_heads else None
    refinement = hand_heads.load_hand_refinement(options.model) if refines else None
    landmarks = load_engine(hand_file, options.running, taps=hand_heads.TAPS if heads or refinement else ())
    sizes, behind = landmarks.output_sizes, list[int]()
    if heads is not None or refinement is not None:
        sizes, behind = sizes[:4], sizes[4:]
    more = len(sizes) == 4 and max(sizes) > 3 * _KEYPOINTS and max(sizes) % 3 == 0  # trained keypoints of your own
    points = max(sizes) if more else 3 * _KEYPOINTS
    check_shapes(landmarks, hand_file, "hand landmark network", size=None, outputs=(points, 1, 1, points, *behind))
    camera = None if options.camera is None else cameras.camera_from_text(options.camera)
    return Hands(
        loading.result(),
        landmarks,
        mirrored=options.mirrored,
        heads=heads,
        visibility=options.visibility,
        refinement=refinement,
        sizes=HandSizes(options.hand_length, camera) if options.distance else None,
        turn_rad=_BUNDLE_TURN_RAD if options.follows_bundle else 0.0,
    )


def _needs_published_networks(option: str, file: Path) -> InputError:
    return InputError(f"{option} cannot be combined with {file}: it requires the published networks")


def load_hands_of_people(options: HolisticOptions, hand: str, bundle_file: Path | None = None) -> Hands:
    """Load the landmark network of people's hands: the published one by name, or a file of a bundle."""
    refinement = None
    if options.keypoints == "refined":
        if bundle_file is not None:
            raise _needs_published_networks('keypoints="refined"', bundle_file)
        refinement = hand_heads.load_hand_refinement(hand.removeprefix("hand-"))
    landmarks = load_engine(
        bundle_file or options.file(hand), options.running, taps=hand_heads.TAPS if refinement else ()
    )
    return Hands(None, landmarks, mirrored=options.mirrored, refinement=refinement)


_PALM_VALUES = Landmarks(18, step=2, least_presence=0.0, candidates=2016)
HANDS = KindEntry(
    name="hands",
    result=Hand,
    summary="Find hands: 21 keypoints each, left or right, in pixels and in metres.",
    plural="hands",
    models={name: Model(name, {"detector": f"palm-{name}", "landmark": f"hand-{name}"}) for name in ("full", "lite")},
    model_help="lite is faster, full is more exact.",
    options=HandOptions,
    load=load_hands,
    smoothers=hand_smoothers,
    instances=("hand",),
    search="sonjit.detectors.search.load:search_hands",
    search_weights=("person-detector", "body-full"),
    examples=(
        ("sonjit hands photo.jpg", "prints the hands of an image."),
        ("sonjit hands clip.mp4 --save clip.csv --draw clip-drawn.mp4", "writes a table and a drawn video."),
        (
            "sonjit hands recordings/ --save tables/ --jobs 4",
            "writes a JSON table per file; run it again to continue.",
        ),
        ("sonjit hands camera:0 --mirrored --draw me.mp4", "records until Ctrl-C."),
        (
            "sonjit hands photo.jpg --lift internet --lift-weights snapshot_20.pth.tar --save hands.json",
            "estimates hands in camera space with InterNet's weights.",
        ),
    ),
    weight_groups=("hands",),
    int8={
        "palm-full": ("full", _PALM_VALUES),
        "palm-lite": ("lite", _PALM_VALUES),
        "hand-full": ("full", Landmarks(63)),
        "hand-lite": ("lite", Landmarks(63)),
    },
    pages=PageSupport(
        ("hand_heads.npz", "hand_refinement.npz", "proposals.tflite"),
        {"people": "person-detector", "guide": "body-full"},  # the bodies below faces
    ),
    has_maps=True,
)
