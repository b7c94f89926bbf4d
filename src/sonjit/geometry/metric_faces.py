"""Estimate a face's metric pose from its image landmarks and a canonical face of known size.

The camera looks along -z with y up; its vertical field of view is assumed to be 63 degrees. Distances are as
accurate as this assumption. Lengths are in the unit of the canonical face, which is centimetres in MediaPipe's.

Source: the face geometry module of MediaPipe, whose two passes estimate scale first without, then with perspective.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import FloatArray, RealArray
from sonjit.geometry.rotations import SimilarFit

_NEAR = 1.0
_HALF_HEIGHT = _NEAR * math.tan(math.radians(63) / 2)


@dataclass(frozen=True, eq=False)
class CanonicalFace:
    """Face of known size in front of a camera, directed at it.

    Attributes:
        points: Vertices (468, 3): x right, y up, z towards the viewer.
        weights: Weights (468,) of the vertices in the fit; most are 0.
    """

    points: FloatArray
    weights: FloatArray

    @cached_property
    def used(self) -> NDArray[np.intp]:
        """Return the indices (K,) of the points with positive weight."""
        return np.flatnonzero(self.weights)

    @cached_property
    def fit(self) -> SimilarFit:
        """Return the fit of the weighted points onto others."""
        return SimilarFit(self.points[self.used], self.weights[self.used])


def face_transform(points: RealArray, face: CanonicalFace, width: int, height: int) -> FloatArray:
    """Return the matrix (4, 4) from the canonical face to the camera: rotation, scale and translation.

    Args:
        points: Landmarks (468 or more, 3) in pixels; z has the same scale and is smaller for nearer points.
        face: Canonical face to align.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
    """
    pixel = 2 * _HALF_HEIGHT / height  # on the near plane
    screen = (points[face.used].astype(np.float64) - (width / 2, height / 2, 0)) * (pixel, -pixel, pixel)
    middle = float(points[: len(face.points), 2].mean(dtype=np.float64)) * pixel
    flat = face.fit.scale(screen * (1, 1, -1))
    scale = flat * face.fit.scale(_unprojected(screen, middle, flat))
    return face.fit.matrix(_unprojected(screen, middle, scale))


def _unprojected(screen: RealArray, middle: float, scale: float) -> FloatArray:
    """Return the points (K, 3) in space for points on the near plane, given the face's scale."""
    depth = (screen[:, 2:] - middle + _NEAR) / scale
    return np.concatenate([screen[:, :2] * depth / _NEAR, -depth], axis=1).astype(np.float64)
