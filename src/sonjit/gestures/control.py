"""Turn gestures, motions and measures of hands into commands by the rules of a map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sonjit.gestures.classifier import gesture_of
from sonjit.gestures.custom_motions import time_of
from sonjit.gestures.features import PALM
from sonjit.gestures.motions.events import MOTIONS
from sonjit.gestures.motions.recognizer import MotionRecognizer
from sonjit.gestures.rules import PLACES, Command, Rule
from sonjit.gestures.smoothing import GestureSmoother
from sonjit.results.measures import measures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sonjit._util.json_text import JsonObject
    from sonjit.gestures.learned import LearnedGestures
    from sonjit.gestures.rules import ControlMap
    from sonjit.results import Hand, MotionEvent, Phase

_COUNTED: Final = ("Rotate", "Zoom")
"""Motions whose value is their count."""
_LOST_S: Final = 1.0
"""Time after which a lost hand starts its gesture again, as in `GestureSmoother`."""
_MIN_VISIBLE_S: Final = 0.25
"""Minimum time that a hand is visible before its gesture counts. A hand that enters the image is often blurred."""
_MIN_PAUSE_INTERVAL_S: Final = 0.3
"""Time within which several hands that make the pause gesture count once."""


@dataclass(slots=True)
class _Follower:
    """Smoothing and dead zone of one rule's number."""

    time_s: float = -math.inf
    value: float = 0.0
    sent: float | None = None

    def follow(self, rule: Rule, value: float, time_s: float) -> float | None:
        """Return the next number to send, or None."""
        elapsed = time_s - self.time_s
        keep = math.exp(-elapsed / rule.smooth_s) if rule.smooth_s > 0 and self.sent is not None else 0.0
        self.value, self.time_s = value + (self.value - value) * keep, time_s
        if self.sent is not None and (abs(self.value - self.sent) < rule.dead_zone or self.value == self.sent):
            return None
        self.sent = self.value
        return self.value


class _RecentHand(NamedTuple):
    """Hand that was visible recently."""

    name: str | None  # of the gesture that it makes
    since_s: float
    time_s: float


class _Event(NamedTuple):
    """Step of a motion, or a custom motion or new gesture, whose phase is None."""

    name: str
    phase: Phase | None
    handedness: str
    value: float
    content: JsonObject


class Controller:
    """Turn the hands of each frame into commands.

    Args:
        control_map: Rules and pause gesture.
        custom: Custom gestures, which take precedence over the shipped ones, or None.

    Attributes:
        is_paused: State of the pause, true while the pause gesture stops all commands.
    """

    def __init__(self, control_map: ControlMap, custom: LearnedGestures | None = None) -> None:
        self._rules, self._pause = control_map
        self.is_paused = False
        self._motions = MotionRecognizer(custom=custom and custom.motions)
        self._gestures = GestureSmoother(classify=gesture_of if custom is None else custom.or_shipped)
        self._hands: dict[int, _RecentHand] = {}
        self._pause_made_s = -math.inf
        self._followers = [_Follower() for _ in self._rules]

    def __call__(
        self,
        hands: Sequence[Hand],
        time_s: float | None,
        size: tuple[int, int],
        motions: Sequence[MotionEvent] | None = None,
    ) -> Iterator[Command]:
        """Yield the commands of a frame in the order of the rules.

        Args:
            hands: All hands of the frame, with their ids.
            time_s: Time of the frame in seconds.
            size: Width and height of the image in pixels.
            motions: Motions of the frame from the detector; None to find them here.

        Raises:
            InputError: A hand has no id, or the frame no time.
        """
        time_s = time_of(hands, time_s, -math.inf)
        events = [
            _event_from(recognized) for recognized in (self._motions(hands, time_s) if motions is None else motions)
        ]
        events += self._new_gestures(hands, time_s)
        if self._is_pause_made(events, time_s):
            self.is_paused = not self.is_paused
        if self.is_paused:
            return
        for rule, follower in zip(self._rules, self._followers, strict=True):
            if rule.measure is not None:
                hand = _first_hand(rule, hands)
                value = None if hand is None else _measure(rule, hand, size)
                number = None if value is None else follower.follow(rule, value, time_s)
                if hand is not None and number is not None:
                    content: JsonObject = {"measure": rule.measure, "id": hand.id, "handedness": hand.handedness}
                    yield Command(rule, number, content | {"time": round(time_s, 4)})
            for event in events:
                if (event.name, event.phase) == (rule.on, rule.phase) and rule.hand in (None, event.handedness):
                    yield Command(rule, event.value, event.content)

    def _new_gestures(self, hands: Sequence[Hand], time_s: float) -> Iterator[_Event]:
        """Yield the gestures that start in this frame."""
        self._hands = {key: gesture for key, gesture in self._hands.items() if time_s - gesture.time_s <= _LOST_S}
        for hand, steady in zip(hands, self._gestures(hands, time_s), strict=True):
            assert hand.id is not None
            key = 2 * hand.id + (hand.handedness == "Left")
            before = self._hands.get(key, _RecentHand(None, time_s, time_s))
            name = steady.name if steady is not None and time_s - before.since_s >= _MIN_VISIBLE_S else None
            self._hands[key] = _RecentHand(name, before.since_s, time_s)
            if steady is not None and name not in (None, before.name):
                content: JsonObject = {"name": steady.name, "id": hand.id, "handedness": hand.handedness}
                yield _Event(steady.name, None, hand.handedness, steady.score, content | {"time": round(time_s, 4)})

    def _is_pause_made(self, events: Sequence[_Event], time_s: float) -> bool:
        """Check whether a hand starts the pause gesture, and none made it shortly before."""
        begins = any(event.name == self._pause for event in events)
        is_new = begins and time_s - self._pause_made_s > _MIN_PAUSE_INTERVAL_S
        is_held = any((hand.name, hand.time_s) == (self._pause, time_s) for hand in self._hands.values())
        if begins or (self._pause is not None and is_held):
            self._pause_made_s = time_s
        return is_new


def _event_from(event: MotionEvent) -> _Event:
    phase = event.phase if event.name in MOTIONS else None  # a custom motion is reported only at its end
    value = event.count if event.name in _COUNTED else event.strength
    return _Event(event.name, phase, event.handedness, value, event.to_dict())


def _first_hand(rule: Rule, hands: Sequence[Hand]) -> Hand | None:
    """Return the hand with the lowest ID to which a rule applies."""
    theirs = [hand for hand in hands if rule.hand in (None, hand.handedness)]
    return min(theirs, key=lambda hand: hand.id or 0, default=None)


def _measure(rule: Rule, hand: Hand, size: tuple[int, int]) -> float | None:
    """Return the measure of a rule, mapped to its range; None if it is unknown."""
    assert rule.measure is not None
    if rule.measure in PLACES:
        axis = PLACES.index(rule.measure)
        value = float(hand.keypoints[PALM, axis].mean()) / size[axis]
    else:
        value = measures(hand)[rule.measure]
    share = min(1.0, max(0.0, (value - rule.low) / (rule.high - rule.low)))
    return None if math.isnan(value) else rule.to[0] + (rule.to[1] - rule.to[0]) * share
