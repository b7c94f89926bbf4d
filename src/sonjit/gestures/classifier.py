"""Classify the gesture of a hand by a small network, in NumPy, and smooth the gestures of a stream."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Final, Self

import numpy as np

from sonjit._util import BoolArray, Float32Array, InputError, RealArray, data_files, json_from
from sonjit.results import Gesture, Hand, Result

SHIPPED: Final = ("asl",)  # manual alphabets
CANNED: Final = "canned"  # name of the shipped gestures for `find_gestures`
NONE: Final = "None"  # class of hands that make no gesture. It exists only in the classifier, never in a result.
_MIN_SHARE_IN_IMAGE: Final = 0.35
"""Minimum share of a finger's length in the image plane. With less it points towards the camera or away from it."""
KEYPOINTS: Final = 21
PALM: Final = [0, 5, 9, 13, 17]  # the wrist and the knuckles of the four fingers
_PAIRS: Final = [(a, b) for a in range(KEYPOINTS) for b in range(a) if a != 1 and b != 1]
"""All pairs of keypoints, but those of the thumb's first joint."""
ALONG: Final = (-1, 0.25, 0.5, 0.25, 0)  # weights of `PALM` that give the way from the wrist to the knuckles
_MIDDLE, _ALONG = np.zeros((2, 1, KEYPOINTS), np.float32)
_STEPS: Final = np.zeros((len(_PAIRS), KEYPOINTS), np.float32)
_MIDDLE[0, PALM] = 0.2
_ALONG[0, PALM] = ALONG
_STEPS[np.arange(len(_PAIRS)), [a for a, _ in _PAIRS]] = 1
_STEPS[np.arange(len(_PAIRS)), [b for _, b in _PAIRS]] = -1
FEATURES: Final = 2 * (3 * KEYPOINTS + len(_PAIRS))  # how many `gesture_features` gives
ASSET: Final = "gestures.npz"
_APPEARANCE: Final = (1, 21, 66)  # shape of `Hand.appearance` of one hand, from the published networks
_LARGEST: Final = 65504.0
"""Largest magnitude of a weight, which is the largest number of 16 bits: sums of products then stay finite."""
_MOST_CELLS: Final = 1_000_000  # maximum number of poses times shapes
SHAPES: Final = (
    NONE,
    "Closed_Fist",
    "Open_Palm",
    "Pointing",
    "Thumb",
    "Victory",
    "Three",
    "Three_With_Thumb",
    "Four",
    "OK",
    "Pinch",
    "Call_Me",
    "ILoveYou",
    "Thumb_And_Index",
    "Hooked_Index",
    "Horns",
    "Little_Finger",
)
"""Shapes of the shipped classifier in the order of its probabilities."""
WITH_IMAGE: Final = "with_image."  # prefix of the names of the weights that also read the appearance of a hand
LEAST_SCORE: Final = 0.45  # minimum probability of a gesture
MIN_VISIBLE_S: Final = 0.25
"""Minimum time that a hand is visible before its gesture counts. A hand that enters the image is often blurred."""


