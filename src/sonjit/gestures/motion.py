"""Motions of tracked hands: swipes, waves, pinches, claps and others, as events with a begin and an end.

Lengths are in hand lengths (wrist to the tip of the middle finger, along the bones) and durations in seconds, so that
neither the distance to the camera nor the frame rate matters, from 5 frames a second on.
"""

from __future__ import annotations

import cmath
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from sonjit.errors import InputError
from sonjit.measures import finger_reach, hand_length_m, pinch_distance_m

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Protocol

    from sonjit.json_text import JsonObject
    from sonjit.results import Hand, Handedness

    class _Watch(Protocol):
        def __call__(self, now: _Seen) -> Iterator[_Step]: ...

        def stop(self) -> Iterator[_Step]: ...


Phase: TypeAlias = Literal["begin", "progress", "end", "cancel"]

_SWIPES: Final = ("Swipe_Right", "Swipe_Down", "Swipe_Left", "Swipe_Up")  # by quarter turns from the x axis to y
_CIRCLES: Final = ("Circle_Clockwise", "Circle_Counterclockwise")
MOTIONS: Final = (*_SWIPES, "Wave", *_CIRCLES, "Pinch", "Drag", "Rotate", "Push", "Zoom", "Clap")
"""Every name of a motion; directions are those in the image."""

_PALM: Final = [0, 5, 9, 13, 17]
_TIPS: Final = [8, 12, 16, 20]
_LENGTH_S: Final = 0.5
"""Time constant of the hand's length, which noise and foreshortening change."""
_GAP_S: Final = 0.25
_JUMP_PER_S: Final = 40.0
"""Hands that were not seen for longer, or moved faster, were lost: their way so far says nothing."""
_VELOCITY_S: Final = 0.05
"""Least time between two places that a velocity is taken from."""


@dataclass(frozen=True, slots=True)
class MotionEvent:
    """One step of a motion of one hand.

    Attributes:
        name: one of `MOTIONS`.
        phase: `begin`, then `progress` with every frame, then `end`; `cancel` in place of `end` where the hand was lost
            or what began as a swipe became another movement.
        id: of the hand; of two the one that is tracked longest.
        handedness: of the hand.
        time: seconds.
        strength: 0..1: speed of a swipe, push or clap, size of a wave or circle, how far a pinch or fist is closed.
        moved: hand lengths to the right and down in the image since the motion began.
        count: turns of a circle, and of a rotation, clockwise positive; single swings of a wave; of a zoom the distance
            of the hands, of a push the size of the hand, both over that at the begin; else 0.
    """

    name: str
    phase: Phase
    id: int
    handedness: Handedness
    time: float
    strength: float
    moved: tuple[float, float]
    count: float

    def to_dict(self) -> JsonObject:
        """As plain JSON types."""
        return {
            "name": self.name,
            "phase": self.phase,
            "id": self.id,
            "handedness": self.handedness,
            "time": round(self.time, 4),
            "strength": round(self.strength, 3),
            "moved": [round(one, 3) for one in self.moved],
            "count": round(self.count, 2),
        }


