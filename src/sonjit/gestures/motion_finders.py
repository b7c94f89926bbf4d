"""Find the motions of a hand in its track: holds, rotations, pushes, swipes, waves and circles."""

import cmath
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit.results import Phase

SWIPES: Final = ("Swipe_Right", "Swipe_Down", "Swipe_Left", "Swipe_Up")  # by quarter turns from the x axis to y
CIRCLES: Final = ("Circle_Clockwise", "Circle_Counterclockwise")
MOTIONS: Final = (*SWIPES, "Wave", *CIRCLES, "Pinch", "Drag", "Rotate", "Push", "Zoom", "Clap")
"""Every name of a motion; directions are those in the image."""


class Step(NamedTuple):
    """Step of a motion in a frame, without its hand."""

    name: str
    phase: Phase
    strength: float
    start: complex  # position of the palm at the begin
    rounds: float = 0.0


class HandState(NamedTuple):
    """Hand in a frame. Positions are complex numbers x + iy in hand lengths from the first position of the hand."""

    time_s: float
    palm: complex
    velocity: complex  # velocity of the palm per second
    tip: complex  # tip of the index finger
    tips: complex  # centre of the tips of the four fingers
    is_up: bool  # the fingers are extended and point up in the image
    reach: tuple[float, float, float]  # minimum, mean and maximum reach of the four fingers; 1 is extended
    index_reach: float
    pinch: float  # distance between the tips of thumb and index finger
    size: float  # length of the hand in pixels
    angle_rad: float  # clockwise angle of the palm in the image


class MotionFinder(ABC):
    """Find a motion of one hand: it begins, progresses with every frame, and ends or is cancelled."""

    _start: complex | None = None  # position of the palm at the begin

    @property
    def is_active(self) -> bool:
        """Whether the motion is in progress."""
        return self._start is not None

    @abstractmethod
    def __call__(self, now: HandState) -> Iterator[Step]:
        """Yield the steps of the next frame."""

    @abstractmethod
    def _values(self) -> tuple[str, float, float]:
        """Return the name, strength and count of the motion in progress."""

    @abstractmethod
    def _reset(self) -> None:
        """Forget the motion."""

    def _begin(self, start: complex) -> Step:
        self._start = start
        return self._step("begin")

    def _step(self, phase: Phase) -> Step:
        assert self._start is not None
        name, strength, count = self._values()
        return Step(name, phase, min(1.0, strength), self._start, count)

    def stop(self, phase: Phase = "cancel") -> Iterator[Step]:
        """End the motion if it is in progress."""
        if self._start is not None:
            yield self._step(phase)
        self._reset()


class Holds(MotionFinder):
    """Pinch of thumb and index finger, or drag of a hand that closes to a fist, until a finger opens."""

    HOLD_S = 0.1
    WITHIN_S = 1.0  # maximum time in which the hand closes; a hand that grips an object closes more slowly
    BEGIN: Final = {"Pinch": 0.8, "Drag": 0.85}  # minimum closure, 0..1; the tips of relaxed hands are near
    END = 0.25  # closure below which it ends
    PINCH = (0.3, 0.06)  # distance between the tips in hand lengths: open, closed
    INDEX = 0.6  # minimum reach of a pinching index finger; in a fist it is smaller
    FIST = (0.85, 0.5)  # mean reach of the four fingers: open, closed
    OUT = 0.75  # minimum reach of an extended finger; an open hand extends all fingers, a fist none
    _closed: float  # how far the hand is closed

    def __init__(self, name: Literal["Pinch", "Drag"]) -> None:
        self._name: Literal["Pinch", "Drag"] = name
        self._since_s: float | None = None
        self._open_s = -math.inf  # last time at which the hand was open

    def __call__(self, now: HandState) -> Iterator[Step]:
        is_active, (smallest, mean, greatest) = self.is_active, now.reach
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
        if is_closed == is_active:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now.time_s
        changes = self._since_s is not None and now.time_s - self._since_s >= self.HOLD_S
        if changes and not is_active:
            self._since_s = None
            yield self._begin(now.palm)
        elif changes:
            yield self._step("end")
            self._start, self._since_s = None, None
        elif is_active:
            yield self._step("progress")

    def _reset(self) -> None:
        self._start = None
        self._since_s = None
        self._open_s = -math.inf

    def _values(self) -> tuple[str, float, float]:
        return self._name, self._closed, 0.0


