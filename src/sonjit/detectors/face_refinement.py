"""Attention mesh: which landmarks of the mesh its regions' points replace.

Source: Grishchenko et al. 2020, Attention Mesh: High-fidelity Face Mesh Prediction in Real-time; the indices are those
of mediapipe 0.10.21's refinement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.skeletons.face_regions import LEFT_EYE, LIPS, RIGHT_EYE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MESH = 468
_LEFT_IRIS, _RIGHT_IRIS = range(468, 473), range(473, 478)  # centre, then right, top, left, bottom
_TARGETS = np.array([*range(_MESH), *LIPS, *LEFT_EYE, *RIGHT_EYE, *_LEFT_IRIS, *_RIGHT_IRIS])
_SOURCES = np.zeros(478, np.intp)
_SOURCES[_TARGETS] = np.arange(len(_TARGETS))  # of two points for one landmark the later counts
_RIMS = np.array([LEFT_EYE[:16], RIGHT_EYE[:16]])


def refined(mesh: NDArray[np.float32], regions: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Landmarks (478, 3) from a mesh (468, 3) and the better points of its regions, all in one unit.

    Args:
        mesh: its depth counts everywhere; that of an iris is its eye's.
        regions: x, y of 80 points of the lips, 71 of the left eye, 71 of the right, 5 of the left iris, 5 of the right.
    """
    flat = np.concatenate([mesh[:, :2], *(region.reshape(-1, 2) for region in regions)])  # (700, 2)
    points = np.empty((478, 3), np.float32)
    points[:, :2] = flat[_SOURCES]
    points[:_MESH, 2] = mesh[:, 2]
    points[_MESH:, 2] = np.repeat(mesh[_RIMS, 2].mean(axis=1), 5)
    return points
