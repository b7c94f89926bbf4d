"""Represent a rig's cameras as arrays to project points and build least squares in all views together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray, IndexArray
from sonjit.geometry.cameras import distort, distortion_jacobian, undistort
from sonjit.studio.cameras.rig import CameraRig

_MIN_CONDITION: Final = 1e-11


_UPPER_TRIANGLE: Final = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Indices of the entries that determine a symmetric (3, 3) matrix."""
_FULL_FROM_UPPER: Final = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])


@dataclass(frozen=True, eq=False)
class CameraArrays:
    """A rig's C cameras as arrays.

    Attributes:
        K: (C, 3, 3) camera matrices, pixels.
        R: (C, 3, 3) rotations from world to camera.
        t: (C, 3) translations, metres.
        lenses: Indices (G,) and coefficients (G, 1, 4, 5 or 8) of cameras with distortion, by number of coefficients.
        folds: (C, 1) radii at which the lens models stop to be monotonic.
    """

    K: FloatArray
    R: FloatArray
    t: FloatArray
    lenses: tuple[tuple[IndexArray, FloatArray], ...]
    folds: FloatArray

    @property
    def focal_px(self) -> FloatArray:
        """Focal lengths (C, 2) in pixels."""
        return self.K[:, [0, 1], [0, 1]]

    @cached_property
    def _world_from_camera(self) -> FloatArray:
        """Matrix (6 C, 6) that sums symmetric matrices of the cameras' frames in the world's frame."""
        turned = np.empty((len(self.R), 6, 6))
        for row, (i, j) in enumerate(_UPPER_TRIANGLE):
            for column, (a, b) in enumerate(_UPPER_TRIANGLE):
                turned[:, row, column] = self.R[:, i, a] * self.R[:, j, b]
                if i != j:
                    turned[:, row, column] += self.R[:, j, a] * self.R[:, i, b]
        return turned.reshape(-1, 6)

    def seen(self, points_m: FloatArray) -> FloatArray:
        """Transform points (N, 3) to (C, N, 3) camera frames, NaN behind a camera or outside its lens's range."""
        return self._coordinate_rows(points_m).transpose(0, 2, 1)

    def _coordinate_rows(self, points_m: FloatArray) -> FloatArray:
        """Transform points (N, 3) to (C, 3, N) camera frames, as `seen`."""
        in_camera = (self.R.reshape(-1, 3) @ points_m.T).reshape(len(self.R), 3, -1) + self.t[..., None]
        x, y, z = in_camera.transpose(1, 0, 2)
        unseen = ~(z > 0)
        if np.isfinite(self.folds).any():
            unseen |= np.hypot(x, y) > self.folds * z
        in_camera.transpose(0, 2, 1)[unseen] = np.nan
        return in_camera

    def project(self, points_m: FloatArray) -> FloatArray:
        """Project points (N, 3) to pixels (C, N, 2)."""
        in_camera = self.seen(points_m)
        return self._pixels(self._distort_rays(in_camera[..., :2] / in_camera[..., 2:]))

    def undistorted_rays(self, points_px: FloatArray) -> FloatArray:
        """Return the rays (C, N, 2) at depth 1 of pixels (C, N, 2), NaN where a lens cannot show them."""
        rays = (points_px - self.K[:, None, :2, 2]) @ np.linalg.inv(self.K[:, :2, :2]).transpose(0, 2, 1)
        for cameras, coefficients in self.lenses:
            rays[cameras] = undistort(rays[cameras], coefficients, self.folds[cameras])
        return rays

    def normal_equations(
        self, points_m: FloatArray, weights: FloatArray, points_px: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
        """Sum the linearised least squares of pixels over views.

        Args:
            points_m: (N, 3) points of linearisation, metres.
            weights: (C, N) weights.
            points_px: (C, N, 2) observed pixels, arbitrary where the weight is 0. None for the normal matrices only.

        Returns:
            JT W r (N, 3); JT W J (N, 3, 3) with slopes in px / m; r W r (N,), infinite where a weighted view cannot see
            the point; and a mask (N,) of the finite, invertible JT W J.
        """
        in_camera = self._coordinate_rows(points_m)
        is_weighted = weights > 0
        visible = np.isfinite(in_camera[:, 2])
        used = is_weighted & visible
        x, y, z = (np.where(used, in_camera[:, axis], float(axis == 2)) for axis in range(3))
        x, y = x / z, y / z
        rays = np.stack([x, y], -1)
        root_weight = np.sqrt(np.where(used, weights, 0))
        scale = root_weight / z
        slopes = self._pixel_slopes(rays)  # two rows of two, (C, N) or (C, 1) each
        rows: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        for along, across in slopes:
            rows.append((along * scale, across * scale, -(along * x + across * y) * scale))
        (r0, r1, r2), (s0, s1, s2) = rows
        first, second = (r0, r1, r2), (s0, s1, s2)
        square = np.stack([first[i] * first[j] + second[i] * second[j] for i, j in _UPPER_TRIANGLE], 1)  # (C, 6, N)
        normal = (self._world_from_camera.T @ square.reshape(len(self._world_from_camera), -1)).T[:, _FULL_FROM_UPPER]
        cost = np.where((is_weighted & ~visible).any(0), np.inf, 0.0)
        gradient = np.zeros_like(points_m)
        if points_px is not None:
            residual = (
                np.where(used[..., None], points_px - self._pixels(self._distort_rays(rays)), 0)
                * root_weight[..., None]
            )
            u, v = residual[..., 0], residual[..., 1]
            cost += (u * u + v * v).sum(0)
            camera_gradient = np.stack([u * r + v * s for r, s in zip(first, second, strict=True)], 1)  # (C, 3, N)
            gradient = (self.R.reshape(-1, 3).T @ camera_gradient.reshape(3 * len(self.R), -1)).T
        finite = np.isfinite(normal.sum((1, 2)))
        values: FloatArray = np.linalg.eigvalsh(np.where(finite[:, None, None], normal, np.eye(3)))
        return gradient, normal, cost, np.asarray(finite & (values[:, 0] > _MIN_CONDITION * values[:, 2]), np.bool_)

    def _pixel_slopes(self, rays: FloatArray) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        """Return the derivatives of pixels by rays (C, N, 2): two rows of two, (C, N) or (C, 1) each."""
        a, b, c, d = (self.K[:, i, j, None] for i in range(2) for j in range(2))
        if not self.lenses:
            return (a, b), (c, d)
        slope = np.broadcast_to(np.eye(2), (*rays.shape, 2)).copy()
        for cameras, coefficients in self.lenses:
            slope[cameras] = distortion_jacobian(rays[cameras], coefficients)
        e, f, g, h = (slope[..., i, j] for i in range(2) for j in range(2))
        return (a * e + b * g, a * f + b * h), (c * e + d * g, c * f + d * h)

    def _distort_rays(self, rays: FloatArray) -> FloatArray:
        """Distort rays (C, N, 2) by each camera's lens."""
        shown = rays.copy() if self.lenses else rays
        for cameras, coefficients in self.lenses:
            shown[cameras] = distort(rays[cameras], coefficients)
        return shown

    def _pixels(self, rays: FloatArray) -> FloatArray:
        """Convert distorted rays (C, N, 2) to pixels."""
        return rays @ self.K[:, :2, :2].transpose(0, 2, 1) + self.K[:, None, :2, 2]


def camera_arrays(rig: CameraRig) -> CameraArrays:
    """Return a rig's cameras as arrays."""
    lenses = [camera.camera.distortion for camera in rig]
    groups = [
        (np.array(members), np.stack([np.asarray(lenses[k], np.float64) for k in members])[:, None])
        for size in sorted({len(lens) for lens in lenses if lens is not None})
        if (members := [k for k, lens in enumerate(lenses) if lens is not None and len(lens) == size])
    ]
    return CameraArrays(
        np.stack([np.asarray(camera.camera.K, np.float64) for camera in rig]),
        np.stack([camera.R for camera in rig]),
        np.stack([camera.t for camera in rig]),
        tuple(groups),
        np.array([[camera.camera.fold] for camera in rig]),
    )
