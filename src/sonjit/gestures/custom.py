"""Custom gestures, learned from a few examples in the embedding of the shipped classifier.

A hand is weighed between the gesture of the examples and any other pose, by probabilistic linear discriminant analysis:
an axis counts as much as poses differ along it. Source: Ioffe 2006, Probabilistic linear discriminant analysis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.files import atomic_file
from sonjit.gestures.classifier import features_of, load_gestures
from sonjit.gestures.features import KEYPOINTS, aligned, gesture_features
from sonjit.results import Gesture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any, Self

    from numpy.typing import NDArray

    from sonjit.arrays import Float32Array, FloatArray, RealArray
    from sonjit.results import Hand

_MOST_EXAMPLES: Final = 5
"""As many others are worth no more: they are of the same few people and views."""
_LEAST_EVIDENCE: Final = 1.0
"""Log of how much likelier than of any other pose a hand must be of a gesture."""
_SHARPNESS: Final = 0.5
"""Of the evidence beyond that in a score."""


@dataclass(frozen=True, eq=False)
class GestureRecording:
    """Hands that all make one gesture.

    Attributes:
        name: of the gesture.
        points: (N, 2, 21, 3) float16 keypoints of the image and in metres, see `features.aligned`.
    """

    name: str
    points: RealArray

    def __len__(self) -> int:
        """How many examples it holds."""
        return len(self.points)

    @classmethod
    def of(cls, name: str, hands: Sequence[Hand]) -> Self:
        """Of hands as a detector finds them.

        Raises:
            InputError: no hands.
        """
        if not hands:
            raise InputError(f"{name}: no hand to learn from; give an image or video in which one is seen")
        points = np.stack([[one.keypoints, one.keypoints_3d] for one in hands]).astype(np.float32)
        return cls(name, aligned(points, np.array([one.handedness == "Left" for one in hands])).astype(np.float16))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        """Of the arrays of a file that `save` wrote, and its path for a message.

        Raises:
            InputError: it is no recording.
        """
        if not arrays.keys() >= {"name", "points"}:
            raise InputError(f"{path}: no recording of a gesture; sonjit gestures record makes one")
        name, points = str(arrays["name"]), arrays["points"]
        if points.ndim != 4 or points.shape[1:] != (2, KEYPOINTS, 3) or not len(points):
            raise InputError(f"{path}: holds points {points.shape}, not (N, 2, {KEYPOINTS}, 3)")
        return cls(name, points)

    def save(self, path: Path) -> None:
        """An `.npz` file, there under its name when it is whole."""
        with atomic_file(path) as draft:
            np.savez_compressed(draft, name=np.array(self.name), points=self.points)

    def embedding(self) -> Float32Array:
        """(N, E), each hand's place among all gestures."""
        points = self.points.astype(np.float32)
        return load_gestures().place(gesture_features(points[:, 0], points[:, 1], np.zeros(len(points), np.bool_)))


@dataclass(frozen=True, eq=False)
class CustomGestures:
    """What was learned from recordings.

    Attributes:
        names: of the gestures, each once.
        means: (C, E) of their examples' embeddings.
        counts: (C,) how many examples each has.
    """

    names: tuple[str, ...]
    means: FloatArray
    counts: FloatArray

    @classmethod
    def learn(cls, recordings: Sequence[GestureRecording]) -> Self:
        """Learn from recordings, of one gesture or more.

        Raises:
            InputError: there is none.
        """
        names = tuple(dict.fromkeys(one.name for one in recordings))
        if not names:
            raise InputError("no gesture to learn: record one first, with sonjit gestures record NAME INPUT")
        own = [np.concatenate([one.embedding() for one in recordings if one.name == name]) for name in names]
        return cls(
            names, np.stack([one.mean(0, np.float64) for one in own]), np.array([float(len(one)) for one in own])
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        """Of the arrays of a file of gestures, and its path for a message.

        Raises:
            InputError: it holds no gestures.
        """
        if not arrays.keys() >= {"names", "means"} or arrays["names"].ndim != 1:
            raise InputError(f"{path}: no custom gestures; sonjit gestures train makes them")
        names, means = tuple(map(str, arrays["names"])), arrays["means"]
        if "counts" not in arrays or not np.array_equal(arrays.get("spread", ()), load_gestures().spread):
            raise InputError(f"{path}: of another version's classifier; train again from the recordings")
        counts = arrays["counts"]
        wanted = (len(names), arrays["spread"].size), (len(names),)
        if (means.shape, counts.shape) != wanted or {means.dtype.kind, counts.dtype.kind} != {"f"}:
            held = f"{means.dtype} means {means.shape} and {counts.dtype} counts {counts.shape}"
            raise InputError(f"{path}: holds {held}; train again")
        if not np.isfinite(means).all() or not (counts > 0).all():
            raise InputError(f"{path}: holds means that are no numbers, or no hands; train again")
        return cls(names, means.astype(np.float64), counts.astype(np.float64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` reads."""
        means, counts = self.means.astype(np.float32), self.counts.astype(np.float32)
        spread = load_gestures().spread  # by which a file is known to be of this embedding
        return {"names": np.array(self.names), "means": means, "counts": counts, "spread": spread}

    def evidence(self, places: RealArray) -> FloatArray:
        """(N, C) log of how much likelier embeddings (N, E) are of each gesture than of any pose."""
        spread, counts = load_gestures().spread.astype(np.float64), np.minimum(self.counts, _MOST_EXAMPLES)[:, None]
        unsure = spread / (1 + counts * spread)  # variance of where the gesture's own middle may be
        hands = places[:, None].astype(np.float64)
        among = np.log1p(spread) + hands**2 / (1 + spread)
        own = np.log1p(unsure) + (hands - counts * unsure * self.means) ** 2 / (1 + unsure)
        return (among - own).sum(-1) / 2

    def probabilities(self, places: RealArray) -> FloatArray:
        """(N, C + 1) of each gesture, and last of none, for embeddings (N, E)."""
        logits = _SHARPNESS * (self.evidence(places) - _LEAST_EVIDENCE)
        logits = np.concatenate([logits, np.zeros((len(places), 1))], 1)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    def tell(self, places: RealArray) -> list[Gesture | None]:
        """The gesture of each of embeddings (N, E); None for none of them."""
        told: list[Gesture | None] = []
        for row in self.probabilities(places):
            best = int(row.argmax())
            none = best == len(self.names) or not row[best] >= 0
            told.append(None if none else Gesture(self.names[best], float(row[best])))
        return told

    def __call__(self, hand: Hand) -> Gesture | None:
        """The custom gesture that a hand makes, or None."""
        return self.tell(load_gestures().place(features_of([hand])))[0]
