"""Keep the bones of a character from turning faster than those of people.

A network can exchange two solutions of a hand or a foot for a few frames. Such frames are replaced by rotations between
those before and after. What remains too fast is slowed down, as in live streams.
"""

import math
from typing import Final

import numpy as np

from sonjit._util import FloatArray
from sonjit.geometry import rotations

MAX_SPEED: Final = 25.0  # maximum speed of a bone in radians per second, relative to its parent and in space
_LONGEST_S: Final = 0.3  # longest time of a pose that is replaced
_BACK_SPEED, _BACK_RAD = 8.0, 0.8
"""Maximum speed from before to after a replaced pose, in radians per second, and maximum of that turn in radians."""

_ROUNDING: Final = 1e-9  # of a trace


def steady(turns: FloatArray, parents: list[int | None], times: FloatArray) -> FloatArray:
    """Return the rotations (F, B, 3, 3) of bones relative to their parents, without outliers and slower than a limit.

    Args:
        turns: Rotations at F times.
        parents: Index of the parent of each bone, which comes before; None for the root.
        times: Times (F,) in seconds, which rise.
    """
    shown = np.stack([_without_outliers(turns[:, bone], times) for bone in range(len(parents))], 1)
    for row in range(1, len(times)):
        limit = MAX_SPEED * float(times[row] - times[row - 1])
        shown[row] = follow(shown[row - 1], shown[row], parents, limit)
    return shown


def follow(before: FloatArray, wanted: FloatArray, parents: list[int | None], limit: float) -> FloatArray:
    """Return rotations (B, 3, 3) that follow the wanted ones, with at most a turn of `limit` radians from those before.

    The limit applies to each bone relative to its parent, and in space.
    """
    result = _limited(before, wanted, limit)
    old, new = in_space(before, parents), np.empty_like(result)
    # The trace of a turn within the limit is larger, which is quick to check.
    least_trace = 1 + 2 * math.cos(min(limit, math.pi)) + _ROUNDING
    for bone, parent in enumerate(parents):
        rotation = result[bone] if parent is None else new[parent] @ result[bone]
        is_within = float(np.vdot(old[bone], rotation)) > least_trace
        new[bone] = rotation if is_within else _limited(old[bone], rotation, limit)
        result[bone] = new[bone] if parent is None else new[parent].T @ new[bone]
    return result


def in_space(turns: FloatArray, parents: list[int | None]) -> FloatArray:
    """Return the rotations (..., B, 3, 3) in space of rotations (without a unit) relative to the parents."""
    result = turns.copy()
    for bone, parent in enumerate(parents):
        if parent is not None:
            result[..., bone, :, :] = result[..., parent, :, :] @ turns[..., bone, :, :]
    return result


def _limited(before: FloatArray, after: FloatArray, limit: float) -> FloatArray:
    """Return rotations (..., 3, 3) on the way to later ones, at most `limit` radians away."""
    vectors = rotations.rotation_vector_from_matrix(np.swapaxes(before, -1, -2) @ after)
    angles = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    limited = before @ rotations.matrix_from_rotation_vector(vectors * np.minimum(1, limit / angles))
    return np.where(angles[..., None] > limit, limited, after)


def _without_outliers(turns: FloatArray, times: FloatArray) -> FloatArray:
    """Replace rotations (F, 3, 3) that leave for a short time, by rotations between those before and after."""
    result = turns.copy()
    fast = _angles(turns[:-1], turns[1:]) > MAX_SPEED * np.diff(times)
    done = 0
    for start in np.flatnonzero(fast).tolist():  # the last frame before a jump
        if start < done:
            continue
        last = int(np.searchsorted(times, times[start] + _LONGEST_S, side="right"))
        for stop in range(start + 2, min(last + 1, len(times))):
            span = float(times[stop] - times[start])
            way = rotations.rotation_vector_from_matrix(result[start].T @ turns[stop])
            if np.linalg.norm(way) < min(_BACK_SPEED * span, _BACK_RAD):
                shares = (times[start + 1 : stop] - times[start]) / span
                result[start + 1 : stop] = result[start] @ rotations.matrix_from_rotation_vector(shares[:, None] * way)
                done = stop
                break
    return result


def _angles(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the angles (...) in radians between rotations (..., 3, 3)."""
    return np.linalg.norm(rotations.rotation_vector_from_matrix(np.swapaxes(a, -1, -2) @ b), axis=-1)
