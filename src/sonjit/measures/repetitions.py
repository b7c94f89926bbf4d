"""Repetitions: full cycles of an angle over time, such as squats of the knee."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from sonjit.errors import InputError


class RepetitionCounter:
    """Counts how often an angle goes from high to low and back to high.

    The two limits are a hysteresis: an angle that trembles around one of them counts nothing. NaN (unknown) neither
    counts nor breaks a repetition, unless it lasts longer than `max_gap_s`: then the one under way is dropped.

    Args:
        low_rad: at or below it the joint is bent.
        high_rad: at or above it the joint is straight again.
        min_duration_s: a repetition, from leaving high to being back, that is shorter does not count.
        min_hold_s: the angle must be beyond a limit for this long, counted from the sample before: at 30 frames a
            second a single wild frame does not pass, at 5 a single frame is enough.
        max_gap_s: seconds without an angle after which the repetition under way is dropped.

    Raises:
        InputError: the limits are not low < high, or a duration is negative.
    """

    def __init__(
        self,
        low_rad: float,
        high_rad: float,
        *,
        min_duration_s: float = 0.3,
        min_hold_s: float = 0.05,
        max_gap_s: float = 1.0,
    ) -> None:
        if not low_rad < high_rad:
            raise InputError(f"low_rad {low_rad} must be below high_rad {high_rad}")
        if min(min_duration_s, min_hold_s, max_gap_s) < 0:
            raise InputError("durations must not be negative")
        self.low_rad, self.high_rad = low_rad, high_rad
        self._min_duration_s, self._min_hold_s, self._max_gap_s = min_duration_s, min_hold_s, max_gap_s
        self.reset()

    def reset(self) -> None:
        """Start again from zero."""
        self.count = 0
        self._last_s = self._seen_s = -math.inf
        self._drop()

    def update(self, angle_rad: float, time_s: float) -> int:
        """Take one angle (NaN where unknown) and return the count so far.

        Raises:
            InputError: the time is not finite or runs backwards.
        """
        if not math.isfinite(time_s) or time_s < self._last_s:
            raise InputError(f"times must be finite and not run backwards: {time_s} s after {self._last_s} s")
        self._last_s = time_s
        if math.isnan(angle_rad):
            return self.count
        if time_s - self._seen_s > self._max_gap_s:
            self._drop()
        before_s, self._seen_s = self._seen_s, time_s
        side = "low" if angle_rad <= self.low_rad else "high" if angle_rad >= self.high_rad else "between"
        if side != self._side:
            self._side, self._side_since_s = side, before_s
        if side == "high" and self._state == "high":
            self._left_s = time_s
        held = time_s - self._side_since_s >= self._min_hold_s
        if side != "between" and side != self._state and held:
            # from nowhere, low is no half: only what began high is a whole repetition
            if side == "high" and self._state == "low" and time_s - self._left_s >= self._min_duration_s:
                self.count += 1
            if side == "high" or self._state == "high":
                self._state = side
            if side == "high":
                self._left_s = time_s
        return self.count

    def _drop(self) -> None:
        self._state = self._side = "unknown"
        self._side_since_s = self._left_s = -math.inf


def count_repetitions(
    angles_rad: ArrayLike,
    times_s: ArrayLike,
    *,
    low_rad: float = math.radians(110),
    high_rad: float = math.radians(150),
    **options: float,
) -> int:
    """Repetitions in a whole recording. The limits' defaults suit the knee in squats.

    Args:
        angles_rad: (N,) radians, NaN where unknown.
        times_s: (N,) seconds, not running backwards.
        low_rad: at or below it the joint is bent.
        high_rad: at or above it the joint is straight again.
        options: durations, as `RepetitionCounter` takes them.

    Raises:
        InputError: the two are not of one length, or what `RepetitionCounter` raises.
    """
    angles, times = np.asarray(angles_rad, float), np.asarray(times_s, float)
    if angles.ndim != 1 or angles.shape != times.shape:
        raise InputError(f"angles {angles.shape} and times {times.shape} must both be (N,)")
    counter = RepetitionCounter(low_rad, high_rad, **options)
    for angle, time in zip(angles.tolist(), times.tolist(), strict=True):
        counter.update(angle, time)
    return counter.count
