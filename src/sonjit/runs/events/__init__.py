"""Events of a stream. Each type is one module with its finder and its record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sonjit._util.extensions import Registry
from sonjit.results import Event, Frame, MotionEvent
from sonjit.results import measures as measuring
from sonjit.runs.events.machine import MAX_STEP_BACK_S, EventKind, EventOptions, Spans
from sonjit.runs.events.repetition import RepetitionCounts

if TYPE_CHECKING:
    from sonjit.runs.annotations import EventLimits

EVENTS: Final[Registry[EventKind]] = Registry(
    "type of event",
    values={
        "gesture": "sonjit.runs.events.gesture:GESTURE",
        "motion": "sonjit.runs.events.motion:MOTION",
        "measure": "sonjit.runs.events.measure:MEASURE",
        "repetition": "sonjit.runs.events.repetition:REPETITION",
    },
)
"""Types of events by name. To add one, add a line here and its name to `EventType`."""


class EventTracker:
    """Find the events of a stream, frame by frame. `limits` are of measures that make events."""

    def __init__(self, limits: Sequence[EventLimits] = (), repetitions: RepetitionCounts | None = None) -> None:
        self._spans, self._repetitions = Spans(), repetitions or RepetitionCounts()
        options = EventOptions(limits, self._repetitions)
        self._finders = [kind.finder(options, self._spans) for kind in EVENTS.values()]

    def __call__(self, frame: Frame) -> list[Event]:
        """Return the events whose begin or end is found in a frame, up to half a second later. Photographs have none.

        If the clock steps back, another stream begins, and the open events of the one before end.
        """
        if frame.time is None or not math.isfinite(frame.time):
            return self._repetitions.update(frame)  # which shows their counts
        before_s = self._spans.time_s
        events = self.finish() if frame.time < before_s - MAX_STEP_BACK_S else list[Event]()
        self._spans.begin_frame(max(self._spans.time_s, frame.time))  # a damaged video may step back a little
        for instance, owner in measuring.with_owners(frame):
            if instance.id is not None:
                events += [event for finder in self._finders for event in finder.of_instance(instance, owner)]
        events += self._spans.lost()
        return [*events, *(event for finder in self._finders for event in finder.of_frame(frame))]

    def finish(self, motions: Sequence[MotionEvent] = ()) -> list[Event]:
        """Return the events of the motions that end with the stream, and the ends of all open events."""
        ends = [event for finder in self._finders for event in finder.finish(motions)]
        ends += self._spans.finish()
        ends += [event for finder in self._finders for event in finder.ends()]
        self._spans.time_s = 0.0
        return ends
