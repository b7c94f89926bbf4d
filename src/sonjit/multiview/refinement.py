"""From the linear solution to the least squares of pixels, and how well each point is known by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.observations import Views

_STEPS = 12
_STILL_M = 1e-9
_SINGULAR = 1e-11


def refine_points(
    views: Views, points_m: NDArray[np.float64], points_px: NDArray[np.float64], weights: NDArray[np.float64]
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
    views: Views, points_m: NDArray[np.float64], points_px: NDArray[np.float64], weights: NDArray[np.float64]
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
    views: Views,
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
