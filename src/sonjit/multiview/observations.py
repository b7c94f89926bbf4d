"""What C cameras see of N points, as arrays over both; the arithmetic that triangulation is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.geometry.lenses import bend_rays, bending

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.cameras import CameraRig

_DLT_UNIT_M = 1e-3
"""The unit in which the linear solution's homogeneous vector has length 1: millimetres, as the field computes it."""


@dataclass(frozen=True, eq=False)
class Views:
    """A rig's cameras as arrays: K (C, 3, 3), R (C, 3, 3), t (C, 3), lenses (C, 1, 5) or None, folds (C, 1)."""

    K: NDArray[np.float64]
    R: NDArray[np.float64]
    t: NDArray[np.float64]
    lenses: NDArray[np.float64] | None
    folds: NDArray[np.float64]

    @property
    def focal_px(self) -> NDArray[np.float64]:
        """(C, 2)."""
        return self.K[:, [0, 1], [0, 1]]

    def seen(self, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """(C, N, 3) the world's points (N, 3) in each camera's frame; NaN behind it or beyond its lens's fold."""
        seen = points_m @ self.R.transpose(0, 2, 1) + self.t[:, None]
        x, y, z = np.moveaxis(seen, -1, 0)
        unseen = ~(z > 0)
        if np.isfinite(self.folds).any():
            unseen |= np.hypot(x, y) > self.folds * z
        seen[unseen] = np.nan
        return seen

    def project(self, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """(C, N, 2) pixels of the world's points (N, 3)."""
        seen = self.seen(points_m)
        rays = seen[..., :2] / seen[..., 2:]
        return self._pixels(rays if self.lenses is None else bend_rays(rays, self.lenses))

    def project_and_slope(self, points_m: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(C, N, 2) pixels of points (N, 3), and (C, N, 2, 3) how they move with the points, px / m."""
        seen = self.seen(points_m)
        rays = seen[..., :2] / seen[..., 2:]
        # of x / z along the world's axes: (row of R) / z - x / z (last row of R) / z
        slope = (self.R[:, None, :2] - rays[..., None] * self.R[:, None, 2:]) / seen[..., 2, None, None]
        if self.lenses is None:
            return self._pixels(rays), self.K[:, None, :2, :2] @ slope
        return self._pixels(bend_rays(rays, self.lenses)), self.K[:, None, :2, :2] @ bending(rays, self.lenses) @ slope

    def _pixels(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        return rays @ self.K[:, :2, :2].transpose(0, 2, 1) + self.K[:, None, :2, 2]


def views_from_rig(rig: CameraRig) -> Views:
    """A rig's cameras as arrays."""
    lenses = [camera.camera.distortion for camera in rig]
    return Views(
        np.stack([np.asarray(camera.camera.K, np.float64) for camera in rig]),
        np.stack([camera.R for camera in rig]),
        np.stack([camera.t for camera in rig]),
        None
        if all(lens is None for lens in lenses)
        else np.stack([np.zeros(5) if lens is None else lens for lens in lenses])[:, None],
        np.array([[camera.fold] for camera in rig]),
    )


def linear_points(views: Views, rays: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direct linear solution: the points whose homogeneous rows u P3 - P1, v P3 - P2 are least, P = K [R | t].

    Source: Hartley and Zisserman, Multiple View Geometry, 12.2.

    Args:
        views: C cameras.
        rays: (C, N, 2) straightened, at depth 1; anything where the weight is 0.
        weights: (C, N) of each view's squared rows; 0 where it sees nothing.

    Returns:
        (N, 3) metres; NaN where fewer than two views, or their rays do not meet.
    """
    rows = np.concatenate([views.R, views.t[..., None]], 2)  # (C, 3, 4) metres
    fx2, fy2 = (views.focal_px**2).T[..., None]  # (C, 1) each: rows of pixels, not of rays
    x, y = np.moveaxis(np.where(weights[..., None] > 0, rays, 0), -1, 0)
    parts = [
        weights * (fx2 * x * x + fy2 * y * y),
        -weights * fx2 * x,
        -weights * fy2 * y,
        weights * fx2,
        weights * fy2,
    ]
    p0, p1, p2 = rows[:, 0], rows[:, 1], rows[:, 2]
    outer = [_outer(p2, p2), _outer(p2, p0), _outer(p2, p1), _outer(p0, p0), _outer(p1, p1)]
    normal = sum(
        np.einsum("cn,cij->nij", part, square, optimize=True) for part, square in zip(parts, outer, strict=True)
    )
    normal = np.asarray(normal)  # (N, 4, 4)
    normal = (normal + normal.transpose(0, 2, 1)) / 2
    scale = np.array([1, 1, 1, 1 / _DLT_UNIT_M])
    usable = (weights > 0).sum(0) >= 2
    points = np.full((len(normal), 3), np.nan)
    if not usable.any():
        return points
    normal = normal[usable] * scale * scale[:, None]
    least = np.linalg.eigvalsh(normal)[:, :1, None]
    # With the least eigenvalue known, the point follows from the three well-conditioned rows: exact where the
    # eigenvector of a matrix in millimetres loses digits.
    square = normal[:, :3, :3] - least * np.eye(3)
    sound = np.linalg.cond(square) < 1e12
    square[~sound] = np.eye(3)
    found = np.linalg.solve(square, -normal[:, :3, 3:])[..., 0] * _DLT_UNIT_M
    points[usable] = np.where(sound[:, None], found, np.nan)
    return points


def _outer(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C, 4, 4) a bT + b aT, or a aT."""
    square = a[:, :, None] * b[:, None, :]
    return square if a is b else square + square.transpose(0, 2, 1)
