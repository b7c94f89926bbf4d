"""Triangle meshes: pure functions on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def vertex_normals(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.float64]:
    """(V, 3) unit normals, each the mean of the faces around the vertex by their areas; outwards.

    Vertices without a face of any area get (0, 0, -1).
    """
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[faces], 1, 0)
    of_faces = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices, np.float64)
    for corner in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(faces[:, corner], of_faces[:, axis], len(vertices))
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(lengths > 0, normals / np.where(lengths > 0, lengths, 1), (0.0, 0.0, -1.0))