class Rotations(MotionFinder):
    """Rotation of a pinching hand in the image, as if it turned a knob."""

    BEGIN_RAD = math.radians(20)

    def __init__(self, pinch: Holds) -> None:
        self._pinch = pinch
        self._reset()

    def _reset(self) -> None:
        self._start = None
        self._last_rad: float | None = None
        self._turned = 0.0

    def __call__(self, now: HandState) -> Iterator[Step]:
        if not self._pinch.is_active:
            yield from self.stop("end")
            return
        if self._last_rad is not None:
            self._turned += math.remainder(now.angle_rad - self._last_rad, 2 * math.pi)
        self._last_rad = now.angle_rad
        if self._start is not None:
            yield self._step("progress")
        elif abs(self._turned) >= self.BEGIN_RAD:
            yield self._begin(now.palm)

    def _values(self) -> tuple[str, float, float]:
        return "Rotate", abs(self._turned) / math.pi, self._turned / (2 * math.pi)


class Pushes(MotionFinder):
    """Quick movement of a raised open hand towards the camera."""

    GROWS, WITHIN_S = 1.3, 0.5  # minimum growth of the hand in the image, and the time for it
    ASIDE = 0.6  # maximum sideways movement of the palm in hand lengths
    FAST, STRONGEST = 0.7, 4.0  # logarithmic growth per second: minimum, and the value of strength 1
    BEFORE_S = 0.09  # minimum time between two sizes for a speed
    BACK = 1.1  # maximum ratio to the smallest recent size before the next push
    _size: float  # size at the begin
    _peak: float  # highest speed

    def __init__(self) -> None:
        self._recent: deque[HandState] = deque()
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
        if self.is_active:
            self._peak = max(self._peak, speed)
            if speed < self.FAST:
                yield self._step("end")
                self._start, self._is_done = None, True
            else:
                yield self._step("progress")
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
            self._size, self._peak = smallest.size, speed
            yield self._begin(smallest.palm)

    def _reset(self) -> None:
        self._start = None
        self._recent.clear()

    def _values(self) -> tuple[str, float, float]:
        return "Push", self._peak / self.STRONGEST, self._recent[-1].size / self._size


