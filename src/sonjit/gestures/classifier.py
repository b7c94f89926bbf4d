"""Gestures of hands by a small network on their keypoints, trained on posed hands.

It tells the shape of a hand, whichever way the hand points; of a thumb or an index finger alone the direction in the
image makes the name. How it is trained, and how often it is right: docs/gestures.md.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.gestures.features import FEATURES, gesture_features
from sonjit.results import Gesture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from sonjit.arrays import Float32Array, RealArray
    from sonjit.results import Hand

ASSET: Final = "gestures.npz"

NONE: Final = "None"
"""The class of hands that make no gesture: in the classifier alone, never in a result."""

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
"""What the shipped classifier tells apart, in the order of its probabilities."""


@dataclass(frozen=True, eq=False)
class Direction:
    """What a shape is called by its direction in the image.

    Attributes:
        finger: the keypoints that it goes from and to.
        names: up, right, down and left; None where it is no gesture.
    """

    finger: tuple[int, int]
    names: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What a classifier tells apart.

    Attributes:
        shapes: of hands, `NONE` first, in the order of the probabilities.
        directions: of those shapes that are called by them; others are called as they are.
    """

    shapes: tuple[str, ...]
    directions: Mapping[str, Direction] = field(default_factory=dict[str, Direction])

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of a gesture."""
        directed = [name for one in self.directions.values() for name in one.names if name is not None]
        return (*dict.fromkeys(directed), *(one for one in self.shapes if one != NONE and one not in self.directions))

    def name(self, shape: str, keypoints: RealArray) -> str | None:
        """The gesture of a shape, by the direction in the image where that matters; None where it means nothing.

        Args:
            shape: one of the shapes.
            keypoints: (21, 3) pixels, z in the same scale.
        """
        direction = self.directions.get(shape)
        if direction is None:
            return shape
        start, end = direction.finger
        x, y, z = (keypoints[end] - keypoints[start]).tolist()
        if math.hypot(x, y) < _LEAST_IN_IMAGE * math.hypot(x, y, z):
            return None
        return direction.names[round(math.atan2(x, -y) / (math.pi / 2)) % 4]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` gave; ValueError, KeyError or TypeError for something else."""
        data = json.loads(text)
        given = data["directions"].items()
        directions = {
            shape: Direction((one["finger"][0], one["finger"][1]), tuple(one["names"])) for shape, one in given
        }
        return cls(tuple(data["shapes"]), directions)

    def to_json(self) -> str:
        """As JSON text."""
        directions = {
            shape: {"finger": list(one.finger), "names": list(one.names)} for shape, one in self.directions.items()
        }
        return json.dumps({"shapes": list(self.shapes), "directions": directions})


VOCABULARY: Final = Vocabulary(
    SHAPES,
    {
        "Pointing": Direction((5, 8), ("Pointing_Up", "Pointing_Right", "Pointing_Down", "Pointing_Left")),
        "Thumb": Direction((2, 4), ("Thumb_Up", None, "Thumb_Down", None)),
    },
)
"""Of the shipped classifier."""

GESTURES: Final = VOCABULARY.names
"""Every name of a gesture. The first seven of MediaPipe's gesture recogniser are spelled as there."""

WITH_IMAGE: Final = "with_image."
"""Begins the names of the weights that also read a hand's appearance."""

LEAST_SCORE: Final = 0.45
"""Below it a hand makes no gesture."""

_LEAST_IN_IMAGE: Final = 0.35
"""A finger whose direction lies less than this in the image, of 1, points to the camera or away from it."""


