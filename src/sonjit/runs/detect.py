"""A detector over an input: tables, annotated output and masks of what it finds."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sonjit.detectors import create_detector
from sonjit.detectors.kinds import find_kind, options_of
from sonjit.gestures.shipped import CANNED
from sonjit.lifting import create_lifter
from sonjit.media import (
    Header,
    Results,
    draw_frame,
    mask_from_frame,
    open_drawing_writer,
    open_mask_writer,
    open_writer,
)
from sonjit.media.tables.json_tables import open_json_lines
from sonjit.results import Frame
from sonjit.runs.annotations import Annotations, Annotator, Columns, Counting, table_columns
from sonjit.runs.motion_table import ROW_ENDINGS, MotionTable
from sonjit.runs.processor import Outputs, Pass, Processor, StillAndStream, Summary, counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from sonjit.arrays import Image
    from sonjit.detectors import Detector
    from sonjit.lifting import Lift
    from sonjit.lifting.lifter import Lifter
    from sonjit.media import Source, SourceFrame
    from sonjit.media.tables.base import Extras
    from sonjit.results import Instance, Result


@dataclass(frozen=True)
class Detect(Processor):
    """Find instances of one kind.

    Attributes:
        kind: of detector.
        options: of `create_detector`, as given; what is not given depends on whether the input is a still.
        measures: write measures into the table, and gestures: the shipped ones where the options name none.
        count: angle whose repetitions to count, as `Counting.from_text` reads it, or None.
        lift: with what to put what was found into the camera's space, or None.
        beside: further detectors over the same images; what they find stands in the same tables and drawings.
    """

    tables_take_videos: ClassVar[bool] = True

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    measures: bool = False
    count: str | None = None
    lift: Lift | None = None
    beside: tuple[Detect, ...] = ()

    def found(self, count: int) -> str:
        """So many of its kind."""
        if self.beside:
            return counted(count, "instance", "instances")
        entry = find_kind(self.kind)
        return counted(count, entry.result.__name__.lower(), entry.list_name)

    @property
    def model(self) -> str:
        """Name of the model for the table's header: kind and model, what lifted, and the models beside."""
        lifted = [] if self.lift is None else [self.lift.network]
        return "+".join([f"{self.kind}-{self.options['model']}", *lifted, *(one.model for one in self.beside)])

    @property
    def columns(self) -> Columns:
        """Names and types of the table's further columns."""
        given = {name: bool(self.options.get(name)) for name in ("blendshapes", "transform")}
        given |= {"measures": self.measures, "gestures": self.gestures is not None, "counts": self.count is not None}
        own = table_columns(self.model, **given)
        return own | {name: kind for one in self.beside for name, kind in one.columns.items()}

    @property
    def counting(self) -> Counting | None:
        """What to count; InputError where it names no angle."""
        return None if self.count is None else Counting.from_text(self.count, self.kind)

    @property
    def gestures(self) -> str | None:
        """Which gestures hands are told by, as `create_detector` takes it; hands have columns of them then."""
        known = self.measures and "gestures" in options_of(find_kind(self.kind))
        return self.options.get("gestures", CANNED if known else None)

    @property
    def has_gestures(self) -> bool:
        """Whether any of the detectors gives hands their gestures, and with them motions."""
        return any(one.gestures is not None for one in (self, *self.beside))

    def load(self) -> _Detecting:
        """Load what lifts; detectors follow with the first input of theirs."""
        return _Detecting(self)

    def open_table(self, save: str, source: Source) -> FrameTable:
        """A table of frames."""
        return FrameTable(save, self, source)


class FrameTable:
    """A table of a detector's frames; where its rows are keypoints, `NAME.motions.csv` beside it has the motions."""

    def __init__(self, save: str, processor: Detect, source: Source) -> None:
        header = Header.from_source(source, processor.model, find_kind(processor.kind).list_name)
        path = Path(save)
        self._motions = None
        with ExitStack() as stack:
            self.writer = stack.enter_context(open_writer(save, header, processor.columns))
            is_stream = source.kind not in ("image", "folder")
            if is_stream and processor.has_gestures and path.suffix.lower() in ROW_ENDINGS:
                self._motions = stack.enter_context(MotionTable(str(path.with_suffix(f".motions{path.suffix}"))))
            self._files = stack.pop_all()

    def write(self, frame: Frame, extras: Extras | None) -> None:
        """Append one frame."""
        self.writer.write(frame, extras)
        if self._motions is not None:
            for event in frame.motions:
                self._motions.write_event(frame.index, event)

    def append_part(self, path: Path, index: int, source: str | None) -> None:
        """Append the frames of a file's own table."""
        with open_json_lines(path) as (_, frames):
            for frame, extras in frames:
                own = index if frame.time is None else frame.index
                self.writer.write(replace(frame, index=own, source=source), extras)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, traceback)