@dataclass(frozen=True, eq=False)
class Direction:
    """Names of a shape by its direction in the image."""

    finger: tuple[int, int]  # keypoints where the direction starts and ends
    names: tuple[str | None, ...]  # names for up, right, down and left; None for a direction that is no gesture

    @classmethod
    def checked(cls, finger: Any, names: Any) -> Self:  # noqa: ANN401  # JSON or TOML
        """Return a direction of data of a file. Other data raise ValueError or TypeError."""
        if len(finger) != 2 or not all(type(point) is int and 0 <= point < KEYPOINTS for point in finger):
            raise ValueError(f"finger {finger!r:.40} is not two keypoints from 0 to {KEYPOINTS - 1}")
        if len(names) != 4 or not all(name is None or isinstance(name, str) for name in names):
            raise ValueError(f"names {names!r:.40} are not four names, for up, right, down and left")
        return cls((finger[0], finger[1]), tuple(names))


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Shapes and gesture names of a classifier."""

    shapes: tuple[str, ...]  # shapes of hands in the order of the probabilities, `NONE` first
    # directions of the shapes whose name depends on the direction in the image
    directions: Mapping[str, Direction] = field(default_factory=dict[str, Direction])

    @property
    def names(self) -> tuple[str, ...]:
        """Return all gesture names."""
        directed = [name for direction in self.directions.values() for name in direction.names if name is not None]
        return (
            *dict.fromkeys(directed),
            *(shape for shape in self.shapes if shape != NONE and shape not in self.directions),
        )

    def name(self, shape: str, keypoints: RealArray) -> str | None:
        """Return the gesture of a shape with published keypoints (21, 3) in pixels.

        A direction without a name gives None.
        """
        direction = self.directions.get(shape)
        if direction is None:
            return shape
        start, end = direction.finger
        x, y, z = (keypoints[end] - keypoints[start]).tolist()
        if math.hypot(x, y) < _MIN_SHARE_IN_IMAGE * math.hypot(x, y, z):
            return None
        return direction.names[round(math.atan2(x, -y) / (math.pi / 2)) % 4]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text of `to_json`. Other text raises ValueError, KeyError, TypeError or RecursionError."""
        data = json.loads(text)
        shapes = tuple(data["shapes"])
        if not all(isinstance(shape, str) for shape in shapes) or not isinstance(data["directions"], dict):
            raise ValueError("the vocabulary needs names of shapes, and directions by name")
        directions = data["directions"].items()
        return cls(shapes, {shape: Direction.checked(item["finger"], item["names"]) for shape, item in directions})

    def to_json(self) -> str:
        """Return the vocabulary as JSON text."""
        return json_from(asdict(self), spaced=True)


def gesture_features(keypoints: RealArray, keypoints_3d: RealArray, left: BoolArray) -> Float32Array:
    """Return features (N, F) of N hands, NaN for a hand with an unknown keypoint or coinciding keypoints.

    The keypoints (N, 21, 3) of the image and in metres as `aligned` gives them, and the distances between the points of
    each. The published ones of the image are in pixels, with z as the detector scales it; `left` (N,) are left hands.
    """
    if keypoints.shape[1:] != (KEYPOINTS, 3) or keypoints.shape != keypoints_3d.shape:
        raise InputError(f"gestures need keypoints (N, 21, 3) twice, not {keypoints.shape} and {keypoints_3d.shape}")
    count = len(keypoints)
    points = np.empty((count, 2, KEYPOINTS, 3), np.float32)
    points[:, 0], points[:, 1] = keypoints, keypoints_3d
    points = aligned(points, left)
    steps = _STEPS @ points
    steps *= steps
    return np.concatenate([points.reshape(count, -1), np.sqrt(steps.sum(-1)).reshape(count, -1)], 1)


