"""Rows with a constant step, for formats with one rate, of frames at times that may have none.

Phones record at a variable rate, cameras leave out frames, and clocks jump.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from sonjit._util import BoolArray, FloatArray, IndexArray, JobError
from sonjit.geometry import rotations

_MOST_ROWS: Final = 1_000_000
_LONGEST_S, _LONGEST_STEPS = 10.0, 10  # longest pause between frames that rows fill; the longer of both
_JOINED_S, _JOINED_STEPS = 1.0, 3  # longest pause between frames over which points are interpolated; the longer of both
_JITTER: Final = 0.25  # largest deviation of frames at a constant rate, in steps
_MOST_MISSING: Final = 100  # frame numbers with more steps than this for each frame are labels, such as time stamps


class Rows(NamedTuple):
    """Rows with a constant step."""

    times: FloatArray  # (R,) times of the rows on the clock of the frames, in seconds
    step_s: float
    omitted_s: float  # length of the pauses that are left out, after which rows are earlier than their frames


def row_times(times: FloatArray, step_s: float, *, omits: bool = True) -> Rows:
    """Return rows for frames at rising times (F,) in seconds. It omits pauses of more than 10 s and 10 steps.

    Raise JobError if a file would be too large.
    """
    usual_s = float(np.median(np.diff(times))) if len(times) > 1 else step_s  # of few frames, or of a time-lapse
    longest_s = max(_LONGEST_S, _LONGEST_STEPS * max(step_s, usual_s))
    pauses = np.flatnonzero(np.diff(times) > longest_s) + 1 if omits else np.zeros(0, np.intp)
    starts = [0, *pauses.tolist(), len(times)]
    sections, omitted_s = list[FloatArray](), 0.0
    for start, end in pairwise(starts):
        first = float(times[start])
        count = round((float(times[end - 1]) - first) / step_s) + 1
        if count + sum(map(len, sections)) > _MOST_ROWS:
            raise JobError(f"more than {_MOST_ROWS} rows are too large a file. Use a format without a constant rate")
        if sections:
            omitted_s += first - float(sections[-1][-1]) - step_s
        sections.append(first + np.arange(count, dtype=np.float64) * step_s)
    return Rows(np.concatenate(sections), step_s, omitted_s)


def time_notes(times: FloatArray, rows: Rows, *, has_start: bool = False) -> list[str]:
    """Return how the times of rows in a file differ from those of frames at times (F,) in seconds, one text each.

    Every writer of a format with a constant rate, or without the time of its first row, states these: the start, pauses
    that are left out, and a rate that is variable. `has_start`: the file contains the time of its first row.
    """
    notes: list[str] = []
    if not has_start and len(times) and times[0] > rows.step_s / 2:
        notes.append(f"it begins {times[0]:.2f} s after the start of the video, which the format cannot state")
    if rows.omitted_s > 0:
        notes.append(f"{rows.omitted_s:.1f} s without frames are left out, by which later rows are early")
    if len(rows.times) != len(times) and not rows.omitted_s:
        rate = f"{len(rows.times)} rows at {1 / rows.step_s:.2f} per second"
        notes.append(f"{rate} are between the {len(times)} frames, whose rate is variable")
    return notes


def rows_of_frames(times: FloatArray, *, omits: bool = True) -> Rows:
    """Return rows at the usual rate of frames at times (F,) in seconds, which do not fall.

    Where frames are at constant steps, which may be missing here and there or be rounded, the rows are at the frames.
    """
    if len(times) < 2 or not times[-1] > times[0]:
        return Rows(times, 1 / 30, 0.0)
    times = np.maximum.accumulate(times)
    steps = np.diff(times)
    even_s = float(times[-1] - times[0]) / len(steps)
    if np.abs(times - times[0] - even_s * np.arange(len(times))).max() <= even_s * _JITTER:
        return Rows(times, even_s, 0.0)
    positive = steps[steps > 0]
    shortest_s = float(np.quantile(positive, 0.1))
    step_s = float(positive[positive <= 1.5 * shortest_s].mean())
    rows = row_times(times, step_s, omits=omits)
    nearest = np.clip(np.searchsorted(rows.times, times), 1, len(rows.times) - 1)
    nearest -= times - rows.times[nearest - 1] < rows.times[nearest] - times
    if len(set(nearest.tolist())) == len(times) and np.abs(rows.times[nearest] - times).max() <= step_s / 2:
        snapped = rows.times.copy()
        snapped[nearest] = times
        rows = rows._replace(times=snapped)
    return rows


def points_at(values: FloatArray, times: FloatArray, rows: Rows, joined: BoolArray | None = None) -> FloatArray:
    """Return values (R, ...) of rows, on lines between those (F, ...) of frames at times (F,) in seconds.

    Where a value is NaN in one frame, that of the nearer frame counts.

    Args:
        values: Values of the frames, NaN where unknown.
        times: Times of the frames, which do not fall.
        rows: Rows.
        joined: (F - 1,) True where rows between a frame and the next one are known. By default, if the pause between
            them is at most 1 s or 3 steps.
    """
    if joined is None:
        joined = np.asarray(np.diff(times) <= max(_JOINED_S, _JOINED_STEPS * rows.step_s), np.bool_)
    before, shares = _places(times, rows.times)
    after = np.minimum(before + 1, len(times) - 1)
    shares = shares.reshape(-1, *[1] * (values.ndim - 1))
    first, second = values[before], values[after]
    mixed = np.where(shares == 0, first, np.where(shares == 1, second, first + (second - first) * shares))
    mixed = np.where(np.isnan(mixed), np.where(shares < 0.5, first, second), mixed)
    if len(times) > 1:
        near_s = np.minimum(np.abs(rows.times - times[before]), np.abs(times[after] - rows.times))
        mixed[~joined[np.minimum(before, len(joined) - 1)] & (near_s > rows.step_s / 2)] = np.nan
    return mixed


def values_at(values: FloatArray, times: FloatArray, rows_s: FloatArray) -> FloatArray:
    """Return values (R, N) at other times, on lines between those (F, N) at rising times (F,) in seconds."""
    return np.stack([np.interp(rows_s, times, column) for column in values.T], 1)


def turns_at(turns: FloatArray, times: FloatArray, rows_s: FloatArray) -> FloatArray:
    """Return rotations (R, B, 3, 3) at other times, on the way between those (F, B, 3, 3) at rising times (F,).

    Times are in seconds. A bone turns no faster than from frame to frame. Before the first and after the last time it
    does not turn.
    """
    before, shares = _places(times, rows_s)
    after = np.minimum(before + 1, len(times) - 1)
    result = np.empty((len(rows_s), *turns.shape[1:]))
    for bone in range(turns.shape[1]):  # each on its own, which needs less memory
        first = turns[before, bone]
        ways = rotations.rotation_vector_from_matrix(np.swapaxes(first, -1, -2) @ turns[after, bone])
        result[:, bone] = first @ rotations.matrix_from_rotation_vector(shares[:, None] * ways)
    return result


def _places(times: FloatArray, rows_s: FloatArray) -> tuple[IndexArray, FloatArray]:
    """Return for each row the frame before it, and its share of the way to the next one, 0 to 1."""
    before = np.clip(np.searchsorted(times, rows_s, side="right") - 1, 0, max(len(times) - 2, 0))
    after = np.minimum(before + 1, len(times) - 1)
    spans = np.maximum(times[after] - times[before], 1e-9)
    return before, np.clip((rows_s - times[before]) / spans, 0, 1)


def frame_positions(numbers: Sequence[int]) -> list[int]:
    """Return the positions of frames in a recording, by rising numbers in their names.

    Numbers that rise by more than 100 a frame are labels, such as time stamps. The frames are then counted.

    >>> frame_positions([7, 8, 10]), frame_positions([1700000000000000, 1700000000033333])
    ([7, 8, 10], [0, 1])
    """
    are_labels = bool(numbers) and numbers[-1] - numbers[0] > _MOST_MISSING * len(numbers)
    return list(range(len(numbers)) if are_labels else numbers)
