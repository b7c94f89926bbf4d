"""Events of motions of hands, which the recognizer of motions finds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sonjit.results import Event, Frame, Handedness, MotionEvent
from sonjit.runs.events.machine import EventKind, Finder, begun


@dataclass
class MotionEvents(Finder):
    """Motions that begin and end."""

    open: dict[tuple[str, int, Handedness], Event] = field(default_factory=dict[tuple[str, int, Handedness], Event])

    def of_frame(self, frame: Frame) -> list[Event]:
        """Return the begins and ends of the motions of a frame."""
        return [event for motion in frame.motions for event in self._follow(motion)]

    def finish(self, motions: Sequence[MotionEvent]) -> list[Event]:
        """Return the events of the motions that end with the stream."""
        return [event for motion in motions for event in self._follow(motion)]

    def ends(self) -> list[Event]:
        """Return the ends of the motions that are still open."""
        ends = [replace(event, phase="cancel", end=self.spans.time_s) for event in self.open.values()]
        self.open.clear()
        return ends

    def _follow(self, motion: MotionEvent) -> Iterator[Event]:
        key = (motion.name, motion.id, motion.handedness)
        event = self.open.get(key)
        if event is not None and motion.phase == "begin":  # the recognizer began again after a step of the clock
            yield replace(event, phase="cancel", end=motion.time)
            event = None
        if event is None:
            event = begun(motion.name, "motion", motion.time, motion, motion.strength)
            yield event
        self.open[key] = event = replace(event, value=max(event.value, motion.strength))
        if motion.phase in ("end", "cancel"):
            yield replace(event, phase="end" if motion.phase == "end" else "cancel", end=motion.time)
            del self.open[key]


MOTION = EventKind(MotionEvents, "a motion of a hand", "highest strength", asked_by="gestures")
