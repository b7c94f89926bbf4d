"""Define shapes and kinds of objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit.lab.synthesis.render.drawable import Surface

SolidKind = Literal["ball", "cylinder", "box"]
Grip = Literal["wrap", "pinch"]


@dataclass(frozen=True)
class Solid:
    """Ball, cylinder or box. Its frame has its axis as z and its middle as origin, in metres.

    Attributes:
        kind: Kind of solid.
        size: Metres: a ball's radius three times, a cylinder's radius twice and half its length, half a box's edges.
        round_m: Radius of a box's edges.
    """

    kind: SolidKind
    size: tuple[float, float, float]
    round_m: float = 0.0

    def distances(self, points: FloatArray) -> FloatArray:
        """Return the signed distances (...,) in metres from points (..., 3) in its frame to its surface, negative
        inside.
        """
        if self.kind == "ball":
            return np.asarray(np.linalg.norm(points, axis=-1) - self.size[0], np.float64)
        if self.kind == "cylinder":
            over = np.stack([np.hypot(points[..., 0], points[..., 1]), np.abs(points[..., 2])], -1)
            over = over - [self.size[0], self.size[2]]
        else:
            over = np.abs(points) - (np.array(self.size) - self.round_m)
        outside = np.linalg.norm(np.maximum(over, 0), axis=-1)
        return np.asarray(outside + np.minimum(over.max(-1), 0) - self.round_m, np.float64)


@dataclass(frozen=True)
class SceneObject:
    """Everyday object.

    Attributes:
        solid: Solid of its shape.
        grip: Grip of the hand around it.
        surfaces: Possible surfaces.
    """

    solid: Solid
    grip: Grip
    surfaces: tuple[Surface, ...]
