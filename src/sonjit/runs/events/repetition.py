"""Events of repetitions of angles, and their counts."""

from __future__ import annotations

import math

from sonjit._util import pluralize
from sonjit.results import Event, Frame, Handedness, Instance
from sonjit.results import measures as measuring
from sonjit.runs.annotations import AngleLimits, count_columns
from sonjit.runs.events.machine import MAX_STEP_BACK_S, EventKind, Finder, side_of


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
        if frame.time is not None and frame.time < self._time_s - MAX_STEP_BACK_S:  # another stream begins
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
                key = instance.kind, instance.id, side_of(instance)
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
        key = instance.kind, instance.id, side_of(instance)
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


class RepetitionEvents(Finder):
    """Repetitions that end."""

    def of_frame(self, frame: Frame) -> list[Event]:
        """Return an event for each repetition whose end is found in a frame."""
        return self.options.repetitions.update(frame)


REPETITION = EventKind(
    RepetitionEvents,
    "a repetition of an angle, which has only the phase `end`",
    "lowest angle",
    asked_by="count",
    has_unit=True,
)
