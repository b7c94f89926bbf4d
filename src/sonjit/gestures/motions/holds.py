"""Find pinches, drags, rotations and pushes."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

from sonjit.gestures.motions.events import HandState, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sonjit.results import Phase


class Holds:
    """Pinch of thumb and index finger, or drag of a fist.

    A drag begins with an open hand that closes, and ends when a finger opens.
    """

    HOLD_S = 0.1
    WITHIN_S = 1.0  # maximum time in which the hand closes; a hand that grips an object closes more slowly
    BEGIN: Final = {
        "Pinch": 0.8,
        "Drag": 0.85,
    }  # minimum closure, 0..1; the tips of relaxed hands are near
    END = 0.25  # closure below which it ends
    PINCH = (0.3, 0.06)  # distance between the tips in hand lengths: open, closed
    INDEX = 0.6  # minimum reach of a pinching index finger; in a fist it is smaller
    FIST = (0.85, 0.5)  # mean reach of the four fingers: open, closed
    OUT = 0.75  # minimum reach of an extended finger; an open hand extends all fingers, a fist none

    def __init__(self, name: Literal["Pinch", "Drag"]) -> None:
        self._name: Literal["Pinch", "Drag"] = name
        self._start: complex | None = None
        self._since_s: float | None = None
        self._closed = 0.0
        self._open_s = -math.inf  # last time at which the hand was open

    @property
    def is_active(self) -> bool:
        """Whether a pinch or drag is in progress."""
        return self._start is not None

    def __call__(self, now: HandState) -> Iterator[Step]:
        is_active, (smallest, mean, greatest) = self._start is not None, now.reach
        if self._name == "Pinch":
            value, (opened, shut) = now.pinch, self.PINCH
            is_other = not is_active and now.index_reach < self.INDEX  # a fist neither is open nor pinches
        else:
            value, (opened, shut) = mean, self.FIST
            is_other = greatest > self.OUT > smallest  # only some fingers are extended
        self._closed = min(1.0, max(0.0, (opened - value) / (opened - shut)))
        if self._closed < self.END and not is_other:
            self._open_s = now.time_s
        was_open = is_active or now.time_s - self._open_s <= self.WITHIN_S
        is_closed = self._closed > (self.END if is_active else self.BEGIN[self._name]) and was_open and not is_other
        self._since_s = None if is_closed == is_active else now.time_s if self._since_s is None else self._since_s
        changes = self._since_s is not None and now.time_s - self._since_s >= self.HOLD_S
        if changes and not is_active:
            self._start, self._since_s = now.palm, None
            yield self._step("begin")
        elif changes:
            yield self._step("end")
            self._start, self._since_s = None, None
        elif is_active:
            yield self._step("progress")

    def stop(self) -> Iterator[Step]:
        if self._start is not None:
            yield self._step("cancel")
        self._start, self._since_s, self._open_s = None, None, -math.inf

    def _step(self, phase: Phase) -> Step:
        assert self._start is not None
        return Step(self._name, phase, self._closed, self._start)


class Rotations:
    """Rotation of a pinching hand in the image, as if it turned a knob."""

    BEGIN_RAD = math.radians(20)

    def __init__(self, pinch: Holds) -> None:
        self._pinch = pinch
        self._start: complex | None = None
        self._last_rad: float | None = None
        self._turned = 0.0

    def __call__(self, now: HandState) -> Iterator[Step]:
        if not self._pinch.is_active:
            if self._start is not None:
                yield self._step("end")
            self._start, self._last_rad, self._turned = None, None, 0.0
            return
        if self._last_rad is not None:
            self._turned += math.remainder(now.angle_rad - self._last_rad, 2 * math.pi)
        self._last_rad = now.angle_rad
        if self._start is not None:
            yield self._step("progress")
        elif abs(self._turned) >= self.BEGIN_RAD:
            self._start = now.palm
            yield self._step("begin")

    def stop(self) -> Iterator[Step]:
        if self._start is not None:
            yield self._step("cancel")
        self._start, self._last_rad, self._turned = None, None, 0.0

    def _step(self, phase: Phase) -> Step:
        assert self._start is not None
        return Step("Rotate", phase, min(1.0, abs(self._turned) / math.pi), self._start, self._turned / (2 * math.pi))


class Pushes:
    """Quick movement of a raised open hand towards the camera."""

    GROWS, WITHIN_S = 1.3, 0.5  # minimum growth of the hand in the image, and the time for it
    ASIDE = 0.6  # maximum sideways movement of the palm in hand lengths
    FAST, STRONGEST = 0.7, 4.0  # logarithmic growth per second: minimum, and the value of strength 1
    BEFORE_S = 0.09  # minimum time between two sizes for a speed
    BACK = 1.1  # maximum ratio to the smallest recent size before the next push

    def __init__(self) -> None:
        self._recent: deque[HandState] = deque()
        self._from: HandState | None = None
        self._peak = 0.0
        self._is_done = False

    def __call__(self, now: HandState) -> Iterator[Step]:
        recent = self._recent
        recent.append(now)
        while now.time_s - recent[0].time_s > self.WITHIN_S:
            recent.popleft()
        before = next(
            (reading for reading in reversed(recent) if now.time_s - reading.time_s >= self.BEFORE_S), recent[0]
        )
        elapsed = now.time_s - before.time_s
        speed = math.log(now.size / before.size) / elapsed if elapsed > 0 else 0.0
        if self._from is not None:
            self._peak = max(self._peak, speed)
            if speed < self.FAST:
                yield self._step("end", now)
                self._from, self._is_done = None, True
            else:
                yield self._step("progress", now)
            return
        smallest = min(recent, key=lambda item: item.size)
        if self._is_done:  # until the hand rests or retreats
            self._is_done = now.size > self.BACK * smallest.size
        elif (
            speed >= self.FAST
            and now.size >= self.GROWS * smallest.size
            and all(reading.is_up for reading in recent)  # an opening hand also looks larger
            and abs(now.palm - smallest.palm) <= self.ASIDE
        ):
            self._from, self._peak = smallest, speed
            yield self._step("begin", now)

    def stop(self) -> Iterator[Step]:
        if self._from is not None:
            yield self._step("cancel", self._recent[-1])
        self._from, self._is_done = None, False
        self._recent.clear()

    def _step(self, phase: Phase, now: HandState) -> Step:
        assert self._from is not None
        return Step("Push", phase, min(1.0, self._peak / self.STRONGEST), self._from.palm, now.size / self._from.size)
