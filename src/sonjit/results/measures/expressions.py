"""Estimate blendshapes of a face from its mesh, without a network.

Each blendshape is a distance between keypoints in the axes of the head, as a fraction between its value in a relaxed
face and in the full expression. Distances are in widths between the outer corners of the eyes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from sonjit._util.arrays import FloatArray, RealArray
from sonjit.results.measures.faces import eye_openness, head_rotation

_MESH: Final = 468
_BETWEEN_BROWS, _BELOW_NOSE = 168, 2
_UPPER_LIP, _UPPER_LIP_EDGE, _LOWER_LIP_EDGE, _LOWER_LIP = 0, 13, 14, 17


class _Side(NamedTuple):
    """Keypoints of one side of the face. `sign` is the direction of x away from the nose."""

    name: str
    sign: int
    inner_eye: int
    outer_eye: int
    iris: int
    inner_brow: int
    outer_brow: int
    corner: int  # of the mouth
    inner_corner: int
    upper_edge: int  # of the lips, between the middle and the corner
    lower_edge: int


_LEFT: Final = _Side("Left", 1, 362, 263, 473, 285, 300, 291, 308, 311, 402)
_RIGHT: Final = _Side("Right", -1, 133, 33, 468, 55, 70, 61, 78, 81, 178)


def blendshapes_from_mesh(points: RealArray) -> dict[str, float]:
    """Return 22 of ARKit's 52 blendshapes by name, 0 to 1. They depend more on the person than those of a network.

    `browInnerUp`, `jawOpen`, `mouthFunnel`, `mouthPucker`, and for both sides `browOuterUp`, `eyeBlink`, `mouthSmile`,
    `mouthUpperUp` and `mouthLowerDown`. Meshes with irises add `eyeLookDown`, `eyeLookIn`, `eyeLookOut`, `eyeLookUp`.

    Args:
        points: Mesh (468 or 478, 3) in pixels: x right, y down, z forward in the same scale.

    Raises:
        InputError: The points have another shape.

    Example:
        >>> mesh = np.random.default_rng(0).uniform(0, 100, (478, 3))
        >>> len(blendshapes_from_mesh(mesh)), len(blendshapes_from_mesh(mesh[:468]))
        (22, 14)
    """
    rotation = head_rotation(points)
    own = (points - points[_BETWEEN_BROWS]).astype(np.float64) @ rotation  # x to the person's left
    own /= max(_distance(own, _LEFT.outer_eye, _RIGHT.outer_eye), 1e-9)
    y = own[:, 1]
    brows = ((y[side.inner_eye] - y[side.inner_brow]).item() for side in (_LEFT, _RIGHT))
    lips = _distance(own, _UPPER_LIP_EDGE, _LOWER_LIP_EDGE)
    mouth = _distance(own, _LEFT.corner, _RIGHT.corner)
    values = {
        "browInnerUp": _share(sum(brows) / 2, 0.18, 0.26),
        "jawOpen": _share(y[_LOWER_LIP_EDGE] - y[_BELOW_NOSE], 0.34, 0.75),
        "mouthFunnel": _share(lips, 0.02, 0.2) * _share(mouth, 0.6, 0.4),
        "mouthPucker": _share(_distance(own, _LEFT.inner_corner, _RIGHT.inner_corner), 0.5, 0.3),
    }
    for side, openness in zip((_LEFT, _RIGHT), eye_openness(points).tolist(), strict=True):
        x, height, depth = own[side.corner]
        raised = (y[_UPPER_LIP] + y[_LOWER_LIP]) / 2 - height
        opened, upper = y[side.lower_edge] - y[side.upper_edge], y[side.upper_edge] - y[_BELOW_NOSE]
        brow = (y[side.inner_eye] + y[side.outer_eye]) / 2 - y[side.outer_brow]
        values |= {
            f"browOuterUp{side.name}": _share(brow, 0.17, 0.25),
            f"eyeBlink{side.name}": _share(openness, 0.27, 0.08),
            f"mouthSmile{side.name}": _share(raised + side.sign * x + depth, 0.38, 0.65),
            f"mouthUpperUp{side.name}": min(_share(opened, 0.03, 0.2), _share(upper, 0.24, 0.15)),
            f"mouthLowerDown{side.name}": _share(opened, 0.05, 0.3),
        }
    return values | _gaze(own) if len(points) > _MESH else values


def _gaze(own: FloatArray) -> dict[str, float]:
    """Return the blendshapes of the mean direction of both eyes, from points with irises."""
    left = down = 0.0
    for side in (_LEFT, _RIGHT):
        inner, outer = own[side.inner_eye, :2], own[side.outer_eye, :2]
        x, y = (own[side.iris, :2] - (inner + outer) / 2) / max(abs(outer[0] - inner[0]), 1e-9)
        left, down = left + x / 2, down + y / 2
    values: dict[str, float] = {}
    for side in (_LEFT, _RIGHT):
        values |= {
            f"eyeLookDown{side.name}": _share(down, -0.06, 0.08),
            f"eyeLookIn{side.name}": _share(-side.sign * left, 0, 0.2),
            f"eyeLookOut{side.name}": _share(side.sign * left, 0, 0.2),
            f"eyeLookUp{side.name}": _share(-down, 0.06, 0.2),
        }
    return values


def _distance(own: FloatArray, first: int, second: int) -> float:
    return float(np.linalg.norm(own[first] - own[second]))


def _share(value: float, relaxed: float, full: float) -> float:
    """Return where a value lies between those of the relaxed face (0) and of the full expression (1)."""
    return float(np.clip((value - relaxed) / (full - relaxed), 0, 1))
