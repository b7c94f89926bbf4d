"""Tasks: what a run does with the images of its inputs.

A `Task` describes the work and loads nothing, so that it can be sent to another process. It opens a `Worker`, which
has the networks loaded and processes one input after the other. `sonjit.runs.run` runs workers over inputs.
"""

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from sonjit._util import Image, InputError
from sonjit._util.files import Closing
from sonjit.geometry.cameras import ASSUMED_VIEW_DEG, Intrinsics
from sonjit.media import Anonymise, BestEffortDrawing, DrawingWriter, Source, SourceFrame, open_drawing_writer
from sonjit.media.sources.base import SourceKind
from sonjit.media.tables.base import Extras
from sonjit.results import Frame
from sonjit.runs.frame_tables import FrameTable, RecordTable
from sonjit.runs.hiding import Anonymiser, Hidden

Item = TypeVar("Item")


@dataclass(frozen=True)
class Outputs:
    """Output paths of an input; None for an output that is not wanted."""

    save: str | None = None  # table, or another file of results
    draw: str | None = None  # annotated image, folder of images or video
    mask: str | None = None  # cut-out image, folder of images or video
    figures: str | None = None  # image or folder of images that show intermediate values of a network
    json: bool = False  # print each frame as a line of JSON on standard output
    also: tuple[str, ...] = ()  # further tables of the same results

    @property
    def paths(self) -> list[str]:
        """Every file or folder to write."""
        return list(self.named_paths.values())

    @property
    def named_paths(self) -> dict[str, str]:
        """Every file or folder to write, by its option."""
        paths = {"--save": self.save, "--draw": self.draw, "--mask": self.mask, "--figure": self.figures}
        paths |= {f"--save {path}": path for path in self.also}
        return {option: path for option, path in paths.items() if path is not None}


@dataclass
class Summary:
    """Result of a run over one or several inputs."""

    frames: int = 0  # number of processed images
    instances: int = 0  # number of detected instances in all images
    seconds: float = 0.0  # duration of the run
    files: int | None = None  # number of finished files; None for a run over one input
    skipped: int = 0  # number of files that an earlier run has finished
    last: Frame | None = None  # newest frame of a detector
    measured: Extras | None = None  # additional values of each instance in that frame, such as its measures
    lines: list[str] = field(default_factory=list[str])  # results to print
    notes: list[str] = field(default_factory=list[str])  # hints for the user, one line each
    omitted: str | None = None  # number of shown and of found instances, if some are beyond the maximum
    written: list[str] = field(default_factory=list[str])  # paths of files and folders
    # seconds spent on reading, detecting and writing, which run in parallel. Drawing is part of writing.
    times: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    problems: list[str] = field(default_factory=list[str])  # errors of single images or files, one line each
    hidden: Hidden | None = None  # number of hidden people; None if nothing was to be hidden


