"""Options that several commands share."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, TypeVar, get_type_hints

from cyclopts import Group, Parameter, validators

from sonjit._util import InputError
from sonjit._util.files import check_no_input, check_writable, reading
from sonjit.geometry.cameras import camera_from_text
from sonjit.media.sources import Reading
from sonjit.media.tables import endings_of
from sonjit.runs.task import Lift

OUTPUT = Group("Output", sort_key=1)
FINDING = Group("Finding", sort_key=2)
RUNNING = Group("Running", sort_key=3)

_N = TypeVar("_N", int, float)

FileName: TypeAlias = str | Path
"""File name as the user typed it, always a str. The Path in the union lets shells complete it."""

Count: TypeAlias = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]
"""Number from 1; None if it is not given."""

ROWS: Final = endings_of(lambda known: known.open_rows)
"""Endings of tables of rows that are not frames, for help texts."""


def shown_default(value: object) -> str | None:
    """Return a default as the help shows it, or None for an option that is off or empty without a value."""
    if value is None or value is False or value in ((), ""):
        return None
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _check_file(_: object, value: FileName | None) -> None:
    if value is not None:
        check_writable(Path(value))


def _check_folder(_: object, value: FileName | None) -> None:
    if value is not None:
        check_writable(Path(value), folder=True)


def _check_by_ending(_: object, value: FileName | None) -> None:
    """Check a file, or a folder, which has no ending. A name with {name} or {index} is one of many in its folder."""
    if value is None:
        return
    place = Path(str(value).partition("{")[0] + "x" if "{" in str(value) else value)
    is_folder = "{" not in str(value) and (str(value).endswith(("/", "\\")) or place.is_dir() or not place.suffix)
    check_writable(place, folder=is_folder)


TO_FILE: Final = Parameter(validator=_check_file)
"""Option of a file to write. The command line refuses one that cannot be written, before the work."""

TO_FOLDER: Final = Parameter(validator=_check_folder)
"""Option of a folder to write, which may exist, see `TO_FILE`."""

TO_EITHER: Final = Parameter(validator=_check_by_ending)
"""Option of a file or folder to write, by its ending, see `TO_FILE`."""


TO_MANY: Final = "output"
"""Option of outputs that the run checks, see `TO_FILE`."""

Input: TypeAlias = Annotated[FileName, Parameter(name="INPUT", allow_leading_hyphen=True)]
"""Input of a command; `-` is standard input."""


@Parameter(name="*", group=RUNNING)
@dataclass(frozen=True)
class BatchOptions:
    """How to process the inputs.

    Attributes:
        limit: Maximum number of frames of each input file.
        fps: Frames per second. A folder or a pattern such as f_%06d.png is then one recording; times of videos are
            replaced. Default: the times of the video.
        start: Time in seconds of the first frame of a video to process.
        end: Time in seconds from which frames are not processed. Default: the end.
        every: Process only frames whose index is a multiple of this number.
        reconnect: Time in seconds for which a camera that ends is opened again. The table shows the gap.
        jobs: Processes for several files, a folder or a glob. They share the cores.
        workers: pool starts processes on this machine. ray or ray:ADDRESS uses a cluster whose machines have the files
            under the same paths.
        timing: Print the time for reading, detecting and writing per image.
    """

    limit: int | None = None
    fps: float | None = None
    start: float = 0.0
    end: float | None = None
    every: int = 1
    reconnect: float = 0.0
    jobs: int = 1
    workers: str = "pool"
    timing: Annotated[bool, Parameter(negative="")] = False

    @property
    def reading(self) -> Reading:
        """Return which frames to read."""
        return Reading(self.fps, self.start, self.end, self.every, self.reconnect)


@Parameter(name="*", group=Group("Lifting", sort_key=4))
@dataclass(frozen=True)
class Lifting:
    """Hands in the camera's space.

    Attributes:
        lift: Network for both hands together. x_m, y_m and z_m are then metres from the lens, not from the hand.
        lift_weights: Checkpoint, official or your own; its .xml by sonjit export, which is twice as fast; or demo for
            placeholder weights.
        lift_layout: Data set of an official checkpoint. Sonjit's own checkpoints contain it.
        root_weights: Checkpoint of RootNet for the distance. Default: from the size of the hands.
        root_input_scale: Value of white for an official checkpoint of RootNet: 255 in the release. Sonjit's own
            checkpoints contain it.
        lift_box: x,y,width,height in pixels around the hands of one person. InterNet then decides which hands are
            visible, even without a detection.
        lift_device: Device of both networks: cpu, gpu, cuda:1, mps or auto.
        camera: fx,fy,cx,cy in pixels, for --lift and --distance. Default: 60 degrees across the longer side.
    """

    lift: Literal["internet"] | None = None
    lift_weights: str | None = None
    lift_layout: Literal["interhand", "stb", "rhd"] | None = None
    root_weights: str | None = None
    root_input_scale: Literal[1, 255] | None = None
    lift_box: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    lift_device: str = "cpu"
    camera: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None


def lift_from(lifting: Lifting, *, mirrored: bool, independent: tuple[str, ...] = ()) -> Lift | None:
    """Return the settings for lifting, or None without --lift."""
    if lifting.lift is None:
        changed = [item.name for item in fields(lifting) if getattr(lifting, item.name) != item.default]
        if dependent := [f"--{name.replace('_', '-')}" for name in changed if name not in independent]:
            raise InputError(f"{', '.join(dependent)} requires --lift internet")
        return None

    return Lift(
        network=lifting.lift,
        weights=lifting.lift_weights,
        root_weights=lifting.root_weights,
        layout=lifting.lift_layout,
        root_input_scale=lifting.root_input_scale,
        camera=None if lifting.camera is None else camera_from_text(lifting.camera),
        mirrored=mirrored,
        device=lifting.lift_device,
        box=None if lifting.lift_box is None else pixel_box(lifting.lift_box, "--lift-box", float),
    )


def pixel_box(text: str, option: str, number: Callable[[str], _N]) -> tuple[_N, _N, _N, _N]:
    """Return the four numbers of an option in pixels."""
    try:
        x, y, width, height = map(number, text.split(","))
    except ValueError:
        raise InputError(f"{option} {text}: write x,y,width,height in pixels") from None
    return x, y, width, height


def print_notes(lift: Lift | None) -> None:
    """Print the assumptions of lifting, after the work: an error message is printed without them."""
    for note in [] if lift is None else lift.notes:
        sys.stderr.write(f"sonjit: {note}\n")


def check_outputs(command: Callable[..., object], arguments: Mapping[str, object]) -> None:
    """Raise InputError if an option of an output names a file that another argument of the command names.

    Files inside folders and patterns are known when they are opened, see `sonjit._util.files.protect`.
    """
    try:
        hints = get_type_hints(command, include_extras=True)
    except NameError:  # a function of Cyclopts, such as that of --help
        return
    written, read = list[Path](), list[Path]()
    for is_output, value in _named(hints, arguments):
        (written if is_output else read).append(Path(value))
    with reading(*read):
        for path in written:
            check_no_input(path)


def _named(hints: Mapping[str, object], values: Mapping[str, object]) -> Iterator[tuple[bool, str | Path]]:
    """Yield the texts and paths among arguments, also in groups of options, and whether they name an output."""
    for name, value in values.items():
        marks = getattr(hints.get(name), "__metadata__", ())
        is_output = any(mark in (TO_FILE, TO_FOLDER, TO_EITHER, TO_MANY) for mark in marks)
        if is_dataclass(value) and not isinstance(value, type):
            inner = get_type_hints(type(value), include_extras=True)
            yield from _named(inner, {item.name: getattr(value, item.name) for item in fields(value)})
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, str | Path) and item:
                yield is_output, item
