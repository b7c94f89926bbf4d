"""C cameras and N points as arrays: projection, the linear solution, and consensus over pairs of views.

Consensus is deterministic: the pairs are drawn with a fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from sonjit.geometry.cameras import distort, distortion_jacobian

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.cameras.rig import CameraRig

_DLT_UNIT_M = 1e-3
"""The unit in which the linear solution's homogeneous vector has length 1: millimetres, as the field computes it."""


@dataclass(frozen=True, eq=False)
class CameraArrays:
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
        return self._pixels(rays if self.lenses is None else distort(rays, self.lenses))

    def project_and_slope(self, points_m: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(C, N, 2) pixels of points (N, 3), and (C, N, 2, 3) how they move with the points, px / m."""
        seen = self.seen(points_m)
        rays = seen[..., :2] / seen[..., 2:]
        # of x / z along the world's axes: (row of R) / z - x / z (last row of R) / z
        slope = (self.R[:, None, :2] - rays[..., None] * self.R[:, None, 2:]) / seen[..., 2, None, None]
        if self.lenses is None:
            return self._pixels(rays), self.K[:, None, :2, :2] @ slope
        lens = distortion_jacobian(rays, self.lenses)
        return self._pixels(distort(rays, self.lenses)), self.K[:, None, :2, :2] @ lens @ slope

    def _pixels(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        return rays @ self.K[:, :2, :2].transpose(0, 2, 1) + self.K[:, None, :2, 2]


def camera_arrays(rig: CameraRig) -> CameraArrays:
    """A rig's cameras as arrays."""
    lenses = [camera.camera.distortion for camera in rig]
    return CameraArrays(
        np.stack([np.asarray(camera.camera.K, np.float64) for camera in rig]),
        np.stack([camera.R for camera in rig]),
        np.stack([camera.t for camera in rig]),
        None
        if all(lens is None for lens in lenses)
        else np.stack([np.zeros(5) if lens is None else lens for lens in lenses])[:, None],
        np.array([[camera.camera.fold] for camera in rig]),
    )


def linear_points(views: CameraArrays, rays: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direct linear solution: the points whose homogeneous rows u P3 - P1, v P3 - P2 are least, P = K [R | t].

    Source: Hartley and Zisserman, Multiple View Geometry, 12.2.

    Args:
        views: C cameras.
        rays: (C, N, 2) undistorted, at depth 1; anything where the weight is 0.
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


_FEW = 15  # all pairs of 6 views
_MANY = 190  # all pairs of 20 views
_AGREED = 0.65
"""The share of views beyond which no further pairs are tried: 15 random pairs then miss with less than 1 in 5,000."""

_ROUNDS = 4


def consensus(
    views: CameraArrays,
    points_px: NDArray[np.float64],
    rays: NDArray[np.float64],
    weights: NDArray[np.float64],
    threshold_px: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Points that most views agree on within a threshold.

    Each pair of views proposes a point; the one with the least sum of squared pixels, capped at the threshold, wins
    (MSAC) and is fitted again to all views that agree, until they stay the same. Up to 190 pairs are tried, drawn with
    a fixed seed where there are more.

    Args:
        views: C cameras.
        points_px: (C, N, 2) as the lenses show them.
        rays: (C, N, 2) the same, undistorted.
        weights: (C, N) 0 where a view has none.
        threshold_px: reprojection error of an inlier, at most.

    Returns:
        (N, 3) metres, NaN without two views that agree; (C, N) those that agree.
    """
    _, count = weights.shape
    points, cost = np.full((count, 3), np.nan), np.full(count, np.inf)
    asked = np.flatnonzero((weights > 0).sum(0) >= 2)
    for first, last in ((0, _FEW), (_FEW, _MANY)):
        if not len(asked):
            break
        found, least = _best_of_pairs(views, rays[:, asked], weights[:, asked], threshold_px, slice(first, last))
        better = least < cost[asked]
        points[asked[better]], cost[asked[better]] = found[better], least[better]
        near = _near(views, points[asked], points_px[:, asked], weights[:, asked], threshold_px)
        known = (weights[:, asked] > 0).sum(0)
        asked = asked[(near.sum(0) < _AGREED * known) & (known * (known - 1) // 2 > _FEW)]
    inlier = _near(views, points, points_px, weights, threshold_px)
    unsettled = np.flatnonzero(inlier.any(0))
    for _ in range(_ROUNDS):
        if not len(unsettled):
            break
        of = inlier[:, unsettled]
        points[unsettled] = linear_points(views, rays[:, unsettled], np.where(of, weights[:, unsettled], 0))
        now = _near(views, points[unsettled], points_px[:, unsettled], weights[:, unsettled], threshold_px)
        inlier[:, unsettled] = now
        unsettled = unsettled[(now != of).any(0)]
    return points, inlier


def _near(
    views: CameraArrays,
    points_m: NDArray[np.float64],
    points_px: NDArray[np.float64],
    weights: NDArray[np.float64],
    threshold_px: float,
) -> NDArray[np.bool_]:
    """(C, N) the views whose pixel is within the threshold of the point's projection."""
    gap = views.project(points_m) - points_px
    return (weights > 0) & (gap[..., 0] ** 2 + gap[..., 1] ** 2 <= threshold_px**2)


def _best_of_pairs(
    views: CameraArrays,
    rays: NDArray[np.float64],
    weights: NDArray[np.float64],
    threshold_px: float,
    which: slice,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 3) the proposed points of least capped cost, and (N,) that cost; scored on undistorted rays for speed."""
    cameras, count = weights.shape
    known = weights > 0
    order = np.argsort(~known, axis=0, kind="stable")  # (C, N) each point's views first
    pairs = _pairs(cameras, which.stop)[known.sum(0), which]  # (N, H, 2) ranks
    first, second = np.moveaxis(
        np.take_along_axis(order.T[..., None], pairs.reshape(count, -1, 1), 1).reshape(pairs.shape), -1, 0
    )
    proposed = _midpoints(views, rays, first, second)  # (N, H, 3)
    rows = np.concatenate([views.R, views.t[..., None]], 2).reshape(-1, 4)  # (3 C, 4)
    flat = np.concatenate([proposed, np.ones_like(proposed[..., :1])], -1).reshape(-1, 4)
    seen = (rows @ flat.T).reshape(cameras, 3, count, -1)
    depth = np.where(seen[:, 2] > 0, seen[:, 2], np.nan)
    fx, fy = views.focal_px.T[..., None, None]
    square = ((seen[:, 0] / depth - rays[..., 0, None]) * fx) ** 2
    square += ((seen[:, 1] / depth - rays[..., 1, None]) * fy) ** 2
    capped = np.fmin(square, threshold_px**2) * weights[..., None]  # fmin: a NaN counts as far off
    cost = np.where(np.isfinite(proposed[..., 0]), capped.sum(0), np.inf)  # (N, H)
    best = cost.argmin(1)
    row = np.arange(count)
    return proposed[row, best], cost[row, best]


def _midpoints(
    views: CameraArrays, rays: NDArray[np.float64], first: NDArray[np.intp], second: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(N, H, 3) half way between the rays of two views (N, H) each, where they come closest; NaN for parallel ones."""
    directions = np.concatenate([rays, np.ones_like(rays[..., :1])], -1) @ views.R  # (C, N, 3)
    centres = -(views.R.transpose(0, 2, 1) @ views.t[..., None])[..., 0]
    row = np.arange(rays.shape[1])[:, None]
    d1, d2 = directions[first, row], directions[second, row]
    apart = centres[second] - centres[first]
    d11, d22, d12 = ((a * b).sum(-1) for a, b in ((d1, d1), (d2, d2), (d1, d2)))
    a1, a2 = (d1 * apart).sum(-1), (d2 * apart).sum(-1)
    across = d11 * d22 - d12**2
    across[across < 1e-12 * d11 * d22] = np.nan
    s1, s2 = (a1 * d22 - a2 * d12) / across, (a1 * d12 - a2 * d11) / across
    return (centres[first] + s1[..., None] * d1 + centres[second] + s2[..., None] * d2) / 2


@lru_cache(maxsize=4)
def _pairs(cameras: int, most: int) -> NDArray[np.intp]:
    """(cameras + 1, most, 2) for each number of views the pairs to try: all, repeated, or drawn from them."""
    table = np.zeros((cameras + 1, most, 2), np.intp)
    for views in range(2, cameras + 1):
        every = np.array(list(combinations(range(views), 2)))
        order = np.random.default_rng(views).permutation(len(every))
        table[views] = every[np.resize(order, most)]
    return table
