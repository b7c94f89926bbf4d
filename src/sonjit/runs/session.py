"""One stream of frames: what detectors find in each, with its events, repetitions and measures.

`sonjit.track` (and with it live outputs, control and gestures), the command line and the server process frames here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sonjit._util import Image
from sonjit.results import Event, Frame, MotionEvent, Result
from sonjit.results.measures import instance_values, with_owners
from sonjit.runs.annotations import EventTracker, RepetitionCounts

if TYPE_CHECKING:
    from sonjit.detectors import Detector
    from sonjit.runs.annotations import AngleLimits, EventLimits


class Session:
    """Process the frames of one stream in their order. Its detectors are not closed.

    Attributes:
        detectors: Detectors that process each frame.
        repetitions: Repetitions of the counted angles so far.
        hidden: Number of instances found in the last frame beyond `max_instances`.
    """

    def __init__(
        self,
        detectors: Sequence[Detector[Any]],
        *,
        events: Sequence[EventLimits] = (),
        count: Sequence[AngleLimits] = (),
        measures: bool = False,
        roi: tuple[int, int, int, int] | None = None,
    ) -> None:
        """Start a stream.

        Args:
            detectors: Detectors of different kinds, without tracks of another stream.
            events: Measures that make events.
            count: Angles whose repetitions to count.
            measures: Add all measures to `frame.measures`. With `count` alone, only the counts are added.
            roi: Region x, y, width and height in pixels that is searched.
        """
        self.detectors = detectors
        self.repetitions = RepetitionCounts(*count)
        self.hidden = 0
        self._events = EventTracker(events)
        self._measures = measures
        self._counts = bool(count)
        self._roi = roi

    def frame(self, rgb: Image, index: int, time: float | None, source: str | None = None) -> Frame:
        """Process the next frame.

        Args:
            rgb: Image (H, W, 3) uint8 RGB.
            index: Position in the source.
            time: Time in seconds; None for stills, which have no events.
            source: File of the image in a folder of stills.

        Returns:
            Results of all detectors, with motions, events and, on request, measures.

        Raises:
            InputError: The image is too large, or does not contain the region.
        """
        results: list[Result] = []
        motions: list[MotionEvent] = []
        total = 0
        for detector in self.detectors:
            found = detector.detect(rgb, time=time, roi=self._roi)
            results += found
            motions += found.motions
            total += found.total
        self.hidden = total - len(results)
        frame = Frame.from_results(index, time, results, source)
        frame.motions = motions
        frame.events = self._events(frame) + self.repetitions.update(frame)
        if self._measures:
            owners = with_owners(frame)
            frame.measures = [instance_values(one, owner) | self.repetitions.counts(one) for one, owner in owners]
        elif self._counts:
            frame.measures = [{**self.repetitions.counts(instance)} for _, instance in frame.instances()]
        return frame

    def finish(self) -> list[Event]:
        """Return the ends of the events that last until the end of the stream. Another stream may follow."""
        return self._events.finish()
