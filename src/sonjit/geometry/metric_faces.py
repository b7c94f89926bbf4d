"""A face's pose in metric space, from its landmarks in the image and a canonical face of known size.

The camera looks along -z with y up; its vertical field of view is taken to be 63 degrees, so that distances are as good
as that guess. Lengths are in the unit of the canonical face, which is centimetres in MediaPipe's.

Source: the face geometry module of MediaPipe, whose two passes estimate scale first without, then with perspective.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import FloatArray, RealArray
from sonjit.geometry.rotations import SimilarFit

_NEAR = 1.0
_HALF_HEIGHT = _NEAR * math.tan(math.radians(63) / 2)


@dataclass(frozen=True, eq=False)
class CanonicalFace:
    """A face of known size, straight in front of a camera that it looks at.

    Attributes:
        points: (468, 3) x right, y up, z towards the viewer.
        weights: (468,) how much each counts in the fit; most are 0.
    """

    points: FloatArray
    weights: FloatArray

    @cached_property
    def used(self) -> NDArray[np.intp]:
        """(K,) indices of the points that count in the fit."""
        return np.flatnonzero(self.weights)

    @cached_property
    def fit(self) -> SimilarFit:
        """The fit of the points that count onto others."""
        return SimilarFit(self.points[self.used], self.weights[self.used])


def face_transform(points: RealArray, face: CanonicalFace, width: int, height: int) -> FloatArray:
    """(4, 4) matrix from the canonical face to the camera: rotation and scale, and translation in its last column.

    Args:
        points: (468 or more, 3) landmarks in pixels of an image, z in the same scale and smaller nearer.
        face: the canonical face.
        width: of the image.
        height: of the image.
    """
    pixel = 2 * _HALF_HEIGHT / height  # on the near plane
    screen = (points[face.used].astype(np.float64) - (width / 2, height / 2, 0)) * (pixel, -pixel, pixel)
    middle = float(points[: len(face.points), 2].mean(dtype=np.float64)) * pixel
    flat = face.fit.scale(screen * (1, 1, -1))
    scale = flat * face.fit.scale(_unprojected(screen, middle, flat))
    return face.fit.matrix(_unprojected(screen, middle, scale))


def _unprojected(screen: RealArray, middle: float, scale: float) -> FloatArray:
    """(K, 3) points in space of those on the near plane, a face of that scale being there."""
    depth = (screen[:, 2:] - middle + _NEAR) / scale
    return np.concatenate([screen[:, :2] * depth / _NEAR, -depth], axis=1).astype(np.float64)
