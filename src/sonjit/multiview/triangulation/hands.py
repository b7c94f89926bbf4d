"""Association of the hands that views show: which of them are one hand in space, and whether it is right or left.

Views are grouped by geometry alone; the handedness that networks predict is a vote at the end, beside the hand's shape
in space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sonjit.arrays import FloatArray, IndexArray
from sonjit.multiview.cameras.rig import CameraRig
from sonjit.multiview.triangulation.association import group_views

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


_BENT: Final = 0.1  # a turn from which a hand's shape decides its side
_SHAPE, _MEMORY = 0.25, 0.5  # in votes of all views; a palm that is pressed bends fingers back
_MOVED_M: Final = 0.05
_UNSEEN_M: Final = 0.2  # away is a hand that was not seen yet


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


def associate(rig: CameraRig, seen: ViewDetections, before_m: FloatArray | None = None) -> IndexArray:
    """Associate the hands of all views.

    Args:
        rig: C cameras.
        seen: by them.
        before_m: (2, 21, 3) the right and the left hand where they were seen last; NaN where unknown.

    Returns:
        (2, C) for the right and the left hand, which of the hands in each view it is; -1 for none.
    """
    view, which = np.nonzero(np.isfinite(seen.points_px).all((2, 3)) & (seen.score > 0))
    groups = group_views(rig, view, seen.points_px[view, which], seen.score[view, which], most=2)
    votes = [
        _rightness(len(rig), seen.right[view[own], which[own]], seen.score[view[own], which[own]], hand, before_m)
        for own, hand, _ in groups
    ]
    chosen = np.full((2, len(rig)), -1, np.intp)
    if not groups:
        return chosen
    first_is_right = votes[0] >= (votes[1] if len(votes) > 1 else 0)
    for number, (own, *_) in enumerate(groups):
        chosen[int(first_is_right) ^ (1 - number), view[own]] = which[own]
    return chosen


def _rightness(
    views: int, right: FloatArray, score: FloatArray, hand: FloatArray, before_m: FloatArray | None
) -> float:
    """Above 0 for a right hand: votes of views, its shape in space, and which hand was there before."""
    total = float(((2 * right - 1) * score).sum())
    total += _SHAPE * views * float(np.clip(np.nan_to_num(hand_turn(hand)) / _BENT, -1, 1))
    if before_m is not None:
        joints = np.linalg.norm(before_m - hand, axis=-1)  # (2, 21) to the right and the left one
        known = np.isfinite(joints)
        apart = np.where(known, joints, 0).sum(-1) / np.maximum(known.sum(-1), 1)
        apart = np.where(known.any(-1), apart, _UNSEEN_M)
        total += _MEMORY * views * float(np.clip((apart[1] - apart[0]) / _MOVED_M, -1, 1))
    return total
