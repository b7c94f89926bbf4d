"""Detection over an input: tables, annotated output and masks of the detected instances."""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from sonjit import media
from sonjit._util import Image, InputError, pluralize, version
from sonjit._util.extensions import find_function
from sonjit._util.files import write_bytes
from sonjit.detectors import create, kinds, pipeline
from sonjit.detectors.options import GESTURES, CommonOptions, is_still
from sonjit.engines import shared_networks
from sonjit.engines.precision import int8_path
from sonjit.gestures.classifier import CANNED
from sonjit.media.drawing import USUAL, DrawingStyle, draw_regions
from sonjit.media.sources.images import encode_image
from sonjit.media.tables import FORMATS, find_format
from sonjit.results import Frame, Instance
from sonjit.results.measures import in_degrees
from sonjit.runs import frame_tables, inputs
from sonjit.runs.annotations import annotate, count_columns, table_columns
from sonjit.runs.events import EVENTS
from sonjit.runs.hiding import covered
from sonjit.runs.session import Session
from sonjit.runs.task import Lift, Outputs, Summary, Task, Worker
from sonjit.weights import find_weight

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from sonjit.detectors import Detector
    from sonjit.media.drawing.regions import Region
    from sonjit.media.sources.base import SourceKind
    from sonjit.media.tables.base import Extras, TableRows
    from sonjit.media.tables.characters import BoneNames
    from sonjit.runs.annotations import AngleLimits, Columns, EventLimits

_CORES: Final = os.cpu_count() or 1
_MOST_THREADS: Final = 4  # maximum number of stills that are processed at once
_MIN_FRAMES: Final = 10  # number of frames without results after which a more thorough search is suggested