class MotionRecognizer:
    """Recognizes the motions of hands, frame by frame.

    Args:
        forget_s: a hand not seen for this long is forgotten, and its motions are cancelled.

    Raises:
        InputError: the duration is not positive.

    Example:
        >>> recognizer = MotionRecognizer()
        >>> for frame in sonjit.track("clip.mp4", "hands"):
        ...     for event in recognizer(frame.hands, frame.time):
        ...         if event.phase == "end":
        ...             print(event.name, event.id)  # Swipe_Left 0
    """

    def __init__(self, forget_s: float = 0.5) -> None:
        if not forget_s > 0:
            raise InputError(f"MotionRecognizer: forget_s={forget_s}: give more than 0 seconds")
        self._forget_s = forget_s
        self._time_s = -math.inf
        self._tracks: dict[_Key, _Track] = {}
        self._pair: tuple[_Key, _Key, _Pair] | None = None

    def reset(self) -> None:
        """Forget every hand, before another video."""
        self._tracks.clear()
        self._pair = None
        self._time_s = -math.inf

    def __call__(self, hands: Iterable[Hand], time_s: float | None) -> list[MotionEvent]:
        """The events of one frame.

        Args:
            hands: all of the frame, with their ids.
            time_s: of the frame in seconds, not smaller than at any call before.

        Raises:
            InputError: a still's hand, without an id or a time, or time that runs backwards.
        """
        if time_s is None or any(hand.id is None for hand in hands):
            raise InputError("motions are those of a video or camera: give hands with an id, and the frame's time")
        if time_s < self._time_s:
            raise InputError(f"time runs backwards: {time_s} s after {self._time_s} s; reset() before another video")
        self._time_s = time_s
        events: list[MotionEvent] = []
        for hand in hands:
            key = (hand.id or 0, hand.handedness)  # a person's two sides share an id
            if np.isfinite(hand.keypoints).all() and np.isfinite(hand.keypoints_3d).all():
                track = self._tracks.setdefault(key, _Track())
                events += [_event(key, time_s, track, one) for one in track.follow(hand, time_s)]
        events += self._paired(time_s)
        for key in [key for key, one in self._tracks.items() if time_s - one.time_s > self._forget_s]:
            track = self._tracks.pop(key)
            events += [_event(key, time_s, track, one) for one in track.stop()]
        return events

    def _paired(self, time_s: float) -> Iterator[MotionEvent]:
        """The events of two hands, where there are two."""
        keys = sorted(key for key, one in self._tracks.items() if one.time_s == time_s)
        if self._pair is not None and list(self._pair[:2]) != keys:
            first, _, pair = self._pair
            track = self._tracks[first]
            yield from (_event(first, time_s, track, one) for one in pair.stop())
            self._pair = None
        if len(keys) != 2:
            return
        self._pair = self._pair or (keys[0], keys[1], _Pair())
        first, second, pair = self._pair
        tracks = self._tracks[first], self._tracks[second]
        for step in pair(*tracks):
            if (step.name, step.phase) == ("Clap", "begin"):  # the hands came quickly, and did not swipe
                for key, track in zip((first, second), tracks, strict=True):
                    yield from (_event(key, time_s, track, one) for one in track.swipes.stop())
            yield _event(first, time_s, tracks[0], step)


_Key: TypeAlias = "tuple[int, Handedness]"


class _Step(NamedTuple):
    name: str
    phase: Phase
    strength: float
    start: complex  # of the palm
    rounds: float = 0.0


def _event(key: _Key, time_s: float, track: _Track, step: _Step) -> MotionEvent:
    moved = track.palm - step.start
    place = (moved.real, moved.imag)
    return MotionEvent(step.name, step.phase, *key, time_s, step.strength, place, step.rounds)


class _Seen(NamedTuple):
    """One hand in one frame; places are complex numbers, x + iy in hand lengths from where the hand was first seen."""

    time_s: float
    palm: complex
    velocity: complex  # of the palm, per second
    tip: complex  # of the index finger
    tips: complex  # middle of the four fingers' tips
    is_up: bool  # the fingers are out and point up in the image
    reach: float  # of that of the four fingers that is farthest out; 1 is stretched
    index_reach: float
    pinch: float  # between the tips of thumb and index finger
    size: float  # length in pixels
    angle_rad: float  # of the palm in the image, clockwise


