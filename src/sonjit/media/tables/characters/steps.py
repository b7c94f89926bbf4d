"""Rows of BVH files: constant steps, also where the frames of a video have none."""

from typing import Final

import numpy as np

from sonjit._util import FloatArray, JobError
from sonjit.geometry import rotations

_MOST_ROWS: Final = 1_000_000


def row_times(start_s: float, end_s: float, step_s: float) -> FloatArray:
    """Return the times (R,) of rows with a constant step, in seconds. Raise JobError if a file would be too large."""
    count = round((end_s - start_s) / step_s) + 1
    if count > _MOST_ROWS:
        raise JobError(f"a BVH of {count} frames is too large. Use .glb, which has no constant rate")
    return start_s + np.arange(count, dtype=np.float64) * step_s


def values_at(values: FloatArray, times: FloatArray, rows_s: FloatArray) -> FloatArray:
    """Return values (R, N) at other times, on lines between those (F, N) at rising times (F,) in seconds."""
    return np.stack([np.interp(rows_s, times, column) for column in values.T], 1)


def turns_at(turns: FloatArray, times: FloatArray, rows_s: FloatArray) -> FloatArray:
    """Return rotations (R, B, 3, 3) at other times, on the way between those (F, B, 3, 3) at rising times (F,).

    Times are in seconds. A bone turns no faster than from frame to frame. Before the first and after the last time it
    does not turn.
    """
    before = np.clip(np.searchsorted(times, rows_s, side="right") - 1, 0, max(len(times) - 2, 0))
    after = np.minimum(before + 1, len(times) - 1)
    spans = np.maximum(times[after] - times[before], 1e-9)
    shares = np.clip((rows_s - times[before]) / spans, 0, 1)[:, None]
    result = np.empty((len(rows_s), *turns.shape[1:]))
    for bone in range(turns.shape[1]):  # each on its own, which needs less memory
        first = turns[before, bone]
        ways = rotations.rotation_vector_from_matrix(np.swapaxes(first, -1, -2) @ turns[after, bone])
        result[:, bone] = first @ rotations.matrix_from_rotation_vector(shares * ways)
    return result