@dataclass(frozen=True)
class Detect(Task):
    """Detect instances of one kind."""

    joins_videos: ClassVar[bool] = True

    options: CommonOptions  # checked options of the detector; the input decides `static_image` if it is None
    measures: bool = False  # write measures into the table, and the shipped gestures if the options name no others
    count: tuple[AngleLimits, ...] = ()  # angles whose repetitions to count
    lift: Lift | None = None  # settings for lifting hands into the camera's space
    also: tuple[Detect, ...] = ()  # further detectors for the same images, tables and drawings
    rows: TableRows | None = None  # what a row of a table describes; None for the default of the format
    bones: BoneNames | None = None  # bone names of a character; None for the default
    onto: str | None = None  # .vrm or .glb model that moves as the person of a character
    events: tuple[EventLimits, ...] = ()  # limits of measures that make events
    style: DrawingStyle = USUAL  # settings of drawings
    degrees: bool = False  # write angles in degrees, also into tables that are not .xlsx
    roi: tuple[int, int, int, int] | None = None  # region x, y, width and height in pixels that is searched
    keep: int | None = None  # id of the person whose head stays visible in drawings that hide people

    def __post_init__(self) -> None:
        if self.roi is not None:
            pipeline.check_region(self.roi, self.options)

    def check_inputs(self, names: Sequence[str]) -> None:
        """Raise InputError for `keep` with several inputs, each of which counts its people from 1."""
        if self.keep is not None and len(names) > 1:
            raise InputError(
                f"--keep {self.keep}: requires one video, because {self.keep} is another person in each of "
                f"{len(names)} files. Run each file with its own --keep"
            )

    @property
    def kind(self) -> str:
        """Name of the kind."""
        return self.options.kind

    @property
    def entry(self) -> kinds.KindEntry:
        """Entry of the kind."""
        return kinds.KINDS.find(self.kind)

    def __getstate__(self) -> dict[str, object]:
        """Return the fields, without the cached values, which other processes make again."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def count_text(self, count: int) -> str:
        """Return a number of instances with the noun of the kind."""
        if self.also:
            return pluralize(count, "instance")
        return pluralize(count, self.entry.result.kind, self.entry.list_name)

    @property
    def all(self) -> tuple[Detect, ...]:
        """This task and those in `also`."""
        return self, *self.also

    @property
    def files(self) -> tuple[str, ...]:
        """Networks, folders of networks, gesture files, moved models, and int8 forms that `auto` may run."""
        named: list[object] = [self.onto]
        named += [] if self.lift is None else [self.lift.weights, self.lift.root_weights]
        for task in self.all:
            options = task.options
            named += [options.models_dir, options.detector_model, options.landmark_model]
            named += [task.gestures] if task.gestures not in GESTURES else []
            named += _int8_files(options, task.entry)
        return tuple(str(path) for path in named if path)

    @property
    def person_endings(self) -> tuple[str, ...]:
        """Endings of characters with one file for each person, see `CharacterWriter`."""
        places = ("files",) if self.onto is None else ("files", "files onto a model")
        return tuple(ending for ending, table_format in FORMATS.items() if table_format.people in places)

    @cached_property
    def model(self) -> str:
        """Name of the model in the table's header: kind and model, the lifting network, and the further models."""
        lifting = [] if self.lift is None else [self.lift.network]
        return "+".join([f"{self.kind}-{self.options.model}", *lifting, *(task.model for task in self.also)])

    @cached_property
    def columns(self) -> Columns:
        """Names and types of the table's additional columns."""
        columns = table_columns(
            f"{self.kind}-{self.options.model}",
            measures=self.measures,
            gestures=self.gestures is not None,
            counts=count_columns(self.count),
            options=self.options,
        )
        return columns | {name: kind for task in self.also for name, kind in task.columns.items()}

    @property
    def gestures(self) -> str | None:
        """Gestures to classify, as `create_detector` takes them; None classifies none."""
        if "gestures" not in kinds.options_of(self.entry):
            return None
        chosen: object = getattr(self.options, "gestures", None)
        return (CANNED if self.measures else None) if chosen is None else str(chosen)

    @property
    def has_gestures(self) -> bool:
        """Return whether any detector classifies gestures and motions."""
        return any(task.gestures is not None for task in self.all)

    @property
    def has_events(self) -> bool:
        """Return whether any task asks for events. Those of gestures come with motions, see `has_gestures`."""
        options = {kind.asked_by for kind in EVENTS.values()} - {"gestures"}
        return any(getattr(task, option) for task in self.all for option in options)

    @property
    def limits(self) -> list[EventLimits]:
        """Limits of measures that make events, of all tasks."""
        return [limits for task in self.all for limits in task.events]

    def open(self, source: SourceKind) -> DetectWorker:
        """Load the detectors and the lifting network."""
        return DetectWorker(self, source)

    def for_threads(self) -> tuple[Detect, int]:
        """Return a task whose detectors share their networks, and the number of threads.

        The number is 1 for lifting, whose network is not shared, for engines without shared networks, and for kinds of
        extensions.
        """
        cores = min(min(task.options.running.thread_count or _CORES, _CORES) for task in self.all)
        count = min(cores, _MOST_THREADS)
        is_shared = all(task._can_share for task in self.all) and self.lift is None
        if count == 1 or not is_shared:
            return self, 1
        first, *also = (replace(task, options=task._on_cores(cores // count), also=()) for task in self.all)
        return replace(first, also=tuple(also)), count

    @property
    def _can_share(self) -> bool:
        """Return whether several detectors of the task can share their networks."""
        options = self.options
        is_own = self.entry.load.__module__.startswith("sonjit.")
        return is_own and (options.engine, options.running.device) == ("openvino", "CPU")

    def _on_cores(self, count: int) -> CommonOptions:
        """Return options for detectors that share their networks, each on a number of cores."""
        return replace(self.options, threads=count, shared=True)

    def open_table(self, save: str, source: media.Source) -> frame_tables.FrameTable:
        """Open a table of the frames of several files. Raise InputError for a format of a single input or video."""
        table_format, are_stills = find_format(save), source.kind == "folder"
        if table_format is not None and table_format.sources not in ("many", "photographs" if are_stills else "many"):
            name = Path(save).with_stem("{name}")
            raise InputError(f"{save}: {table_format.noun} require one input. For several inputs use --save {name}")
        with_motions = self.has_gestures and not are_stills
        return self.table(save, source, with_motions=with_motions, with_events=self.has_events)

    def table(self, path: str, source: media.Source, **settings: Any) -> frame_tables.FrameTable:  # noqa: ANN401
        """Open a table of a source, with rows or bones if its format has them. `settings` are those of `FrameTable`."""
        table_format = find_format(path)
        settings["rows"] = self.rows if table_format and table_format.rows else None
        settings["bones"] = self.bones if table_format and table_format.has_bones else None
        settings["onto"] = self.onto if table_format and table_format.has_bones else None
        return frame_tables.FrameTable(path, self.header(source), self.columns, degrees=self.degrees, **settings)

    def header(self, source: media.Source) -> media.Header:
        """Return the header of a table for a source."""
        return replace(
            media.Header.from_source(source, self.model, self.entry.list_name),
            version=version.__version__,
            options=self.changed_options,
        )

    @cached_property
    def changed_options(self) -> dict[str, object]:
        """Options that differ from the defaults, as JSON types, also those of further detectors."""
        usual = kinds.make_options(self.entry, {"model": self.options.model})
        changed: dict[str, object] = {
            name: str(value) if isinstance(value, Path) else value
            for name in kinds.options_of(self.entry)
            if name not in ("model", *inputs.WITHOUT_EFFECT)
            and (value := getattr(self.options, name)) != getattr(usual, name)
        }
        if self.measures:
            changed["measures"] = True
        if self.count:
            texts = [limits.text for limits in self.count]
            changed["count"] = texts if len(texts) > 1 else texts[0]
        if self.events:
            changed["events"] = [limits.text for limits in self.events]
        if self.roi is not None:
            changed["roi"] = list(self.roi)
        if self.lift is not None:
            changed |= self.lift.changed_options
        further = {f"{task.kind}.{name}": value for task in self.also for name, value in task.changed_options.items()}
        return changed | further


def _int8_files(options: CommonOptions, entry: kinds.KindEntry) -> list[Path]:
    """Return the int8 forms of the networks of a detector, which `sonjit models quantize` writes."""
    if options.precision not in ("auto", "int8"):
        return []
    weights = [name for model in entry.models.values() for name in model.weights.values()]
    int8_paths = [int8_path(path) for path in (options.detector_model, options.landmark_model) if path]
    for name in dict.fromkeys(weights):
        with suppress(InputError):  # a network that this model does not need
            int8_paths.append(int8_path(find_weight(name, options.models_dir)))
    return [form for form in int8_paths if form.exists()]


class DetectWorker(Worker[Frame]):
    """Loaded detectors."""

    def __init__(self, task: Detect, source: SourceKind) -> None:
        with shared_networks() if task.options.shared else nullcontext():
            super().__init__(task.style.anonymise, task.options.models_dir, task.options.threads)
        self._task, self._columns = task, task.columns
        self._lists = [item.entry.list_name for item in task.all]
        self._lift = None
        if task.lift is not None:
            self._lift = find_function("create_lifter", "--lift")(task.lift).lift_frame
        self._detectors: list[Detector[Any]] = []
        with ExitStack() as stack:
            stack.callback(self.close)  # if a later detector fails
            for item in task.all:
                options = replace(item.options.for_input(source), is_live=source == "camera")
                if "gestures" in kinds.options_of(item.entry):
                    options = replace(options, gestures=item.gestures)  # pyright: ignore[reportCallIssue]
                self._detectors.append(create.detector_from(options))
            stack.pop_all()

    def start(self, source: media.Source, outputs: Outputs, files: ExitStack) -> None:
        """Open tables, drawing and mask."""
        for detector in self._detectors:
            detector.reset()
        self._source, self._outputs = source, outputs
        self._session = Session(self._detectors, events=self._task.limits, count=self._task.count, roi=self._task.roi)
        self._last: Frame | None = None
        self._waits = not (is_still(source.kind) or source.live)  # a frame waits, because the last one gets the ends
        self._waiting: tuple[Frame, Extras | None] | None = None
        self._extras: Extras | None = None
        self._drawing: media.DrawingWriter | None = None
        self._kept: tuple[int, Image] | None = None  # first frame with the person of `--keep`, and a picture of them
        self._canvas: Image | None = None  # the drawings of a video share its memory
        self._mask: media.MaskWriter | None = None
        paths = [path for path in (outputs.save, *outputs.also) if path is not None]
        paths += ["-"] if outputs.json else []
        with_motions = self._task.has_gestures and not is_still(source.kind)
        self._tables: list[frame_tables.FrameTable] = []
        for path in paths:
            table = self._task.table(path, source, with_motions=with_motions, with_events=self._task.has_events)
            self._tables.append(files.enter_context(table))
        files.callback(self._finish_tables)
        keeps = self.hidden.keeps_people
        if outputs.draw is not None:
            self._drawing = files.enter_context(self.open_drawing(outputs.draw, source, outputs))
        if outputs.mask is not None:
            self._mask = files.enter_context(media.open_mask_writer(outputs.mask, source, cutout=keeps, sound=keeps))
            self._mask.images = self.as_optional(self._mask.images, outputs.mask, outputs)

    def process_frames(self, frames: Iterable[media.SourceFrame]) -> Generator[tuple[media.SourceFrame, Frame]]:
        """Yield each image with the instances in it."""
        for frame, result_frame in self._session.frames(frames, self._source):
            if self._lift is not None:
                self._lift(frame.rgb, result_frame)
            self._last = result_frame
            yield frame, result_frame

    def count(self, item: Frame) -> int:
        """Return the number of instances in a frame."""
        return sum(len(item.results(name)) for name in self._lists)

    def write(self, frame: media.SourceFrame, item: Frame) -> None:
        """Write a frame into the tables, the drawing and the mask."""
        annotations = annotate(item, self._columns, gestures=self._task.style.gestures)
        self._extras = annotations.extras
        self._write_waiting()
        self._waiting = item, annotations.extras
        if not self._waits:
            self._write_waiting()
        for table in self._tables:
            if item.source is not None:
                height, width = frame.rgb.shape[:2]
                table.writer.sources[item.source] = {"width": width, "height": height}
        shown = item.in_image(frame.rgb.shape[1])
        if self._drawing is not None:
            self._draw(self._drawing, frame, shown, annotations.notes)
        if self._mask is not None:
            self._mask.write(frame.rgb, media.mask_from_frame(shown), frame.time, index=frame.index)

    def _draw(self, drawing: media.DrawingWriter, frame: media.SourceFrame, item: Frame, notes: Sequence[str]) -> None:
        """Draw a frame and write the drawing."""
        start_s, style = time.perf_counter(), self._task.style
        regions: Sequence[Region] | None = None
        if drawing.keeps_pixels(frame) and not style.is_black and self.hidden.keeps_people:
            if self._canvas is None or self._canvas.shape != frame.rgb.shape:
                self._canvas = np.empty_like(frame.rgb)
            drawn = self._canvas
            regions = draw_regions(drawn, frame.rgb, item, style, notes=notes)
        else:
            boxes = covered(item, self._task.keep)
            below = self.hidden.below(frame, boxes)
            if self._kept is None and boxes.kept:
                left, top, right, bottom = boxes.kept[0]
                width, height = right - left, bottom - top
                rows = slice(max(round(top - height), 0), max(round(bottom + height), 1))
                columns = slice(max(round(left - width), 0), max(round(right + width), 1))
                self._kept = frame.index, below[rows, columns].copy()
            drawn = media.draw_frame(below, item, style, notes=notes, is_hidden=True)
        self.times["draw"] += time.perf_counter() - start_s
        drawing.write(drawn, frame.time, index=frame.index, under=frame, regions=regions)

    def _write_waiting(self) -> None:
        """Write the frame that waits into the tables."""
        if self._waiting is not None:
            for table in self._tables:
                table.write(*self._waiting)
            self._waiting = None

    def _finish_tables(self) -> None:
        """Write the motions and events that end with the input, and the notes of the source."""
        for table in self._tables:
            table.writer.remarks = self._source.remarks()
        motions, ends = self._session.finish()
        if self._waiting is not None:
            last = self._waiting[0]
            last.motions += motions
            last.events += ends
            self._write_waiting()
        elif self._last is not None:
            for table in self._tables:
                for motion in motions:
                    table.write_motion(self._last.index, self._last.source, motion)
                for event in ends:
                    table.write_event(self._last.index, self._last.source, event)

    def report(self, summary: Summary) -> None:
        """Add the newest frame, in words if nothing is written."""
        if self._extras is not None and self._task.degrees:
            self._extras = [in_degrees(values) for values in self._extras]
        summary.last, summary.measured = self._last, self._extras
        summary.written += [path for table in self._tables for path in (*table.more_paths, *table.writer.more_paths)]
        summary.notes += [note for table in self._tables for note in table.writer.notes]
        entry, options = self._task.entry, self._task.options
        has_more = entry.search is not None and not entry.models[options.model].is_box
        if summary.frames >= _MIN_FRAMES and not summary.instances and options.search == "auto" and has_more:
            summary.notes.append(f"{self._source.name}: {self._task.count_text(0)} found. Try --search thorough.")
        if self._task.count and summary.instances and not is_still(self._source.kind):
            summary.notes += [f"{self._source.name}: {line}." for line in self._session.repetitions.summary()]
        if self._kept is not None and self._outputs.draw is not None:
            index, head = self._kept
            picture = Path(self._outputs.draw).with_suffix(".kept.png")
            write_bytes(picture, encode_image(head, ".png"))
            summary.written.append(str(picture))
            note = f"--keep {self._task.keep}: the head in {picture}, from frame {index}, stays visible"
            summary.notes.append(f"{self._source.name}: {note}. Check that it is the right person.")
        elif self._task.keep is not None and self._drawing is not None:
            note = f"--keep {self._task.keep}: no person has this id, so all heads are hidden. A drawing shows the ids"
            summary.notes.append(f"{self._source.name}: {note}.")
        if (omitted := self._session.omitted.text) is not None:
            summary.omitted = f"{self._source.name}: {omitted}"
            summary.notes.append(f"{summary.omitted}. Use --max-instances.")
        if self._last is not None and not summary.written and not self._outputs.json:
            instances = [instance for _, instance in self._last.instances()]
            extras = self._extras or [{}] * len(instances)
            summary.lines = [_line(instance, values) for instance, values in zip(instances, extras, strict=True)]

    def close(self) -> None:
        """Free the networks."""
        for detector in self._detectors:
            detector.close()


def _line(instance: Instance, measured: Mapping[str, float | str | None]) -> str:
    box = ", ".join(f"{value:.0f}" for value in instance.box)
    values = "".join(f"; {name} {value_text(value)}" for name, value in measured.items())
    track = "" if instance.id is None else f" #{instance.id}"
    return f"{instance.title} {instance.score:.2f}{track} at {box}{values}"


def value_text(value: float | str | None) -> str:
    """Return the value of an additional column as text.

    >>> value_text(0.123456), value_text(2), value_text("fist"), value_text(None)
    ('0.123', '2', 'fist', 'unknown')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "unknown"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