class _Track:
    """One hand over time."""

    def __init__(self) -> None:
        self.time_s = -math.inf
        self.palm = 0j
        self.pinch, self.swipes = _Holds("Pinch"), _Swipes()
        self._length = 0.0
        self._pixels = np.zeros(3, np.complex128)
        self._places = np.zeros(3, np.complex128)
        self._lately: deque[tuple[float, complex]] = deque()
        holds = self.pinch, _Holds("Drag"), _Rotations(self.pinch)
        self._watches: tuple[_Watch, ...] = (self.swipes, _Waves(), _Circles(), *holds, _Pushes())

    def apart(self, other: _Track) -> float:
        """From palm to palm in the image, in hand lengths."""
        return float(2 * abs(self._pixels[0] - other._pixels[0]) / (self._length + other._length))

    def follow(self, hand: Hand, time_s: float) -> Iterator[_Step]:
        """The steps of motions in the next frame."""
        points, world = hand.keypoints.astype(np.float64), hand.keypoints_3d
        flat = points[:, 0] + 1j * points[:, 1]
        pixels = np.array([flat[_PALM].mean(), flat[8], flat[_TIPS].mean()])
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
        seen = _Seen(
            time_s, palm, self._velocity(time_s, palm), index, tips, bool(up > 0.3 and reach.min() > 0.7),
            float(reach.max()), float(reach[0]), float(pinch_distance_m(world)[0] / hand_length_m(world)),
            length, cmath.phase(flat[9] - flat[0]),
        )  # fmt: skip
        for watch in self._watches:
            yield from watch(seen)

    def stop(self) -> Iterator[_Step]:
        """The hand was lost."""
        for watch in self._watches:
            yield from watch.stop()

    def _velocity(self, time_s: float, palm: complex) -> complex:
        lately = self._lately
        lately.append((time_s, palm))
        while len(lately) > 2 and time_s - lately[1][0] >= _VELOCITY_S:
            lately.popleft()
        then_s, then = lately[0]
        return (palm - then) / (time_s - then_s) if time_s > then_s else 0j


class _Swipes:
    """A quick straight movement of the palm out of rest."""

    SLOW, FAST = 1.5, 7.0  # hand lengths per second: reaching for something stays below the second
    FAR = 1.2
    REST_S, WITHIN_S, RETURN_S = 0.1, 0.6, 0.8
    BENT = 0.18  # greatest distance from the straight line, of its length
    ASIDE_RAD = math.radians(30)

    def __init__(self) -> None:
        self._still_s: float | None = None
        self._way: list[tuple[float, complex]] = []  # since the last rest
        self._peak = 0.0
        self._name: str | None = None
        self._last: tuple[float, str] | None = None

    def __call__(self, now: _Seen) -> Iterator[_Step]:
        speed = abs(now.velocity)
        if self._name is not None:
            yield from self._go_on(now, speed)
            return
        if speed < self.SLOW:
            self._still_s = now.time_s if self._still_s is None else self._still_s
            rested = now.time_s - self._still_s >= self.REST_S
            self._way, self._peak = ([(now.time_s, now.palm)] if rested else []), 0.0
            return
        self._still_s = None
        if not self._way:
            return
        self._way.append((now.time_s, now.palm))
        self._peak = max(self._peak, speed)
        if now.time_s - self._way[0][0] > self.WITHIN_S:
            self._way = []
        elif self._peak >= self.FAST and self._moved >= self.FAR and self._is_straight():
            self._name = self._direction()
            if self._name is not None and not self._is_return(now):
                yield self._step("begin")
            else:
                self._name, self._way = None, []

    def stop(self) -> Iterator[_Step]:
        if self._name is not None:
            yield self._step("cancel")
        self._name, self._way, self._still_s = None, [], None

    def _go_on(self, now: _Seen, speed: float) -> Iterator[_Step]:
        before = self._moved
        self._way.append((now.time_s, now.palm))
        self._peak = max(self._peak, speed)
        if speed > 0.4 * self._peak and self._moved >= before:
            if self._is_straight() and now.time_s - self._way[0][0] <= 2 * self.WITHIN_S:
                yield self._step("progress")
            else:
                yield from self.stop()
            return
        assert self._name is not None
        yield self._step("end")
        self._last = now.time_s, self._name
        self._name, self._way = None, []

    @property
    def _moved(self) -> float:
        return abs(self._way[-1][1] - self._way[0][1])

    def _is_straight(self) -> bool:
        start, end = self._way[0][1], self._way[-1][1]
        along = (end - start) / self._moved
        return max(abs(((one - start) / along).imag) for _, one in self._way) <= self.BENT * self._moved

    def _direction(self) -> str | None:
        quarters = cmath.phase(self._way[-1][1] - self._way[0][1]) / (math.pi / 2)
        aside = abs(quarters - round(quarters)) * math.pi / 2
        return _SWIPES[round(quarters) % 4] if aside <= self.ASIDE_RAD else None

    def _is_return(self, now: _Seen) -> bool:
        """Whether the hand only goes back to where a swipe came from."""
        if self._last is None or self._name is None or now.time_s - self._last[0] > self.RETURN_S:
            return False
        return (_SWIPES.index(self._name) - _SWIPES.index(self._last[1])) % 4 == 2

    def _step(self, phase: Phase) -> _Step:
        assert self._name is not None
        return _Step(self._name, phase, min(1.0, self._peak / (2 * self.FAST)), self._way[0][1])