class Swipes(MotionFinder):
    """Quick straight movement of the palm from rest."""

    SLOW, FAST = (1.5, 7.0)  # maximum speed of rest, minimum peak speed, in hand lengths per second
    FAR = 1.2  # minimum distance in hand lengths
    REST_S, WITHIN_S, LASTS_S, RETURN_S = (0.1, 0.6, 1.2, 0.8)  # rest before, time to begin, duration, return
    BENT = 0.18  # maximum distance from the straight line as a fraction of its length
    ASIDE_RAD = math.radians(30)  # maximum angle to an image axis
    ENDS, STRONGEST = 0.4, 14.0  # fraction of the peak speed at which it ends; speed of strength 1
    _peak: float  # highest speed since the last rest
    _name: str

    def __init__(self) -> None:
        self._still_s: float | None = None
        self._path: list[tuple[float, complex]] = []  # path since the last rest
        self._last: tuple[float, str] | None = None

    def __call__(self, now: HandState) -> Iterator[Step]:
        speed = abs(now.velocity)
        if self.is_active:
            yield from self._continue(now, speed)
            return
        if speed < self.SLOW:
            self._still_s = now.time_s if self._still_s is None else self._still_s
            rested = now.time_s - self._still_s >= self.REST_S
            self._path, self._peak = ([(now.time_s, now.palm)] if rested else []), 0.0
            return
        self._still_s = None
        if not self._path:
            return
        self._path.append((now.time_s, now.palm))
        self._peak = max(self._peak, speed)
        if now.time_s - self._path[0][0] > self.WITHIN_S:
            self._path = []
        elif self._peak >= self.FAST and self._moved >= self.FAR and self._is_straight():
            quarters = cmath.phase(self._path[-1][1] - self._path[0][1]) / (math.pi / 2)
            aside_rad = abs(quarters - round(quarters)) * math.pi / 2
            self._name = SWIPES[round(quarters) % 4] if aside_rad <= self.ASIDE_RAD else ""
            if self._name and not self._is_return(now):
                yield self._begin(self._path[0][1])
            else:
                self._path = []

    def _reset(self) -> None:
        self._start = None
        self._path = []
        self._still_s = None

    def _continue(self, now: HandState, speed: float) -> Iterator[Step]:
        before = self._moved
        self._path.append((now.time_s, now.palm))
        self._peak = max(self._peak, speed)
        if speed > self.ENDS * self._peak and self._moved >= before:
            if self._is_straight() and now.time_s - self._path[0][0] <= self.LASTS_S:
                yield self._step("progress")
            else:
                yield from self.stop()
            return
        self._last = now.time_s, self._name
        yield from self.stop("end")

    @property
    def _moved(self) -> float:
        return abs(self._path[-1][1] - self._path[0][1])

    def _is_straight(self) -> bool:
        start, end = self._path[0][1], self._path[-1][1]
        along = (end - start) / self._moved
        return max(abs(((item - start) / along).imag) for _, item in self._path) <= self.BENT * self._moved

    def _is_return(self, now: HandState) -> bool:
        """Check whether the hand only returns to the start of a swipe."""
        if self._last is None or now.time_s - self._last[0] > self.RETURN_S:
            return False
        return (SWIPES.index(self._name) - SWIPES.index(self._last[1])) % 4 == 2

    def _values(self) -> tuple[str, float, float]:
        return self._name, self._peak / self.STRONGEST, 0.0


class _Turn(NamedTuple):
    """Reversal of a waving hand."""

    time_s: float
    position: complex
    spread: float  # range of y since the previous reversal
    is_up: bool


class Waves(MotionFinder):
    """Movement of the fingertips of a raised open hand to and fro."""

    BACK, FURTHER = 0.2, 0.05  # minimum movement of a reversal, and of an advance beyond noise
    LEAST, MOST = 0.3, 2.0  # minimum and maximum length of a swing
    WITHIN_S, STILL_S = 0.6, 0.35  # maximum duration of a swing, and of rest after the last one
    FLAT = 0.35  # maximum height of a swing as a fraction of its length
    TURNS = 3  # reversals until a wave begins
    _low: float  # range of y since the last reversal
    _high: float
    _is_up: bool  # whether the hand was raised since the last reversal
    _swings: int

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._sign = 0
        self._extreme: tuple[float, complex] | None = None
        self._turns: list[_Turn] = []
        self._start = None

    def __call__(self, now: HandState) -> Iterator[Step]:
        if self._extreme is None:
            self._extreme = now.time_s, now.tips
            self._low = self._high = now.tips.imag
            self._is_up = now.is_up
        self._low, self._high = min(self._low, now.tips.imag), max(self._high, now.tips.imag)
        self._is_up &= now.is_up
        ahead = (now.tips - self._extreme[1]).real
        if self._sign == 0:
            if abs(ahead) >= self.BACK:
                self._sign = 1 if ahead > 0 else -1
        elif ahead * self._sign >= self.FURTHER:
            self._extreme = now.time_s, now.tips
        elif ahead * self._sign <= -self.BACK:
            self._turn(now)
            if self._start is not None:
                self._swings += 1
            elif self._is_wave():
                self._swings = self.TURNS
                yield self._begin(now.palm)
                return
        if not self.is_active:
            return
        if now.time_s - self._extreme[0] > self.STILL_S or not self._is_wave():
            yield from self.stop("end")
        else:
            yield self._step("progress")

    def _turn(self, now: HandState) -> None:
        assert self._extreme is not None
        self._turns.append(_Turn(*self._extreme, self._high - self._low, self._is_up))
        del self._turns[: -self.TURNS]
        self._sign, self._extreme = -self._sign, (now.time_s, now.tips)
        self._low = self._high = now.tips.imag
        self._is_up = now.is_up

    def _is_wave(self) -> bool:
        if len(self._turns) < self.TURNS:
            return False
        swings = list(zip(self._turns, self._turns[1:], strict=False))
        return all(
            self.LEAST <= abs((b.position - a.position).real) <= self.MOST
            and b.time_s - a.time_s <= self.WITHIN_S
            and b.spread <= self.FLAT * abs((b.position - a.position).real)
            and b.is_up
            for a, b in swings
        )

    def _values(self) -> tuple[str, float, float]:
        width = abs((self._turns[-1].position - self._turns[-2].position).real)
        return "Wave", width, self._swings


