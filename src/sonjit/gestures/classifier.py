"""Classify the gesture of a hand with a small network on its keypoints.

The network classifies the shape of a hand in any orientation. For a single thumb or index finger the name also depends
on the direction in the image. The documentation of gestures describes training and accuracy.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit._util.data_files import read_npz
from sonjit._util.errors import InputError
from sonjit.gestures.features import FEATURES, gesture_features
from sonjit.gestures.vocabulary import NONE, Direction, Vocabulary
from sonjit.results import Gesture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from sonjit._util.arrays import Float32Array, RealArray
    from sonjit.results import Hand

ASSET: Final = "gestures.npz"
_APPEARANCE: Final = (1, 21, 66)
"""Shape of `Hand.appearance` of one hand, from the published networks."""
_LARGEST: Final = 65504.0
"""Largest magnitude of a weight, which is the largest number of 16 bits: sums of products then stay finite."""

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


WITH_IMAGE: Final = "with_image."
"""Prefix of the names of the weights that also read the appearance of a hand."""
LEAST_SCORE: Final = 0.45
"""Minimum probability of a gesture."""
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

    Args:
        weights: Arrays by name, as `sonjit train gestures` writes them: `weights_0` (F, H), `bias_0` (H,), `weights_1`
            (H, E), `bias_1` (E,), `weights_2` (E, P) and `bias_2` (P,) of three layers, the first two rectified, to
            logits of poses; `shape` (P,), the index of each pose's shape. Custom gestures require further
            arrays, which the shipped weights have: `whitening` (E, E) and `whitening_bias` (E,) to axes in which hands
            of one pose have variance 1, and `spread` (E,), the variance of poses along them. `with_image.` is the
            prefix of a second network for hands with `appearance`: `weights_0` (F, K) of the features, `weights_1`
            (21 A + K, H) of the appearance and these outputs, `weights_2` (H, E), `weights_3` (E, P), each with its
            `bias_`, all but the last rectified; `shape` (P,); and `calibration` (2,) of `calibrated_shares` for
            its probabilities.
        vocabulary: Names of its classes.
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
        """Return a (P, S) matrix with 1 for the shape of each pose."""
        return np.eye(len(self.vocabulary.shapes), dtype=np.float32)[np.asarray(poses, int)]

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

        Args:
            features: Features of the keypoints.
            appearance: Appearance (N, 21, A), see `Hand.appearance`, for the network that reads it, if any.
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
        """Create a classifier from the arrays of a trained file.

        Args:
            arrays: Arrays by name.
            path: File name shown in error messages.

        Raises:
            InputError: The arrays are not those of a classifier.
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
        except (KeyError, ValueError, TypeError, IndexError) as error:
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
        """Return the inputs (N, E) of the last layer for features (N, F) of `features_of`."""
        return _rectified(features, self._layers[:2])


def calibrated_shares(shares: RealArray, calibration: tuple[float, float]) -> Float32Array:
    """Return calibrated probabilities (N, S): a power of each, with a factor for no gesture, normalised.

    Args:
        shares: Probabilities, with no gesture first.
        calibration: Exponent and factor.
    """
    exponent, factor = calibration
    powers = shares**exponent
    powers[:, 0] *= factor
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def _layers(weights: Mapping[str, RealArray], count: int) -> list[tuple[Float32Array, Float32Array]]:
    return [
        (np.asarray(weights[f"weights_{item}"], np.float32), np.asarray(weights[f"bias_{item}"], np.float32))
        for item in range(count)
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
    """Load the shipped classifier."""
    file = resources.files("sonjit") / "_util" / "assets" / ASSET
    return GestureClassifier(read_npz(file))


def gesture_of(hand: Hand) -> Gesture | None:
    """Return the gesture of a hand, one of `GESTURES` with its probability, or None.

    Example:
        >>> with sonjit.create_detector("hands", static_image=True) as detector:
        ...     gestures = [gesture_of(hand) for hand in detector.detect("photo.jpg")]
        >>> len(gestures)  # one for each hand; names and scores, or None
        2
    """
    return load_gestures()(hand)


def features_of(hands: Sequence[Hand]) -> Float32Array:
    """Return the features (N, F) of hands, see `gesture_features`."""
    image, world = (np.stack(points) for points in zip(*(hand.gesture_points for hand in hands), strict=True))
    return gesture_features(image, world, np.array([hand.handedness == "Left" for hand in hands]))
