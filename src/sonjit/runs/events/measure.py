"""Events of measures that cross limits."""

import math
from collections.abc import Iterator

from sonjit.results import Event, Instance, Result
from sonjit.results import measures as measuring
from sonjit.runs.annotations import EventLimits
from sonjit.runs.events.machine import MIN_HOLD_S, EventKind, Finder


class MeasureEvents(Finder):
    """Measures beyond the first limit until they are beyond the second."""

    def of_instance(self, instance: Instance, owner: Result) -> Iterator[Event]:
        """Yield the begins and ends of the measures of an instance."""
        values = measuring.measures(owner) if self.options.limits else {}
        for limits in self.options.limits:
            value = values.get(limits.measure, math.nan)
            if not math.isnan(value):
                yield from self._follow(limits, instance, value)

    def _follow(self, limits: EventLimits, instance: Instance, value: float) -> Iterator[Event]:
        span, time_s = self.spans.of(limits.text, instance, "cancel"), self.spans.time_s
        is_low = limits.begin < limits.end
        side = None
        if value <= limits.begin if is_low else value >= limits.begin:
            side = "begin"
        elif value >= limits.end if is_low else value <= limits.end:
            side = "end"
        held_s = span.see(side, time_s)
        if held_s == 0 and span.open is None:
            span.extreme = value
        span.extreme = min(span.extreme, value) if is_low else max(span.extreme, value)
        if span.open is not None:
            span.hold(span.extreme, time_s)
        if span.open is None and side == "begin" and held_s >= MIN_HOLD_S:
            yield span.begin(limits.measure, "measure", instance, span.extreme, time_s)
        elif span.open is not None and side == "end" and held_s >= MIN_HOLD_S:
            span.last_s = span.since_s
            yield from span.end()


MEASURE = EventKind(MeasureEvents, "a measure beyond a limit", "extreme so far", asked_by="events", has_unit=True)
