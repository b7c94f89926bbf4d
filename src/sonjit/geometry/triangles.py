"""Compute properties of triangle meshes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, RealArray


def vertex_normals(vertices: RealArray, faces: NDArray[np.integer]) -> FloatArray:
    """Return outward unit normals (V, 3), the area-weighted mean of the faces around each vertex.

    Vertices without a face of any area get (0, 0, -1).
    """
    first, second, third = np.ascontiguousarray(faces.T)
    axes = np.ascontiguousarray(np.asarray(vertices, np.float64).T)  # each axis by itself: rows of three are slow
    starts = axes[:, first]
    (ax, ay, az), (bx, by, bz) = axes[:, second] - starts, axes[:, third] - starts
    of_faces = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    normals = np.zeros_like(axes)
    for corner in (first, second, third):
        for axis, values in enumerate(of_faces):
            normals[axis] += np.bincount(corner, values, len(vertices))
    lengths = np.sqrt(normals[0] ** 2 + normals[1] ** 2 + normals[2] ** 2)
    valid = lengths > 0
    normals = np.where(valid, normals / np.where(valid, lengths, 1), np.array([[0.0], [0.0], [-1.0]]))
    return np.ascontiguousarray(normals.T)
