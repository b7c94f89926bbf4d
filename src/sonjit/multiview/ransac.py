"""Which views agree on a point: consensus over pairs of views, the same at every run."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from sonjit.multiview.observations import linear_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.observations import Views

_FEW = 15  # all pairs of 6 views
_MANY = 190  # all pairs of 20 views
_AGREED = 0.65
"""The share of views beyond which further pairs are not asked: 15 random pairs then miss with less than 1 in 5,000."""
_ROUNDS = 4


def consensus(
    views: Views,
    points_px: NDArray[np.float64],
    rays: NDArray[np.float64],
    weights: NDArray[np.float64],
    threshold_px: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Points that most views agree on within a threshold.

    Each pair of views proposes a point; the one with the least sum of squared pixels, capped at the threshold, wins
    (MSAC) and is fitted again to all views that agree, until they stay the same. Up to 190 pairs are asked, drawn with
    a fixed seed where there are more.

    Args:
        views: C cameras.
        points_px: (C, N, 2) as the lenses show them.
        rays: (C, N, 2) the same, straightened.
        weights: (C, N) 0 where a view has none.
        threshold_px: how far a view may be off.

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
    views: Views,
    points_m: NDArray[np.float64],
    points_px: NDArray[np.float64],
    weights: NDArray[np.float64],
    threshold_px: float,
) -> NDArray[np.bool_]:
    """(C, N) the views whose pixel is within the threshold of the point's projection."""
    gap = views.project(points_m) - points_px
    return (weights > 0) & (gap[..., 0] ** 2 + gap[..., 1] ** 2 <= threshold_px**2)


def _best_of_pairs(
    views: Views,
    rays: NDArray[np.float64],
    weights: NDArray[np.float64],
    threshold_px: float,
    which: slice,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 3) the proposed points of least capped cost, and (N,) that cost; scored on straightened rays for speed."""
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
    views: Views, rays: NDArray[np.float64], first: NDArray[np.intp], second: NDArray[np.intp]
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
    """(cameras + 1, most, 2) for each number of views the pairs to ask: all, again and again, or drawn from them."""
    table = np.zeros((cameras + 1, most, 2), np.intp)
    for views in range(2, cameras + 1):
        every = np.array(list(combinations(range(views), 2)))
        order = np.random.default_rng(views).permutation(len(every))
        table[views] = every[np.resize(order, most)]
    return table
