"""Find frame sets in which all views swap the right and the left hand.

Where hands overlap, all views may swap them together for a while. Motion reveals it next to frame sets that people
marked: both hands would jump to each other's position.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray, IntArray
from sonjit.studio.automatic.detection import ChunkDetections
from sonjit.studio.automatic.offsets import triangulate_detections
from sonjit.studio.cameras.rig import CameraRig
from sonjit.studio.triangulation.triangulation import Triangulation

_SWAP_COST_M: Final = 0.1
"""Path length that each of two swaps must save: hands that rub each other move as far."""
_FRAME_COST_M: Final = 0.02
"""Additional path length per frame set between them, so that the shorter part counts as wrong."""
_UNKNOWN_DISTANCE_M: Final = 0.1  # assumed path length of a hand that is unknown in a frame set
_MAX_DISTANCE_M: Final = 0.4  # largest path length that counts between two frame sets
_PAUSE_STEPS: Final = 2.5  # usual steps between frame sets from which motion is not compared


def swapped_frame_sets(frames: IntArray, points_m: FloatArray, human_m: FloatArray) -> BoolArray:
    """Return the frame sets (n,) in which the hands should be swapped: as people marked, and around those.

    Unmarked frame sets at the start, and before a pause, stay as they are.

    Args:
        frames: (n,) ascending numbers of the frame sets.
        points_m: (n, 2, 21, 3) the machine's right and left hand in metres, NaN where unknown.
        human_m: (n, 2, 21, 3) people's joints in metres, NaN where unmarked.
    """
    certain = np.asarray(np.isfinite(human_m).any((1, 2, 3)), np.bool_)
    swapped = np.zeros(len(frames), np.bool_)
    if not certain.any():
        return swapped
    marked_swapped = np.asarray(
        certain & (_mean_distances(points_m[:, ::-1], human_m) < _mean_distances(points_m, human_m)), np.bool_
    )
    points = np.where(
        np.isfinite(human_m), np.where(marked_swapped[:, None, None, None], human_m[:, ::-1], human_m), points_m
    )
    steps = np.diff(frames)
    pauses = np.flatnonzero(steps > _PAUSE_STEPS * np.median(steps)) + 1 if len(steps) else []
    for first, last in pairwise([0, *map(int, pauses), len(frames)]):
        swapped[first:last] = _best_path(points[first:last], certain[first:last], marked_swapped[first:last])
    return swapped


def _mean_distances(points_m: FloatArray, human_m: FloatArray) -> FloatArray:
    """Return the mean distance (n,) of joints (n, 2, 21, 3) from people's, infinity without common ones."""
    distances = np.linalg.norm(points_m - human_m, axis=-1)
    finite = np.isfinite(distances)
    return np.where(
        finite.any((1, 2)), np.where(finite, distances, 0).sum((1, 2)) / np.maximum(finite.sum((1, 2)), 1), np.inf
    )


def _best_path(points_m: FloatArray, certain: BoolArray, marked_swapped: BoolArray) -> BoolArray:
    """Return the sequence of normal and swapped frame sets of least cost (Viterbi).

    It agrees with people's marks, and otherwise begins and ends unswapped.

    Args:
        points_m: (n, 2, 21, 3) joints in metres.
        certain: (n,) whether people marked the frame set.
        marked_swapped: (n,) whether people marked it as swapped.
    """
    lengths = np.stack([_path_lengths(points_m, points_m), _path_lengths(points_m, points_m[:, ::-1])])  # (2, n - 1)
    state_costs = np.where(
        (certain[:, None] & (marked_swapped[:, None] == [True, False])), np.inf, [0.0, _FRAME_COST_M]
    )  # (n, 2)
    state_costs[[0, -1], 1] += np.where(certain[[0, -1]], 0.0, np.inf)
    cost, previous = state_costs[0], np.zeros((len(points_m), 2), np.intp)
    for row in range(1, len(points_m)):
        same, other = lengths[:, row - 1]
        total = cost[:, None] + np.array([[same, other + _SWAP_COST_M], [other + _SWAP_COST_M, same]])  # before, now
        previous[row] = total.argmin(0)
        cost = total.min(0) + state_costs[row]
    state, path = int(cost.argmin()), np.zeros(len(points_m), np.bool_)
    for row in range(len(points_m) - 1, -1, -1):
        path[row] = state == 1
        state = int(previous[row, state])
    return path


def _path_lengths(points_m: FloatArray, next_m: FloatArray) -> FloatArray:
    """Return the distance (n - 1,) that both hands move to the next frame set of others (n, 2, 21, 3), metres."""
    distances = np.linalg.norm(next_m[1:] - points_m[:-1], axis=-1)  # (n - 1, 2, 21)
    finite = np.isfinite(distances)
    mean = np.where(finite, distances, 0).sum(-1) / np.maximum(finite.sum(-1), 1)
    return np.where(finite.any(-1), np.minimum(mean, _MAX_DISTANCE_M), _UNKNOWN_DISTANCE_M).sum(-1)


def correct_swaps(rig: CameraRig, detections: ChunkDetections, people: Sequence[Triangulation]) -> ChunkDetections:
    """Swap the hands of detections where people's joints in the frame set or nearby ones show a swap.

    Args:
        rig: Rig of C cameras.
        detections: Detections of these cameras in n frame sets.
        people: (2, 21) joints that people marked, for each frame set.
    """
    if not any(human.ok.any() for human in people):
        return detections
    human_m = np.stack([np.where(human.ok[..., None], human.points_m, np.nan) for human in people])
    rows = swapped_frame_sets(detections.frames, triangulate_detections(rig, detections).points_m, human_m)
    return detections.swap_hands(rows) if rows.any() else detections