class Circles(MotionFinder):
    """Circular movement of the tip of the index finger."""

    STEP = 0.12  # minimum movement between two points of the path; noise is smaller
    WITHIN_S, STILL_S = 2.5, 0.3  # maximum duration of a turn, and of rest
    RADIUS = 0.3  # minimum radius in hand lengths
    INDEX = 0.6  # minimum reach of the index finger; a fist may circle for other reasons
    ROUND = 0.3  # maximum standard deviation of the radii as a fraction of their mean
    LONG = 0.6  # maximum elongation, 0 for a circle and 1 for a line; an ellipse with axes 2:1 has 0.6
    RING = (0.4, 1.8)  # range of distances from the centre, in radii, in which the circle continues
    TURN_RAD = 2 * math.pi * 0.95
    _middle: complex
    _radius: float
    _turned: float  # angle in radians

    def __init__(self) -> None:
        self._path: deque[tuple[float, complex]] = deque()

    def __call__(self, now: HandState) -> Iterator[Step]:
        path = self._path
        if now.index_reach < self.INDEX:
            yield from self.stop("end")
            return
        while path and now.time_s - path[0][0] > self.WITHIN_S:
            path.popleft()
        is_new = not path or abs(now.tip - path[-1][1]) >= self.STEP
        if is_new:
            path.append((now.time_s, now.tip))
        if not self.is_active:
            if is_new and self._find():
                yield self._begin(now.palm)
            return
        if is_new and len(path) > 2:
            self._turned += _turn_rad(*(point for _, point in list(path)[-3:]))
            self._find(renew=True)
        off = abs(now.tip - self._middle) / self._radius
        is_still = not path or now.time_s - path[-1][0] > self.STILL_S
        if is_still or not self.RING[0] <= off <= self.RING[1]:
            yield from self.stop("end")
        else:
            yield self._step("progress")

    def _reset(self) -> None:
        self._path.clear()
        self._start = None

    def _find(self, *, renew: bool = False) -> bool:
        """Fit a circle to the last turn of the path. Return whether it is round, its centre and its radius."""
        points = [point for _, point in self._path]
        turned = 0.0
        for first in range(len(points) - 3, -1, -1):
            turned += _turn_rad(*points[first : first + 3])
            if abs(turned) >= self.TURN_RAD:
                last = np.array(points[first + 1 :])
                middle = complex(last.mean())
                around = last - middle
                radii = np.abs(around)
                radius = float(radii.mean())
                long = abs((around**2).mean()) / (radii**2).mean()  # 0 for a circle, 1 for a line
                is_round = radius >= self.RADIUS and radii.std() <= self.ROUND * radius and long <= self.LONG
                if is_round:
                    self._middle, self._radius = middle, radius
                    self._turned = self._turned if renew else turned
                return bool(is_round)
        return False

    def _values(self) -> tuple[str, float, float]:
        name = CIRCLES[0] if self._turned > 0 else CIRCLES[1]  # y is down: x to y is clockwise
        return name, self._radius, abs(self._turned) / (2 * math.pi)


def _turn_rad(a: complex, b: complex, c: complex) -> float:
    return cmath.phase((c - b) / (b - a)) if a != b else 0.0
