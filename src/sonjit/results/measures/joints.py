"""Compute joint angles and bone lengths of any skeleton, and count the repetitions of an angle over time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from sonjit._util import FloatArray, InputError, RealArray, data_files
from sonjit.results.skeletons import Skeleton

__all__ = [
    "Repetition", "RepetitionCounter", "count_repetitions", "find_repetitions", "joint_angles_rad", "joint_triples",
]  # fmt: skip
Triple = tuple[int, int, int]
_SPEC = data_files.load_spec("repetitions")
LOW_RAD = math.radians(_SPEC["low_deg"])
HIGH_RAD = math.radians(_SPEC["high_deg"])  # default limits, which suit the knee in squats
_MIN_DURATION_S: float = _SPEC["min_duration_s"]
_MIN_HOLD_S: float = _SPEC["min_hold_s"]
_MAX_GAP_S: float = _SPEC["max_gap_s"]


def joint_triples(skeleton: Skeleton) -> tuple[Triple, ...]:
    """Return the (parent, joint, child) indices of every joint between two bones, ordered by child.

    >>> from sonjit.results.skeletons import load_skeleton
    >>> joint_triples(load_skeleton("hand_mediapipe21"))[:3]
    ((0, 1, 2), (1, 2, 3), (2, 3, 4))
    """
    parents = skeleton.parents
    return tuple((parents[b], b, c) for c, b in enumerate(parents) if b >= 0 and parents[b] >= 0)


def joint_angles_rad(points: RealArray, joints: Skeleton | Sequence[Triple]) -> FloatArray:
    """Return the angle between the two bones at each joint; pi is straight, 0 is folded back.

    Args:
        points: Points (..., K, D) in any unit and any frame with equally scaled axes; D is 2 or 3.
        joints: Indices (a, b, c) for the angle at b between a and c. A skeleton selects its `joint_triples`.

    Returns:
        Angles (..., T) in radians, in [0, pi]; NaN where a bone has no length or a point is NaN.

    Raises:
        InputError: An index is outside the points.
    """
    triples = joint_triples(joints) if isinstance(joints, Skeleton) else joints
    indices = np.asarray(triples, int).reshape(-1, 3)
    if indices.size and (indices.min() < 0 or indices.max() >= points.shape[-2]):
        raise InputError(f"joints name point {indices.max()}, but there are {points.shape[-2]} points, counted from 0")
    a, b, c = (points[..., indices[:, i], :].astype(np.float64) for i in range(3))  # each (..., T, D)
    return angle_between_rad(a - b, c - b)


def angle_between_rad(u: RealArray, v: RealArray) -> FloatArray:
    """Return the angle (...) between vectors (..., D) in radians, in [0, pi]; NaN for zero length."""
    u, v = unit(u), unit(v)
    # Kahan's form: as exact near 0 and pi as elsewhere, where the arc cosine loses half of the digits
    return 2 * np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))


def check_points(what: str, counts: Sequence[int], points: RealArray) -> None:
    """Raise an InputError for points of another shape than (..., K, 3), in any unit."""
    if points.shape[-2:] not in [(count, 3) for count in counts]:
        raise InputError(f"{what} (..., {' or '.join(map(str, counts))}, 3), not {points.shape}")


check_hand = partial(check_points, "a hand's points are", (21,))
check_body = partial(check_points, "a body's points are", (33,))
check_mesh = partial(check_points, "a face mesh is", (468, 478))


def unit(vectors: RealArray) -> FloatArray:
    """Scale vectors (..., D) of any unit to length 1; NaN for zero length."""
    vectors = vectors.astype(np.float64)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, np.nan)


def distances(points: RealArray, pairs: Sequence[tuple[int, int]]) -> FloatArray:
    """Return the distances (..., P) between pairs of points (..., K, D), in the unit of the points."""
    first, second = np.asarray(pairs, int).reshape(-1, 2).T
    return np.linalg.norm((points[..., first, :] - points[..., second, :]).astype(np.float64), axis=-1)


def named(names: Sequence[str], values: RealArray | Sequence[Any]) -> dict[str, float]:
    """Map names to their values (N,), in any unit, as Python floats."""
    return {name: float(value) for name, value in zip(names, values, strict=True)}


@dataclass(frozen=True)
class Repetition:
    """One cycle of an angle from high to low and back to high.

    Attributes:
        begin_s: Time of the last angle at or above the high limit, in seconds.
        end_s: Time of the first angle at or above the high limit again, in seconds.
        lowest_rad: Lowest angle between both times in radians, the depth of the repetition.
    """

    begin_s: float
    end_s: float
    lowest_rad: float

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return self.end_s - self.begin_s


class RepetitionCounter:
    """Count how often an angle changes from high to low and back.

    The two limits are a hysteresis: an angle that trembles around one of them counts nothing. NaN (unknown) neither
    counts nor breaks a repetition, unless it lasts longer than `max_gap_s`: then the one under way is dropped.

    Args:
        low_rad: Angle at or below which the joint is bent, in radians.
        high_rad: Angle at or above which the joint is straight, in radians.
        min_duration_s: Minimum duration of a repetition in seconds, from leaving the high limit to the return.
        min_hold_s: Minimum time beyond a limit in seconds, from the sample before it, with an angle or NaN. At 30
            frames a second a single outlier does not pass; at 5 a single frame is enough.
        max_gap_s: Maximum time without an angle in seconds, after which the current repetition is dropped.

    Attributes:
        count: Number of finished repetitions.
        last: Newest finished repetition; None before the first.

    Raises:
        InputError: The limits are not low < high, or a duration is negative.
    """

    _side_since_s: float  # time of the sample before the angles on this side of the limits
    _side_first_s: float  # time of the first angle on this side
    _left_s: float  # time of the last straight angle

    def __init__(
        self,
        low_rad: float,
        high_rad: float,
        *,
        min_duration_s: float = _MIN_DURATION_S,
        min_hold_s: float = _MIN_HOLD_S,
        max_gap_s: float = _MAX_GAP_S,
    ) -> None:
        if not low_rad < high_rad:
            raise InputError(f"low_rad {low_rad} must be below high_rad {high_rad}")
        if min(min_duration_s, min_hold_s, max_gap_s) < 0:
            raise InputError("durations must not be negative")
        self.low_rad, self.high_rad = low_rad, high_rad
        self._min_duration_s = min_duration_s
        self._min_hold_s = min_hold_s
        self._max_gap_s = max_gap_s
        self.reset()

    def reset(self) -> None:
        """Start again from zero."""
        self.count = 0
        self.last: Repetition | None = None
        self.restart_clock()

    def restart_clock(self) -> None:
        """Continue to count on another clock, and forget a repetition that is not complete."""
        self._last_s = self._seen_s = -math.inf
        self._drop()

    def update(self, angle_rad: float, time_s: float) -> int:
        """Take one angle (NaN where unknown) and return the count so far.

        Raises:
            InputError: The time is not finite or runs backwards.
        """
        if not math.isfinite(time_s) or time_s < self._last_s:
            raise InputError(f"times must be finite and not run backwards: {time_s} s after {self._last_s} s")
        previous_s, self._last_s = self._last_s, time_s
        if math.isnan(angle_rad):
            return self.count
        if time_s - self._seen_s > self._max_gap_s:
            self._drop()
        self._seen_s = time_s
        side = self._side_of(angle_rad)
        if side != self._side:
            self._side = side
            self._side_since_s = previous_s
            self._side_first_s = time_s
        if side == "high" and self._state == "high":
            self._left_s, self._lowest_rad = time_s, angle_rad
        self._lowest_rad = min(self._lowest_rad, angle_rad)
        is_stable = time_s - self._side_since_s >= self._min_hold_s
        if side != "between" and side != self._state and is_stable:
            # a repetition begins high, so a first low value is not half of one
            if side == "high" and self._state == "low" and time_s - self._left_s >= self._min_duration_s:
                self.count += 1
                self.last = Repetition(self._left_s, self._side_first_s, self._lowest_rad)
            if side == "high" or self._state == "high":
                self._state = side
            if side == "high":
                self._left_s, self._lowest_rad = time_s, angle_rad
        return self.count

    def _side_of(self, angle_rad: float) -> Literal["low", "high", "between"]:
        if angle_rad <= self.low_rad:
            return "low"
        return "high" if angle_rad >= self.high_rad else "between"

    def _drop(self) -> None:
        self._state = self._side = "unknown"
        self._lowest_rad = math.inf


def count_repetitions(
    angles_rad: ArrayLike, times_s: ArrayLike, *, low_rad: float = LOW_RAD, high_rad: float = HIGH_RAD, **options: float
) -> int:
    """Count the repetitions in angles (N,) in radians at times (N,) in seconds.

    Arguments and errors are those of `find_repetitions`.
    """
    return len(find_repetitions(angles_rad, times_s, low_rad=low_rad, high_rad=high_rad, **options))


def find_repetitions(
    angles_rad: ArrayLike, times_s: ArrayLike, *, low_rad: float = LOW_RAD, high_rad: float = HIGH_RAD, **options: float
) -> list[Repetition]:
    """Find the repetitions in a recording. The default limits suit the knee in squats.

    Args:
        angles_rad: Angles (N,) in radians, NaN where unknown.
        times_s: Times (N,) in seconds, in ascending order.
        low_rad: Angle at or below which the joint is bent, in radians.
        high_rad: Angle at or above which the joint is straight, in radians.
        options: Duration arguments of `RepetitionCounter`.

    Raises:
        InputError: Angles and times differ in length, or `RepetitionCounter` rejects a value.

    Example:
        >>> times_s = np.arange(0, 7, 0.1)
        >>> knee_rad = 2.3 + 0.8 * np.cos(2 * np.pi * times_s / 3)  # three seconds each
        >>> for repetition in find_repetitions(knee_rad, times_s):
        ...     print(f"{repetition.begin_s:.1f} to {repetition.end_s:.1f} s, {repetition.lowest_rad:.2f} rad")
        0.5 to 2.5 s, 1.50 rad
        3.5 to 5.5 s, 1.50 rad
    """
    angles, times = np.asarray(angles_rad, float), np.asarray(times_s, float)
    if angles.ndim != 1 or angles.shape != times.shape:
        raise InputError(f"angles {angles.shape} and times {times.shape} must both be (N,)")
    counter = RepetitionCounter(low_rad, high_rad, **options)
    repetitions: list[Repetition] = []
    for angle, time in zip(angles.tolist(), times.tolist(), strict=True):
        if counter.update(angle, time) > len(repetitions):
            assert counter.last is not None  # the count increased
            repetitions.append(counter.last)
    return repetitions
