"""Points in space from their pixels in calibrated cameras, and the covariance of each.

The linear solution (DLT) of all views, or of those that agree, is refined to the least squares of reprojection errors.
Consensus is deterministic: the pairs of views are drawn with a fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import BoolArray, FloatArray, IndexArray, RealArray
from sonjit.errors import InputError
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.triangulation.camera_arrays import CameraArrays, camera_arrays

_DLT_UNIT_M = 1e-3
"""The unit in which the linear solution's homogeneous vector has length 1: millimetres, as the field computes it."""


def linear_points(views: CameraArrays, rays: FloatArray, weights: FloatArray) -> FloatArray:
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
    p0, p1, p2 = rows.transpose(1, 0, 2)
    terms = (
        (weights * (fx2 * x * x + fy2 * y * y), _outer(p2, p2)),
        (-weights * fx2 * x, _outer(p2, p0)),
        (-weights * fy2 * y, _outer(p2, p1)),
        (weights * fx2, _outer(p0, p0)),
        (weights * fy2, _outer(p1, p1)),
    )
    normal = np.asarray(sum(np.einsum("cn,cij->nij", *term, optimize=True) for term in terms))  # (N, 4, 4)
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


def _outer(a: FloatArray, b: FloatArray) -> FloatArray:
    """(C, 4, 4) a bT + b aT, or a aT."""
    square = a[:, :, None] * b[:, None, :]
    return square if a is b else square + square.transpose(0, 2, 1)


_FEW = 15  # all pairs of 6 views
_MANY = 190  # all pairs of 20 views
_AGREED = 0.65
"""The share of views beyond which no further pairs are tried: 15 random pairs then miss with less than 1 in 5,000."""

_ROUNDS = 4


def consensus(
    views: CameraArrays, points_px: FloatArray, rays: FloatArray, weights: FloatArray, threshold_px: float
) -> tuple[FloatArray, BoolArray]:
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
    views: CameraArrays, points_m: FloatArray, points_px: FloatArray, weights: FloatArray, threshold_px: float
) -> BoolArray:
    """(C, N) the views whose pixel is within the threshold of the point's projection."""
    gap = views.project(points_m) - points_px
    return (weights > 0) & (gap[..., 0] ** 2 + gap[..., 1] ** 2 <= threshold_px**2)


def _best_of_pairs(
    views: CameraArrays, rays: FloatArray, weights: FloatArray, threshold_px: float, which: slice
) -> tuple[FloatArray, FloatArray]:
    """(N, 3) the proposed points of least capped cost, and (N,) that cost; scored on undistorted rays for speed."""
    cameras, count = weights.shape
    known = weights > 0
    order = np.argsort(~known, axis=0, kind="stable")  # (C, N) each point's views first
    pairs = _pairs(cameras, which.stop)[known.sum(0), which]  # (N, H, 2) ranks
    first, second = np.moveaxis(
        np.take_along_axis(order.T[..., None], pairs.reshape(count, -1, 1), 1).reshape(pairs.shape), -1, 0
    )
    proposed = _midpoints(views, rays, first, second)  # (N, H, 3)
    flat = proposed.reshape(-1, 3)
    cost = np.zeros(len(flat))
    rows = (
        np.concatenate([views.R, views.t[..., None]], 2)
        * np.append(views.focal_px, np.ones((cameras, 1)), 1)[..., None]
    )
    for own, pixels, weight in zip(rows, rays * views.focal_px[:, None], weights, strict=True):  # fits the cache
        x, y, z = own[:, :3] @ flat.T + own[:, 3:]
        z[z <= 0] = np.nan
        x = (x / z).reshape(count, -1) - pixels[:, :1]
        y = (y / z).reshape(count, -1) - pixels[:, 1:]
        square = np.fmin(x * x + y * y, threshold_px**2) * weight[:, None]  # fmin: a NaN counts as far off
        cost += square.reshape(-1)
    cost = np.where(np.isfinite(proposed[..., 0]), cost.reshape(count, -1), np.inf)  # (N, H)
    best = cost.argmin(1)
    row = np.arange(count)
    return proposed[row, best], cost[row, best]


