"""Events of gestures that hands hold."""

from collections.abc import Iterator

from sonjit.results import Event, Hand, Instance, Result
from sonjit.runs.events.machine import MAX_GAP_S, MIN_HOLD_S, MIN_VISIBLE_S, EventKind, Finder


class GestureEvents(Finder):
    """Held gestures. An interruption of 0.2 s does not end one."""

    def of_instance(self, instance: Instance, owner: Result) -> Iterator[Event]:
        """Yield the begin or end of the gesture of a hand."""
        if not isinstance(instance, Hand):
            return
        span, time_s = self.spans.of("", instance, "end"), self.spans.time_s
        name, score = instance.gesture or (None, 0.0)
        held_s = span.see(name, time_s)
        if span.open is not None and name == span.open.name:
            span.hold(max(score, span.open.value), time_s)
        elif span.open is not None and (name is None or held_s < MIN_HOLD_S) and time_s - span.last_s < MAX_GAP_S:
            return
        elif span.open is not None:
            yield from span.end()
        if name is not None and span.open is None and held_s >= MIN_HOLD_S and time_s - span.first_s >= MIN_VISIBLE_S:
            yield span.begin(name, "gesture", instance, score, time_s)


GESTURE = EventKind(GestureEvents, "a gesture that a hand holds", "highest score", asked_by="gestures")
