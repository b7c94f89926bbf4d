"""Measures, gestures, repetitions and events of the instances in a stream, for tables and drawings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import zip_longest
from typing import Final, NamedTuple, TypeAlias

from sonjit._util import InputError, pluralize
from sonjit._util.data_files import load_spec
from sonjit.detectors.kinds import KINDS, find_model
from sonjit.gestures.classifier import MIN_VISIBLE_S
from sonjit.media.tables.base import Extras
from sonjit.media.tables.layout import BOX_COLUMNS
from sonjit.results import Event, EventType, Frame, Hand, Handedness, Instance, MotionEvent
from sonjit.results import measures as measuring
from sonjit.results.skeletons.faces import BLENDSHAPES

MIN_HOLD_S: Final = 0.1  # time that a gesture or a measure lasts before it counts
MAX_GAP_S: Final = 0.2  # interruption of a gesture that does not end it
_MAX_STEP_BACK_S: Final[float] = load_spec("repetitions")["max_step_back_s"]
_LOST_S: Final = 0.5  # time after which the events of a lost instance end
Columns: TypeAlias = "dict[str, type[int] | type[float] | type[str]]"


def _find_measure(text: str, kind: str, problem: str, ending: str = "") -> str:
    """Return the measure of a kind with a name or, in degrees, its twin; or the only one that begins with the text."""
    names = [
        name for item in KINDS.find(kind).instances for name in measuring.measure_names(item) if name.endswith(ending)
    ]
    wanted = text.lower().replace("-", "_")
    wanted = f"{wanted.removesuffix('_deg')}_rad" if wanted.endswith("_deg") else wanted
    begin = [name for name in names if name.startswith(f"{wanted}_")]
    matching = [name for name in begin if "_2d_" not in name] or begin
    if wanted in names or len(matching) == 1:
        return wanted if wanted in names else matching[0]
    near = begin or [name for name in names if wanted in name] or get_close_matches(wanted, names) or names
    if ending:  # the ending that all have is left out, as users write angles
        near = [name.removesuffix(ending).removesuffix("_angle") for name in near]
    raise InputError(f"{problem} {text!r}. Choose from {', '.join(near)}")


@dataclass(frozen=True)
class EventLimits:
    """Limits of a measure in its unit: an event begins at the first and ends at the second.

    If `end` is larger than `begin`, the event begins when the measure falls to `begin`, otherwise when it rises to it.
    """

    measure: str
    begin: float
    end: float

    @classmethod
    def from_text(cls, text: str, kind: str) -> EventLimits:
        """Read `NAME:BEGIN:END`, with limits of angles in degrees. Raise InputError if it is invalid."""
        name, *limits = text.split(":")
        name = _find_measure(name, kind, f"events {text}: unknown measure")
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
    """Event of one instance that may be open."""

    first_s: float  # time at which the instance was first seen
    open: Event | None = None  # the event that began, or None
    name: str | None = None  # name in the last frame; None for no gesture, or a measure beyond neither limit
    since_s: float = -math.inf  # time since which the instance has this name
    last_s: float = -math.inf  # last time at which the open event was seen
    extreme: float = math.nan  # lowest or highest value of a measure since it passed the first limit

    def see(self, name: str | None, time_s: float) -> float:
        """Return for how many seconds the instance has had a name."""
        if name != self.name:
            self.name, self.since_s = name, time_s
        return time_s - self.since_s


class EventTracker:
    """Find the events of a stream, frame by frame. `limits` are of measures that make events."""

    def __init__(self, limits: Sequence[EventLimits] = ()) -> None:
        self._limits = limits
        self._states: dict[tuple[str, str, int, Handedness | None], _State] = {}
        self._motions: dict[tuple[str, int, Handedness], Event] = {}
        self._time_s = 0.0

    def __call__(self, frame: Frame) -> list[Event]:
        """Return the events whose begin or end is found in a frame, up to half a second later. Photographs have none.

        If the clock steps back, another stream begins, and the open events of the one before end.
        """
        if frame.time is None or not math.isfinite(frame.time):
            return []
        events = self.finish() if frame.time < self._time_s - _MAX_STEP_BACK_S else list[Event]()
        self._time_s = time_s = max(self._time_s, frame.time)  # a damaged video may step back a little
        seen: set[tuple[str, str, int, Handedness | None]] = set()
        for instance, owner in measuring.with_owners(frame):
            if instance.id is None:
                continue
            key = (instance.kind, instance.id, _side_of(instance))
            if isinstance(instance, Hand):
                gesture_key = ("", *key)
                seen.add(gesture_key)
                events += self._follow_gesture(self._state(gesture_key, time_s), instance, time_s)
            if self._limits:
                values = measuring.measures(owner)
                for limits in self._limits:
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

    def finish(self, motions: Sequence[MotionEvent] = ()) -> list[Event]:
        """Return the events of the motions that end with the stream, and the ends of all open events."""
        ends = [event for motion in motions for event in self._follow_motion(motion)]
        ends += [event for key, state in self._states.items() for event in _end(state, "cancel" if key[0] else "end")]
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
        elif state.open is not None and (name is None or held_s < MIN_HOLD_S) and time_s - state.last_s < MAX_GAP_S:
            return
        elif state.open is not None:
            yield from _end(state, "end")
        if name is not None and state.open is None and held_s >= MIN_HOLD_S and time_s - state.first_s >= MIN_VISIBLE_S:
            state.open = _begun(name, "gesture", state.since_s, hand, score)
            state.last_s = time_s
            yield state.open

    def _follow_motion(self, motion: MotionEvent) -> Iterator[Event]:
        key = (motion.name, motion.id, motion.handedness)
        event = self._motions.get(key)
        if event is not None and motion.phase == "begin":  # the recognizer began again after a step of the clock
            yield replace(event, phase="cancel", end=motion.time)
            event = None
        if event is None:
            event = _begun(motion.name, "motion", motion.time, motion, motion.strength)
            yield event
        self._motions[key] = event = replace(event, value=max(event.value, motion.strength))
        if motion.phase in ("end", "cancel"):
            yield replace(event, phase="end" if motion.phase == "end" else "cancel", end=motion.time)
            del self._motions[key]


def _side_of(of: Instance | MotionEvent) -> Handedness | None:
    """Return the side of a hand or of its motion. Registered types may have no sides."""
    return getattr(of, "handedness", None)


def _begun(name: str, type: EventType, begin_s: float, of: Instance | MotionEvent, value: float) -> Event:
    assert of.id is not None  # frames without IDs have no events
    return Event(name, type, "begin", begin_s, None, of.id, _side_of(of), value)


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
    if state.open is None and side == "begin" and held_s >= MIN_HOLD_S:
        state.open = _begun(limits.measure, "measure", state.since_s, instance, state.extreme)
        state.last_s = time_s
        yield state.open
    elif state.open is not None and side == "end" and held_s >= MIN_HOLD_S:
        state.last_s = state.since_s
        yield from _end(state, "end")


def _end(state: _State, phase: str) -> Iterator[Event]:
    if state.open is not None:
        yield replace(state.open, phase="end" if phase == "end" else "cancel", end=state.last_s)
        state.open = None


def table_columns(
    model: str, *, measures: bool, gestures: bool = False, counts: Iterable[str] = (), options: object = None
) -> Columns:
    """Return names and types of the additional table columns of a model such as `hands-full`.

    Models that detect boxes always have columns for the box, because the six keypoints of a face do not determine it.
    With `measures`, hands also get their gesture. `counts` are columns of repetitions. Some `options` of the
    detector add columns.
    """
    entry, selected = find_model(model.partition("+")[0])
    columns: Columns = dict.fromkeys(BOX_COLUMNS, float) if selected.is_box else {}
    kinds = () if selected.is_box else entry.instances
    if (measures or gestures) and Hand.kind in kinds:
        columns |= {"gesture": str, "gesture_score": float}
    if measures:
        columns |= {name: float for kind in kinds for name in measuring.measure_names(kind)}
    columns |= dict.fromkeys(counts, int)
    more = {
        "blendshapes": BLENDSHAPES,
        "transform": measuring.TRANSFORM_COLUMNS,
        "distance": measuring.DISTANCE_COLUMNS,
    }
    return columns | {name: float for key, names in more.items() if getattr(options, key, False) for name in names}


@dataclass(frozen=True)
class AngleLimits:
    """Limits of an angle between which a movement counts as one repetition."""

    measure: str
    low_rad: float = math.radians(110)  # at or below which the joint is bent
    high_rad: float = math.radians(150)  # at or above which the joint is straight again

    @property
    def text(self) -> str:
        """The limits as `from_text` reads them."""
        return f"{self.measure}:{math.degrees(self.low_rad):g}:{math.degrees(self.high_rad):g}"

    @classmethod
    def from_text(cls, text: str, kind: str) -> AngleLimits:
        """Read `NAME` or `NAME:LOW:HIGH` with limits in degrees. Raise InputError if it is invalid."""
        name, *limits = text.split(":")
        name = _find_measure(name, kind, f"--count {text}: unknown angle", ending="_rad")
        if not limits:
            return cls(name)
        try:
            low, high = (math.radians(float(limit)) for limit in limits)
        except ValueError:
            raise InputError(f"--count {text}: write NAME or NAME:LOW:HIGH with limits in degrees") from None
        if not low < high:
            raise InputError(f"--count {text}: the low limit must be below the high limit")
        return cls(name, low, high)


def count_columns(limits: Sequence[AngleLimits]) -> dict[str, AngleLimits]:
    """Return the column of repetitions of each angle: `repetitions`, or of several `repetitions_left_knee_angle`."""
    columns = {f"repetitions_{item.measure.removesuffix('_rad')}": item for item in limits}
    if len(columns) < len(limits):
        raise InputError("--count: name each angle once")
    return columns if len(limits) > 1 else dict.fromkeys(["repetitions"] * len(limits), *limits)


class RepetitionCounts:
    """Repetitions of angles for each instance of a stream."""

    def __init__(self, *limits: AngleLimits) -> None:
        self._columns = count_columns(limits)
        self._counters: dict[str, dict[tuple[str, int, Handedness | None], measuring.RepetitionCounter]] = {
            column: {} for column in self._columns
        }
        self._ranges_rad = dict.fromkeys(self._columns, (math.inf, -math.inf))
        self._time_s = 0.0

    def update(self, frame: Frame) -> list[Event]:
        """Return an event for each repetition whose end is found in a frame. Photographs have none."""
        if frame.time is not None and frame.time < self._time_s - _MAX_STEP_BACK_S:  # another stream begins
            self._time_s = 0.0
            for counters in self._counters.values():
                for counter in counters.values():
                    counter.restart_clock()
        previous_s = self._time_s
        self._time_s = max(previous_s, frame.time or 0.0)  # a damaged video may step back a little
        events: list[Event] = []
        for instance, owner in measuring.with_owners(frame):
            values = {} if instance.id is None else measuring.measures(owner)
            for column, limits in self._columns.items():
                angle_rad = values.get(limits.measure)
                if instance.id is None or angle_rad is None:
                    continue
                low, high = self._ranges_rad[column]
                self._ranges_rad[column] = min(low, angle_rad), max(high, angle_rad)
                key = instance.kind, instance.id, _side_of(instance)
                fresh = measuring.RepetitionCounter(limits.low_rad, limits.high_rad)
                counter = self._counters[column].setdefault(key, fresh)
                counter.update(math.nan, previous_s)  # the previous frame may not show the instance
                before = counter.count
                if counter.update(angle_rad, self._time_s) > before and (last := counter.last) is not None:
                    times = last.begin_s, last.end_s
                    events.append(Event(limits.measure, "repetition", "end", *times, *key[1:], last.lowest_rad))
        return events

    def counts(self, instance: Instance) -> dict[str, int]:
        """Return the numbers of repetitions of an instance so far by column; none without the angle or a track ID."""
        if instance.id is None:
            return {}
        key = instance.kind, instance.id, _side_of(instance)
        counter_of_column = {column: counters.get(key) for column, counters in self._counters.items()}
        return {column: counter.count for column, counter in counter_of_column.items() if counter is not None}

    def summary(self) -> list[str]:
        """Return a line for each instance with repetitions, or one with the range of an angle that has none."""
        return [line for column in self._columns for line in self._summary(column)]

    def _summary(self, column: str) -> list[str]:
        limits, counters, (low_rad, high_rad) = self._columns[column], self._counters[column], self._ranges_rad[column]
        name = limits.measure
        lines = [
            f"{pluralize(counter.count, 'repetition')} of {name} by {' '.join(filter(None, (side, kind)))} #{id}"
            for (kind, id, side), counter in counters.items()
            if counter.count
        ]
        if lines or not counters:
            return lines or [f"0 repetitions of {name}"]
        if low_rad > high_rad:
            return [f"0 repetitions of {name}. Its keypoints were never visible"]
        low, high = math.degrees(low_rad), math.degrees(high_rad)
        limits = f"{math.degrees(limits.low_rad):.0f} and {math.degrees(limits.high_rad):.0f}"
        return [f"0 repetitions of {name}. It was {low:.0f} to {high:.0f} degrees, the limits are {limits}"]


class Annotations(NamedTuple):
    """Additional values of the instances of a frame."""

    extras: Extras | None  # values of the additional table columns, per instance; None without additional columns
    notes: list[str]  # text for the label of each instance; empty for none


def annotate(frame: Frame, columns: Columns, *, gestures: bool = True) -> Annotations:
    """Measure the instances of a frame. `columns` are those of `table_columns`; `frame.measures` has the counts."""
    rows: list[dict[str, float | str | None]] = []
    notes: list[str] = []
    for (instance, owner), counts in zip_longest(measuring.with_owners(frame), frame.measures):
        row: dict[str, float | str | None] = {}
        if columns:
            row |= measuring.instance_values(instance, owner)
        note: list[str] = []
        if gestures and isinstance(instance, Hand) and "gesture" in columns and instance.gesture is not None:
            note.append(f"{instance.gesture.name.replace('_', ' ')} {instance.gesture.score:.2f}")
        if isinstance(instance, Hand) and instance.distance_m is not None:
            note.append(f"{instance.distance_m:.2f} m")
        row |= counts or {}
        for column, count in (counts or {}).items():
            if isinstance(count, int):
                of = column.removeprefix("repetitions").removesuffix("_angle").replace("_", " ")
                note.append(f"{pluralize(count, 'repetition')}{of}")
        notes.append(", ".join(note))
        row |= dict(zip(BOX_COLUMNS, instance.box, strict=True))
        rows.append({name: row[name] for name in columns if name in row})
    return Annotations(rows if columns else None, notes)
