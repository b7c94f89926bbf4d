"""Associate instances over views and time: find the instances that are one thing in space.

Every pair of two views proposes points. The proposal that most other views support wins, and the rest proposes the
next. From one frame set to the next, things are matched by distance. Hands are grouped by geometry only. After that,
the predicted handedness and the hand's shape in space vote on the side of each hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import BoolArray, FloatArray, IndexArray
from sonjit_studio.rig import CameraRig
from sonjit_studio.triangulation import CameraArrays, camera_arrays, triangulate

_TOLERANCE_RATIO: Final = 0.12  # of the longer side of an instance's box, mean over its keypoints
_MIN_TOLERANCE_PX: Final = 6.0  # least tolerance, for small boxes
_MAX_PAIRS: Final = 400  # pairs of detections that propose a group, to bound the time
_MAX_ROUNDS: Final = 3  # rounds of triangulation and assignment
_MIN_SHARED: Final = 4  # keypoints that two views must share to be compared
_MAX_STEP_M: Final = 0.3  # distance that a track may always move, because its centre depends on the seen keypoints
_MAX_SPEED: Final = 3.0  # m/s of the centre of a person who walks or runs through a studio
_MEMORY_S: Final = 1.0  # time after which a lost track ends
_MIN_CHIRALITY = 0.05  # least chirality of a hand that counts as left or right
_DECISIVE_CHIRALITY: Final = 0.1  # chirality from which a hand's shape decides its side
_SHAPE_WEIGHT, _MEMORY_WEIGHT = 0.25, 0.5  # relative to the votes of all views; a pressed palm bends fingers back
_DECISIVE_DISTANCE_M: Final = 0.05  # difference of the distances to the previous hands that counts as a full vote
_UNSEEN_DISTANCE_M: Final = 0.2  # assumed distance of a hand that was not seen yet


class Group(NamedTuple):
    """Instances of M views that are one thing in space."""

    rows: IndexArray  # (M,) indices of the instances, at most one per view
    points_m: FloatArray  # (K, 3) position, NaN where unknown
    support: float  # agreement of its views from 0 (barely) to 1 (exactly), averaged with their scores as weights


def tolerance_px(points_px: FloatArray) -> FloatArray:
    """Return the accepted mean distance (...) of instances (..., K, 2) in pixels, NaN without keypoints."""
    sides = np.fmax.reduce(points_px, -2) - np.fmin.reduce(points_px, -2)
    return np.maximum(_MIN_TOLERANCE_PX, _TOLERANCE_RATIO * sides.max(-1))


def group_views(
    rig: CameraRig, view: IndexArray, points_px: FloatArray, score: FloatArray, max_groups: int | None = None
) -> list[Group]:
    """Group instances of several views into things in space, those of most views first.

    Of N instances, `view` is the index of the camera, `points_px` (N, K, 2) may be NaN, and `score` is above 0.
    """
    views = camera_arrays(rig)
    rays = [rig.cameras[v].directions(points) for v, points in zip(view, points_px, strict=True)]
    left = np.arange(len(view))
    groups: list[Group] = []
    while max_groups is None or len(groups) < max_groups:
        own_rays = [rays[row] for row in left]
        group = _largest_group(rig, views, view[left], points_px[left], own_rays, score[left])
        if group is None:
            break
        groups.append(group._replace(rows=left[group.rows]))
        left = np.delete(left, group.rows)
    return groups


def _largest_group(
    rig: CameraRig, views: CameraArrays, view: IndexArray, points: FloatArray, rays: list[FloatArray], score: FloatArray
) -> Group | None:
    pairs = [(a, b) for a, b in combinations(range(len(view)), 2) if view[a] != view[b]]
    if not pairs:
        return None
    pairs.sort(key=lambda pair: -score[pair[0]] * score[pair[1]])
    if len(pairs) > _MAX_PAIRS:
        sample = np.random.default_rng(0).choice(len(pairs), _MAX_PAIRS, replace=False)
        pairs = [pairs[k] for k in sorted(sample.tolist())]
    proposed = np.stack([_pair_midpoints(rig, view[a], rays[a], view[b], rays[b]) for a, b in pairs])  # (P, K, 3)
    support, _ = _support(views, proposed, view, points, score)
    points_m = proposed[int(support.argmax())]
    group = np.zeros(0, np.intp)
    best = 0.0
    for _ in range(_MAX_ROUNDS):
        total, member = _support(views, points_m[None], view, points, score)
        members = np.flatnonzero(member[0])
        if len(members) < 2 or float(total[0]) <= best:
            break
        group, best = members, float(total[0])
        pixels = np.full((len(rig), *points.shape[1:]), np.nan)
        pixels[view[group]] = points[group]
        triangulated = triangulate(rig, pixels, refine=False)
        if triangulated.ok.sum() < _MIN_SHARED:
            break
        points_m = triangulated.points_m
    return Group(group, points_m, best / float(score[group].sum())) if len(group) else None


def _pair_midpoints(rig: CameraRig, a: np.intp, rays_a: FloatArray, b: np.intp, rays_b: FloatArray) -> FloatArray:
    """Return the points (K, 3) halfway between the rays (K, 3) of two views, where they are closest."""
    start, end = rig.cameras[a].centre_m, rig.cameras[b].centre_m
    dot = (rays_a * rays_b).sum(1)
    to_a, to_b = rays_a @ (end - start), rays_b @ (end - start)
    across = np.maximum(1 - dot**2, 1e-9)
    along_a, along_b = (to_a - dot * to_b) / across, (dot * to_a - to_b) / across
    return (start + along_a[:, None] * rays_a + end + along_b[:, None] * rays_b) / 2


def _support(
    views: CameraArrays, proposed: FloatArray, view: IndexArray, points: FloatArray, score: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Return the support (P,) of proposed points (P, K, 3), and their instances (P, N), at most one per view."""
    with np.errstate(invalid="ignore", divide="ignore"):
        projected = views.project(proposed.reshape(-1, 3)).reshape(len(views.K), *proposed.shape[:2], 2)[view]
    tolerance = np.nan_to_num(tolerance_px(points), nan=_MIN_TOLERANCE_PX)  # an instance without keypoints shares none
    shared = np.isfinite(points.sum(-1))[:, None] & np.isfinite(proposed.sum(-1))  # (N, P, K)
    errors = np.linalg.norm(projected - points[:, None], axis=-1)
    errors = np.fmin(errors, 3 * tolerance[:, None, None])  # capped: one wrong joint does not separate a thing
    errors = np.where(shared, errors, 0)
    count = shared.sum(-1)
    errors = np.where(count >= _MIN_SHARED, errors.sum(-1) / np.maximum(count, 1), np.inf)
    fit = (score[:, None] * np.clip(1 - errors / tolerance[:, None], 0, None)).T  # (P, N)
    best = np.zeros((len(fit), len(views.K)))
    np.maximum.at(best.T, view, fit.T)
    member = (fit > 0) & (fit >= best[:, view])
    return best.sum(1), member