class Task(ABC):
    """Description of the work on images.

    Subclasses are frozen dataclasses. The results depend only on their fields and on the files in `files`.
    """

    save_ending: ClassVar[str] = ".json"  # of the file of results that each input gets in a folder
    figures_ending: ClassVar[str] = ""  # of the figure that each input gets; empty for a folder of figures per input
    joins_videos: ClassVar[bool] = False  # one table may contain the frames of videos in addition to still images

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files and folders on which the results depend."""
        return ()

    @property
    def person_endings(self) -> tuple[str, ...]:
        """Endings of outputs with one file for each person, the second of which is in `NAME-2`."""
        return ()

    @abstractmethod
    def count_text(self, count: int) -> str:
        """Return a number of instances with their noun, such as `2 hands`."""

    @abstractmethod
    def open(self, source: SourceKind) -> "Worker[Any]":
        """Load the networks for sources of a kind."""

    def check_inputs(self, names: Sequence[str]) -> None:
        """Raise InputError if the task cannot process inputs of these names together. By default it can."""
        del names

    def for_threads(self) -> "tuple[Task, int]":
        """Return the task of workers that process stills at once, each in a thread, and the number of threads.

        By default a single worker processes all files.
        """
        return self, 1

    def open_table(self, save: str, source: Source) -> FrameTable | RecordTable | None:
        """Open one table for several files, which the source describes.

        None means that only a single worker that reads all files as one source can write it.
        """
        del save, source
        return None


class Worker(Closing, ABC, Generic[Item]):
    """Loaded networks that process one input after the other. A worker is a context manager that frees them."""

    def __init__(
        self, anonymise: Anonymise = "none", models_dir: str | Path | None = None, threads: int | None = None
    ) -> None:
        self.times: defaultdict[str, float] = defaultdict(float)  # seconds spent on parts of the current input
        self.hidden = Anonymiser(anonymise, models_dir, threads)
        self._drawings: dict[str, BestEffortDrawing] = {}

    @abstractmethod
    def start(self, source: Source, outputs: Outputs, files: ExitStack) -> None:
        """Prepare for a new input and open its outputs, so that a wrong path fails before any work.

        The stack keeps the outputs at the end or at Ctrl-C, and discards them after any other exception.
        """

    def process_frames(self, frames: Iterable[SourceFrame]) -> Generator[tuple[SourceFrame, Item]]:
        """Yield each image with its item. A worker has this method or `process`."""
        for frame in frames:
            yield frame, self.process(frame)

    def process(self, frame: SourceFrame) -> Item:
        """Process the next image."""
        raise NotImplementedError

    @abstractmethod
    def count(self, item: Item) -> int:
        """Return the number of instances in an item."""

    def write(self, frame: SourceFrame, item: Item) -> None:
        """Write the item of an image. Called in order from another thread, a few images behind `process`."""

    def report(self, summary: Summary) -> None:
        """Add to the summary of an input whose outputs are finished."""

    def close(self) -> None:
        """Free the networks."""

    def open_drawing(self, path: str, source: Source, outputs: Outputs) -> DrawingWriter:
        """Open annotated output that is dropped if its encoder fails, so that the other outputs are kept.

        If there are no others, the failure ends the run.
        """
        writer = open_drawing_writer(path, source, sound=self.hidden.keeps_people)
        return self.as_optional(writer, path, outputs)

    def as_optional(self, drawing: DrawingWriter, path: str, outputs: Outputs) -> DrawingWriter:
        """Wrap a drawing so that it is dropped if its encoder fails, see `open_drawing`."""
        if len(outputs.paths) + outputs.json == 1:
            return drawing
        self._drawings[path] = BestEffortDrawing(drawing)
        return self._drawings[path]

    def report_dropped(self, summary: Summary) -> None:
        """Move dropped drawings from the written files of a summary to its problems."""
        for path, drawing in self._drawings.items():
            if drawing.problem is not None:
                summary.problems.append(drawing.problem)
                summary.written = [written for written in summary.written if written != path]

    def reset(self) -> None:
        """Forget the times, the drawings and the faces of the input before."""
        self.times.clear()
        self.hidden.reset()
        self._drawings.clear()


@dataclass(frozen=True)
class Lift:
    """Settings for lifting hands.

    Attributes:
        network: `internet`.
        weights: Checkpoint, or its .xml or .onnx by `sonjit export`, or "demo" for placeholder weights.
        root_weights: Checkpoint of RootNet; None estimates the distance from the size of the hands.
        layout: Data set of the checkpoint, interhand, stb or rhd, if the checkpoint does not contain it.
        root_input_scale: Input scale 255 or 1 of RootNet's checkpoint, if that does not contain it; see `RootNet`.
        camera: Camera of all images; None assumes one for each image.
        mirrored: Treat the images as selfie views.
        device: Device, see `torch_device`. Exported networks run on the CPU.
        box: Box (x, y, width, height) around the hands of one person in every image. InterNet then decides which hands
            are visible, whatever a detector finds.
    """

    network: Literal["internet"] = "internet"
    weights: str | None = None
    root_weights: str | None = None
    layout: str | None = None
    root_input_scale: float | None = None
    camera: Intrinsics | None = None
    mirrored: bool = False
    device: str = "cpu"
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.weights is None:
            raise InputError(
                f"--lift {self.network} needs its weights, --lift-weights FILE: a checkpoint of your own, or the one "
                f"that sonjit networks {self.network} names; or use demo for placeholder weights"
            )
        if self.root_input_scale is not None and self.root_weights is None:
            raise InputError("--root-input-scale requires --root-weights")
        if self.box is not None and not (all(map(math.isfinite, self.box)) and min(self.box[2:]) > 0):
            raise InputError(f"--lift-box {','.join(map('{:g}'.format, self.box))}: width and height must be above 0")

    @property
    def changed_options(self) -> dict[str, object]:
        """Network and settings that differ from the defaults, as JSON types by the names of the command line."""
        values: dict[str, object] = {
            "lift": self.network,
            "lift_weights": self.weights,
            "lift_layout": self.layout,
            "root_weights": self.root_weights,
            "root_input_scale": self.root_input_scale,
            "lift_box": None if self.box is None else list(self.box),
            "lift_device": None if self.device == "cpu" else self.device,
            "camera": None if self.camera is None else ",".join(map(str, self.camera)),
        }
        return {name: value for name, value in values.items() if value is not None}

    @property
    def notes(self) -> list[str]:
        """Assumptions to print, one line each."""
        notes: list[str] = []
        if self.camera is None:
            notes.append(
                f"camera assumed: {ASSUMED_VIEW_DEG} degrees across the longer side of each image, looking through "
                "its middle; distances are as good as that: give --camera fx,fy,cx,cy in pixels"
            )
        if self.root_weights is None and self.box is not None:
            notes.append("distance from the size of a usual hand, 90 mm from the wrist to the middle finger's knuckle")
        elif self.root_weights is None:
            notes.append(
                "distance from the hands' size as the detector has it, a usual hand's; give --root-weights for RootNet"
            )
        else:
            notes.append(
                "distance by RootNet's release for bodies with a hand's box of 300 mm: its form for hands was never "
                "published"
            )
        return notes


class Lifter(Protocol):
    """Loaded networks that lift hands."""

    def lift_frame(self, rgb: Image, frame: Frame) -> None:
        """Lift the hands of a frame of an image (H, W, 3), uint8 RGB, in place."""
        ...
