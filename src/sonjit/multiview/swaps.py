"""Instants at which the machine took right and left for each other, beside others of which people said which is which.

Where hands lie on each other, all views may be wrong at once, and for some instants. Next to what people marked, motion
tells: both hands would leap to where the other one was.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TURN_M: Final = 0.1
"""What both hands' ways together must be shorter by for each of two leaps: hands that rub swing as far as that."""
_EACH_M: Final = 0.02
"""And for each instant between them, so that the shorter part is the wrong one."""
_UNKNOWN_M: Final = 0.1
_FAR_M: Final = 0.4
_PAUSE: Final = 2.5  # usual steps between instants, beyond which a hand may be anywhere


def swapped_instants(
    frames: NDArray[np.int64], points_m: NDArray[np.float64], certain: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(n,) instants at which the two hands should be exchanged; none that is certain, first, or last before a pause.

    Args:
        frames: (n,) numbers, ascending.
        points_m: (n, 2, 21, 3) right and left hand; NaN where unknown.
        certain: (n,) of which people said which hand is which.
    """
    swapped = np.zeros(len(frames), np.bool_)
    if not certain.any():
        return swapped
    steps = np.diff(frames)
    pauses = np.flatnonzero(steps > _PAUSE * np.median(steps)) + 1 if len(steps) else []
    for first, last in pairwise([0, *map(int, pauses), len(frames)]):
        swapped[first:last] = _cheapest(points_m[first:last], certain[first:last])
    return swapped


def _cheapest(points_m: NDArray[np.float64], certain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The way through as they are (0) and exchanged (1) that costs least, from 0 to 0 (Viterbi's)."""
    ways = np.stack([_ways(points_m, points_m), _ways(points_m, points_m[:, ::-1])])  # (2, n - 1)
    cost, came = np.array([0.0, np.inf]), np.zeros((len(points_m), 2), np.intp)
    for row in range(1, len(points_m)):
        same, other = ways[:, row - 1]
        total = cost[:, None] + np.array([[same, other + _TURN_M], [other + _TURN_M, same]])  # before, now
        came[row] = total.argmin(0)
        cost = total.min(0) + np.array([0.0, np.inf if certain[row] else _EACH_M])
    state, found = 0, np.zeros(len(points_m), np.bool_)
    for row in range(len(points_m) - 1, 0, -1):
        found[row] = state == 1
        state = int(came[row, state])
    return found


def _ways(points_m: NDArray[np.float64], then_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n - 1,) how far both hands go from each instant to the next one of others (n, 2, 21, 3), metres."""
    apart = np.linalg.norm(then_m[1:] - points_m[:-1], axis=-1)  # (n - 1, 2, 21)
    known = np.isfinite(apart)
    mean = np.where(known, apart, 0).sum(-1) / np.maximum(known.sum(-1), 1)
    return np.where(known.any(-1), np.minimum(mean, _FAR_M), _UNKNOWN_M).sum(-1)
