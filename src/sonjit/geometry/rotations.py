"""Convert rotations, align point sets, estimate poses of faces, and compute normals of meshes.

Matrices act on column vectors, angles are in radians.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sonjit._util import FloatArray, IndexArray, RealArray

_NEAR = 1.0
_LOCKED = 1e-7  # length of the part of the y axis that z turns, below which z and y share an axis
_HALF_HEIGHT = _NEAR * math.tan(math.radians(63) / 2)


def matrix_from_rotation_vector(vectors: RealArray) -> FloatArray:
    """Convert rotation vectors (..., 3) in radians to matrices (..., 3, 3) with Rodrigues' formula.

    >>> matrix_from_rotation_vector(np.array([0, 0, np.pi / 2])).round(6) @ [1, 0, 0]
    array([0., 1., 0.])
    """
    vectors = np.asarray(vectors, np.float64)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    angle = np.sqrt(x * x + y * y + z * z)[..., None, None]
    cross = np.zeros((*vectors.shape, 3))
    cross[..., 2, 1] = x
    cross[..., 0, 2] = y
    cross[..., 1, 0] = z
    cross -= np.swapaxes(cross, -1, -2)
    # np.sinc(t) is sin(pi t) / (pi t): both factors stay exact at no rotation
    return np.eye(3) + np.sinc(angle / np.pi) * cross + np.sinc(angle / (2 * np.pi)) ** 2 / 2 * (cross @ cross)


def cross_matrices(vectors: FloatArray) -> FloatArray:
    """Return the matrices (..., 3, 3) of the cross product with vectors (..., 3), in the unit of the vectors.

    >>> cross_matrices(np.array([0.0, 0.0, 2.0])) @ [1.0, 0.0, 0.0]
    array([0., 2., 0.])
    """
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)


def quaternion_wxyz_from_matrix(matrices: RealArray) -> FloatArray:
    """Convert rotation matrices (..., 3, 3) to unit quaternions (..., 4) as w, x, y, z.

    The largest of the four numbers is found first and divides the others (Shepperd 1978).
    """
    m = np.asarray(matrices, np.float64)
    trace = np.trace(m, axis1=-2, axis2=-1)
    squares = np.stack([*(2 * m[..., k, k] - trace for k in range(3)), trace], -1)  # 4 q² - 1
    outer = np.empty((*m.shape[:-2], 4, 4))  # 4 q qᵀ
    outer[..., range(4), range(4)] = squares + 1
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        outer[..., i, j] = outer[..., j, i] = m[..., i, j] + m[..., j, i]
        outer[..., k, 3] = outer[..., 3, k] = m[..., j, i] - m[..., i, j]
    row = np.take_along_axis(outer, squares.argmax(-1)[..., None, None], -2)[..., 0, :]
    return np.roll(row / np.linalg.norm(row, axis=-1, keepdims=True), 1, -1)


def matrix_from_quaternion_wxyz(quaternion: RealArray) -> FloatArray:
    """Convert a unit quaternion (4,) as w, x, y, z to a rotation matrix (3, 3)."""
    w, x, y, z = np.asarray(quaternion, np.float64)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def rotation_vector_from_matrix(matrices: RealArray) -> FloatArray:
    """Convert rotation matrices (..., 3, 3) to rotation vectors (..., 3) of at most pi radians."""
    quaternions = quaternion_wxyz_from_matrix(matrices)
    quaternions = quaternions * np.where(quaternions[..., :1] < 0, -1, 1)
    sine = np.linalg.norm(quaternions[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternions[..., :1])
    return quaternions[..., 1:] * angle / np.maximum(sine, 1e-12)


def zxy_angles_from_matrix(matrices: FloatArray) -> FloatArray:
    """Return the angles (..., 3) z, x, y in radians with R = Rz Rx Ry, of matrices (..., 3, 3)."""
    m = matrices
    sine = np.clip(m[..., 2, 1], -1, 1)
    locked = np.hypot(m[..., 0, 1], m[..., 1, 1]) < _LOCKED  # z and y share an axis: z gets the full angle
    z = np.where(locked, np.arctan2(m[..., 1, 0], m[..., 0, 0]), np.arctan2(-m[..., 0, 1], m[..., 1, 1]))
    y = np.where(locked, 0.0, np.arctan2(-m[..., 2, 0], m[..., 2, 2]))
    return np.stack([z, np.arcsin(sine), y], -1)


def continuous_zxy_angles(matrices: FloatArray) -> FloatArray:
    """Return the angles (F, ..., 3) z, x, y in radians of F rotations (F, ..., 3, 3), without jumps.

    Of all angles of a rotation, (z, x, y) and (z + pi, pi - x, y + pi) with multiples of 2 pi, each frame has those
    nearest to the frame before. Where z and y share an axis, z stays.
    """
    first = zxy_angles_from_matrix(matrices)
    second = np.stack([first[..., 0] + np.pi, np.pi - first[..., 1], first[..., 2] + np.pi], -1)
    locked = np.hypot(matrices[..., 0, 1], matrices[..., 1, 1]) < _LOCKED
    both, result = np.stack([first, second]), first.copy()
    for frame in range(1, len(first)):
        before = result[frame - 1]
        near = both[:, frame] + 2 * np.pi * np.round((before - both[:, frame]) / (2 * np.pi))
        distances = np.abs(near - before).sum(-1)
        result[frame] = np.where((distances[1] < distances[0])[..., None], near[1], near[0])
        z, x, y = np.moveaxis(result[frame], -1, 0)
        sign = np.where(np.sin(x) > 0, 1.0, -1.0)  # the rotation depends only on z + y, or on z - y
        same = np.stack([before[..., 0], x, y + sign * (z - before[..., 0])], -1)
        result[frame] = np.where(locked[frame][..., None], same, result[frame])
    return result


def align_rigidly(source: RealArray, target: RealArray) -> tuple[FloatArray, FloatArray]:
    """Fit rotations (..., 3, 3) and translations (..., 3) of points (..., K, 3) to others, in their unit (Kabsch)."""
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    u, _, vt = np.linalg.svd(np.swapaxes(target - target_mean, -1, -2) @ (source - source_mean))
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[..., None]  # no mirroring
    rotation = u @ vt
    return rotation, target_mean[..., 0, :] - (rotation @ np.swapaxes(source_mean, -1, -2))[..., 0]


class SimilarFit:
    """Weighted least-squares fit of rotation, scale and translation from points (K, 3) to others.

    Source: Umeyama 1991, Least-squares estimation of transformation parameters between two point patterns.
    """

    def __init__(self, source: RealArray, weights: RealArray) -> None:
        self._share = weights / weights.sum()
        self._mean = self._share @ source
        offsets = source - self._mean
        self._weighted = offsets * self._share[:, None]  # their sum is 0: the targets' mean does not matter
        self._spread = float(np.vdot(self._weighted, offsets))

    def scale(self, target: RealArray) -> float:
        """Return the scale of the fit onto points (K, 3), in their unit."""
        covariance = target.T @ self._weighted
        large, middle, small = np.linalg.svd(covariance, compute_uv=False).tolist()
        return (large + middle + math.copysign(small, np.linalg.det(covariance))) / self._spread

    def matrix(self, target: RealArray) -> FloatArray:
        """Return the matrix (4, 4) of the fit onto points (K, 3), in their unit."""
        u, sizes, vt = np.linalg.svd(target.T @ self._weighted)
        if np.linalg.det(u @ vt) < 0:  # no mirroring
            u[:, 2], sizes[2] = -u[:, 2], -sizes[2]
        turned = sizes.sum() / self._spread * (u @ vt)
        result = np.eye(4)
        result[:3, :3] = turned
        result[:3, 3] = self._share @ target - turned @ self._mean
        return result


@dataclass(frozen=True, eq=False)
class CanonicalFace:
    """Face of known size in front of a camera, directed at it."""

    points: FloatArray  # vertices (468, 3): x right, y up, z towards the viewer
    weights: FloatArray  # weights (468,) of the vertices in the fit; most are 0

    @cached_property
    def used(self) -> IndexArray:
        """Return the indices (K,) of the points with positive weight."""
        return np.flatnonzero(self.weights)

    @cached_property
    def fit(self) -> SimilarFit:
        """Return the fit of the weighted points onto others."""
        return SimilarFit(self.points[self.used], self.weights[self.used])


def face_transform(points: RealArray, face: CanonicalFace, width: int, height: int) -> FloatArray:
    """Return the matrix (4, 4) from the canonical face to the camera: rotation, scale and translation.

    `points` (468 or more, 3) are pixels of an image, with z in the same scale and smaller for nearer points.
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


def vertex_normals(vertices: RealArray, faces: NDArray[np.integer]) -> FloatArray:
    """Return outward unit normals (V, 3), the area-weighted mean of the faces around, or (0, 0, -1)."""
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