def aligned(points: Float32Array, left: BoolArray, by: Float32Array | None = None) -> Float32Array:
    """Normalise image and metric keypoints (N, 2, 21, 3) for position, size, side and rotation in the image.

    Left hands are mirrored into right ones, all are turned in the image until the knuckles are above the wrist, and
    lie about the palm's middle at a mean square distance of 1. If hands `by` (N, 2, 21, 3) are given, these lie so.
    """
    reference = points if by is None else by
    middle = _MIDDLE @ reference
    x, y, _ = (_ALONG @ reference[:, 0])[:, 0].T
    around = reference - middle
    mirror = 1 - 2 * left
    turn = np.zeros((len(around), 3, 3), np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        length = np.hypot(x, y)
        up, across = -y / length, x / length
        turn[:, 0, :2] = np.stack([mirror * up, -across], 1)
        turn[:, 1, :2] = np.stack([mirror * across, up], 1)
        turn[:, 2, 2] = 1
        scale = np.sqrt((around * around).sum((2, 3), keepdims=True) / KEYPOINTS)
        return np.asarray((points - middle) / scale @ turn[:, None], np.float32)


VOCABULARY: Final = Vocabulary(
    SHAPES,
    {
        "Pointing": Direction((5, 8), ("Pointing_Up", "Pointing_Right", "Pointing_Down", "Pointing_Left")),
        "Thumb": Direction((2, 4), ("Thumb_Up", None, "Thumb_Down", None)),
    },
)
"""Vocabulary of the shipped classifier."""
GESTURES: Final = VOCABULARY.names
"""Every name of a gesture. The first seven have the spelling of MediaPipe's gesture recogniser."""


class GestureClassifier:
    """Classifier of hand gestures.

    `weights`: arrays by name, as `sonjit train gestures` writes them: `weights_0` (F, H), `bias_0` (H,), `weights_1`
    (H, E), `bias_1` (E,), `weights_2` (E, P) and `bias_2` (P,) of three layers, the first two rectified, to logits of
    poses; `shape` (P,), the index of each pose's shape. Custom gestures require further arrays, which the shipped
    weights have: `whitening` (E, E) and `whitening_bias` (E,) to axes in which hands of one pose have variance 1, and
    `spread` (E,), the variance of poses along them. `with_image.` is the prefix of a second network for hands with
    `appearance`: `weights_0` (F, K) of the features, `weights_1` (21 A + K, H) of the appearance and these outputs,
    `weights_2` (H, E), `weights_3` (E, P), each with its `bias_`, all but the last rectified; `shape` (P,); and
    `calibration` (2,) of `calibrated_shares` for its probabilities.
    """

    def __init__(self, weights: Mapping[str, RealArray], vocabulary: Vocabulary = VOCABULARY) -> None:
        self.vocabulary = vocabulary
        self._layers = _layers(weights, 3)
        self._whitening = tuple(
            np.asarray(weights[name], np.float32)
            for name in ("whitening", "whitening_bias", "spread")
            if name in weights
        )
        self._shape = self._shapes_of(weights["shape"])
        image_weights = {
            name.removeprefix(WITH_IMAGE): value for name, value in weights.items() if name.startswith(WITH_IMAGE)
        }
        self._with_image = (
            (_layers(image_weights, 4), self._shapes_of(image_weights["shape"])) if image_weights else None
        )
        self._calibration = tuple(np.asarray(image_weights.get("calibration", (1, 1)), np.float32).tolist())

    def _shapes_of(self, poses: RealArray) -> Float32Array:
        """Return a (P, S) matrix with 1 for the shape of each pose. Raise ValueError for other poses than (P,)."""
        count = len(self.vocabulary.shapes)
        if poses.ndim != 1 or poses.size * count > _MOST_CELLS or not ((poses >= 0) & (poses < count)).all():
            raise ValueError(f"its poses {poses.shape} do not fit {count} shapes")
        return np.asarray(poses.astype(int)[:, None] == np.arange(count), np.float32)

    def __call__(self, hand: Hand) -> Gesture | None:
        """Return the gesture of a hand with its probability, or None."""
        appearance = None if hand.appearance is None else hand.appearance[None]
        (probabilities,) = self.probabilities(features_of([hand]), appearance)
        best = int(probabilities.argmax())
        score, shape = float(probabilities[best]), self.vocabulary.shapes[best]
        if shape == NONE or not score >= LEAST_SCORE:  # NaN of a hand with unknown keypoints
            return None
        name = self.vocabulary.name(shape, hand.gesture_points.keypoints)
        return None if name is None else Gesture(name, score)

    def probabilities(self, features: RealArray, appearance: RealArray | None = None) -> Float32Array:
        """Return the probabilities (N, S) of the shapes for features (N, F); NaN for NaN.

        `appearance`: appearance (N, 21, A), see `Hand.appearance`, for the network that reads it, if any.
        """
        if appearance is None or self._with_image is None:
            weights, bias = self._layers[2]
            return _softmax(self.embed(features) @ weights + bias) @ self._shape
        layers, shape = self._with_image
        hidden = np.concatenate([appearance.reshape(len(appearance), -1), _rectified(features, layers[:1])], 1)
        weights, bias = layers[3]
        return calibrated_shares(_softmax(_rectified(hidden, layers[1:3]) @ weights + bias) @ shape, self._calibration)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, RealArray], path: object) -> Self:
        """Create a classifier from the arrays of a trained file: weights such as (F, E), without a unit.

        Raise InputError for other arrays.
        """
        try:
            vocabulary = Vocabulary.from_json(str(arrays["vocabulary"])) if "vocabulary" in arrays else VOCABULARY
            weights = {name: arrays[name] for name in arrays if name != "vocabulary" and not name.startswith("motion_")}
            for name, values in weights.items():
                if values.dtype.kind not in "fiu" or not (np.abs(values) <= _LARGEST).all():
                    raise ValueError(f"{name} contains other values than numbers up to {_LARGEST}")
            classifier = cls(weights, vocabulary)
            if not all(0 < value < 100 for value in classifier._calibration):  # powers of 0 stay finite
                raise ValueError("its calibration is not of positive numbers")
            features, appearance = np.zeros((1, FEATURES), np.float32), np.zeros(_APPEARANCE, np.float32)
            for probabilities in (classifier.probabilities(features), classifier.probabilities(features, appearance)):
                if probabilities.shape != (1, len(vocabulary.shapes)):
                    raise ValueError(f"its output has the shape {probabilities.shape}")
        except (KeyError, ValueError, TypeError, IndexError, RecursionError) as error:
            reason = repr(error)[:200]
            raise InputError(f"{path}: not a classifier of gestures for this version: {reason}") from None
        return classifier

    @property
    def spread(self) -> Float32Array:
        """Variance (E,) of poses along each axis of `place`, where hands of one pose have variance 1."""
        return self._whitening[2]

    def whiten(self, features: RealArray) -> Float32Array:
        """Return whitened embeddings (N, E) for features (N, F). Only the shipped classifier has them."""
        return self.embed(features) @ self._whitening[0] + self._whitening[1]

    def embed(self, features: RealArray) -> Float32Array:
        """Return the inputs (N, E) of the last layer for features (N, F) of `features_of`, without a unit."""
        return _rectified(features, self._layers[:2])