class _Turn(NamedTuple):
    """Where the hand of a wave turned back."""

    time_s: float
    place: complex
    spread: float  # of y on the way there
    is_up: bool


class _Waves:
    """The fingertips of a raised open hand to and fro."""

    BACK, FURTHER = 0.2, 0.05  # so far back is a turn; so far on is no noise
    LEAST, MOST = 0.3, 2.0  # length of a swing
    WITHIN_S, STILL_S = 0.6, 0.35  # a swing, and rest after the last one
    FLAT = 0.35  # height of a swing, of its length
    TURNS = 3

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._sign = 0
        self._extreme: tuple[float, complex] | None = None
        self._low = self._high = 0.0
        self._is_up = True
        self._turns: list[_Turn] = []
        self._start: complex | None = None
        self._swings = 0

    def __call__(self, now: _Seen) -> Iterator[_Step]:
        if self._extreme is None:
            self._extreme = now.time_s, now.tips
            self._low = self._high = now.tips.imag
        self._low, self._high = min(self._low, now.tips.imag), max(self._high, now.tips.imag)
        self._is_up &= now.is_up
        ahead = (now.tips - self._extreme[1]).real
        if self._sign == 0:
            self._sign = 0 if abs(ahead) < self.BACK else 1 if ahead > 0 else -1
        elif ahead * self._sign >= self.FURTHER:
            self._extreme = now.time_s, now.tips
        elif ahead * self._sign <= -self.BACK:
            self._turn(now)
            if self._start is not None:
                self._swings += 1
            elif self._is_wave():
                self._start, self._swings = now.palm, self.TURNS
                yield self._step("begin")
                return
        if self._start is None:
            return
        if now.time_s - self._extreme[0] > self.STILL_S or not self._is_wave():
            yield self._step("end")
            self._reset()
        else:
            yield self._step("progress")

    def stop(self) -> Iterator[_Step]:
        if self._start is not None:
            yield self._step("cancel")
        self._reset()

    def _turn(self, now: _Seen) -> None:
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
            self.LEAST <= abs((b.place - a.place).real) <= self.MOST
            and b.time_s - a.time_s <= self.WITHIN_S
            and b.spread <= self.FLAT * abs((b.place - a.place).real)
            and b.is_up
            for a, b in swings
        )

    def _step(self, phase: Phase) -> _Step:
        assert self._start is not None
        width = abs((self._turns[-1].place - self._turns[-2].place).real)
        return _Step("Wave", phase, min(1.0, width), self._start, self._swings)


