"""Convert rotations and align point sets, with matrices for column vectors and angles in radians."""

from __future__ import annotations

import math

import numpy as np

from sonjit._util.arrays import FloatArray, RealArray


def matrix_from_rotation_vector(vectors: RealArray) -> FloatArray:
    """Convert rotation vectors (..., 3) to matrices (..., 3, 3) with Rodrigues' formula.

    >>> matrix_from_rotation_vector(np.array([0, 0, np.pi / 2])).round(6) @ [1, 0, 0]
    array([0., 1., 0.])
    """
    vectors = np.asarray(vectors, np.float64)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    angle = np.sqrt(x * x + y * y + z * z)[..., None, None]
    cross = np.zeros((*vectors.shape, 3))
    cross[..., 2, 1], cross[..., 0, 2], cross[..., 1, 0] = x, y, z
    cross -= np.swapaxes(cross, -1, -2)
    # np.sinc(t) is sin(pi t) / (pi t): both factors stay exact at no rotation
    return np.eye(3) + np.sinc(angle / np.pi) * cross + np.sinc(angle / (2 * np.pi)) ** 2 / 2 * (cross @ cross)


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
    """Convert rotation matrices (..., 3, 3) to rotation vectors (..., 3) of at most half a turn."""
    quaternions = quaternion_wxyz_from_matrix(matrices)
    quaternions = quaternions * np.where(quaternions[..., :1] < 0, -1, 1)
    sine = np.linalg.norm(quaternions[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternions[..., :1])
    return quaternions[..., 1:] * angle / np.maximum(sine, 1e-12)


def zxy_angles_from_matrix(matrices: FloatArray) -> FloatArray:
    """Return the angles (..., 3) z, x, y in radians with R = Rz Rx Ry, of matrices (..., 3, 3)."""
    m = matrices
    sine = np.clip(m[..., 2, 1], -1, 1)
    locked = np.hypot(m[..., 0, 1], m[..., 1, 1]) < 1e-7  # z and y share an axis: z gets the full angle
    z = np.where(locked, np.arctan2(m[..., 1, 0], m[..., 0, 0]), np.arctan2(-m[..., 0, 1], m[..., 1, 1]))
    y = np.where(locked, 0.0, np.arctan2(-m[..., 2, 0], m[..., 2, 2]))
    return np.stack([z, np.arcsin(sine), y], -1)


def align_rigidly(source: RealArray, target: RealArray) -> tuple[FloatArray, FloatArray]:
    """Fit rotations (..., 3, 3) and translations (..., 3) from points to others by least squares (Kabsch 1976).

    Args:
        source: Points (..., K, 3) to move, one set or as many sets as targets.
        target: Points (..., K, 3) to match.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    u, _, vt = np.linalg.svd(np.swapaxes(target - target_mean, -1, -2) @ (source - source_mean))
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[..., None]  # no mirroring
    rotation = u @ vt
    return rotation, target_mean[..., 0, :] - (rotation @ np.swapaxes(source_mean, -1, -2))[..., 0]


class SimilarFit:
    """Weighted least-squares fit of rotation, scale and translation between points.

    Args:
        source: Points (K, 3) to move.
        weights: Weights (K,) of the points.

    Source: Umeyama 1991, Least-squares estimation of transformation parameters between two point patterns.
    """

    def __init__(self, source: RealArray, weights: RealArray) -> None:
        self._share = weights / weights.sum()
        self._mean = self._share @ source
        offsets = source - self._mean
        self._weighted = offsets * self._share[:, None]  # their sum is 0: the targets' mean does not matter
        self._spread = float(np.vdot(self._weighted, offsets))

    def scale(self, target: RealArray) -> float:
        """Return the scale of the fit onto points (K, 3)."""
        covariance = target.T @ self._weighted
        large, middle, small = np.linalg.svd(covariance, compute_uv=False).tolist()
        return (large + middle + math.copysign(small, np.linalg.det(covariance))) / self._spread

    def matrix(self, target: RealArray) -> FloatArray:
        """Return the matrix (4, 4) of the fit onto points (K, 3)."""
        u, sizes, vt = np.linalg.svd(target.T @ self._weighted)
        if np.linalg.det(u @ vt) < 0:  # no mirroring
            u[:, 2], sizes[2] = -u[:, 2], -sizes[2]
        turned = sizes.sum() / self._spread * (u @ vt)
        result = np.eye(4)
        result[:3, :3] = turned
        result[:3, 3] = self._share @ target - turned @ self._mean
        return result
