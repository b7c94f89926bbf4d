"""Refine a face mesh with the regions of the attention mesh.

Source: Grishchenko et al. 2020, Attention Mesh: High-fidelity Face Mesh Prediction in Real-time. The indices are those
of the refinement of mediapipe 0.10.21.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonjit.results.skeletons.faces import LEFT_EYE, LIPS, RIGHT_EYE

_MESH, _REFINED = 468, 478
_RIM = 16  # landmarks of an eye's own rim, the first of its region
_LEFT_IRIS, _RIGHT_IRIS = range(468, 473), range(473, 478)  # centre, then right, top, left, bottom
_TARGETS = np.array([*range(_MESH), *LIPS, *LEFT_EYE, *RIGHT_EYE, *_LEFT_IRIS, *_RIGHT_IRIS])
_SOURCES = np.zeros(_REFINED, np.intp)
_SOURCES[_TARGETS] = np.arange(len(_TARGETS))  # of two points for one landmark the later counts
_RIMS = np.array([LEFT_EYE[:_RIM], RIGHT_EYE[:_RIM]])


def refined(mesh: NDArray[np.float32], regions: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return landmarks (478, 3) from a mesh (468, 3) and the refined points of its regions, all in one unit.

    Args:
        mesh: Landmarks (468, 3). The depth of an iris is the mean depth of the eye's rim.
        regions: Points (x, y): 80 of the lips, 71 of the left eye, 71 of the right eye, 5 of each iris, left first.
    """
    flat = np.concatenate([mesh[:, :2], *(region.reshape(-1, 2) for region in regions)])  # (700, 2)
    points = np.empty((_REFINED, 3), np.float32)
    points[:, :2] = flat[_SOURCES]
    points[:_MESH, 2] = mesh[:, 2]
    points[_MESH:, 2] = np.repeat(mesh[_RIMS, 2].mean(axis=1), 5)
    return points