class GestureClassifier:
    """Tells which gesture a hand makes.

    Args:
        weights: arrays by name, as `sonjit train gestures` writes them: `weights_0` (F, H), `bias_0` (H,), `weights_1`
            (H, E), `bias_1` (E,), `weights_2` (E, P) and `bias_2` (P,) of three layers, the first two rectified, to
            logits of poses; `shape` (P,), the index of each pose's shape. The shipped one's also have what custom
            gestures are told by: `whitening` (E, E) and `whitening_bias` (E,) to axes in which hands of one pose have
            variance 1, and `spread` (E,), the variance of poses along them; and `with_image.`, a second network for
            hands whose `appearance` is known: `weights_0` (F, K) of the features, `weights_1` (21 A + K, H) of the
            appearance and what that gives, `weights_2` (H, E), `weights_3` (E, P), each with its `bias_`, all but the
            last rectified; `shape` (P,); and `calibration` (2,) of `calibrated_shares` for its probabilities.
        vocabulary: what it tells apart.
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
        own = {name.removeprefix(WITH_IMAGE): value for name, value in weights.items() if name.startswith(WITH_IMAGE)}
        self._with_image = (_layers(own, 4), self._shapes_of(own["shape"])) if own else None
        self._calibration = tuple(np.asarray(own.get("calibration", (1, 1)), np.float32).tolist())

    def _shapes_of(self, poses: RealArray) -> Float32Array:
        """(P, S) 1 where poses (P,) make a shape."""
        return np.eye(len(self.vocabulary.shapes), dtype=np.float32)[np.asarray(poses, int)]

    def __call__(self, hand: Hand) -> Gesture | None:
        """The gesture of a hand, and its probability; None where it makes none that is known."""
        appearance = None if hand.appearance is None else hand.appearance[None]
        (probabilities,) = self.probabilities(features_of([hand]), appearance)
        best = int(probabilities.argmax())
        score, shape = float(probabilities[best]), self.vocabulary.shapes[best]
        if shape == NONE or not score >= LEAST_SCORE:  # NaN of a hand with unknown keypoints
            return None
        name = self.vocabulary.name(shape, hand.keypoints)
        return None if name is None else Gesture(name, score)

    def probabilities(self, features: RealArray, appearance: RealArray | None = None) -> Float32Array:
        """(N, S) probabilities of the shapes for features (N, F); NaN where they are.

        Args:
            features: of the keypoints.
            appearance: (N, 21, A), see `Hand.appearance`: with it the network tells that reads it, if the file has one.
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
        """Of the arrays of a file that was trained, and what it is called in a message.

        Raises:
            InputError: they are not those of a classifier.
        """
        try:
            vocabulary = Vocabulary.from_json(str(arrays["vocabulary"])) if "vocabulary" in arrays else VOCABULARY
            made = cls(arrays, vocabulary)
            made.probabilities(np.zeros((1, FEATURES), np.float32))
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise InputError(f"{path}: no classifier of gestures that this version reads: {error!r}") from None
        return made

    @property
    def spread(self) -> Float32Array:
        """(E,) how much poses differ along each axis of `place`, where hands of one pose have variance 1."""
        return self._whitening[2]

    def place(self, features: RealArray) -> Float32Array:
        """(N, E) where hands lie among all poses, for features (N, F); of the shipped classifier alone."""
        return self.embed(features) @ self._whitening[0] + self._whitening[1]

    def embed(self, features: RealArray) -> Float32Array:
        """(N, E) what the last layer tells shapes by, for features (N, F) of `features_of`."""
        return _rectified(features, self._layers[:2])


def calibrated_shares(shares: RealArray, calibration: tuple[float, float]) -> Float32Array:
    """Probabilities (N, S) to a power, that of no gesture then times a factor, made to sum to 1 again.

    Args:
        shares: probabilities, no gesture's first.
        calibration: the exponent and the factor.
    """
    exponent, factor = calibration
    powers = shares**exponent
    powers[:, 0] *= factor
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def _layers(weights: Mapping[str, RealArray], count: int) -> list[tuple[Float32Array, Float32Array]]:
    return [
        (np.asarray(weights[f"weights_{one}"], np.float32), np.asarray(weights[f"bias_{one}"], np.float32))
        for one in range(count)
    ]


def _rectified(values: RealArray, layers: Sequence[tuple[Float32Array, Float32Array]]) -> Float32Array:
    for weights, bias in layers:
        values = np.maximum(values @ weights + bias, 0)
    return np.asarray(values, np.float32)


def _softmax(logits: Float32Array) -> Float32Array:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


@lru_cache(maxsize=1)
def load_gestures() -> GestureClassifier:
    """The shipped classifier."""
    file = resources.files("sonjit") / "assets" / ASSET
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
        return GestureClassifier({name: arrays[name] for name in arrays.files})


def gesture_of(hand: Hand) -> Gesture | None:
    """The gesture that a hand makes, one of `GESTURES` with its probability; None where it makes none that is known.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     gestures = [gesture_of(hand) for hand in detector.detect("photo.jpg")]
        >>> len(gestures)  # one for each hand; names and scores, or None
        2
    """
    return load_gestures()(hand)


def features_of(hands: Sequence[Hand]) -> Float32Array:
    """(N, F) features of hands; see `gesture_features`."""
    image, world = (np.stack([getattr(one, name) for one in hands]) for name in ("keypoints", "keypoints_3d"))
    return gesture_features(image, world, np.array([one.handedness == "Left" for one in hands]))
