"""Points in space from their pixels in calibrated cameras, and the covariance of each.

The linear solution (DLT) is refined to the least squares of reprojection errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sonjit.errors import InputError
from sonjit.multiview.triangulation.observations import camera_arrays, consensus, linear_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.cameras.rig import CameraRig
    from sonjit.multiview.triangulation.observations import CameraArrays

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

    points_m: NDArray[np.float64]
    covariance_m2: NDArray[np.float64]
    residual_px: NDArray[np.float64]
    inlier: NDArray[np.bool_]
    ok: NDArray[np.bool_]


def triangulate(
    rig: CameraRig,
    points_px: NDArray[np.floating],
    valid: NDArray[np.bool_] | None = None,
    confidence: NDArray[np.floating] | None = None,
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
    result = Triangulation(
        np.empty((count, 3)),
        np.empty((count, 3, 3)),
        np.empty((len(rig), count)),
        np.empty((len(rig), count), np.bool_),
        np.empty(count, np.bool_),
    )
    size = max(_CHUNK // len(rig), 64)
    for start in range(0, count, size):
        part = slice(start, start + size)
        _triangulate_part(rig, views, flat[:, part], weights[:, part], method, refine, threshold_px, result, part)
    return Triangulation(
        result.points_m.reshape(*shape, 3),
        result.covariance_m2.reshape(*shape, 3, 3),
        result.residual_px.reshape(len(rig), *shape),
        result.inlier.reshape(len(rig), *shape),
        result.ok.reshape(shape),
    )


def _triangulate_part(
    rig: CameraRig,
    views: CameraArrays,
    pixels: NDArray[np.float64],
    weights: NDArray[np.float64],
    method: TriangulationMethod,
    refine: bool,
    threshold_px: float,
    result: Triangulation,
    part: slice,
) -> None:
    """Fill a part of the result from pixels (C, N, 2) and weights (C, N)."""
    rays = np.stack([camera.camera.undistorted_rays(seen) for camera, seen in zip(rig, pixels, strict=True)])
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
    result.points_m[part] = np.where(ok[:, None], points, np.nan)
    result.covariance_m2[part] = np.where(ok[:, None, None], spread, np.nan)
    result.residual_px[:, part] = np.where(ok & (weights > 0), gap, np.nan)
    result.inlier[:, part] = inlier & ok
    result.ok[part] = ok


def _checked(
    rig: CameraRig,
    pixels: NDArray[np.float64],
    valid: NDArray[np.bool_] | None,
    confidence: NDArray[np.floating] | None,
    threshold_px: float,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """(C, ...) what is known, and its weights, 0 where not.

    Raises:
        InputError: as `triangulate` says.
    """
    if pixels.ndim < 2 or pixels.shape[-1] != 2 or len(pixels) != len(rig):
        raise InputError(
            f"points_px has the shape {pixels.shape}: a rig of {len(rig)} cameras needs ({len(rig)}, ..., 2)"
        )
    known: NDArray[np.bool_] = np.isfinite(pixels[..., 0]) & np.isfinite(pixels[..., 1])
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
_SINGULAR = 1e-11


def refine_points(
    views: CameraArrays, points_m: NDArray[np.float64], points_px: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
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
    views: CameraArrays, points_m: NDArray[np.float64], points_px: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) cost, infinite where a view that counts cannot see the point, and (N, 3) the step down from it."""
    there, slope = views.project_and_slope(points_m)
    counts = weights > 0
    gap = np.where(counts[..., None], points_px - there, 0)  # (C, N, 2)
    cost = np.nan_to_num((weights * (gap**2).sum(-1)).sum(0), nan=np.inf)
    weighted = np.where(counts[..., None, None], slope, 0) * weights[..., None, None]
    downhill = (weighted * gap[..., None]).sum((0, 2))  # (N, 3)
    normal = _normal(weighted, slope)
    finite = np.isfinite(cost) & _is_sound(normal)
    normal[~finite], downhill[~finite] = np.eye(3), 0
    return cost, np.linalg.solve(normal, downhill[..., None])[..., 0]


def covariances(
    views: CameraArrays,
    points_m: NDArray[np.float64],
    residual_px: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
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
    _, slope = views.project_and_slope(points_m)
    counts = weights > 0
    normal = _normal(np.where(counts[..., None, None], slope, 0) * weights[..., None, None], slope)
    sound = _is_sound(normal)
    normal[~sound] = np.eye(3)
    freedom = np.maximum(2 * counts.sum(0) - 3, 1)
    shown = np.where(counts, weights * residual_px**2, 0).sum(0) / freedom
    mean = np.where(counts, weights, 0).sum(0) / np.maximum(counts.sum(0), 1)
    spread = np.linalg.inv(normal) * np.maximum(shown, mean)[:, None, None]
    return np.where(sound[:, None, None], spread, np.nan)


def _normal(weighted: NDArray[np.float64], slope: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3, 3) the sum over views of JT W J, of slopes (C, N, 2, 3); views of weight 0 may hold NaN."""
    cameras, count = slope.shape[:2]
    first = weighted.transpose(1, 3, 0, 2).reshape(count, 3, 2 * cameras)
    second = np.where(first != 0, slope.transpose(1, 3, 0, 2).reshape(count, 3, 2 * cameras), 0)
    return first @ second.transpose(0, 2, 1)


def _is_sound(normal: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) whether matrices (N, 3, 3) are finite and can be inverted."""
    finite = np.isfinite(normal.sum((1, 2)))
    values: NDArray[np.float64] = np.linalg.eigvalsh(np.where(finite[:, None, None], normal, np.eye(3)))
    return finite & (values[:, 0] > _SINGULAR * values[:, 2])
