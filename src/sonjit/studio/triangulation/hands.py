"""Associate the hands of all views and decide which one is right or left.

Views are grouped by geometry only. After that, the predicted handedness and the hand's shape in space vote on the side
of each hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sonjit._util.arrays import FloatArray, IndexArray
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.triangulation.association import group_views

_MIN_CHIRALITY = 0.05
"""Least chirality of a hand that counts as left or right."""


_DECISIVE_CHIRALITY: Final = 0.1  # chirality from which a hand's shape decides its side
_SHAPE_WEIGHT, _MEMORY_WEIGHT = 0.25, 0.5  # relative to the votes of all views; a pressed palm bends fingers back
_DECISIVE_DISTANCE_M: Final = 0.05  # difference of the distances to the previous hands that counts as a full vote
_UNSEEN_DISTANCE_M: Final = 0.2  # assumed distance of a hand that was not seen yet


def hand_chirality(points_m: FloatArray) -> FloatArray:
    """Return a value above 0 for right hands and below 0 for left ones, by their shape in space.

    Fingers bend only towards the palm, so wrist, knuckles and bent fingers span a body that differs from its mirror
    image.

    Args:
        points_m: (..., 21, 3) keypoints in MediaPipe's order, any unit.

    Returns:
        (...) relative to the hand's size cubed, near 0 for a flat hand, which decides nothing, NaN if a keypoint is
        unknown.
    """
    wrist, index, little = points_m[..., 0, :], points_m[..., 5, :], points_m[..., 17, :]
    knuckles, tips = points_m[..., [5, 9, 13, 17], :], points_m[..., [8, 12, 16, 20], :]
    finger_direction = (tips - knuckles).mean(-2)
    palm_normal = np.cross(index - wrist, little - wrist)
    size = np.linalg.norm(index - wrist, axis=-1)
    return (palm_normal * finger_direction).sum(-1) / size**3


def count_mirrored_hands(hands: Sequence[tuple[str, FloatArray]]) -> tuple[int, int]:
    """Count the hands that have the shape of their own side, and of the other. Flat hands count for neither.

    Args:
        hands: "Left" or "Right", and keypoints (21, 3) in space.
    """
    right = np.array([1 if side == "Right" else -1 for side, _ in hands])
    chirality = np.array([float(hand_chirality(points)) for _, points in hands])
    is_decisive = np.abs(np.nan_to_num(chirality)) > _MIN_CHIRALITY
    return int((is_decisive & (chirality * right > 0)).sum()), int((is_decisive & (chirality * right < 0)).sum())


@dataclass(frozen=True, eq=False)
class ViewDetections:
    """The hands that C views show in one frame set, up to H in each.

    Attributes:
        points_px: (C, H, 21, 2) keypoints in MediaPipe's order, NaN for none.
        score: (C, H) presence, 0..1.
        right: (C, H) probability of a right hand.
    """

    points_px: FloatArray
    score: FloatArray
    right: FloatArray


def associate_hands(rig: CameraRig, detections: ViewDetections, before_m: FloatArray | None = None) -> IndexArray:
    """Associate the hands of all views.

    Args:
        rig: Rig of C cameras.
        detections: Detections of these cameras.
        before_m: (2, 21, 3) last known right and left hand, NaN where unknown.

    Returns:
        (2, C) index of the right and the left hand among the hands of each view, -1 for none.
    """
    view, which = np.nonzero(np.isfinite(detections.points_px).all((2, 3)) & (detections.score > 0))
    groups = group_views(rig, view, detections.points_px[view, which], detections.score[view, which], max_groups=2)
    votes = [
        _right_score(
            len(rig),
            detections.right[view[rows], which[rows]],
            detections.score[view[rows], which[rows]],
            hand,
            before_m,
        )
        for rows, hand, _ in groups
    ]
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
