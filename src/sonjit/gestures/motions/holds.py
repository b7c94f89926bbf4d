"""Motions of a hand that holds something or comes nearer: pinches, drags, rotations and pushes."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

from sonjit.gestures.motions.events import Seen, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sonjit.results import Phase


class Holds:
    """A pinch of thumb and index finger, or a fist made of an open hand that drags until it opens a finger."""

    HOLD_S = 0.1
    WITHIN_S = 1.0  # a hand that closes more slowly, or holds a thing, moves for another reason
    # how far it is closed, 0..1: from which it begins, and ends
    BEGIN: Final = {"Pinch": 0.8, "Drag": 0.85}  # of relaxed hands thumb and index finger come near too
    END = 0.25
    PINCH = (0.3, 0.06)  # hand lengths between the tips: open, closed
    INDEX = 0.6  # least reach of a pinching index finger; in a fist it is smaller
    FIST = (0.85, 0.5)  # mean reach of the four fingers: open, closed
    OUT = 0.75  # reach of a finger that is out: of an open hand all are, of a fist none

    def __init__(self, name: Literal["Pinch", "Drag"]) -> None:
        self._name: Literal["Pinch", "Drag"] = name
        self._start: complex | None = None
        self._since_s: float | None = None
        self._closed = 0.0
        self._open_s = -math.inf  # when it was open last

    @property
    def is_held(self) -> bool:
        """Return whether the hold is active."""
        return self._start is not None

    def __call__(self, now: Seen) -> Iterator[Step]:
        is_held, (smallest, mean, greatest) = self._start is not None, now.reach
        if self._name == "Pinch":
            value, (opened, shut) = now.pinch, self.PINCH
            is_other = not is_held and now.index_reach < self.INDEX  # a fist, which is neither open nor pinches
        else:
            value, (opened, shut) = mean, self.FIST
            is_other = greatest > self.OUT > smallest  # some fingers are out, others in
        self._closed = min(1.0, max(0.0, (opened - value) / (opened - shut)))
        if self._closed < self.END and not is_other:
            self._open_s = now.time_s
        was_open = is_held or now.time_s - self._open_s <= self.WITHIN_S
        wants = self._closed > (self.END if is_held else self.BEGIN[self._name]) and was_open and not is_other
        self._since_s = None if wants == is_held else now.time_s if self._since_s is None else self._since_s
        changes = self._since_s is not None and now.time_s - self._since_s >= self.HOLD_S
        if changes and not is_held:
            self._start, self._since_s = now.palm, None
            yield self._step("begin")
        elif changes:
            yield self._step("end")
            self._start, self._since_s = None, None
        elif is_held:
            yield self._step("progress")

    def stop(self) -> Iterator[Step]:
        if self._start is not None:
            yield self._step("cancel")
        self._start, self._since_s, self._open_s = None, None, -math.inf

    def _step(self, phase: Phase) -> Step:
        assert self._start is not None
        return Step(self._name, phase, self._closed, self._start)


class Rotations:
    """A pinching hand that turns in the image, as if it held a knob."""

    BEGIN_RAD = math.radians(20)

    def __init__(self, pinch: Holds) -> None:
        self._pinch = pinch
        self._start: complex | None = None
        self._last_rad: float | None = None
        self._turned = 0.0

    def __call__(self, now: Seen) -> Iterator[Step]:
        if not self._pinch.is_held:
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
    """A raised open hand that comes quickly towards the camera."""

    GROWS, WITHIN_S = 1.3, 0.5
    ASIDE = 0.6  # greatest way of the palm meanwhile
    FAST, STRONGEST = 0.7, 4.0  # logarithm of the size, per second: slower is the end; that of a strength of 1
    BEFORE_S = 0.09  # least time between two sizes that a speed is taken from
    BACK = 1.1  # of the least size of late, to which it goes back before the next

    def __init__(self) -> None:
        self._lately: deque[Seen] = deque()
        self._from: Seen | None = None
        self._peak = 0.0
        self._is_done = False

    def __call__(self, now: Seen) -> Iterator[Step]:
        lately = self._lately
        lately.append(now)
        while now.time_s - lately[0].time_s > self.WITHIN_S:
            lately.popleft()
        before = next(
            (reading for reading in reversed(lately) if now.time_s - reading.time_s >= self.BEFORE_S), lately[0]
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
        smallest = min(lately, key=lambda item: item.size)
        if self._is_done:  # until it stays or goes back
            self._is_done = now.size > self.BACK * smallest.size
        elif (
            speed >= self.FAST
            and now.size >= self.GROWS * smallest.size
            and all(reading.is_up for reading in lately)  # a hand that opens looks larger too
            and abs(now.palm - smallest.palm) <= self.ASIDE
        ):
            self._from, self._peak = smallest, speed
            yield self._step("begin", now)

    def stop(self) -> Iterator[Step]:
        if self._from is not None:
            yield self._step("cancel", self._lately[-1])
        self._from, self._is_done = None, False
        self._lately.clear()

    def _step(self, phase: Phase, now: Seen) -> Step:
        assert self._from is not None
        return Step("Push", phase, min(1.0, self._peak / self.STRONGEST), self._from.palm, now.size / self._from.size)
