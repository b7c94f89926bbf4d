"""One stream of frames: what detectors find in each, with its events, repetitions and measures.

`sonjit.track` (and with it live outputs, control and gestures), the command line and the server process frames here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import tee
from typing import TYPE_CHECKING, Any

from sonjit._util import Image
from sonjit.detectors.options import is_still
from sonjit.results import Event, Frame, MotionEvent
from sonjit.results.measures import instance_values, with_owners
from sonjit.runs.events import EventTracker
from sonjit.runs.events.repetition import RepetitionCounts

if TYPE_CHECKING:
    from sonjit.detectors import Detector
    from sonjit.media import Source, SourceFrame
    from sonjit.results import Results
    from sonjit.runs.annotations import AngleLimits, EventLimits


@dataclass
class Omitted:
    """Numbers of shown and of found instances: in all stills, or in the frame of which most instances are omitted."""

    shown: int = 0
    total: int = 0  # also those beyond `max_instances`

    def add(self, shown: int, total: int, time: float | None) -> None:
        """Add a frame at a time in seconds, or a still without a time."""
        if time is None:
            self.shown, self.total = self.shown + shown, self.total + total
        elif total - shown > self.total - self.shown:
            self.shown, self.total = shown, total

    @property
    def text(self) -> str | None:
        """Return the numbers as text, or None if all instances are shown.

        >>> Omitted(2, 5).text
        '2 of at least 5 shown'
        """
        return f"{self.shown} of at least {self.total} shown" if self.total > self.shown else None


class Session:
    """Process the frames of one stream in their order. Its detectors are not closed.

    Attributes:
        detectors: Detectors that process each frame.
        repetitions: Repetitions of the counted angles so far.
        hidden: Number of instances found in the last frame beyond `max_instances`.
        omitted: Numbers of shown and of found instances so far.
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
            measures: Add all measures to `frame.measures`. With `count` only, the counts are added.
            roi: Region x, y, width and height in pixels that is searched.
        """
        self.detectors = detectors
        self.repetitions = RepetitionCounts(*count)
        self.hidden = 0
        self.omitted = Omitted()
        self._events = EventTracker(events, self.repetitions)
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
        return self._frame(
            index, time, source, [detector.detect(rgb, time=time, roi=self._roi) for detector in self.detectors]
        )

    def frames(
        self, frames: Iterable[SourceFrame], source: Source, *, index: int | None = None, label: str | None = None
    ) -> Generator[tuple[SourceFrame, Frame]]:
        """Yield frames of a source with their results, as `frame` returns them. Detectors look ahead in recordings.

        `index` is the position of a still among several files, and `label` the name of the file. An error of the source
        is raised after the frames before it.
        """
        stills = is_still(source.kind)
        *frames_by_detector, shown = tee(frames, len(self.detectors) + 1)
        images_by_detector = [((frame.rgb, frame.time) for frame in copies) for copies in frames_by_detector]
        results_by_detector = [
            self._live(detector, images) if source.live else detector.detect_frames(images, roi=self._roi, copy=False)
            for detector, images in zip(self.detectors, images_by_detector, strict=True)
        ]
        for frame, *results in zip(shown, *results_by_detector, strict=True):
            position = index if index is not None and stills else frame.index
            yield frame, self._frame(position, frame.time, label or source.frame_source(frame.index), results)

    def _live(self, detector: Detector[Any], images: Iterable[tuple[Image, float | None]]) -> Generator[Results[Any]]:
        """Yield the results of each image before the next one is read."""
        for rgb, time in images:
            yield detector.detect(rgb, time=time, roi=self._roi)

    def _frame(self, index: int, time: float | None, source: str | None, detected: Sequence[Results[Any]]) -> Frame:
        """Return the results of all detectors in one frame, with motions, events and measures."""
        results = [result for instances in detected for result in instances]
        motions = [motion for instances in detected for motion in instances.motions]
        total = sum(instances.total for instances in detected)
        self.hidden = total - len(results)
        self.omitted.add(len(results), total, time)
        frame = Frame.from_results(index, time, results, source)
        frame.motions = motions
        frame.events = self._events(frame)
        if self._measures:
            owners = with_owners(frame)
            frame.measures = [instance_values(part, owner) | self.repetitions.counts(part) for part, owner in owners]
        elif self._counts:
            frame.measures = [{**self.repetitions.counts(instance)} for _, instance in frame.instances()]
        return frame

    def finish(self) -> tuple[list[MotionEvent], list[Event]]:
        """Return the motions and the events that end with the stream. Another stream may follow."""
        motions = [motion for detector in self.detectors for motion in detector.finish()]
        return motions, self._events.finish(motions)
