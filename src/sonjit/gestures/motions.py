"""Follow a hand, or a pair of hands, and find its motions."""

import cmath
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np

from sonjit._util import InputError
from sonjit.gestures import custom_motions
from sonjit.gestures.classifier import PALM
from sonjit.gestures.custom_motions import GAP_S, LENGTH_S
from sonjit.gestures.motion_finders import Circles, HandState, Holds, Pushes, Rotations, Step, Swipes, Waves
from sonjit.results import Hand, Handedness, MotionEvent, Phase
from sonjit.results.measures import finger_reach, hand_length_m, pinch_distance_m

_TIPS: Final = [8, 12, 16, 20]
_JUMP_PER_S: Final = 40.0  # maximum speed in hand lengths per second. Beyond it the hand was lost: its path restarts.
_VELOCITY_S: Final = 0.05  # minimum time between two positions for a velocity
_UP, _OUT = 0.3, 0.7
"""Minimum height of the fingertips above the wrist in hand lengths, and minimum reach of a finger, of a raised hand."""
_Key: TypeAlias = "tuple[int, Handedness]"


class HandTrack:
    """Path and motions of one hand."""

    palm: complex

    def __init__(self) -> None:
        self.time_s = -math.inf
        self.pinch, self.swipes = Holds("Pinch"), Swipes()
        self._length = 0.0
        self._pixels = np.zeros(3, np.complex128)
        self._positions = np.zeros(3, np.complex128)
        self._recent: deque[tuple[float, complex]] = deque()
        holds = self.pinch, Holds("Drag"), Rotations(self.pinch)
        self._motions = (self.swipes, Waves(), Circles(), *holds, Pushes())

    def distance_to(self, other: "HandTrack") -> float:
        """Return the distance of the palms in the image, in hand lengths."""
        return float(2 * abs(self._pixels[0] - other._pixels[0]) / (self._length + other._length))

    def follow(self, hand: Hand, time_s: float) -> Iterator[Step]:
        """Return the motion steps of the next frame."""
        image, world = hand.gesture_points
        points = image.astype(np.float64)
        flat = points[:, 0] + 1j * points[:, 1]
        pixels = np.array([flat[PALM].mean(), flat[8], flat[_TIPS].mean()])
        length, elapsed = float(hand_length_m(points)), time_s - self.time_s
        if not length > 0:
            return
        self._length += (length - self._length) * -math.expm1(-elapsed / LENGTH_S)
        steps = (pixels - self._pixels) / self._length
        if elapsed > GAP_S or abs(steps[0]) > _JUMP_PER_S * elapsed > 0:
            yield from self.stop()
            steps[:] = 0
            self._recent.clear()
        self._positions += steps
        self._pixels, self.time_s = pixels, time_s
        palm, index, tips = self._positions.tolist()
        self.palm = palm
        reach = finger_reach(world)[1:]
        up = -(flat[_TIPS].mean() - flat[0]).imag / self._length
        seen = HandState(
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
        for motion in self._motions:
            yield from motion(seen)

    def stop(self) -> Iterator[Step]:
        """End all motions of a lost hand."""
        for motion in self._motions:
            yield from motion.stop()

    def _velocity(self, time_s: float, palm: complex) -> complex:
        recent = self._recent
        while len(recent) > 1 and time_s - recent[1][0] >= _VELOCITY_S:
            recent.popleft()
        recent.append((time_s, palm))
        then_s, then = recent[0]
        return (palm - then) / (time_s - then_s) if time_s > then_s else 0j


class HandPair:
    """Motions of two hands: zooms of two pinches, and claps."""

    NEAR, PART = 0.8, 1.1  # maximum distance of the palms at a clap, and minimum distance after it
    FAST, WITHIN_S = 5.0, 0.3  # minimum speed in hand lengths per second, and the time within which it occurs
    STRONGEST, BEFORE_S = 15.0, 0.06  # speed of strength 1; minimum time for a speed
    CLOSED = 0.4  # minimum decrease of the distance
    LEAST_APART = 0.1  # minimum distance from which a zoom is measured
    HIDDEN = 1.5  # maximum distance at which a quick hand is lost because the other occludes it
    _start: complex  # position of the first palm
    _distance: float  # distance of the palms

    def __init__(self) -> None:
        self._zoom: tuple[complex, float] | None = None
        self._clap: complex | None = None
        self._recent: deque[tuple[float, float, float]] = deque()  # time, distance, speed

    def __call__(self, hand: HandTrack, other: HandTrack) -> Iterator[Step]:
        self._start, distance = hand.palm, hand.distance_to(other)
        if hand.pinch.is_active and other.pinch.is_active:
            is_new = self._zoom is None
            self._zoom = self._zoom or (hand.palm, max(distance, self.LEAST_APART))
            self._distance = distance
            yield self._zoom_step("begin" if is_new else "progress")
        elif self._zoom is not None:
            yield self._zoom_step("end")
            self._zoom = None
        self._distance = distance
        recent = self._recent
        while recent and hand.time_s - recent[0][0] > self.WITHIN_S:
            recent.popleft()
        before = (both[:2] for both in reversed(recent) if hand.time_s - both[0] >= self.BEFORE_S)
        then_s, then = next(before, (-math.inf, 0.0))
        recent.append((hand.time_s, distance, (then - distance) / (hand.time_s - then_s)))
        if self._clap is not None and distance > self.PART:
            yield self._clap_step("end")
            self._clap = None
        elif self._clap is None and distance <= self.NEAR and self._is_fast():
            self._clap = hand.palm
            yield self._clap_step("begin")

    def stop(self) -> Iterator[Step]:
        if self._zoom is not None:
            yield self._zoom_step("cancel")
        if self._clap is None and self._distance <= self.HIDDEN and self._is_fast():
            self._clap = self._start
            yield self._clap_step("begin")
        if self._clap is not None:
            yield self._clap_step("end")

    def _is_fast(self) -> bool:
        closed = max(distance for _, distance, _ in self._recent) - self._distance
        return closed >= self.CLOSED and max(speed for _, _, speed in self._recent) >= self.FAST

    def _zoom_step(self, phase: Phase) -> Step:
        assert self._zoom is not None
        return Step("Zoom", phase, 1.0, self._zoom[0], self._distance / self._zoom[1])

    def _clap_step(self, phase: Phase) -> Step:
        assert self._clap is not None
        return Step("Clap", phase, min(1.0, max(speed for _, _, speed in self._recent) / self.STRONGEST), self._clap)


class MotionRecognizer:
    """Recognize the motions of hands, frame by frame.

    Args:
        forget_s: Seconds without a detection after which a hand is forgotten and its motions are cancelled.
        custom: Additional motions to report, or None. Each is one event, its end, 0.12 s after the motion.

    Raises:
        InputError: The duration is not positive.

    Example:
        >>> recognizer = MotionRecognizer()
        >>> for frame in sonjit.track("clip.mp4", "hands"):
        ...     for event in recognizer(frame.hands, frame.time):
        ...         if event.phase == "end":
        ...             print(event.name, event.id)  # Swipe_Left 0
    """

    def __init__(self, forget_s: float = 0.5, *, custom: custom_motions.CustomMotions | None = None) -> None:
        if not forget_s > 0:
            raise InputError(f"MotionRecognizer: forget_s={forget_s}: give more than 0 seconds")
        self._forget_s = forget_s
        self._time_s = -math.inf
        self._tracks: dict[_Key, HandTrack] = {}
        self._pair: tuple[_Key, _Key, HandPair] | None = None
        self._spotter = None if custom is None else custom_motions.MotionSpotter(custom, forget_s)

    def reset(self) -> None:
        """Forget every hand before another stream."""
        self._tracks.clear()
        self._pair = None
        self._time_s = -math.inf
        if self._spotter is not None:
            self._spotter.reset()

    def __call__(self, hands: Sequence[Hand], time_s: float | None) -> list[MotionEvent]:
        """Return the events of one frame.

        Args:
            hands: All hands of the frame, with their ids.
            time_s: Time of the frame in seconds. It never decreases between calls.

        Raise InputError if a hand has no id, the frame has no time, or the time decreases.
        """
        self._time_s = time_s = custom_motions.time_of(hands, time_s, self._time_s)
        events: list[MotionEvent] = []
        for hand in hands:
            assert hand.id is not None
            key = hand.id, hand.handedness  # a person's two sides share an id
            if all(np.isfinite(points).all() for points in hand.gesture_points):
                track = self._tracks.setdefault(key, HandTrack())
                events += [_event(key, time_s, track, item) for item in track.follow(hand, time_s)]
        events += self._pair_events(time_s)
        for key in [key for key, item in self._tracks.items() if time_s - item.time_s > self._forget_s]:
            track = self._tracks.pop(key)
            events += [_event(key, time_s, track, item) for item in track.stop()]
        motions = [] if self._spotter is None else self._spotter(hands, time_s)
        return events + [_custom_event(item, time_s) for item in motions]

    def finish(self) -> list[MotionEvent]:
        """End all hands at the end of a video and return the events."""
        lost = [_event(key, self._time_s, track, item) for key, track in self._tracks.items() for item in track.stop()]
        if self._pair is not None:
            first, _, pair = self._pair
            lost += [_event(first, self._time_s, self._tracks[first], item) for item in pair.stop()]
        motions = [] if self._spotter is None else self._spotter.finish()
        events = lost + [_custom_event(item, self._time_s) for item in motions]
        self.reset()
        return events

    def _pair_events(self, time_s: float) -> Iterator[MotionEvent]:
        """Yield the events of a pair of hands."""
        keys = sorted(key for key, item in self._tracks.items() if item.time_s == time_s)
        if self._pair is not None and list(self._pair[:2]) != keys:
            first, _, pair = self._pair
            track = self._tracks[first]
            yield from (_event(first, time_s, track, item) for item in pair.stop())
            self._pair = None
        if len(keys) != 2:
            return
        self._pair = self._pair or (keys[0], keys[1], HandPair())
        first, second, pair = self._pair
        tracks = self._tracks[first], self._tracks[second]
        for step in pair(*tracks):
            if (step.name, step.phase) == ("Clap", "begin"):  # the hands came quickly, and did not swipe
                for key, track in zip((first, second), tracks, strict=True):
                    yield from (_event(key, time_s, track, item) for item in track.swipes.stop())
            yield _event(first, time_s, tracks[0], step)


def _event(key: _Key, time_s: float, track: HandTrack, step: Step) -> MotionEvent:
    moved = track.palm - step.start
    offset = (moved.real, moved.imag)
    return MotionEvent(step.name, step.phase, *key, time_s, step.strength, offset, step.rounds)


def _custom_event(segment: custom_motions.GestureSegment, time_s: float) -> MotionEvent:
    return MotionEvent(segment.name, "end", segment.id, segment.handedness, time_s, segment.score, (0.0, 0.0), 0.0)