def calibrated_shares(shares: RealArray, calibration: tuple[float, float]) -> Float32Array:
    """Return the normalised powers (N, S) of probabilities, that of no gesture (the first) with a factor."""
    exponent, factor = calibration
    powers = shares**exponent
    powers[:, 0] *= factor
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def _layers(weights: Mapping[str, RealArray], count: int) -> list[tuple[Float32Array, Float32Array]]:
    """Return the weights (I, O) and the bias (O,) of each layer. Raise ValueError for other shapes."""
    layers = [
        (np.asarray(weights[f"weights_{item}"], np.float32), np.asarray(weights[f"bias_{item}"], np.float32))
        for item in range(count)
    ]
    for matrix, bias in layers:  # others could be broadcast to a size beyond that of the file
        if matrix.ndim != 2 or bias.shape != matrix.shape[1:]:
            raise ValueError(f"its layer has weights {matrix.shape} and a bias {bias.shape}")
    return layers


def _rectified(values: RealArray, layers: Sequence[tuple[Float32Array, Float32Array]]) -> Float32Array:
    for weights, bias in layers:
        values = np.maximum(values @ weights + bias, 0)
    return np.asarray(values, np.float32)


def _softmax(logits: Float32Array) -> Float32Array:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


@cache
def load_gestures() -> GestureClassifier:
    """Load the shipped classifier."""
    return GestureClassifier(data_files.read_npz(data_files.ASSETS / ASSET))


def gesture_of(hand: Hand) -> Gesture | None:
    """Return the gesture of a hand, one of `GESTURES` with its probability, or None.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     gestures = [gesture_of(hand) for hand in detector.detect("photo.jpg")]
        >>> len(gestures)  # one for each hand; names and scores, or None
        2
    """
    return load_gestures()(hand)


def hands_of(results: Iterable[Result]) -> list[Hand]:
    """Return the hands among results, including those of people, which have the id of their person."""
    return [part for result in results for part in result.parts if isinstance(part, Hand)]


