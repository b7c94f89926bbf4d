"""Hand and Frame: the one schema that every part of Sonjit produces and reads.

Conventions: image keypoints are continuous pixel coordinates of the input picture (x right, y down, the top left
corner is 0, 0); world keypoints are metres in the camera's axes (x right, y down, z forward). What is unknown is
`None`; nothing found is an empty list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from sonjit.skeletons import Skeleton, load_skeleton

if TYPE_CHECKING:
    from numpy.typing import NDArray

Handedness = Literal["Left", "Right"]
Box = tuple[float, float, float, float]


@dataclass(eq=False, slots=True)
class Hand:
    """One hand in one picture.

    Attributes:
        handedness: the person's own hand, "Left" or "Right".
        handedness_score: probability of that label, 0.5..1.
        score: probability that the crop holds a hand (presence), 0..1.
        keypoints: (21, 3) float32: x, y in pixels of the input; z in the same scale, relative to the wrist,
            smaller is nearer to the camera.
        keypoints_3d: (21, 3) float32 metres, origin at the hand's geometric centre.
        id: stable while the hand is tracked; `None` for stills.
    """

    handedness: Handedness
    score: float
    keypoints: NDArray[np.float32]
    keypoints_3d: NDArray[np.float32]
    id: int | None = None
    handedness_score: float | None = None

    kind = "hand"
    """What `kind` says in tables."""

    @property
    def skeleton(self) -> Skeleton:
        """Names and bones of the 21 keypoints."""
        return load_skeleton("hand_mediapipe21")

    @property
    def box(self) -> Box:
        """Tight box around the keypoints: x_min, y_min, x_max, y_max in pixels; may leave the picture."""
        x_min, y_min = self.keypoints[:, :2].min(axis=0).tolist()
        x_max, y_max = self.keypoints[:, :2].max(axis=0).tolist()
        return x_min, y_min, x_max, y_max

    def to_dict(self, *, full: bool = False) -> dict[str, Any]:
        """The hand as plain JSON types, in the shape of tfjs-models' hand-pose-detection.

        `{"score", "handedness", "keypoints": [{"x", "y", "name"}], "keypoints3D": [{"x", "y", "z", "name"}]}`,
        image coordinates in pixels, 3D in metres. With `full=True` it also holds "id", "handednessScore", "box"
        and a "z" (pixels) per image keypoint, so that `from_dict` gives back the same hand exactly.
        """
        names = self.skeleton.keypoints
        image = shortest_floats(self.keypoints)
        world = shortest_floats(self.keypoints_3d)
        axes = ("x", "y", "z") if full else ("x", "y")
        result: dict[str, Any] = {
            "score": self.score,
            "handedness": self.handedness,
            "keypoints": [
                dict(zip((*axes, "name"), (*row[: len(axes)], name), strict=True))
                for row, name in zip(image, names, strict=True)
            ],
            "keypoints3D": [
                {"x": x, "y": y, "z": z, "name": name} for (x, y, z), name in zip(world, names, strict=True)
            ],
        }
        if full:
            x_min, y_min, x_max, y_max = shortest_floats(np.array([self.box], np.float32))[0]
            result["id"] = self.id
            result["handednessScore"] = self.handedness_score
            result["box"] = {"xMin": x_min, "yMin": y_min, "xMax": x_max, "yMax": y_max}
        return result

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The hand that `to_dict(full=True)` wrote; a missing image z reads as NaN."""
        return cls(
            handedness=data["handedness"],
            score=data["score"],
            keypoints=np.array(
                [[k["x"], k["y"], k.get("z", np.nan)] for k in data["keypoints"]], np.float32
            ),  # (21, 3)
            keypoints_3d=np.array([[k["x"], k["y"], k["z"]] for k in data["keypoints3D"]], np.float32),
            id=data.get("id"),
            handedness_score=data.get("handednessScore"),
        )

    def __eq__(self, other: object) -> bool:
        """Same label, scores, id and bitwise the same keypoints."""
        return (
            isinstance(other, Hand)
            and (self.handedness, self.score, self.id, self.handedness_score)
            == (other.handedness, other.score, other.id, other.handedness_score)
            and np.array_equal(self.keypoints, other.keypoints, equal_nan=True)
            and np.array_equal(self.keypoints_3d, other.keypoints_3d, equal_nan=True)
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # holds arrays, which change


@dataclass(slots=True)
class Frame:
    """What was found in one picture of a source.

    Attributes:
        index: position in the source, from 0.
        time: seconds from the start of the video; `None` for stills.
        hands: the hands found; an empty list where there are none.
        source: the picture's own file for a folder of stills, else `None`.
    """

    index: int
    time: float | None
    hands: list[Hand] = field(default_factory=list[Hand])
    source: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The frame as plain JSON types: `{"index", "time", "hands"}`, and "source" for a folder of stills."""
        result: dict[str, Any] = {"index": self.index, "time": self.time}
        if self.source is not None:
            result["source"] = self.source
        result["hands"] = [hand.to_dict(full=True) for hand in self.hands]
        return result

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The frame that `to_dict` wrote."""
        return cls(data["index"], data["time"], [Hand.from_dict(h) for h in data["hands"]], data.get("source"))


def shortest_floats(array: NDArray[np.float32]) -> list[list[float]]:
    """Rows of a float32 array as the shortest decimals that read back to the same float32.

    >>> shortest_floats(np.array([[0.1, 2.5]], np.float32))
    [[0.1, 2.5]]
    """
    return [[float(text) for text in row] for row in array.astype(np.float32).astype("U").tolist()]
