"""Custom gestures, learned from a few examples: the nearest class mean in the embedding of the shipped classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.files import atomic_file
from sonjit.gestures.classifier import load_gestures
from sonjit.gestures.features import KEYPOINTS, aligned, gesture_features
from sonjit.results import Gesture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any, Self

    from numpy.typing import NDArray

    from sonjit.arrays import Float32Array, FloatArray, RealArray
    from sonjit.results import Hand

_SHARPNESS: Final = 2.0
_REACH: Final = 2.0
"""How much farther from a gesture's mean than its own examples, in squared distance, a hand may be."""


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
        reaches: (C,) squared distance from the mean, at which a hand is as likely none of them.
    """

    names: tuple[str, ...]
    means: FloatArray
    reaches: FloatArray

    @classmethod
    def learn(cls, recordings: Sequence[GestureRecording]) -> Self:
        """Learn from recordings, of one gesture or more.

        Raises:
            InputError: there is none.
        """
        names = tuple(dict.fromkeys(one.name for one in recordings))
        if not names:
            raise InputError("no gesture to learn: record one first, with sonjit gestures record NAME INPUT")
        means: list[FloatArray] = []
        reaches: list[float] = []
        for name in names:
            places = np.concatenate([one.embedding() for one in recordings if one.name == name]).astype(np.float64)
            means.append(places.mean(0))
            count = max(len(places), 2)
            own = ((places - means[-1]) ** 2).sum(1).mean() * (count + 1) / (count - 1)  # of hands not among them
            reaches.append(_REACH * max(float(own), places.shape[1] / 2))
        return cls(names, np.stack(means), np.array(reaches))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], path: Path) -> Self:
        """Of the arrays of a file of gestures, and its path for a message.

        Raises:
            InputError: it holds no gestures.
        """
        if not arrays.keys() >= {"names", "means", "reaches"} or arrays["names"].ndim != 1:
            raise InputError(f"{path}: no custom gestures; sonjit gestures train makes them")
        names, means, reaches = tuple(map(str, arrays["names"])), arrays["means"], arrays["reaches"]
        if means.shape != (len(names), load_gestures().width) or reaches.shape != (len(names),):
            raise InputError(f"{path}: of another version's classifier; train again from the recordings")
        return cls(names, means.astype(np.float64), reaches.astype(np.float64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` reads."""
        means, reaches = self.means.astype(np.float32), self.reaches.astype(np.float32)
        return {"names": np.array(self.names), "means": means, "reaches": reaches}

    def probabilities(self, places: RealArray) -> FloatArray:
        """(N, C + 1) of each gesture, and last of none, for embeddings (N, E)."""
        squares = ((places[:, None].astype(np.float64) - self.means) ** 2).sum(-1)
        logits = np.concatenate([(self.reaches - squares) / self.reaches, np.zeros((len(places), 1))], 1)
        powers = np.exp(_SHARPNESS * _REACH * (logits - logits.max(1, keepdims=True)))
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
        return self.tell(GestureRecording.of("", [hand]).embedding())[0]
