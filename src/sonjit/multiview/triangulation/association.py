"""Association over views and time: which of the things that cameras show are one and the same in space.

Every pair of two views proposes points; the proposal that most other views support wins, and what is left proposes the
next one. From one frame set to the next, things are who is nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, IndexArray
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.triangulation.camera_arrays import CameraArrays, camera_arrays
from sonjit.multiview.triangulation.triangulation import triangulate

_NEAR: Final = 0.12  # of the longer side of its box, on average over its keypoints
_FEWEST_PX: Final = 6.0
_MOST_PAIRS: Final = 400
_ROUNDS: Final = 3
_FEWEST_SHARED: Final = 4  # keypoints that two views must know to be compared


class Group(NamedTuple):
    """Instances of M views that are one thing in space.

    Attributes:
        rows: (M,) which instances, at most one of a view.
        points_m: (K, 3) where it is; NaN where unknown.
        support: how well its views see it, 0 (barely) to 1 (exactly): mean over them, weighted by score.
    """

    rows: IndexArray
    points_m: FloatArray
    support: float


def near_px(points_px: FloatArray) -> FloatArray:
    """(...) how far instances (..., K, 2) may lie from where they should on average, pixels; NaN without keypoints."""
    sides = np.fmax.reduce(points_px, -2) - np.fmin.reduce(points_px, -2)
    return np.maximum(_FEWEST_PX, _NEAR * sides.max(-1))


def group_views(
    rig: CameraRig, view: IndexArray, points_px: FloatArray, score: FloatArray, most: int | None = None
) -> list[Group]:
    """Group instances of several views into things in space, those of most views first.

    Args:
        rig: C cameras.
        view: (N,) of each instance.
        points_px: (N, K, 2) NaN where unknown.
        score: (N,) above 0.
        most: groups, at most; by default as many as there are.
    """
    views = camera_arrays(rig)
    rays = [rig.cameras[v].directions(one) for v, one in zip(view, points_px, strict=True)]
    left = np.ones(len(view), np.bool_)
    groups: list[Group] = []
    while most is None or len(groups) < most:
        group = _largest(rig, views, view, points_px, rays, score, left)
        if group is None:
            break
        left[group.rows] = False
        groups.append(group)
    return groups


def _largest(
    rig: CameraRig,
    views: CameraArrays,
    view: IndexArray,
    points: FloatArray,
    rays: list[FloatArray],
    score: FloatArray,
    left: BoolArray,
) -> Group | None:
    """The group of most views among those left."""
    rest = np.flatnonzero(left)
    pairs = [(a, b) for a, b in combinations(rest.tolist(), 2) if view[a] != view[b]]
    if not pairs:
        return None
    pairs.sort(key=lambda pair: -score[pair[0]] * score[pair[1]])
    if len(pairs) > _MOST_PAIRS:
        drawn = np.random.default_rng(0).choice(len(pairs), _MOST_PAIRS, replace=False)
        pairs = [pairs[k] for k in sorted(drawn.tolist())]
    proposed = np.stack([_midpoints(rig, view[a], rays[a], view[b], rays[b]) for a, b in pairs])  # (P, K, 3)
    support, _ = _support(views, proposed, view[rest], points[rest], score[rest])
    there, group, best = proposed[int(support.argmax())], np.zeros(0, np.intp), 0.0
    for _ in range(_ROUNDS):
        total, member = _support(views, there[None], view[rest], points[rest], score[rest])
        now = rest[member[0]]
        if len(now) < 2 or float(total[0]) <= best:
            break
        group, best = now, float(total[0])
        seen = np.full((len(rig), *points.shape[1:]), np.nan)
        seen[view[group]] = points[group]
        found = triangulate(rig, seen, refine=False)
        if found.ok.sum() < _FEWEST_SHARED:
            break
        there = found.points_m
    return Group(group, there, best / float(score[group].sum())) if len(group) else None


def _midpoints(rig: CameraRig, a: np.intp, rays_a: FloatArray, b: np.intp, rays_b: FloatArray) -> FloatArray:
    """(K, 3) half way between the rays (K, 3) of two views, where they come closest."""
    start, end = rig.cameras[a].centre_m, rig.cameras[b].centre_m
    dot = (rays_a * rays_b).sum(1)
    to_a, to_b = rays_a @ (end - start), rays_b @ (end - start)
    across = np.maximum(1 - dot**2, 1e-9)
    along_a, along_b = (to_a - dot * to_b) / across, (dot * to_a - to_b) / across
    return (start + along_a[:, None] * rays_a + end + along_b[:, None] * rays_b) / 2


def _support(
    views: CameraArrays, proposed: FloatArray, view: IndexArray, points: FloatArray, score: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """(P,) how well views see proposed points (P, K, 3); (P, N) the instances that are theirs, at most one a view."""
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = views.project(proposed.reshape(-1, 3)).reshape(len(views.K), *proposed.shape[:2], 2)[view]
    near = np.nan_to_num(near_px(points), nan=_FEWEST_PX)  # of what has no keypoint, which then shares none
    shared = np.isfinite(points.sum(-1))[:, None] & np.isfinite(proposed.sum(-1))  # (N, P, K)
    gap = np.linalg.norm(seen - points[:, None], axis=-1)
    gap = np.where(shared, np.fmin(gap, 3 * near[:, None, None]), 0)  # one wrong joint does not make it another thing
    count = shared.sum(-1)
    gap = np.where(count >= _FEWEST_SHARED, gap.sum(-1) / np.maximum(count, 1), np.inf)
    fit = (score[:, None] * np.clip(1 - gap / near[:, None], 0, None)).T  # (P, N)
    best = np.zeros((len(fit), len(views.K)))
    np.maximum.at(best.T, view, fit.T)
    member = (fit > 0) & (fit >= best[:, view])
    return best.sum(1), member


_NEAR_M: Final = 0.3
_FASTEST: Final = 3.0  # m/s at which the middle of a person walks or runs through a studio
_REMEMBERED_S: Final = 1.0


@dataclass
class _Track:
    number: int
    time_s: float
    points_m: FloatArray


class Tracker:
    """Keeps who is who from one frame set to the next, by where they are."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._count = 0

    def assign(self, time_s: float, found_m: Sequence[FloatArray]) -> list[int]:
        """A number, from 0, for each thing (K, 3) of one frame set; a new one for who was not near within a second.

        Args:
            time_s: later than at the call before.
            found_m: what is there.
        """
        from scipy.optimize import linear_sum_assignment

        self._tracks = [one for one in self._tracks if time_s - one.time_s <= _REMEMBERED_S]
        cost = np.full((len(found_m), len(self._tracks)), np.inf)
        for row, points in enumerate(found_m):
            for column, track in enumerate(self._tracks):
                apart = np.linalg.norm(points - track.points_m, axis=-1)
                apart = apart[np.isfinite(apart)]
                reach = _NEAR_M + _FASTEST * (time_s - track.time_s)
                if len(apart) and (middle := float(np.median(apart))) < reach:
                    cost[row, column] = middle
        numbers = [-1] * len(found_m)
        pairs = linear_sum_assignment(np.where(np.isfinite(cost), cost, 1e6))
        for row, column in zip(*(one.tolist() for one in pairs), strict=True):
            if np.isfinite(cost[row, column]):
                track = self._tracks[column]
                track.time_s, track.points_m, numbers[row] = time_s, found_m[row], track.number
        for row, points in enumerate(found_m):
            if numbers[row] < 0:
                numbers[row] = self._count
                self._count += 1
                self._tracks.append(_Track(numbers[row], time_s, points))
        return numbers
