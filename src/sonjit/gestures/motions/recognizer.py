"""Recognize the motions of all hands in a stream.

`python benchmarks/motions.py` measures the limits of all motions on generated paths, and false motions in ordinary
movement.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sonjit._util.errors import InputError
from sonjit.gestures.custom_motions import MotionSpotter, time_of
from sonjit.gestures.motions.events import Step
from sonjit.gestures.motions.tracks import HandPair, HandTrack
from sonjit.results import MotionEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sonjit.gestures.custom_motions import CustomMotions, GestureSegment
    from sonjit.results import Hand, Handedness


_Key: TypeAlias = "tuple[int, Handedness]"


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

    def __init__(self, forget_s: float = 0.5, *, custom: CustomMotions | None = None) -> None:
        if not forget_s > 0:
            raise InputError(f"MotionRecognizer: forget_s={forget_s}: give more than 0 seconds")
        self._forget_s = forget_s
        self._time_s = -math.inf
        self._tracks: dict[_Key, HandTrack] = {}
        self._pair: tuple[_Key, _Key, HandPair] | None = None
        self._spotter = None if custom is None else MotionSpotter(custom, forget_s)

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

        Raises:
            InputError: A hand has no id, the frame has no time, or the time decreases.
        """
        self._time_s = time_s = time_of(hands, time_s, self._time_s)
        events: list[MotionEvent] = []
        for hand in hands:
            key = (hand.id or 0, hand.handedness)  # a person's two sides share an id
            if all(np.isfinite(points).all() for points in hand.gesture_points):
                track = self._tracks.setdefault(key, HandTrack())
                events += [_event(key, time_s, track, item) for item in track.follow(hand, time_s)]
        events += self._pair_events(time_s)
        for key in [key for key, item in self._tracks.items() if time_s - item.time_s > self._forget_s]:
            track = self._tracks.pop(key)
            events += [_event(key, time_s, track, item) for item in track.stop()]
        found = [] if self._spotter is None else self._spotter(hands, time_s)
        return events + [_custom_event(item, time_s) for item in found]

    def finish(self) -> list[MotionEvent]:
        """End all hands at the end of a video and return the events."""
        lost = [_event(key, self._time_s, track, item) for key, track in self._tracks.items() for item in track.stop()]
        if self._pair is not None:
            first, _, pair = self._pair
            lost += [_event(first, self._time_s, self._tracks[first], item) for item in pair.stop()]
        found = [] if self._spotter is None else self._spotter.finish()
        events = lost + [_custom_event(item, self._time_s) for item in found]
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


def _custom_event(found: GestureSegment, time_s: float) -> MotionEvent:
    return MotionEvent(
        name=found.name,
        phase="end",
        id=found.id,
        handedness=found.handedness,
        time=time_s,
        strength=found.score,
        moved=(0.0, 0.0),
        count=0.0,
    )