@dataclass
class _Track:
    """The last known position of a thing."""

    number: int
    time_s: float
    points_m: FloatArray


class Tracker:
    """Track things from one frame set to the next by distance."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._count = 0

    def assign(self, time_s: float, found_m: Sequence[FloatArray]) -> list[int]:
        """Return the track, from 0, of each thing (K, 3) at a later time, a new one if none was near for a second."""
        from scipy.optimize import linear_sum_assignment

        self._tracks = [track for track in self._tracks if time_s - track.time_s <= _MEMORY_S]
        cost = np.full((len(found_m), len(self._tracks)), 1e6)
        for (row, column), _ in np.ndenumerate(cost):
            track = self._tracks[column]
            distances = np.linalg.norm(found_m[row] - track.points_m, axis=-1)
            distances = distances[np.isfinite(distances)]
            limit = _MAX_STEP_M + _MAX_SPEED * (time_s - track.time_s)
            if len(distances) and (distance := float(np.median(distances))) < limit:
                cost[row, column] = distance
        rows, columns = linear_sum_assignment(cost)
        matches = zip(rows.tolist(), columns.tolist(), strict=True)
        tracks = {row: self._tracks[column] for row, column in matches if cost[row, column] < 1e6}
        for row, points in enumerate(found_m):
            if row not in tracks:
                tracks[row] = _Track(self._count, time_s, points)
                self._count += 1
                self._tracks.append(tracks[row])
            tracks[row].time_s, tracks[row].points_m = time_s, points
        return [tracks[row].number for row in range(len(found_m))]


def hand_chirality(points_m: FloatArray) -> FloatArray:
    """Return a value above 0 for right hands (..., 21, 3) and below 0 for left ones, NaN if a keypoint is unknown.

    Fingers bend only towards the palm, so wrist, knuckles and bent fingers span a body that differs from its mirror
    image. The value is relative to the cubed size, and near 0 for a flat hand, which decides nothing.
    """
    wrist, index, little = points_m[..., 0, :], points_m[..., 5, :], points_m[..., 17, :]
    knuckles, tips = points_m[..., [5, 9, 13, 17], :], points_m[..., [8, 12, 16, 20], :]
    finger_direction = (tips - knuckles).mean(-2)
    palm_normal = np.cross(index - wrist, little - wrist)
    size = np.linalg.norm(index - wrist, axis=-1)
    return (palm_normal * finger_direction).sum(-1) / size**3


def count_mirrored_hands(hands: Sequence[tuple[str, FloatArray]]) -> tuple[int, int]:
    """Count hands with the shape of their side, and of the other side, but not flat ones.

    Each hand is a side and keypoints (21, 3) in metres.
    """
    right = np.array([1 if side == "Right" else -1 for side, _ in hands])
    chirality = np.array([float(hand_chirality(points)) for _, points in hands])
    is_decisive = np.abs(np.nan_to_num(chirality)) > _MIN_CHIRALITY
    return int((is_decisive & (chirality * right > 0)).sum()), int((is_decisive & (chirality * right < 0)).sum())


@dataclass(frozen=True, eq=False)
class ViewDetections:
    """The hands that C views show in one frame set, up to H in each."""

    points_px: FloatArray  # (C, H, 21, 2) keypoints, NaN for none
    score: FloatArray  # (C, H) presence, 0..1
    right: FloatArray  # (C, H) probability of a right hand


def associate_hands(rig: CameraRig, detections: ViewDetections, before_m: FloatArray | None = None) -> IndexArray:
    """Return the index (2, C) of the right and the left hand among the hands of each view, -1 for none.

    `before_m`: (2, 21, 3) last known right and left hand, NaN where unknown.
    """
    view, which = np.nonzero(np.isfinite(detections.points_px).all((2, 3)) & (detections.score > 0))
    right, score = detections.right[view, which], detections.score[view, which]
    groups = group_views(rig, view, detections.points_px[view, which], score, max_groups=2)
    votes = [_right_score(len(rig), right[rows], score[rows], hand, before_m) for rows, hand, _ in groups]
    result = np.full((2, len(rig)), -1, np.intp)
    if not groups:
        return result
    first_is_right = votes[0] >= (votes[1] if len(votes) > 1 else 0)
    for index, (rows, *_) in enumerate(groups):
        result[int(first_is_right) ^ (1 - index), view[rows]] = which[rows]
    return result


def _right_score(
    views: int, right: FloatArray, score: FloatArray, hand: FloatArray, before_m: FloatArray | None
) -> float:
    """Return a score above 0 for a right hand, from the votes of views, its shape, and the previous hands."""
    total = float(((2 * right - 1) * score).sum())
    total += _SHAPE_WEIGHT * views * float(np.clip(np.nan_to_num(hand_chirality(hand)) / _DECISIVE_CHIRALITY, -1, 1))
    if before_m is not None:
        joints = np.linalg.norm(before_m - hand, axis=-1)  # (2, 21) to the right and the left one
        finite = np.isfinite(joints)
        distances = np.where(finite, joints, 0).sum(-1) / np.maximum(finite.sum(-1), 1)
        distances = np.where(finite.any(-1), distances, _UNSEEN_DISTANCE_M)
        total += _MEMORY_WEIGHT * views * float(np.clip((distances[1] - distances[0]) / _DECISIVE_DISTANCE_M, -1, 1))
    return total
