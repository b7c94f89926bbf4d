"""A rig's cameras as arrays: projection of points, and the least squares of their pixels, in all views at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, IndexArray
from sonjit.geometry.cameras import distort, distortion_jacobian, undistort
from sonjit.multiview.cameras.rig import CameraRig

_SINGULAR: Final = 1e-11


class LensGroup(NamedTuple):
    """Cameras whose lenses have as many coefficients."""

    cameras: IndexArray  # (G,)
    coefficients: FloatArray  # (G, 1, 4, 5 or 8)


_SYMMETRIC: Final = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Entries of a symmetric (3, 3) that tell all of it."""
_FROM_SYMMETRIC: Final = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])


@dataclass(frozen=True, eq=False)
class CameraArrays:
    """A rig's cameras as arrays: K (C, 3, 3), R (C, 3, 3), t (C, 3), lenses that are alike together, folds (C, 1)."""

    K: FloatArray
    R: FloatArray
    t: FloatArray
    lenses: tuple[LensGroup, ...]
    folds: FloatArray

    @property
    def focal_px(self) -> FloatArray:
        """(C, 2)."""
        return self.K[:, [0, 1], [0, 1]]

    @cached_property
    def _turned(self) -> FloatArray:
        """(6 C, 6) by which symmetric matrices in the cameras' axes add up to one in the world's."""
        turned = np.empty((len(self.R), 6, 6))
        for row, (i, j) in enumerate(_SYMMETRIC):
            for column, (a, b) in enumerate(_SYMMETRIC):
                turned[:, row, column] = self.R[:, i, a] * self.R[:, j, b]
                if i != j:
                    turned[:, row, column] += self.R[:, j, a] * self.R[:, i, b]
        return turned.reshape(-1, 6)

    def seen(self, points_m: FloatArray) -> FloatArray:
        """(C, N, 3) the world's points (N, 3) in each camera's frame; NaN behind it or beyond its lens's fold."""
        return self._coordinates(points_m).transpose(0, 2, 1)

    def _coordinates(self, points_m: FloatArray) -> FloatArray:
        """(C, 3, N) the same, each coordinate in a row."""
        seen = (self.R.reshape(-1, 3) @ points_m.T).reshape(len(self.R), 3, -1) + self.t[..., None]
        x, y, z = seen.transpose(1, 0, 2)
        unseen = ~(z > 0)
        if np.isfinite(self.folds).any():
            unseen |= np.hypot(x, y) > self.folds * z
        seen.transpose(0, 2, 1)[unseen] = np.nan
        return seen

    def project(self, points_m: FloatArray) -> FloatArray:
        """(C, N, 2) pixels of the world's points (N, 3)."""
        seen = self.seen(points_m)
        return self._pixels(self._shown(seen[..., :2] / seen[..., 2:]))

    def undistorted_rays(self, points_px: FloatArray) -> FloatArray:
        """(C, N, 2) rays at depth 1 of pixels (C, N, 2); NaN for those that a lens cannot show."""
        rays = (points_px - self.K[:, None, :2, 2]) @ np.linalg.inv(self.K[:, :2, :2]).transpose(0, 2, 1)
        for cameras, coefficients in self.lenses:
            rays[cameras] = undistort(rays[cameras], coefficients, self.folds[cameras])
        return rays

    def normal_equations(
        self, points_m: FloatArray, weights: FloatArray, points_px: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
        """The sums over views of the linearised least squares of pixels.

        Args:
            points_m: (N, 3) where they are linearised.
            weights: (C, N).
            points_px: (C, N, 2) as the lenses show them, anything where the weight is 0; None for the cameras' alone.

        Returns:
            JT W r (N, 3); JT W J (N, 3, 3), slopes in px / m; r W r (N,), infinite where a view that counts cannot see
            the point; which JT W J are sound (N,): finite, and can be inverted.
        """
        seen = self._coordinates(points_m)
        counts = weights > 0
        visible = np.isfinite(seen[:, 2])
        used = counts & visible
        x, y, z = (np.where(used, seen[:, axis], float(axis == 2)) for axis in range(3))
        x, y = x / z, y / z
        rays = np.stack([x, y], -1)
        root = np.sqrt(np.where(used, weights, 0))
        scale = root / z
        bends = self._bends(rays)  # two rows of two, of (C, N) each or (C, 1)
        rows: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        for along, across in bends:
            rows.append((along * scale, across * scale, -(along * x + across * y) * scale))
        (r0, r1, r2), (s0, s1, s2) = rows
        first, second = (r0, r1, r2), (s0, s1, s2)
        square = np.stack([first[i] * first[j] + second[i] * second[j] for i, j in _SYMMETRIC], 1)  # (C, 6, N)
        normal = (self._turned.T @ square.reshape(len(self._turned), -1)).T[:, _FROM_SYMMETRIC]
        cost = np.where((counts & ~visible).any(0), np.inf, 0.0)
        down = np.zeros_like(points_m)
        if points_px is not None:
            gap = np.where(used[..., None], points_px - self._pixels(self._shown(rays)), 0) * root[..., None]
            u, v = gap[..., 0], gap[..., 1]
            cost += (u * u + v * v).sum(0)
            pull = np.stack([u * r + v * s for r, s in zip(first, second, strict=True)], 1)  # (C, 3, N)
            down = (self.R.reshape(-1, 3).T @ pull.reshape(3 * len(self.R), -1)).T
        finite = np.isfinite(normal.sum((1, 2)))
        values: FloatArray = np.linalg.eigvalsh(np.where(finite[:, None, None], normal, np.eye(3)))
        return down, normal, cost, np.asarray(finite & (values[:, 0] > _SINGULAR * values[:, 2]), np.bool_)

    def _bends(self, rays: FloatArray) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        """How pixels move with rays (C, N, 2) before the lens: two rows of two, of (C, N) each or (C, 1)."""
        a, b, c, d = (self.K[:, i, j, None] for i in range(2) for j in range(2))
        if not self.lenses:
            return (a, b), (c, d)
        slope = np.broadcast_to(np.eye(2), (*rays.shape, 2)).copy()
        for cameras, coefficients in self.lenses:
            slope[cameras] = distortion_jacobian(rays[cameras], coefficients)
        e, f, g, h = (slope[..., i, j] for i in range(2) for j in range(2))
        return (a * e + b * g, a * f + b * h), (c * e + d * g, c * f + d * h)

    def _shown(self, rays: FloatArray) -> FloatArray:
        """Rays (C, N, 2) as each camera's lens shows them."""
        shown = rays.copy() if self.lenses else rays
        for cameras, coefficients in self.lenses:
            shown[cameras] = distort(rays[cameras], coefficients)
        return shown

    def _pixels(self, rays: FloatArray) -> FloatArray:
        return rays @ self.K[:, :2, :2].transpose(0, 2, 1) + self.K[:, None, :2, 2]


def camera_arrays(rig: CameraRig) -> CameraArrays:
    """A rig's cameras as arrays."""
    lenses = [camera.camera.distortion for camera in rig]
    groups = [
        LensGroup(np.array(alike), np.stack([np.asarray(lenses[k], np.float64) for k in alike])[:, None])
        for size in sorted({len(lens) for lens in lenses if lens is not None})
        if (alike := [k for k, lens in enumerate(lenses) if lens is not None and len(lens) == size])
    ]
    return CameraArrays(
        np.stack([np.asarray(camera.camera.K, np.float64) for camera in rig]),
        np.stack([camera.R for camera in rig]),
        np.stack([camera.t for camera in rig]),
        tuple(groups),
        np.array([[camera.camera.fold] for camera in rig]),
    )
