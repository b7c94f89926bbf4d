"""Find the begin and end of held gestures, motions and measures that cross a pair of limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sonjit._util.errors import InputError
from sonjit.detectors.kinds import find_kind
from sonjit.results import Event, Hand
from sonjit.results.measures import measure_names, measures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sonjit.results import Frame, Handedness, Instance, MotionEvent

_MIN_VISIBLE_S: Final = 0.25
"""Time that a hand is visible before its gesture counts. A hand that enters the image is often blurred."""
_MIN_HOLD_S: Final = 0.1
"""Time that a gesture or a measure lasts before it counts."""
_MAX_GAP_S: Final = 0.2
"""Interruption of a gesture that does not end it."""
_MAX_STEP_BACK_S: Final = 0.5
"""Step back in time beyond which a stream begins again."""
_LOST_S: Final = 0.5
"""Time after which the events of a lost instance end."""


@dataclass(frozen=True)
class EventLimits:
    """Limits of a measure: an event begins at the first and ends at the second.

    Attributes:
        measure: Name of the measure.
        begin: Value at which the event begins, in the unit of the measure.
        end: Value at which the event ends. A larger value than `begin` means that the event begins when the measure
            falls to `begin`, a smaller one that it begins when the measure rises to `begin`.
    """

    measure: str
    begin: float
    end: float

    @classmethod
    def from_text(cls, text: str, kind: str) -> EventLimits:
        """Read `NAME:BEGIN:END`, with limits of angles in degrees.

        Args:
            text: Name of the measure and both limits.
            kind: Kind of the detector whose instances have the measure.

        Raises:
            InputError: The instances have no such measure, or the limits are invalid.
        """
        name, *limits = text.split(":")
        names = [measure for instance in find_kind(kind).instances for measure in measure_names(instance)]
        if name not in names:
            raise InputError(f"events {text}: unknown measure {name!r}. Choose from {', '.join(names)}")
        try:
            begin, end = (float(limit) for limit in limits)
        except ValueError:
            raise InputError(f"events {text}: write NAME:BEGIN:END, with limits of angles in degrees") from None
        if begin == end or not math.isfinite(begin - end):
            raise InputError(f"events {text}: give two different limits")
        return cls(name, *(map(math.radians, (begin, end)) if name.endswith("_rad") else (begin, end)))

    @property
    def text(self) -> str:
        """The limits as `from_text` reads them."""
        in_degrees = self.measure.endswith("_rad")
        begin, end = (math.degrees(limit) if in_degrees else limit for limit in (self.begin, self.end))
        return f"{self.measure}:{begin:g}:{end:g}"


@dataclass
class _State:
    """Event of one instance that may be open.

    Attributes:
        open: The event that began, or None.
        name: Name in the last frame; None for no gesture, or a measure beyond neither limit.
        since_s: Time since which the instance has this name.
        last_s: Last time at which the open event was seen.
        first_s: Time at which the instance was first seen.
        extreme: Lowest or highest value of a measure since it passed the first limit.
    """

    first_s: float
    open: Event | None = None
    name: str | None = None
    since_s: float = -math.inf
    last_s: float = -math.inf
    extreme: float = math.nan

    def see(self, name: str | None, time_s: float) -> float:
        """Return for how many seconds the instance has had a name."""
        if name != self.name:
            self.name, self.since_s = name, time_s
        return time_s - self.since_s


@dataclass
class EventTracker:
    """Find the events of a stream, frame by frame.

    Attributes:
        limits: Measures that make events.
    """

    limits: Sequence[EventLimits] = ()
    _states: dict[tuple[str, str, int, Handedness | None], _State] = field(default_factory=dict, init=False)  # pyright: ignore[reportUnknownVariableType]
    _motions: dict[tuple[str, int, Handedness], Event] = field(default_factory=dict, init=False)  # pyright: ignore[reportUnknownVariableType]
    _time_s: float = field(default=0.0, init=False)

    def __call__(self, frame: Frame) -> list[Event]:
        """Return the events that begin or end in a frame. Photographs have none."""
        if frame.time is None or not math.isfinite(frame.time):
            return []
        if frame.time < self._time_s - _MAX_STEP_BACK_S:
            self.finish()
        self._time_s = time_s = max(self._time_s, frame.time)  # a damaged video may step back a little
        events: list[Event] = []
        seen: set[tuple[str, str, int, Handedness | None]] = set()
        for _, instance in frame.instances():
            if instance.id is None:
                continue
            key = (instance.kind, instance.id, instance.handedness)
            if isinstance(instance, Hand):
                gesture_key = ("", *key)
                seen.add(gesture_key)
                events += self._follow_gesture(self._state(gesture_key, time_s), instance, time_s)
            if self.limits:
                values = measures(instance)
                for limits in self.limits:
                    value = values.get(limits.measure, math.nan)
                    if not math.isnan(value):
                        measure_key = (limits.text, *key)
                        seen.add(measure_key)
                        events += _follow_measure(self._state(measure_key, time_s), limits, instance, value, time_s)
        for key in [key for key in self._states if key not in seen]:
            state = self._states[key]
            if time_s - max(state.last_s, state.since_s) > _LOST_S:
                events += _end(state, "cancel" if key[0] else "end")
                del self._states[key]
        return [*events, *(event for motion in frame.motions for event in self._follow_motion(motion))]

    def finish(self) -> list[Event]:
        """Return the ends of all open events at the end of the stream."""
        ends = [event for key, state in self._states.items() for event in _end(state, "cancel" if key[0] else "end")]
        ends += [replace(event, phase="cancel", end=self._time_s) for event in self._motions.values()]
        self._states.clear()
        self._motions.clear()
        self._time_s = 0.0
        return ends

    def _state(self, key: tuple[str, str, int, Handedness | None], time_s: float) -> _State:
        return self._states.setdefault(key, _State(time_s))

    def _follow_gesture(self, state: _State, hand: Hand, time_s: float) -> Iterator[Event]:
        assert hand.id is not None  # instances without ids have no events
        name, score = hand.gesture or (None, 0.0)
        held_s = state.see(name, time_s)
        if state.open is not None and name == state.open.name:
            state.last_s, state.open = time_s, replace(state.open, value=max(score, state.open.value))
        elif state.open is not None and (name is None or held_s < _MIN_HOLD_S) and time_s - state.last_s < _MAX_GAP_S:
            return
        elif state.open is not None:
            yield from _end(state, "end")
        if (
            name is not None
            and state.open is None
            and held_s >= _MIN_HOLD_S
            and time_s - state.first_s >= _MIN_VISIBLE_S
        ):
            state.open = Event(
                name=name,
                type="gesture",
                phase="begin",
                begin=state.since_s,
                end=None,
                id=hand.id,
                handedness=hand.handedness,
                value=score,
            )
            state.last_s = time_s
            yield state.open

    def _follow_motion(self, motion: MotionEvent) -> Iterator[Event]:
        key = (motion.name, motion.id, motion.handedness)
        event = self._motions.get(key)
        if event is None:
            event = Event(
                name=motion.name,
                type="motion",
                phase="begin",
                begin=motion.time,
                end=None,
                id=motion.id,
                handedness=motion.handedness,
                value=motion.strength,
            )
            yield event
        self._motions[key] = event = replace(event, value=max(event.value, motion.strength))
        if motion.phase in ("end", "cancel"):
            yield replace(event, phase="end" if motion.phase == "end" else "cancel", end=motion.time)
            del self._motions[key]


def _follow_measure(
    state: _State, limits: EventLimits, instance: Instance, value: float, time_s: float
) -> Iterator[Event]:
    is_low = limits.begin < limits.end
    side = None
    if value <= limits.begin if is_low else value >= limits.begin:
        side = "begin"
    elif value >= limits.end if is_low else value <= limits.end:
        side = "end"
    held_s = state.see(side, time_s)
    if held_s == 0 and state.open is None:
        state.extreme = value
    state.extreme = min(state.extreme, value) if is_low else max(state.extreme, value)
    if state.open is not None:
        state.open, state.last_s = replace(state.open, value=state.extreme), time_s
    if state.open is None and side == "begin" and held_s >= _MIN_HOLD_S:
        state.open = Event(
            name=limits.measure,
            type="measure",
            phase="begin",
            begin=state.since_s,
            end=None,
            id=instance.id or 0,
            handedness=instance.handedness,
            value=state.extreme,
        )
        state.last_s = time_s
        yield state.open
    elif state.open is not None and side == "end" and held_s >= _MIN_HOLD_S:
        state.last_s = state.since_s
        yield from _end(state, "end")


def _end(state: _State, phase: str) -> Iterator[Event]:
    if state.open is not None:
        yield replace(state.open, phase="end" if phase == "end" else "cancel", end=state.last_s)
        state.open = None