class _Circles:
    """The tip of the index finger, or the whole hand with it, round and round."""

    STEP = 0.12  # noise is smaller
    WITHIN_S, STILL_S = 2.5, 0.3
    RADIUS = 0.25
    ROUND = 0.3  # standard deviation of the distances from the middle, of their mean
    LONG = 0.6  # an ellipse of which one axis is twice the other
    RING = (0.4, 1.8)  # of the radius, where the circle goes on
    TURN_RAD = 2 * math.pi * 0.95

    def __init__(self) -> None:
        self._way: deque[tuple[float, complex]] = deque()
        self._start: complex | None = None
        self._middle, self._radius, self._turned = 0j, 0.0, 0.0

    def __call__(self, now: _Seen) -> Iterator[_Step]:
        way = self._way
        while way and now.time_s - way[0][0] > self.WITHIN_S:
            way.popleft()
        is_new = not way or abs(now.tip - way[-1][1]) >= self.STEP
        if is_new:
            way.append((now.time_s, now.tip))
        if self._start is None:
            if is_new and self._find():
                self._start = now.palm
                yield self._step("begin")
            return
        if is_new and len(way) > 2:
            self._turned += _turn_rad(*(place for _, place in list(way)[-3:]))
            self._find(renew=True)
        off = abs(now.tip - self._middle) / self._radius
        is_still = not way or now.time_s - way[-1][0] > self.STILL_S
        if is_still or not self.RING[0] <= off <= self.RING[1]:
            yield self._step("end")
            self._reset()
        else:
            yield self._step("progress")

    def stop(self) -> Iterator[_Step]:
        if self._start is not None:
            yield self._step("cancel")
        self._reset()

    def _reset(self) -> None:
        self._way.clear()
        self._start = None

    def _find(self, *, renew: bool = False) -> bool:
        """Whether the last turn of the way is round; its middle and radius."""
        places = [place for _, place in self._way]
        turned = 0.0
        for first in range(len(places) - 3, -1, -1):
            turned += _turn_rad(*places[first : first + 3])
            if abs(turned) >= self.TURN_RAD:
                last = np.array(places[first + 1 :])
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

    def _step(self, phase: Phase) -> _Step:
        assert self._start is not None
        name = _CIRCLES[0] if self._turned > 0 else _CIRCLES[1]  # y is down: x to y is clockwise
        return _Step(name, phase, min(1.0, self._radius), self._start, abs(self._turned) / (2 * math.pi))


def _turn_rad(a: complex, b: complex, c: complex) -> float:
    return cmath.phase((c - b) / (b - a)) if a != b else 0.0


class _Holds:
    """A pinch of thumb and index finger, or a fist made of an open hand that drags until it opens."""

    HOLD_S = 0.1
    # how far it is closed, 0..1: from which it begins, and ends
    BEGIN: Final = {"Pinch": 0.8, "Drag": 0.6}  # of relaxed hands thumb and index finger come near too
    END = 0.25
    PINCH = (0.3, 0.06)  # hand lengths between the tips: open, closed
    INDEX = 0.6  # least reach of a pinching index finger; in a fist it is smaller
    FIST = (0.85, 0.5)  # reach of the finger that is farthest out: open, closed

    def __init__(self, name: Literal["Pinch", "Drag"]) -> None:
        self._name: Literal["Pinch", "Drag"] = name
        self._start: complex | None = None
        self._since_s: float | None = None
        self._closed = 0.0
        self._was_open = False

    @property
    def is_held(self) -> bool:
        """Whether it began and did not end."""
        return self._start is not None

    def __call__(self, now: _Seen) -> Iterator[_Step]:
        is_held = self._start is not None
        value, (opened, shut) = (now.pinch, self.PINCH) if self._name == "Pinch" else (now.reach, self.FIST)
        self._closed = min(1.0, max(0.0, (opened - value) / (opened - shut)))
        if self._name == "Pinch" and not is_held and now.index_reach < self.INDEX:
            self._closed = 0.0
        self._was_open |= self._closed < self.END
        wants = self._closed > (self.END if is_held else self.BEGIN[self._name]) and self._was_open
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

    def stop(self) -> Iterator[_Step]:
        if self._start is not None:
            yield self._step("cancel")
        self._start, self._since_s, self._was_open = None, None, False

    def _step(self, phase: Phase) -> _Step:
        assert self._start is not None
        return _Step(self._name, phase, self._closed, self._start)


class _Rotations:
    """A pinching hand that turns in the image, as if it held a knob."""

    BEGIN_RAD = math.radians(20)

    def __init__(self, pinch: _Holds) -> None:
        self._pinch = pinch
        self._start: complex | None = None
        self._last_rad: float | None = None
        self._turned = 0.0

    def __call__(self, now: _Seen) -> Iterator[_Step]:
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

    def stop(self) -> Iterator[_Step]:
        if self._start is not None:
            yield self._step("cancel")
        self._start, self._last_rad, self._turned = None, None, 0.0

    def _step(self, phase: Phase) -> _Step:
        assert self._start is not None
        return _Step("Rotate", phase, min(1.0, abs(self._turned) / math.pi), self._start, self._turned / (2 * math.pi))


