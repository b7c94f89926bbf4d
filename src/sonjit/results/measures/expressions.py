"""Estimate blendshapes of a face from its mesh, without a network.

Each blendshape is a distance between keypoints in the axes of the head, as a fraction between its value in a relaxed
face and in the full expression. Distances are in widths between the outer corners of the eyes. The distances and
their limits were chosen on 125 faces with `benchmarks/blendshapes.py`, which also evaluates them on left-out faces.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from sonjit._util.arrays import FloatArray, RealArray
from sonjit.results.measures.faces import eye_openness, head_rotation

_MESH: Final = 468
_BETWEEN_BROWS, _BELOW_NOSE = 168, 2
_UPPER_LIP, _UPPER_LIP_EDGE, _LOWER_LIP_EDGE, _LOWER_LIP = 0, 13, 14, 17
_INNER_EYE: Final = (362, 133)  # of the person's left and right side
_OUTER_EYE: Final = (263, 33)
_IRIS: Final = (473, 468)
_INNER_BROW: Final = (285, 55)
_OUTER_BROW: Final = (300, 70)
_CORNER: Final = (291, 61)  # of the mouth
_INNER_CORNER: Final = (308, 78)
_UPPER_EDGE: Final = (311, 81)  # of the lips, between the middle and the corner
_LOWER_EDGE: Final = (402, 178)
_SIDES: Final = (("Left", 1), ("Right", -1))
"""Name of each side, and the direction of x away from the nose."""


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
    own /= max(_distance(own, *_OUTER_EYE), 1e-9)
    y = own[:, 1]
    lips = _distance(own, _UPPER_LIP_EDGE, _LOWER_LIP_EDGE)
    mouth = _distance(own, *_CORNER)
    values = {
        "browInnerUp": _share((y[list(_INNER_EYE)] - y[list(_INNER_BROW)]).mean(), 0.18, 0.26),
        "jawOpen": _share(y[_LOWER_LIP_EDGE] - y[_BELOW_NOSE], 0.34, 0.75),
        "mouthFunnel": _share(lips, 0.02, 0.2) * _share(mouth, 0.6, 0.4),
        "mouthPucker": _share(_distance(own, *_INNER_CORNER), 0.5, 0.3),
    }
    for k, ((side, sign), openness) in enumerate(zip(_SIDES, eye_openness(points).tolist(), strict=True)):
        x, height, depth = own[_CORNER[k]]
        raised = (y[_UPPER_LIP] + y[_LOWER_LIP]) / 2 - height
        opened, upper = y[_LOWER_EDGE[k]] - y[_UPPER_EDGE[k]], y[_UPPER_EDGE[k]] - y[_BELOW_NOSE]
        brow = (y[_INNER_EYE[k]] + y[_OUTER_EYE[k]]) / 2 - y[_OUTER_BROW[k]]
        values |= {
            f"browOuterUp{side}": _share(brow, 0.17, 0.25),
            f"eyeBlink{side}": _share(openness, 0.27, 0.08),
            f"mouthSmile{side}": _share(raised + sign * x + depth, 0.38, 0.65),
            f"mouthUpperUp{side}": min(_share(opened, 0.03, 0.2), _share(upper, 0.24, 0.15)),
            f"mouthLowerDown{side}": _share(opened, 0.05, 0.3),
        }
    return values | _gaze(own) if len(points) > _MESH else values


def _gaze(own: FloatArray) -> dict[str, float]:
    """Return the blendshapes of the mean direction of both eyes, from points with irises."""
    left = down = 0.0
    for inner_eye, outer_eye, iris in zip(_INNER_EYE, _OUTER_EYE, _IRIS, strict=True):
        inner, outer = own[inner_eye, :2], own[outer_eye, :2]
        x, y = (own[iris, :2] - (inner + outer) / 2) / max(abs(outer[0] - inner[0]), 1e-9)
        left, down = left + x / 2, down + y / 2
    values: dict[str, float] = {}
    for side, sign in _SIDES:
        values |= {
            f"eyeLookDown{side}": _share(down, -0.06, 0.08),
            f"eyeLookIn{side}": _share(-sign * left, 0, 0.2),
            f"eyeLookOut{side}": _share(sign * left, 0, 0.2),
            f"eyeLookUp{side}": _share(-down, 0.06, 0.2),
        }
    return values


def _distance(own: FloatArray, first: int, second: int) -> float:
    return float(np.linalg.norm(own[first] - own[second]))


def _share(value: float, relaxed: float, full: float) -> float:
    """Return where a value lies between those of the relaxed face (0) and of the full expression (1)."""
    return float(np.clip((value - relaxed) / (full - relaxed), 0, 1))
