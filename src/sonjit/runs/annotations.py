"""Measures, gestures, repetitions and events of the instances in a stream, for tables and drawings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple, TypeAlias

from sonjit._util.errors import InputError, pluralize
from sonjit.detectors.kinds import find_kind, find_model
from sonjit.media.tables.base import BOX_COLUMNS, Extras
from sonjit.results import Event, Frame, Hand, Handedness, Instance, MotionEvent
from sonjit.results.measures import (
    DISTANCE_COLUMNS,
    TRANSFORM_COLUMNS,
    RepetitionCounter,
    instance_values,
    measure_names,
    measures,
)
from sonjit.results.skeletons.faces import BLENDSHAPES

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
            state.open = _begun(name, "gesture", state.since_s, hand, score)
            state.last_s = time_s
            yield state.open

    def _follow_motion(self, motion: MotionEvent) -> Iterator[Event]:
        key = (motion.name, motion.id, motion.handedness)
        event = self._motions.get(key)
        if event is None:
            event = _begun(motion.name, "motion", motion.time, motion, motion.strength)
            yield event
        self._motions[key] = event = replace(event, value=max(event.value, motion.strength))
        if motion.phase in ("end", "cancel"):
            yield replace(event, phase="end" if motion.phase == "end" else "cancel", end=motion.time)
            del self._motions[key]


def _begun(
    name: str, type: Literal["gesture", "motion", "measure"], begin_s: float, of: Instance | MotionEvent, value: float
) -> Event:
    return Event(name, type, "begin", begin_s, None, of.id or 0, of.handedness, value)


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
        state.open = _begun(limits.measure, "measure", state.since_s, instance, state.extreme)
        state.last_s = time_s
        yield state.open
    elif state.open is not None and side == "end" and held_s >= _MIN_HOLD_S:
        state.last_s = state.since_s
        yield from _end(state, "end")


def _end(state: _State, phase: str) -> Iterator[Event]:
    if state.open is not None:
        yield replace(state.open, phase="end" if phase == "end" else "cancel", end=state.last_s)
        state.open = None


Columns: TypeAlias = "dict[str, type[int] | type[float] | type[str]]"


def table_columns(
    model: str,
    *,
    measures: bool,
    gestures: bool = False,
    counts: bool = False,
    blendshapes: bool = False,
    transform: bool = False,
    distance: bool = False,
) -> Columns:
    """Return names and types of the additional table columns of a model.

    Args:
        model: Kind and model, such as `hands-full`. Models that detect boxes always have columns for the box, because
            the six keypoints of a face do not determine it.
        measures: Add a column per measure. Hands also get their gesture.
        gestures: Add the gesture of each hand and its score.
        counts: Add the number of repetitions.
        blendshapes: Add a column per blendshape of a face.
        transform: Add a column per entry of a face's 4 x 4 transform.
        distance: Add the distance of each hand and its error.
    """
    entry, selected = find_model(model.partition("+")[0])
    columns: Columns = dict.fromkeys(BOX_COLUMNS, float) if selected.is_box else {}
    kinds = () if selected.is_box else entry.instances
    if (measures or gestures) and Hand.kind in kinds:
        columns |= {"gesture": str, "gesture_score": float}
    if measures:
        columns |= {name: float for kind in kinds for name in measure_names(kind)}
    if counts:
        columns["repetitions"] = int
    optional = {BLENDSHAPES: blendshapes, TRANSFORM_COLUMNS: transform, DISTANCE_COLUMNS: distance}
    return columns | {name: float for names, is_wanted in optional.items() if is_wanted for name in names}


@dataclass(frozen=True)
class AngleLimits:
    """Limits of an angle between which a movement counts as one repetition.

    Attributes:
        measure: Name of the angle's measure.
        low_rad: Angle at or below which the joint is bent.
        high_rad: Angle at or above which the joint is straight again.
    """

    measure: str
    low_rad: float = math.radians(110)
    high_rad: float = math.radians(150)

    @property
    def text(self) -> str:
        """The limits as `from_text` reads them."""
        return f"{self.measure}:{math.degrees(self.low_rad):g}:{math.degrees(self.high_rad):g}"

    @classmethod
    def from_text(cls, text: str, kind: str) -> AngleLimits:
        """Read `NAME` or `NAME:LOW:HIGH`.

        Args:
            text: Name of the measure, then optionally both limits in degrees.
            kind: Kind of the detector whose instances have the measure.

        Raises:
            InputError: The instances have no such angle, or the limits are invalid.
        """
        name, *limits = text.split(":")
        angles = [
            measure
            for instance in find_kind(kind).instances
            for measure in measure_names(instance)
            if measure.endswith("_rad")
        ]
        if name not in angles:
            raise InputError(f"--count {text}: unknown angle {name!r}. Choose from {', '.join(angles)}")
        if not limits:
            return cls(name)
        try:
            low, high = (math.radians(float(limit)) for limit in limits)
        except ValueError:
            raise InputError(f"--count {text}: write NAME or NAME:LOW:HIGH with limits in degrees") from None
        if not low < high:
            raise InputError(f"--count {text}: the low limit must be below the high limit")
        return cls(name, low, high)


class RepetitionCounts:
    """Repetitions of an angle for each instance of a stream."""

    def __init__(self, limits: AngleLimits) -> None:
        self.limits = limits
        self._counters: dict[tuple[str, int, str | None], RepetitionCounter] = {}
        self._range_rad = math.inf, -math.inf
        self._time_s = 0.0

    def update(self, frame: Frame) -> list[Event]:
        """Return an event for each repetition that ends in a frame. Photographs have none."""
        self._time_s = max(self._time_s, frame.time or 0.0)  # a damaged video may step back in time
        events: list[Event] = []
        for _, instance in frame.instances():
            angle_rad = measures(instance).get(self.limits.measure)
            if instance.id is None or angle_rad is None:
                continue
            self._range_rad = min(self._range_rad[0], angle_rad), max(self._range_rad[1], angle_rad)
            key = instance.kind, instance.id, instance.handedness
            if key not in self._counters:
                self._counters[key] = RepetitionCounter(self.limits.low_rad, self.limits.high_rad)
            counter = self._counters[key]
            before = counter.count
            if counter.update(angle_rad, self._time_s) == before or counter.last is None:
                continue
            last = counter.last
            times = last.begin_s, last.end_s
            name = self.limits.measure
            events.append(Event(name, "repetition", "end", *times, *key[1:], last.lowest_rad))
        return events

    def count(self, instance: Instance) -> int | None:
        """Return the number of repetitions of an instance so far; None without the angle or a track ID."""
        counter = self._counters.get((instance.kind, instance.id or 0, instance.handedness))
        return None if counter is None or instance.id is None else counter.count

    def summary(self) -> list[str]:
        """Return a line for each instance with repetitions, or one with the range of the angle if there are none."""
        name = self.limits.measure
        lines = [
            f"{pluralize(counter.count, 'repetition')} of {name} by {' '.join(filter(None, (side, kind)))} #{id}"
            for (kind, id, side), counter in self._counters.items()
            if counter.count
        ]
        if lines or not self._counters:
            return lines or [f"0 repetitions of {name}"]
        if self._range_rad[0] > self._range_rad[1]:
            return [f"0 repetitions of {name}. Its keypoints were never visible"]
        low, high = (math.degrees(angle) for angle in self._range_rad)
        limits = f"{math.degrees(self.limits.low_rad):.0f} and {math.degrees(self.limits.high_rad):.0f}"
        return [f"0 repetitions of {name}. It was {low:.0f} to {high:.0f} degrees, the limits are {limits}"]


class Annotations(NamedTuple):
    """Additional values of the instances of a frame.

    Attributes:
        extras: Values of the additional table columns, per instance; None without additional columns.
        notes: Text for the label of each instance; empty for none.
    """

    extras: Extras | None
    notes: list[str]


def annotate(frame: Frame, columns: Columns, repetitions: RepetitionCounts | None = None) -> Annotations:
    """Measure the instances of a frame.

    Args:
        frame: Detected instances.
        columns: Additional columns as `table_columns` returns them.
        repetitions: Counts of the stream up to this frame; None for no counts.
    """
    rows: list[dict[str, float | str | None]] = []
    notes: list[str] = []
    for _, instance in frame.instances():
        row: dict[str, float | str | None] = {}
        if columns:
            row |= instance_values(instance)
        note: list[str] = []
        if isinstance(instance, Hand) and "gesture" in columns and instance.gesture is not None:
            note.append(f"{instance.gesture.name.replace('_', ' ')} {instance.gesture.score:.2f}")
        if isinstance(instance, Hand) and instance.distance_m is not None:
            note.append(f"{instance.distance_m:.2f} m")
        count = None if repetitions is None else repetitions.count(instance)
        if count is not None:
            row["repetitions"] = count
            note.append(pluralize(count, "repetition"))
        notes.append(", ".join(note))
        row |= dict(zip(BOX_COLUMNS, instance.box, strict=True))
        rows.append({name: row[name] for name in columns if name in row})
    return Annotations(rows if columns else None, notes)