class _Pushes:
    """A raised open hand that comes quickly towards the camera."""

    GROWS, WITHIN_S = 1.3, 0.5
    ASIDE = 0.6  # greatest way of the palm meanwhile
    FAST = 0.7  # logarithm of the size, per second; slower is the end

    def __init__(self) -> None:
        self._lately: deque[_Seen] = deque()
        self._from: _Seen | None = None
        self._peak = 0.0
        self._is_done = False

    def __call__(self, now: _Seen) -> Iterator[_Step]:
        lately = self._lately
        lately.append(now)
        while now.time_s - lately[0].time_s > self.WITHIN_S:
            lately.popleft()
        before = next((one for one in reversed(lately) if now.time_s - one.time_s >= 0.09), lately[0])
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
        least = min(lately, key=lambda one: one.size)
        if self._is_done:  # until it stays or goes back
            self._is_done = now.size > 1.1 * least.size
        elif (
            speed >= self.FAST
            and now.size >= self.GROWS * least.size
            and all(one.is_up for one in lately)  # a hand that opens looks larger too
            and abs(now.palm - least.palm) <= self.ASIDE
        ):
            self._from, self._peak = least, speed
            yield self._step("begin", now)

    def stop(self) -> Iterator[_Step]:
        if self._from is not None:
            yield self._step("cancel", self._lately[-1])
        self._from, self._is_done = None, False
        self._lately.clear()

    def _step(self, phase: Phase, now: _Seen) -> _Step:
        assert self._from is not None
        return _Step("Push", phase, min(1.0, self._peak / 4), self._from.palm, now.size / self._from.size)


class _Pair:
    """Two hands: pinches that are moved apart or together, and claps."""

    NEAR, PART = 0.8, 1.1  # between the palms at a clap, and after it
    FAST, WITHIN_S = 5.0, 0.3  # hand lengths per second, reached lately: bringing the hands together stays below
    CLOSED = 0.4  # so much nearer meanwhile
    HIDDEN = 1.5  # a hand that comes quickly and is lost so near is behind the other

    def __init__(self) -> None:
        self._zoom: tuple[complex, float] | None = None
        self._clap: complex | None = None
        self._lately: deque[tuple[float, float, float]] = deque()  # time, how far apart, speed
        self._start, self._apart = 0j, 0.0

    def __call__(self, one: _Track, other: _Track) -> Iterator[_Step]:
        self._start, apart = one.palm, one.apart(other)
        if one.pinch.is_held and other.pinch.is_held:
            is_new = self._zoom is None
            self._zoom = self._zoom or (one.palm, max(apart, 0.1))
            self._apart = apart
            yield self._zoomed("begin" if is_new else "progress")
        elif self._zoom is not None:
            yield self._zoomed("end")
            self._zoom = None
        self._apart = apart
        lately = self._lately
        while lately and one.time_s - lately[0][0] > self.WITHIN_S:
            lately.popleft()
        then_s, then = next((both[:2] for both in reversed(lately) if one.time_s - both[0] >= 0.06), (-math.inf, 0.0))
        lately.append((one.time_s, apart, (then - apart) / (one.time_s - then_s)))
        if self._clap is not None and apart > self.PART:
            yield self._clapped("end")
            self._clap = None
        elif self._clap is None and apart <= self.NEAR and self._is_fast():
            self._clap = one.palm
            yield self._clapped("begin")

    def stop(self) -> Iterator[_Step]:
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

    def _zoomed(self, phase: Phase) -> _Step:
        assert self._zoom is not None
        return _Step("Zoom", phase, 1.0, self._zoom[0], self._apart / self._zoom[1])

    def _clapped(self, phase: Phase) -> _Step:
        assert self._clap is not None
        return _Step("Clap", phase, min(1.0, max(speed for _, _, speed in self._lately) / 15), self._clap)
