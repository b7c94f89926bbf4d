"""Custom gestures, learned from a few examples in the embedding of the shipped classifier.

A hand is weighed between the gesture of the examples and any other pose, by probabilistic linear discriminant analysis:
an axis counts as much as poses differ along it. Source: Ioffe 2006, Probabilistic linear discriminant analysis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit._util.errors import InputError
from sonjit._util.files import atomic_file
from sonjit.gestures.classifier import features_of, load_gestures
from sonjit.gestures.features import KEYPOINTS, aligned, gesture_features
from sonjit.results import Gesture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any, Self

    from numpy.typing import NDArray

    from sonjit._util.arrays import Float32Array, FloatArray, RealArray
    from sonjit.results import Hand

# `python benchmarks/gestures.py --taught` measures gestures that are learned with these values.
_MAX_EXAMPLES: Final = 5
"""Maximum number of examples that count. More are of the same few people and views."""
_MIN_EVIDENCE: Final = 1.0
"""Minimum log likelihood ratio of a gesture to any other pose."""
_SHARPNESS: Final = 0.5
"""Slope of the score over the evidence."""


@dataclass(frozen=True, eq=False)
class GestureRecording:
    """Recording of hands that all make one gesture.

    Attributes:
        name: Name of the gesture.
        points: Keypoints (N, 2, 21, 3) float16 of the image and in metres, see `features.aligned`.
    """

    name: str
    points: RealArray

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.points)

    @classmethod
    def of(cls, name: str, hands: Sequence[Hand]) -> Self:
        """Create a recording from detected hands.

        Raises:
            InputError: There are no hands.
        """
        if not hands:
            raise InputError(f"{name}: no hand found. Use an image or video that shows one")
        points = np.stack([np.stack(hand.gesture_points) for hand in hands]).astype(np.float32)
        return cls(name, aligned(points, np.array([hand.handedness == "Left" for hand in hands])).astype(np.float16))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        """Create a recording from the arrays of a file.

        Args:
            arrays: Arrays by name.
            path: File name shown in error messages.

        Raises:
            InputError: The arrays are not those of a recording.
        """
        if not arrays.keys() >= {"name", "points"}:
            raise InputError(f"{path}: not a recording of a gesture. Use sonjit gestures record")
        name, points = str(arrays["name"]), arrays["points"]
        if points.ndim != 4 or points.shape[1:] != (2, KEYPOINTS, 3) or not len(points):
            raise InputError(f"{path}: contains points {points.shape}, not (N, 2, {KEYPOINTS}, 3)")
        return cls(name, points)

    def save(self, path: Path) -> None:
        """Write the recording as an `.npz` file."""
        with atomic_file(path) as draft:
            np.savez_compressed(draft, name=np.array(self.name), points=self.points)

    def embedding(self) -> Float32Array:
        """Return the embedding (N, E) of each hand."""
        points = self.points.astype(np.float32)
        return load_gestures().whiten(gesture_features(points[:, 0], points[:, 1], np.zeros(len(points), np.bool_)))


@dataclass(frozen=True, eq=False)
class CustomGestures:
    """Gestures learned from recordings.

    Attributes:
        names: Names of the gestures, without duplicates.
        means: Mean embeddings (C, E) of their examples.
        counts: Number (C,) of examples of each gesture.
    """

    names: tuple[str, ...]
    means: FloatArray
    counts: FloatArray

    @classmethod
    def learn(cls, recordings: Sequence[GestureRecording]) -> Self:
        """Learn from recordings of one or more gestures.

        Raises:
            InputError: There are no recordings.
        """
        names = tuple(dict.fromkeys(recording.name for recording in recordings))
        if not names:
            raise InputError("no gesture to learn. First record one with sonjit gestures record NAME INPUT")
        embeddings_of_names = [
            np.concatenate([recording.embedding() for recording in recordings if recording.name == name])
            for name in names
        ]
        return cls(
            names,
            np.stack([embeddings_of_name.mean(0, np.float64) for embeddings_of_name in embeddings_of_names]),
            np.array([float(len(embeddings_of_name)) for embeddings_of_name in embeddings_of_names]),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        """Create the gestures from the arrays of a file.

        Args:
            arrays: Arrays by name.
            path: File name shown in error messages.

        Raises:
            InputError: The arrays are not those of custom gestures.
        """
        if not arrays.keys() >= {"names", "means"} or arrays["names"].ndim != 1:
            raise InputError(f"{path}: no custom gestures. Use sonjit gestures train")
        names, means = tuple(map(str, arrays["names"])), arrays["means"]
        if "counts" not in arrays or not np.array_equal(arrays.get("spread", ()), load_gestures().spread):
            raise InputError(f"{path}: trained for another version. Train again from the recordings")
        counts = arrays["counts"]
        expected = (len(names), arrays["spread"].size), (len(names),)
        if (means.shape, counts.shape) != expected or {means.dtype.kind, counts.dtype.kind} != {"f"}:
            shapes_given = f"{means.dtype} means {means.shape} and {counts.dtype} counts {counts.shape}"
            raise InputError(f"{path}: contains {shapes_given}. Train again")
        if not np.isfinite(means).all() or not (counts > 0).all():
            raise InputError(f"{path}: contains means that are not finite, or no hands. Train again")
        return cls(names, means.astype(np.float64), counts.astype(np.float64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_arrays` reads."""
        means, counts = self.means.astype(np.float32), self.counts.astype(np.float32)
        spread = load_gestures().spread  # identifies the embedding
        return {"names": np.array(self.names), "means": means, "counts": counts, "spread": spread}

    def evidence(self, embeddings: RealArray) -> FloatArray:
        """Return the log likelihood ratios (N, C) of embeddings (N, E): each gesture to any other pose."""
        spread, counts = load_gestures().spread.astype(np.float64), np.minimum(self.counts, _MAX_EXAMPLES)[:, None]
        unsure = spread / (1 + counts * spread)  # variance of the estimated mean of the gesture
        hands = embeddings[:, None].astype(np.float64)
        log_spread = np.log1p(spread) + hands**2 / (1 + spread)
        log_within = np.log1p(unsure) + (hands - counts * unsure * self.means) ** 2 / (1 + unsure)
        return (log_spread - log_within).sum(-1) / 2

    def probabilities(self, embeddings: RealArray) -> FloatArray:
        """Return the probabilities (N, C + 1) of each gesture, and last of none, for embeddings (N, E)."""
        logits = _SHARPNESS * (self.evidence(embeddings) - _MIN_EVIDENCE)
        logits = np.concatenate([logits, np.zeros((len(embeddings), 1))], 1)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    def classify(self, embeddings: RealArray) -> list[Gesture | None]:
        """Return the gesture, or None, of each embedding (N, E)."""
        gestures: list[Gesture | None] = []
        for row in self.probabilities(embeddings):
            best = int(row.argmax())
            none = best == len(self.names) or not row[best] >= 0
            gestures.append(None if none else Gesture(self.names[best], float(row[best])))
        return gestures

    def __call__(self, hand: Hand) -> Gesture | None:
        """Return the custom gesture of a hand, or None."""
        return self.classify(load_gestures().whiten(features_of([hand])))[0]