def features_of(hands: Sequence[Hand]) -> Float32Array:
    """Return the features (N, F) of hands, see `gesture_features`."""
    image, world = (np.stack(points) for points in zip(*(hand.gesture_points for hand in hands), strict=True))
    return gesture_features(image, world, np.array([hand.looks_left for hand in hands]))


@dataclass(slots=True)
class _Vote:
    """Smoothed gesture of a hand, and the shares of all gestures in the recent past. Their sum is at most 1."""

    name: str | None
    time_s: float
    shares: dict[str | None, float]


class GestureSmoother:
    """Smooth gestures, so that one wrong frame does not change them.

    Each frame moves the share of its gesture towards the gesture's score, and every other share towards 0. The smoothed
    gesture changes when another share leads by `margin`. "No gesture" takes part with score 1. A change between two
    gestures of equal score takes about `settle_s`. A gesture whose share is below `least_score` is not reported.

    Args:
        settle_s: Duration of a change in seconds.
        margin: Minimum lead in share, 0..1.
        forget_s: Seconds without a detection after which a hand is forgotten.
        least_score: Minimum share of a reported gesture.
        classify: Function that returns the gesture of a hand in one frame; None for the shipped gestures.

    Raise InputError if a duration is not positive, or the margin is outside [0, 1).
    """

    def __init__(
        self,
        settle_s: float = 0.15,
        margin: float = 0.1,
        forget_s: float = 1.0,
        *,
        least_score: float = LEAST_SCORE,
        classify: Callable[[Hand], Gesture | None] | None = None,
    ) -> None:
        if not (settle_s > 0 and forget_s > 0 and 0 <= margin < 1):
            raise InputError("GestureSmoother needs settle_s > 0, forget_s > 0 and 0 <= margin < 1")
        self._margin = margin
        self._forget_s = forget_s
        self._classify = classify
        self._least_score = least_score
        # a step from one gesture to another: shares e and 1 - e with e = exp(-t / tau), and the lead is 1 - 2 e
        self._tau_s = settle_s / math.log(2 / (1 - margin))
        self._votes: dict[int, _Vote] = {}

    def __len__(self) -> int:
        """Return the number of remembered hands."""
        return len(self._votes)

    def reset(self) -> None:
        """Forget every hand."""
        self._votes.clear()

    def __call__(self, hands: Iterable[Hand], time_s: float) -> list[Gesture | None]:
        """Return the smoothed gesture of each hand of a frame. Hands without an id are not smoothed."""
        steady: list[Gesture | None] = []
        for hand in hands:
            gesture = (self._classify or gesture_of)(hand)
            if hand.id is not None:  # a person's hands share an id
                gesture = self.update(2 * hand.id + (hand.handedness == "Left"), gesture, time_s)
            steady.append(gesture)
        return steady

    def update(self, id: int, gesture: Gesture | None, time_s: float) -> Gesture | None:
        """Return the smoothed gesture of a tracked hand, with its share as score. Time may not run backwards."""
        for expired in [key for key, vote in self._votes.items() if time_s - vote.time_s > self._forget_s]:
            del self._votes[expired]
        name, score = gesture or (None, 1.0)
        vote = self._votes.get(id)
        if vote is None:
            self._votes[id] = _Vote(name, time_s, {name: score})
            return gesture
        if time_s < vote.time_s:
            raise InputError(f"time runs backwards: {time_s} s after {vote.time_s} s; reset() before another video")
        keep = math.exp((vote.time_s - time_s) / self._tau_s)
        vote.shares = {name: share * keep for name, share in vote.shares.items()}
        vote.shares[name] = vote.shares.get(name, 0.0) + (1 - keep) * score
        vote.time_s = time_s
        leader = max(vote.shares, key=vote.shares.__getitem__)
        if vote.shares[leader] > vote.shares.get(vote.name, 0.0) + self._margin:
            vote.name = leader
        score = vote.shares.get(vote.name, 0.0)
        return None if vote.name is None or score < self._least_score else Gesture(vote.name, score)