def _midpoints(views: CameraArrays, rays: FloatArray, first: IndexArray, second: IndexArray) -> FloatArray:
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
def _pairs(cameras: int, most: int) -> IndexArray:
    """(cameras + 1, most, 2) for each number of views the pairs to try: all, repeated, or drawn from them."""
    table = np.zeros((cameras + 1, most, 2), np.intp)
    for views in range(2, cameras + 1):
        every = np.array(list(combinations(range(views), 2)))
        order = np.random.default_rng(views).permutation(len(every))
        table[views] = every[np.resize(order, most)]
    return table


TriangulationMethod = Literal["dlt", "ransac"]

_CHUNK = 40_000
"""Observations, views times points, in work at once: memory does not grow with the length of a recording."""


@dataclass(frozen=True, eq=False)
class Triangulation:
    """Points in space and their uncertainty.

    Attributes:
        points_m: (..., 3) metres in the world; NaN where not ok.
        covariance_m2: (..., 3, 3) of the points, for 1 px of noise or the residuals' own, whichever is more; NaN.
        residual_px: (C, ...) distance of each view's pixel from the point's projection, outliers too; NaN without.
        inlier: (C, ...) the views that the point was made from.
        ok: (...) at least two views that agree see it.
    """

    points_m: FloatArray
    covariance_m2: FloatArray
    residual_px: FloatArray
    inlier: BoolArray
    ok: BoolArray


