"""What all types of events share: spans that begin, hold, have gaps and end, and the record of a type."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from sonjit._util.data_files import load_spec
from sonjit.gestures import classifier
from sonjit.results import Event, EventType, Frame, Handedness, Instance, MotionEvent, Result

if TYPE_CHECKING:
    from sonjit.runs.annotations import EventLimits
    from sonjit.runs.events.repetition import RepetitionCounts

MIN_HOLD_S: Final = 0.1  # time that a gesture or a measure lasts before it counts
MAX_GAP_S: Final = 0.2  # interruption of a gesture that does not end it
MIN_VISIBLE_S: Final = classifier.MIN_VISIBLE_S  # time that a hand is visible before its gesture counts
MAX_STEP_BACK_S: Final[float] = load_spec("repetitions")["max_step_back_s"]  # of a damaged video
_LOST_S: Final = 0.5  # time after which the events of a lost instance end


def side_of(of: Instance | MotionEvent) -> Handedness | None:
    """Return the side of a hand or of its motion. Registered types may have no sides."""
    return getattr(of, "handedness", None)


def begun(name: str, type: EventType, begin_s: float, of: Instance | MotionEvent, value: float) -> Event:
    """Return the begin of an event."""
    assert of.id is not None  # frames without IDs have no events
    return Event(name, type, "begin", begin_s, None, of.id, side_of(of), value)


@dataclass
class Span:
    """What one instance shows, and its event that may be open."""

    first_s: float  # time at which the instance was first seen
    at_loss: Literal["end", "cancel"]  # phase in which the event ends if the instance is lost
    open: Event | None = None  # event that began
    name: str | None = None  # name in the last frame; None for no gesture, or a measure beyond neither limit
    since_s: float = -math.inf  # time since which the instance has this name
    last_s: float = -math.inf  # last time at which the open event was seen
    extreme: float = math.nan  # lowest or highest value of a measure since it passed the first limit

    def see(self, name: str | None, time_s: float) -> float:
        """Return for how many seconds the instance has had a name."""
        if name != self.name:
            self.name, self.since_s = name, time_s
        return time_s - self.since_s

    def begin(self, name: str, type: EventType, instance: Instance, value: float, time_s: float) -> Event:
        """Begin an event at the time since which the instance has its name."""
        self.open, self.last_s = begun(name, type, self.since_s, instance, value), time_s
        return self.open

    def hold(self, value: float, time_s: float) -> None:
        """Continue the open event with a value."""
        assert self.open is not None
        self.open, self.last_s = replace(self.open, value=value), time_s

    def end(self, phase: Literal["end", "cancel"] = "end") -> Iterator[Event]:
        """End the open event, if there is one, at the last time at which it was seen."""
        if self.open is not None:
            yield replace(self.open, phase=phase, end=self.last_s)
            self.open = None


class Spans:
    """The spans of a stream by what they are about and the instance."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, str, int, Handedness | None], Span] = {}
        self._seen: set[tuple[str, str, int, Handedness | None]] = set()
        self.time_s = 0.0  # of the frame

    def begin_frame(self, time_s: float) -> None:
        """Begin a frame, which shows nothing yet."""
        self.time_s = time_s
        self._seen.clear()

    def of(self, subject: str, instance: Instance, at_loss: Literal["end", "cancel"]) -> Span:
        """Return the span of an instance that the frame shows."""
        assert instance.id is not None
        key = (subject, instance.kind, instance.id, side_of(instance))
        self._seen.add(key)
        return self._spans.setdefault(key, Span(self.time_s, at_loss))

    def lost(self) -> list[Event]:
        """Return the ends of the events of instances that have not been seen for half a second."""
        events: list[Event] = []
        for key in [key for key in self._spans if key not in self._seen]:
            span = self._spans[key]
            if self.time_s - max(span.last_s, span.since_s) > _LOST_S:
                events += span.end(span.at_loss)
                del self._spans[key]
        return events

    def finish(self) -> list[Event]:
        """Return the ends of all open events."""
        ends = [event for span in self._spans.values() for event in span.end(span.at_loss)]
        self._spans.clear()
        return ends


class EventOptions(NamedTuple):
    """What the user asks for in a stream."""

    limits: Sequence[EventLimits]  # measures that make events
    repetitions: RepetitionCounts


@dataclass
class Finder:
    """Find the events of one type in a stream. A type overrides what it needs."""

    options: EventOptions
    spans: Spans = field(default_factory=Spans)

    def of_instance(self, instance: Instance, owner: Result) -> Iterator[Event]:
        """Yield the events of an instance with an ID in a frame. `owner` has its measures."""
        del instance, owner
        return iter(())

    def of_frame(self, frame: Frame) -> list[Event]:
        """Return the events that are found in a frame after those of its instances."""
        del frame
        return []

    def finish(self, motions: Sequence[MotionEvent]) -> list[Event]:
        """Return the events that end with the stream, of motions that end with it. Spans end afterwards."""
        del motions
        return []

    def ends(self) -> list[Event]:
        """Return the ends of events that have no span, at the end of a stream."""
        return []


@dataclass(frozen=True)
class EventKind:
    """What Sonjit knows about a type of event, at the end of the module that finds it.

    Attributes:
        finder: Creates the finder of a stream.
        summary: What begins and ends.
        value: What the value of an event is.
        asked_by: Option of detectors or runs that asks for the events.
        has_unit: The value has the unit of the measure in the event's name.
    """

    finder: Callable[[EventOptions, Spans], Finder]
    summary: str
    value: str
    asked_by: Literal["gestures", "events", "count"]
    has_unit: bool = False
