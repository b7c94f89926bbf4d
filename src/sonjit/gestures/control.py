"""Commands of hands: what the rules of a map make of the gestures, motions and measures of each frame."""

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
from sonjit.measures import measures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sonjit.gestures.learned import LearnedGestures
    from sonjit.gestures.rules import ControlMap
    from sonjit.json_text import JsonObject
    from sonjit.results import Hand, MotionEvent, Phase

_COUNTED: Final = ("Rotate", "Zoom")
"""Motions whose count is what a knob or a zoom needs."""
_LOST_S: Final = 1.0
"""A hand that is lost for this long begins its gesture anew, as `GestureSmoother` forgets it then."""
_SETTLES_S: Final = 0.25
"""A hand that has come into sight for less makes no gesture yet: half in sight or blurred it looks like another."""
_ONCE_S: Final = 0.3
"""Hands that make the pause gesture within this time of each other, such as both fists, make it once."""


@dataclass(slots=True)
class _Follower:
    """Smoothing and dead zone of one rule's number."""

    time_s: float = -math.inf
    value: float = 0.0
    sent: float | None = None

    def follow(self, rule: Rule, value: float, time_s: float) -> float | None:
        """The next number to send, or None."""
        elapsed = time_s - self.time_s
        keep = math.exp(-elapsed / rule.smooth_s) if rule.smooth_s > 0 and self.sent is not None else 0.0
        self.value, self.time_s = value + (self.value - value) * keep, time_s
        if self.sent is not None and (abs(self.value - self.sent) < rule.dead_zone or self.value == self.sent):
            return None
        self.sent = self.value
        return self.value


class _Known(NamedTuple):
    """A hand that was seen lately."""

    name: str | None  # of the gesture that it makes
    since_s: float
    time_s: float


class _Event(NamedTuple):
    """A step of a motion; or a custom motion, or a gesture that begins, whose phase is None."""

    name: str
    phase: Phase | None
    handedness: str
    value: float
    content: JsonObject


class Controller:
    """Makes commands of hands, frame by frame.

    Args:
        control_map: what to act on.
        custom: gestures that go before the shipped ones, or None.

    Attributes:
        is_paused: by the map's gesture.
    """

    def __init__(self, control_map: ControlMap, custom: LearnedGestures | None = None) -> None:
        self._rules, self._pause = control_map
        self.is_paused = False
        self._motions = MotionRecognizer(custom=custom and custom.motions)
        self._gestures = GestureSmoother(tell=gesture_of if custom is None else custom.or_shipped)
        self._hands: dict[int, _Known] = {}
        self._pause_made_s = -math.inf
        self._followers = [_Follower() for _ in self._rules]

    def __call__(
        self,
        hands: Sequence[Hand],
        time_s: float | None,
        size: tuple[int, int],
        motions: Sequence[MotionEvent] | None = None,
    ) -> Iterator[Command]:
        """The commands of one frame, in the order of the rules.

        Args:
            hands: all of the frame, with their ids.
            time_s: of the frame, in seconds.
            size: of the image, width and height in pixels.
            motions: of the frame, where a detector has found them already; None: they are found here.

        Raises:
            InputError: a still's hand, without an id or a time.
        """
        time_s = time_of(hands, time_s, -math.inf)
        events = [_moved(one) for one in (self._motions(hands, time_s) if motions is None else motions)]
        events += self._begun(hands, time_s)
        if self._is_pause_made(events, time_s):
            self.is_paused = not self.is_paused
        if self.is_paused:
            return
        for rule, follower in zip(self._rules, self._followers, strict=True):
            if rule.measure is not None:
                value = _measured(rule, hands, size)
                number = None if value is None else follower.follow(rule, value, time_s)
                if number is not None:
                    yield Command(rule, number, {"measure": rule.measure, "time": round(time_s, 4)})
            for event in events:
                if (event.name, event.phase) == (rule.on, rule.phase) and rule.hand in (None, event.handedness):
                    yield Command(rule, event.value, event.content)

    def _begun(self, hands: Sequence[Hand], time_s: float) -> Iterator[_Event]:
        """The gestures that hands make now and did not before."""
        self._hands = {key: known for key, known in self._hands.items() if time_s - known.time_s <= _LOST_S}
        for hand, steady in zip(hands, self._gestures(hands, time_s), strict=True):
            assert hand.id is not None
            key = 2 * hand.id + (hand.handedness == "Left")
            before = self._hands.get(key, _Known(None, time_s, time_s))
            name = steady.name if steady is not None and time_s - before.since_s >= _SETTLES_S else None
            self._hands[key] = _Known(name, before.since_s, time_s)
            if steady is not None and name not in (None, before.name):
                content: JsonObject = {"name": steady.name, "id": hand.id, "handedness": hand.handedness}
                yield _Event(steady.name, None, hand.handedness, steady.score, content | {"time": round(time_s, 4)})

    def _is_pause_made(self, events: Sequence[_Event], time_s: float) -> bool:
        """Whether a hand begins the pause gesture, and none made it shortly before."""
        begins = any(one.name == self._pause for one in events)
        is_new = begins and time_s - self._pause_made_s > _ONCE_S
        is_held = any((one.name, one.time_s) == (self._pause, time_s) for one in self._hands.values())
        if begins or (self._pause is not None and is_held):
            self._pause_made_s = time_s
        return is_new


def _moved(event: MotionEvent) -> _Event:
    phase = event.phase if event.name in MOTIONS else None  # a custom motion has its end alone
    value = event.count if event.name in _COUNTED else event.strength
    return _Event(event.name, phase, event.handedness, value, event.to_dict())


def _measured(rule: Rule, hands: Sequence[Hand], size: tuple[int, int]) -> float | None:
    """The number of a rule, after `to`, of the hand that was seen first; None where it is not known."""
    theirs = [hand for hand in hands if rule.hand in (None, hand.handedness)]
    if not theirs or rule.measure is None:
        return None
    hand = min(theirs, key=lambda one: one.id or 0)
    if rule.measure in PLACES:
        axis = PLACES.index(rule.measure)
        value = float(hand.keypoints[PALM, axis].mean()) / size[axis]
    else:
        value = measures(hand)[rule.measure]
    share = min(1.0, max(0.0, (value - rule.low) / (rule.high - rule.low)))
    return None if math.isnan(value) else rule.to[0] + (rule.to[1] - rule.to[0]) * share