class _Detectors:
    """Detectors over the same images, as one."""

    def __init__(self, detectors: Sequence[Detector[Any]]) -> None:
        self._detectors = detectors

    def detect(self, rgb: Image, *, time: float | None) -> Results[Result]:
        """What all of them find."""
        found = [detector.detect(rgb, time=time) for detector in self._detectors]
        return Results(chain(*found), motions=list(chain(*(one.motions for one in found))))

    def reset(self) -> None:
        """The next image follows no other."""
        for detector in self._detectors:
            detector.reset()

    def close(self) -> None:
        """Free the networks."""
        for detector in self._detectors:
            detector.close()


class _Detecting(StillAndStream["_Detectors"]):
    def __init__(self, processor: Detect) -> None:
        super().__init__()
        self._processor = processor
        self._lifter = None if processor.lift is None else create_lifter(processor.lift)

    def open(self, *, still: bool) -> _Detectors:
        with ExitStack() as stack:  # what fails takes back those before it
            detectors: list[Detector[Any]] = []
            for one in (self._processor, *self._processor.beside):
                defaults = {"static_image": still, "smoothing": None if still else find_kind(one.kind).stream_smoothing}
                defaults["gestures"] = one.gestures
                detectors.append(create_detector(one.kind, **defaults | dict(one.options)))  # pyright: ignore[reportArgumentType]
                stack.callback(detectors[-1].close)
            stack.pop_all()
        return _Detectors(detectors)

    def begin(self, source: Source, outputs: Outputs) -> _DetectPass:
        return _DetectPass(self._processor, self.fresh(source), self._lifter, source, outputs)


class _DetectPass(Pass[Frame]):
    def __init__(
        self, processor: Detect, detector: _Detectors, lifter: Lifter | None, source: Source, outputs: Outputs
    ) -> None:
        super().__init__()
        self._source, self._detector, self._lifter = source, detector, lifter
        self._lists = [find_kind(one.kind).list_name for one in (processor, *processor.beside)]
        columns = processor.columns
        self._annotator = Annotator(columns, processor.counting)
        self._table = self._lines = self._drawing = self._mask = None
        with ExitStack() as stack:  # a refusal of the second output takes back the first
            if outputs.save is not None:
                self._table = stack.enter_context(FrameTable(outputs.save, processor, source))
            if outputs.json:
                self._lines = stack.enter_context(FrameTable("-", processor, source))
            if outputs.draw is not None:
                drawing = open_drawing_writer(outputs.draw, source)
                self._drawing = stack.enter_context(self.beside_others(drawing, outputs.draw, outputs))
            if outputs.mask is not None:
                self._mask = stack.enter_context(open_mask_writer(outputs.mask, source))
                self._mask.images = self.beside_others(self._mask.images, outputs.mask, outputs)
            self.outputs = stack.pop_all()
        self._annotated = bool(columns)
        self._last: Frame | None = None
        self._extras: Extras | None = None

    def process(self, frame: SourceFrame) -> Frame:
        found = self._detector.detect(frame.rgb, time=frame.time)
        result = Frame.holding(frame.index, frame.time, found, self._source.frame_source(frame.index))
        result.motions = found.motions
        if self._lifter is not None:
            self._lifter.lift_frame(frame.rgb, result)
        self._last = result
        return result

    def count(self, result: Frame) -> int:
        return sum(len(result.results(name)) for name in self._lists)

    def write(self, frame: SourceFrame, result: Frame) -> None:
        notes = self._annotator.annotate(result) if self._annotated else Annotations(None, [], [])
        self._extras = notes.extras
        for table in (self._table, self._lines):
            if table is not None:
                table.write(result, notes.extras)
        if self._drawing is not None:
            with self.times.of("drawing"):
                drawn = draw_frame(frame.rgb, result, notes=notes.notes, captions=notes.captions)
            self._drawing.write(drawn, frame.time, index=frame.index, under=frame)
        if self._mask is not None:
            self._mask.write(frame.rgb, mask_from_frame(result), frame.time, index=frame.index)

    def report(self, summary: Summary) -> None:
        summary.last, summary.measured = self._last, self._extras
        if self._last is not None and not summary.written and self._lines is None:
            instances = [one for _, one in self._last.instances()]
            summary.lines = [
                _line(*both) for both in zip(instances, self._extras or [{}] * len(instances), strict=True)
            ]


def _line(one: Instance, measured: Mapping[str, float | str | None]) -> str:
    box = ", ".join(f"{value:.0f}" for value in one.box)
    values = "".join(f"; {name} {shown_value(value)}" for name, value in measured.items())
    return f"{one.title} {one.score:.2f}{'' if one.id is None else f' #{one.id}'} at {box}{values}"


def shown_value(value: float | str | None) -> str:
    """A value of a further column as people read it.

    >>> shown_value(0.123456), shown_value(2), shown_value("fist"), shown_value(None)
    ('0.123', '2', 'fist', 'unknown')
    """
    known = value is not None and not (isinstance(value, float) and math.isnan(value))
    return "unknown" if not known else f"{value:.3f}" if isinstance(value, float) else str(value)
