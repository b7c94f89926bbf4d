"""Gestures of hands by a small network on their keypoints, trained on posed hands.

It tells the shape of a hand, whichever way the hand points; of a thumb or an index finger alone the direction in the
image makes the name. How it is trained, and how often it is right: docs/gestures.md.
"""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.gestures.features import gesture_features
from sonjit.results import Gesture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
"""What the classifier tells apart, in the order of its probabilities."""

_DIRECTIONS: Final = {
    "Pointing": ((5, 8), ("Pointing_Up", "Pointing_Right", "Pointing_Down", "Pointing_Left")),
    "Thumb": ((2, 4), ("Thumb_Up", None, "Thumb_Down", None)),
}
"""Of shapes that mean something by their direction: from which keypoint to which, and the names clockwise from up."""

GESTURES: Final = (
    *(name for _, names in _DIRECTIONS.values() for name in names if name is not None),
    *(shape for shape in SHAPES if shape != NONE and shape not in _DIRECTIONS),
)
"""Every name of a gesture. The first seven of MediaPipe's gesture recogniser are spelled as there."""

LEAST_SCORE: Final = 0.4
"""Below it a hand makes no gesture."""

_LEAST_IN_IMAGE: Final = 0.35
"""A finger whose direction lies less than this in the image, of 1, points to the camera or away from it."""


class GestureClassifier:
    """Tells which gesture a hand makes.

    Args:
        weights: arrays by name, as `sonjit train gestures` writes them: `weights_0` (F, H), `bias_0` (H,), `weights_1`
            (H, E), `bias_1` (E,), `weights_2` (E, P) and `bias_2` (P,) of three layers, the first two rectified, to
            logits of poses; `shape` (P,), the index in `SHAPES` of each pose; `whitening` (E, E) of the embedding.
    """

    def __init__(self, weights: Mapping[str, RealArray]) -> None:
        self._layers = [
            (np.asarray(weights[f"weights_{one}"], np.float32), np.asarray(weights[f"bias_{one}"], np.float32))
            for one in range(3)
        ]
        self._whitening = np.asarray(weights["whitening"], np.float32)
        self._shape = np.eye(len(SHAPES), dtype=np.float32)[np.asarray(weights["shape"], int)]

    def __call__(self, hand: Hand) -> Gesture | None:
        """The gesture of a hand, and its probability; None where it makes none that is known."""
        (probabilities,) = self.probabilities(features_of([hand]))
        best = int(probabilities.argmax())
        score, shape = float(probabilities[best]), SHAPES[best]
        if shape == NONE or not score >= LEAST_SCORE:  # NaN of a hand with unknown keypoints
            return None
        name = directed(shape, hand.keypoints)
        return None if name is None else Gesture(name, score)

    def probabilities(self, features: RealArray) -> Float32Array:
        """(N, S) calibrated probabilities of `SHAPES` for features (N, F); NaN where they are."""
        weights, bias = self._layers[2]
        logits = self.embed(features) @ weights + bias
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(powers @ self._shape / powers.sum(1, keepdims=True), np.float32)

    @property
    def width(self) -> int:
        """E, how many numbers an embedding has."""
        return len(self._whitening)

    def place(self, features: RealArray) -> Float32Array:
        """(N, E) embeddings in which hands of one pose spread alike in all directions, for features (N, F)."""
        return self.embed(features) @ self._whitening

    def embed(self, features: RealArray) -> Float32Array:
        """(N, E) what the last layer tells shapes by, for features (N, F) of `features_of`."""
        for weights, bias in self._layers[:2]:
            features = np.maximum(features @ weights + bias, 0)
        return np.asarray(features, np.float32)


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


def directed(shape: str, keypoints: RealArray) -> str | None:
    """The gesture of a shape, by the direction in the image where that matters; None where it means nothing.

    Args:
        shape: one of `SHAPES`.
        keypoints: (21, 3) pixels, z in the same scale.
    """
    if shape not in _DIRECTIONS:
        return shape
    (start, end), names = _DIRECTIONS[shape]
    x, y, z = (keypoints[end] - keypoints[start]).tolist()
    if math.hypot(x, y) < _LEAST_IN_IMAGE * math.hypot(x, y, z):
        return None
    return names[round(math.atan2(x, -y) / (math.pi / 2)) % 4]