def triangulate(
    rig: CameraRig,
    points_px: RealArray,
    valid: BoolArray | None = None,
    confidence: RealArray | None = None,
    *,
    method: TriangulationMethod = "dlt",
    refine: bool = True,
    threshold_px: float = 10.0,
) -> Triangulation:
    """Points in space from pixels of a rig's cameras.

    Args:
        rig: C cameras.
        points_px: (C, ..., 2) where each camera sees each point, as its lens shows it.
        valid: (C, ...) which of them are known; by default those that are finite.
        confidence: (C, ...) weight of each, above 0; equal by default.
        method: all views, or only those that agree within the threshold.
        refine: the linear solution to the least squares of pixels.
        threshold_px: reprojection error of an inlier, at most, for `ransac`.

    Raises:
        InputError: the arrays do not fit the rig or each other, or the threshold is not above 0.
    """
    pixels = np.asarray(points_px, np.float64)
    known, weights = _checked(rig, pixels, valid, confidence, threshold_px)
    shape, count = pixels.shape[1:-1], known[0].size
    flat, weights = pixels.reshape(len(rig), count, 2), weights.reshape(len(rig), count)
    views = camera_arrays(rig)
    points, spread, ok = np.empty((count, 3)), np.empty((count, 3, 3)), np.empty(count, np.bool_)
    residual, inlier = np.empty((len(rig), count)), np.empty((len(rig), count), np.bool_)
    size = max(_CHUNK // len(rig), 64)
    for start in range(0, count, size):
        part = slice(start, start + size)
        points[part], spread[part], residual[:, part], inlier[:, part], ok[part] = _triangulate_part(
            views, flat[:, part], weights[:, part], method, refine, threshold_px
        )
    of_views = (len(rig), *shape)
    return Triangulation(
        points.reshape(*shape, 3), spread.reshape(*shape, 3, 3), residual.reshape(of_views),
        inlier.reshape(of_views), ok.reshape(shape),
    )  # fmt: skip


def _triangulate_part(
    views: CameraArrays,
    pixels: FloatArray,
    weights: FloatArray,
    method: TriangulationMethod,
    refine: bool,
    threshold_px: float,
) -> tuple[NDArray[Any], ...]:
    """The fields of `Triangulation` for pixels (C, N, 2) and weights (C, N)."""
    rays = views.undistorted_rays(pixels)
    weights = np.where(np.isfinite(rays).all(-1), weights, 0)  # a pixel that the lens cannot show has no ray
    if method == "ransac":
        points, inlier = consensus(views, pixels, rays, weights, threshold_px)
    else:
        inlier = weights > 0
        points = linear_points(views, rays, weights)
    used = np.where(inlier, weights, 0)
    if refine:
        points = refine_points(views, points, pixels, used)
    gap = np.linalg.norm(views.project(points) - pixels, axis=-1)
    if method == "ransac":
        inlier = (weights > 0) & (gap <= threshold_px)
        used = np.where(inlier, weights, 0)
    spread = covariances(views, points, gap, used)
    seen = np.isfinite(np.where(inlier, gap, 0)).all(0)  # by every view that it was made from
    ok = (inlier.sum(0) >= 2) & seen & np.isfinite(points).all(1) & np.isfinite(spread).all((1, 2))
    points, spread = np.where(ok[:, None], points, np.nan), np.where(ok[:, None, None], spread, np.nan)
    return points, spread, np.where(ok & (weights > 0), gap, np.nan), inlier & ok, ok


def _checked(
    rig: CameraRig, pixels: FloatArray, valid: BoolArray | None, confidence: RealArray | None, threshold_px: float
) -> tuple[BoolArray, FloatArray]:
    """(C, ...) what is known, and its weights, 0 where not.

    Raises:
        InputError: as `triangulate` says.
    """
    if pixels.ndim < 2 or pixels.shape[-1] != 2 or len(pixels) != len(rig):
        raise InputError(
            f"points_px has the shape {pixels.shape}: a rig of {len(rig)} cameras needs ({len(rig)}, ..., 2)"
        )
    known: BoolArray = np.isfinite(pixels[..., 0]) & np.isfinite(pixels[..., 1])
    weights = np.ones(known.shape)
    for name, array in (("valid", valid), ("confidence", confidence)):
        if array is not None and np.shape(array) != known.shape:
            raise InputError(f"{name} has the shape {np.shape(array)}: points_px needs {known.shape}")
    if valid is not None:
        known &= np.asarray(valid, np.bool_)
    if confidence is not None:
        weights = np.asarray(confidence, np.float64)
        if (weights[known] < 0).any():
            raise InputError(f"confidence {weights[known].min():g}: give weights of 0 or more")
        known &= np.isfinite(weights)
    if not threshold_px > 0:
        raise InputError(f"threshold_px {threshold_px}: give pixels above 0")
    return known, np.where(known, weights, 0)


_STEPS = 12
_STILL_M = 1e-9


def refine_points(views: CameraArrays, points_m: FloatArray, points_px: FloatArray, weights: FloatArray) -> FloatArray:
    """Gauss-Newton steps of each point for the least weighted sum of squared pixels; none that makes it worse.

    Args:
        views: C cameras.
        points_m: (N, 3) to start from.
        points_px: (C, N, 2) as the lenses show them; anything where the weight is 0.
        weights: (C, N).

    Returns:
        (N, 3) metres; a NaN stays one.
    """
    points = points_m.copy()
    moving = np.flatnonzero(np.isfinite(points).all(1))
    trial, best = points.copy(), np.full(len(points), np.inf)
    for _ in range(_STEPS):
        if not len(moving):
            break
        cost, step = _steps(views, trial[moving], points_px[:, moving], weights[:, moving])
        better = cost < best[moving]
        points[moving[better]], best[moving[better]] = trial[moving[better]], cost[better]
        goes_on = better & (np.abs(step).max(1) > _STILL_M)
        moving = moving[goes_on]
        trial[moving] = points[moving] + step[goes_on]
    return points


def _steps(
    views: CameraArrays, points_m: FloatArray, points_px: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(N,) cost, infinite where a view that counts cannot see the point, and (N, 3) the step down from it."""
    downhill, normal, cost, sound = views.normal_equations(points_m, weights, points_px)
    finite = np.isfinite(cost) & sound
    normal[~finite], downhill[~finite] = np.eye(3), 0
    return cost, np.linalg.solve(normal, downhill[..., None])[..., 0].astype(np.float64)


def covariances(views: CameraArrays, points_m: FloatArray, residual_px: FloatArray, weights: FloatArray) -> FloatArray:
    """(N, 3, 3) square metres: what noise in the pixels does to the points, to first order.

    The noise is 1 px along each axis, or what the residuals show where that is more.

    Args:
        views: C cameras.
        points_m: (N, 3).
        residual_px: (C, N) distances, NaN where a view has none.
        weights: (C, N) 0 for views that do not count.

    Returns:
        NaN where the views do not fix the point.
    """
    counts = weights > 0
    _, normal, cost, sound = views.normal_equations(points_m, weights)
    sound &= np.isfinite(cost)
    normal[~sound] = np.eye(3)
    freedom = np.maximum(2 * counts.sum(0) - 3, 1)
    shown = np.where(counts, weights * residual_px**2, 0).sum(0) / freedom
    mean = np.where(counts, weights, 0).sum(0) / np.maximum(counts.sum(0), 1)
    spread = np.linalg.inv(normal) * np.maximum(shown, mean)[:, None, None]
    return np.where(sound[:, None, None], spread, np.nan)
