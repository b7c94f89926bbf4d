"""Name the gestures of a classifier: shapes of hands, some of them by their direction in the image."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sonjit._util.json_text import json_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from sonjit._util.arrays import RealArray

NONE: Final = "None"
"""Class of hands that make no gesture. It exists only in the classifier, never in a result."""
_MIN_SHARE_IN_IMAGE: Final = 0.35
"""Minimum share of a finger's length in the image plane. With less it points towards the camera or away from it."""


@dataclass(frozen=True, eq=False)
class Direction:
    """Names of a shape by its direction in the image.

    Attributes:
        finger: Keypoints where the direction starts and ends.
        names: Names for up, right, down and left; None for a direction that is no gesture.
    """

    finger: tuple[int, int]
    names: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Shapes and gesture names of a classifier.

    Attributes:
        shapes: Shapes of hands in the order of the probabilities, `NONE` first.
        directions: Directions of the shapes whose name depends on the direction in the image.
    """

    shapes: tuple[str, ...]
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
        """Return the gesture of a shape; None for a direction without a name.

        Args:
            shape: Shape of a hand.
            keypoints: (21, 3) published keypoints in pixels, z as the detector scales it.
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
        """Read the text of `to_json`. Other text raises ValueError, KeyError or TypeError."""
        data = json.loads(text)
        shapes = data["directions"].items()
        directions = {
            shape: Direction((item["finger"][0], item["finger"][1]), tuple(item["names"])) for shape, item in shapes
        }
        return cls(tuple(data["shapes"]), directions)

    def to_json(self) -> str:
        """Return the vocabulary as JSON text."""
        directions = {
            shape: {"finger": list(direction.finger), "names": list(direction.names)}
            for shape, direction in self.directions.items()
        }
        return json_from({"shapes": list(self.shapes), "directions": directions}, spaced=True)
