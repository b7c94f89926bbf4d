"""A hand over time, with what watches its motions, and two hands."""

from __future__ import annotations

import cmath
import math
from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.gestures.features import PALM
from sonjit.gestures.motions.events import Seen, Step
from sonjit.gestures.motions.holds import Holds, Pushes, Rotations
from sonjit.gestures.motions.strokes import Circles, Swipes, Waves
from sonjit.results.measures import finger_reach, hand_length_m, pinch_distance_m

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sonjit.results import Hand, Phase

_TIPS: Final = [8, 12, 16, 20]
_LENGTH_S: Final = 0.5
"""Time constant of the hand's length, which noise and foreshortening change."""
_GAP_S: Final = 0.25
_JUMP_PER_S: Final = 40.0
"""Hands that were not seen for longer, or moved faster, were lost: their way so far says nothing."""
_VELOCITY_S: Final = 0.05
"""Least time between two places that a velocity is taken from."""
_UP, _OUT = 0.3, 0.7
"""Hand lengths of the fingertips above the wrist, and the least reach of a finger, where fingers are out and up."""


class HandTrack:
    """One hand over time."""

    def __init__(self) -> None:
        self.time_s = -math.inf
        self.palm = 0j
        self.pinch, self.swipes = Holds("Pinch"), Swipes()
        self._length = 0.0
        self._pixels = np.zeros(3, np.complex128)
        self._places = np.zeros(3, np.complex128)
        self._lately: deque[tuple[float, complex]] = deque()
        holds = self.pinch, Holds("Drag"), Rotations(self.pinch)
        self._watches = (self.swipes, Waves(), Circles(), *holds, Pushes())

    def apart(self, other: HandTrack) -> float:
        """Return the distance of the palms in the image, in hand lengths."""
        return float(2 * abs(self._pixels[0] - other._pixels[0]) / (self._length + other._length))

    def follow(self, hand: Hand, time_s: float) -> Iterator[Step]:
        """Return the motion steps of the next frame."""
        points, world = hand.keypoints.astype(np.float64), hand.keypoints_3d
        flat = points[:, 0] + 1j * points[:, 1]
        pixels = np.array([flat[PALM].mean(), flat[8], flat[_TIPS].mean()])
        length, elapsed = float(hand_length_m(points)), time_s - self.time_s
        if not length > 0:
            return
        self._length += (length - self._length) * -math.expm1(-elapsed / _LENGTH_S)
        steps = (pixels - self._pixels) / self._length
        if elapsed > _GAP_S or abs(steps[0]) > _JUMP_PER_S * elapsed > 0:
            yield from self.stop()
            steps[:] = 0
            self._lately.clear()
        self._places += steps
        self._pixels, self.time_s = pixels, time_s
        palm, index, tips = self._places.tolist()
        self.palm = palm
        reach = finger_reach(world)[1:]
        up = -(flat[_TIPS].mean() - flat[0]).imag / self._length
        seen = Seen(
            time_s=time_s,
            palm=palm,
            velocity=self._velocity(time_s, palm),
            tip=index,
            tips=tips,
            is_up=bool(up > _UP and reach.min() > _OUT),
            reach=(float(reach.min()), float(reach.mean()), float(reach.max())),
            index_reach=float(reach[0]),
            pinch=float(pinch_distance_m(world)[0] / hand_length_m(world)),
            size=length,
            angle_rad=cmath.phase(flat[9] - flat[0]),
        )
        for watch in self._watches:
            yield from watch(seen)

    def stop(self) -> Iterator[Step]:
        """End all motions of a lost hand."""
        for watch in self._watches:
            yield from watch.stop()

    def _velocity(self, time_s: float, palm: complex) -> complex:
        lately = self._lately
        lately.append((time_s, palm))
        while len(lately) > 2 and time_s - lately[1][0] >= _VELOCITY_S:
            lately.popleft()
        then_s, then = lately[0]
        return (palm - then) / (time_s - then_s) if time_s > then_s else 0j


class HandPair:
    """Two hands: pinches that are moved apart or together, and claps."""

    NEAR, PART = 0.8, 1.1  # between the palms at a clap, and after it
    FAST, WITHIN_S = 5.0, 0.3  # hand lengths per second, reached lately: bringing the hands together stays below
    STRONGEST, BEFORE_S = 15.0, 0.06  # speed of a strength of 1; least time that a speed is taken from
    CLOSED = 0.4  # so much nearer meanwhile
    LEAST_APART = 0.1  # from which a zoom counts
    HIDDEN = 1.5  # a hand that comes quickly and is lost so near is behind the other

    def __init__(self) -> None:
        self._zoom: tuple[complex, float] | None = None
        self._clap: complex | None = None
        self._lately: deque[tuple[float, float, float]] = deque()  # time, how far apart, speed
        self._start, self._apart = 0j, 0.0

    def __call__(self, one: HandTrack, other: HandTrack) -> Iterator[Step]:
        self._start, apart = one.palm, one.apart(other)
        if one.pinch.is_held and other.pinch.is_held:
            is_new = self._zoom is None
            self._zoom = self._zoom or (one.palm, max(apart, self.LEAST_APART))
            self._apart = apart
            yield self._zoomed("begin" if is_new else "progress")
        elif self._zoom is not None:
            yield self._zoomed("end")
            self._zoom = None
        self._apart = apart
        lately = self._lately
        while lately and one.time_s - lately[0][0] > self.WITHIN_S:
            lately.popleft()
        before = (both[:2] for both in reversed(lately) if one.time_s - both[0] >= self.BEFORE_S)
        then_s, then = next(before, (-math.inf, 0.0))
        lately.append((one.time_s, apart, (then - apart) / (one.time_s - then_s)))
        if self._clap is not None and apart > self.PART:
            yield self._clapped("end")
            self._clap = None
        elif self._clap is None and apart <= self.NEAR and self._is_fast():
            self._clap = one.palm
            yield self._clapped("begin")

    def stop(self) -> Iterator[Step]:
        if self._zoom is not None:
            yield self._zoomed("cancel")
        if self._clap is None and self._apart <= self.HIDDEN and self._is_fast():
            self._clap = self._start
            yield self._clapped("begin")
        if self._clap is not None:
            yield self._clapped("end")

    def _is_fast(self) -> bool:
        closed = max(apart for _, apart, _ in self._lately) - self._apart
        return closed >= self.CLOSED and max(speed for _, _, speed in self._lately) >= self.FAST

    def _zoomed(self, phase: Phase) -> Step:
        assert self._zoom is not None
        return Step("Zoom", phase, 1.0, self._zoom[0], self._apart / self._zoom[1])

    def _clapped(self, phase: Phase) -> Step:
        assert self._clap is not None
        return Step("Clap", phase, min(1.0, max(speed for _, _, speed in self._lately) / self.STRONGEST), self._clap)
