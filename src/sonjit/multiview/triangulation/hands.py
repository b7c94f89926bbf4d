"""Association of the hands that views show: which of them are one hand in space, and whether it is right or left.

Every pair of hands in two views proposes 21 points; the proposal that most other views support wins, and the remaining
hands propose the second one. The handedness that networks predict is a vote at the end, beside the hand's shape in
space.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, IndexArray
from sonjit.errors import InputError
from sonjit.files import write_text
from sonjit.media import load_frames
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.triangulation.bones import SIDES, fit_skeletons, likely_lengths, medians, with_exact_lengths
from sonjit.multiview.triangulation.triangulation import (
    CameraArrays,
    Triangulation,
    camera_arrays,
    covariances,
    triangulate,
)

_TELLS = 0.05


def hand_turn(points_m: FloatArray) -> FloatArray:
    """Above 0 for right hands, below 0 for left ones, by their shape in space; NaN where a keypoint is unknown.

    Fingers bend towards the palm alone, so wrist, knuckles and bent fingers span a body that its mirror image is not.

    Args:
        points_m: (..., 21, 3) in MediaPipe's order, any unit.

    Returns:
        (...) in parts of the hand's size cubed; near 0 for a flat hand, which decides nothing.
    """
    wrist, index, little = points_m[..., 0, :], points_m[..., 5, :], points_m[..., 17, :]
    knuckles, tips = points_m[..., [5, 9, 13, 17], :], points_m[..., [8, 12, 16, 20], :]
    bent = (tips - knuckles).mean(-2)
    out = np.cross(index - wrist, little - wrist)
    size = np.linalg.norm(index - wrist, axis=-1)
    return (out * bent).sum(-1) / size**3


def mirrored_hands(hands: Sequence[tuple[str, FloatArray]]) -> tuple[int, int]:
    """How many hands have the shape of their own side, and how many of the other; flat ones count for neither.

    Args:
        hands: "Left" or "Right", and (21, 3) in space.
    """
    right = np.array([1 if side == "Right" else -1 for side, _ in hands])
    turn = np.array([float(hand_turn(points)) for _, points in hands])
    tells = np.abs(np.nan_to_num(turn)) > _TELLS
    return int((tells & (turn * right > 0)).sum()), int((tells & (turn * right < 0)).sum())


NEAR_OF_HAND: Final = 0.12
"""How far a hand may lie from where it should, on average over its keypoints, in longer sides of its box."""

_FEWEST_PX: Final = 6.0
_MOST_PAIRS: Final = 400
_ROUNDS: Final = 3
_BENT: Final = 0.1  # a turn from which a hand's shape decides its side
_SHAPE, _MEMORY = 0.5, 0.5  # what shape and the frame before count, in votes of all views
_MOVED_M: Final = 0.05
_QUICK: Final = 16.0  # m/s² of gestures in front of few cameras, where smoothness is all that tells depth from noise


@dataclass(frozen=True, eq=False)
class ViewDetections:
    """The hands that C views show in one frame set, up to H in each.

    Attributes:
        points_px: (C, H, 21, 2) MediaPipe's order; NaN without.
        score: (C, H) presence, 0..1.
        right: (C, H) probability that it is a right hand.
    """

    points_px: FloatArray
    score: FloatArray
    right: FloatArray


def hand_sizes(points_px: FloatArray) -> FloatArray:
    """(...) longer sides of the boxes around hands (..., 21, 2), pixels."""
    return (points_px.max(-2) - points_px.min(-2)).max(-1)


def near_px(points_px: FloatArray) -> FloatArray:
    """(...) how far hands (..., 21, 2) may lie from where they should, pixels."""
    return np.maximum(_FEWEST_PX, NEAR_OF_HAND * hand_sizes(points_px))


def associate(rig: CameraRig, seen: ViewDetections, before_m: FloatArray | None = None) -> IndexArray:
    """Associate the hands of all views.

    Args:
        rig: C cameras.
        seen: by them.
        before_m: (2, 21, 3) the right and the left hand in the frame set before; NaN where unknown.

    Returns:
        (2, C) for the right and the left hand, which of the hands in each view it is; -1 for none.
    """
    views = camera_arrays(rig)
    view, which = np.nonzero(np.isfinite(seen.points_px).all((2, 3)) & (seen.score > 0))
    points = seen.points_px[view, which]  # (N, 21, 2)
    rays = [rig.cameras[v].directions(one) for v, one in zip(view, points, strict=True)]
    left = np.ones(len(view), np.bool_)
    groups: list[tuple[IndexArray, FloatArray]] = []
    for _ in range(2):
        group = _largest(rig, views, view, points, rays, seen.score[view, which], left)
        if group is None:
            break
        left[group[0]] = False
        groups.append(group)
    votes = [
        _rightness(len(rig), seen.right[view[own], which[own]], seen.score[view[own], which[own]], hand, before_m)
        for own, hand in groups
    ]
    chosen = np.full((2, len(rig)), -1, np.intp)
    if not groups:
        return chosen
    first_is_right = votes[0] >= (votes[1] if len(votes) > 1 else 0)
    for number, (own, _) in enumerate(groups):
        chosen[int(first_is_right) ^ (1 - number), view[own]] = which[own]
    return chosen


def _largest(
    rig: CameraRig,
    views: CameraArrays,
    view: IndexArray,
    points: FloatArray,
    rays: list[FloatArray],
    score: FloatArray,
    left: BoolArray,
) -> tuple[IndexArray, FloatArray] | None:
    """The hands (M,) of most views that are one, at most one of a view, and their points (21, 3) in space."""
    rest = np.flatnonzero(left)
    pairs = [(a, b) for a, b in combinations(rest.tolist(), 2) if view[a] != view[b]]
    if not pairs:
        return None
    pairs.sort(key=lambda pair: -score[pair[0]] * score[pair[1]])
    if len(pairs) > _MOST_PAIRS:
        drawn = np.random.default_rng(0).choice(len(pairs), _MOST_PAIRS, replace=False)
        pairs = [pairs[k] for k in sorted(drawn.tolist())]
    proposed = np.stack([_midpoints(rig, view[a], rays[a], view[b], rays[b]) for a, b in pairs])  # (P, 21, 3)
    support, _ = _support(views, proposed, view[rest], points[rest], score[rest])
    hand, group, best = proposed[int(support.argmax())], np.zeros(0, np.intp), 0.0
    for _ in range(_ROUNDS):
        total, member = _support(views, hand[None], view[rest], points[rest], score[rest])
        now = rest[member[0]]
        if len(now) < 2 or float(total[0]) <= best:
            break
        group, best = now, float(total[0])
        seen = np.full((len(rig), 21, 2), np.nan)
        seen[view[group]] = points[group]
        found = triangulate(rig, seen, refine=False).points_m
        if not np.isfinite(found).all():
            break
        hand = found
    return (group, hand) if len(group) else None


def _midpoints(rig: CameraRig, a: np.intp, rays_a: FloatArray, b: np.intp, rays_b: FloatArray) -> FloatArray:
    """(21, 3) half way between the rays (21, 3) of two views, where they come closest."""
    start, end = rig.cameras[a].centre_m, rig.cameras[b].centre_m
    dot = (rays_a * rays_b).sum(1)
    to_a, to_b = rays_a @ (end - start), rays_b @ (end - start)
    across = np.maximum(1 - dot**2, 1e-9)
    along_a, along_b = (to_a - dot * to_b) / across, (dot * to_a - to_b) / across
    return (start + along_a[:, None] * rays_a + end + along_b[:, None] * rays_b) / 2


def _support(
    views: CameraArrays, proposed: FloatArray, view: IndexArray, points: FloatArray, score: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """(P,) how well views see proposed hands (P, 21, 3); (P, N) the hands that are theirs, one of a view at most."""
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = views.project(proposed.reshape(-1, 3)).reshape(len(views.K), -1, 21, 2)[view]  # (N, P, 21, 2)
    near = near_px(points)
    gap = np.linalg.norm(seen - points[:, None], axis=-1)
    gap = np.fmin(gap, 3 * near[:, None, None]).mean(-1)  # one wrong finger does not make it another hand
    fit = (score[:, None] * np.clip(1 - gap / near[:, None], 0, None)).T  # (P, N)
    best = np.zeros((len(fit), len(views.K)))
    np.maximum.at(best.T, view, fit.T)
    member = (fit > 0) & (fit >= best[:, view])
    return best.sum(1), member


def _rightness(
    views: int, right: FloatArray, score: FloatArray, hand: FloatArray, before_m: FloatArray | None
) -> float:
    """Above 0 for a right hand: votes of views, its shape in space, and which hand was there before."""
    total = float(((2 * right - 1) * score).sum())
    total += _SHAPE * views * float(np.clip(np.nan_to_num(hand_turn(hand)) / _BENT, -1, 1))
    if before_m is not None:
        apart = np.linalg.norm(before_m - hand, axis=-1).mean(-1)  # (2,) to the right and the left one
        apart = np.where(np.isfinite(apart), apart, 2 * _MOVED_M)
        total += _MEMORY * views * float(np.clip((apart[1] - apart[0]) / _MOVED_M, -1, 1))
    return total


@dataclass(frozen=True, eq=False)
class HandDetections:
    """The two hands that C cameras detected in F frame sets.

    Attributes:
        frames: (F,) numbers of the frame sets.
        times_s: (F,) when they were taken, medians over the cameras; NaN where no table says so.
        points_px: (C, F, 2, 21, 2) right hand, left hand; MediaPipe's order; NaN without.
        confidence: (C, F, 2, 21) each hand's score.
    """

    frames: tuple[int, ...]
    times_s: FloatArray
    points_px: FloatArray
    confidence: FloatArray


def load_hand_detections(rig: CameraRig, tables: Mapping[str, Path]) -> HandDetections:
    """Read a table of hands per camera; of several hands of one side in an image the one with the highest score counts.

    Args:
        rig: cameras; those without a table have no hands.
        tables: written by `sonjit hands --save`, by camera; a frame's index is the same frame set in all.

    Raises:
        InputError: a table cannot be read, or none holds a hand.
    """
    read = {name: load_frames(path)[1] for name, path in tables.items()}
    numbers = sorted({frame.index for frames in read.values() for frame in frames})
    rows = {number: row for row, number in enumerate(numbers)}
    points = np.full((len(rig), len(numbers), 2, 21, 2), np.nan)
    confidence = np.zeros(points.shape[:-1])
    times = np.full((len(rig), len(numbers)), np.nan)
    for name, frames in read.items():
        view = rig.index(name)
        for frame in frames:
            times[view, rows[frame.index]] = np.nan if frame.time is None else frame.time
            for hand in sorted(frame.hands, key=lambda hand: hand.score):
                at = view, rows[frame.index], SIDES.index(hand.handedness)
                points[at], confidence[at] = hand.keypoints[:, :2], hand.score
    if not np.isfinite(points).any():
        raise InputError(f"no hand in {', '.join(str(path) for path in tables.values())[:80]}: name tables of hands")
    return HandDetections(tuple(numbers), medians(times), points, confidence)


def with_constant_bones(rig: CameraRig, seen: HandDetections, found: Triangulation) -> Triangulation:
    """The same hands of one person with bones of one length throughout, moving as hands can.

    Joints that were lost for up to half a second are between those around; `inlier` stays what was triangulated.

    Args:
        rig: C cameras.
        seen: by them.
        found: of points (F, 2, 21) from them.

    Raises:
        InputError: it is not known when the frame sets were taken.
    """
    if not (np.diff(seen.times_s) > 0).all():
        raise InputError("constant bones need the times of frame sets, which these tables do not say: detect in videos")
    freedom = 2 * found.inlier.sum(0) - 3
    squares = np.where(found.inlier, found.residual_px**2, 0).sum(0)
    noise_px2 = max(
        1.0, float(squares[found.ok].sum() / freedom[found.ok].sum())
    )  # two views alone tell it of no point
    flat = found.points_m.reshape(-1, 3)
    weights = found.inlier.reshape(len(rig), -1).astype(np.float64)
    covariance = noise_px2 * covariances(camera_arrays(rig), flat, np.zeros_like(weights), weights)
    points, covariance = found.points_m.copy(), covariance.reshape(*found.points_m.shape, 3)
    for side in range(2):
        lengths_m = likely_lengths(points[:, side])
        fitted = fit_skeletons(
            points[:, side], covariance[:, side], lengths_m, seen.times_s, acceleration=_QUICK, gives_way=False
        )
        points[:, side], covariance[:, side] = with_exact_lengths(fitted.points_m, lengths_m), fitted.covariance_m2
    residual = np.linalg.norm(rig.project(points) - seen.points_px, axis=-1)
    return Triangulation(points, covariance, residual, found.inlier, np.asarray(np.isfinite(points).all(-1), np.bool_))


def save_hands(path: Path, rig: CameraRig, seen: HandDetections, found: Triangulation) -> None:
    """Write hands in space as JSON.

    `{"unit": "m", "cameras": [names], "frames": [{"index", "time" s, "hands": [{"handedness", "keypoints_m" 21 x 3,
    "spread_mm" 21, "residual_px" {camera: 21}, "views" 21}]}]}`; what is unknown is null. `spread_mm` is the root of
    the covariance's trace, `views` how many agree.

    Args:
        path: file to write.
        rig: cameras.
        seen: of F frame sets.
        found: of points (F, 2, 21).
    """
    spread = np.sqrt(np.trace(found.covariance_m2, axis1=-2, axis2=-1)) * 1000
    written: list[dict[str, object]] = []
    for row, number in enumerate(seen.frames):
        hands = [
            {
                "handedness": side,
                "keypoints_m": _plain(found.points_m[row, place], 6),
                "spread_mm": _plain(spread[row, place], 3),
                "residual_px": {
                    name: _plain(found.residual_px[view, row, place], 2) for view, name in enumerate(rig.names)
                },
                "views": found.inlier[:, row, place].sum(0).tolist(),
            }
            for place, side in enumerate(SIDES)
            if found.ok[row, place].any()
        ]
        written.append({"index": number, "time": _plain(seen.times_s[row], 6), "hands": hands})
    write_text(path, json.dumps({"unit": "m", "cameras": list(rig.names), "frames": written}) + "\n")


def _plain(values: FloatArray, digits: int) -> Any:  # noqa: ANN401  # nested lists
    """A number or lists, with null for what is unknown."""
    rounded = np.asarray(np.round(values, digits)).astype(object)
    rounded[~np.isfinite(values)] = None
    return rounded.tolist()
