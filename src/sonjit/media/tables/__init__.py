"""Write and read tables in the format of the file name ending."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, KeysView, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, overload

from sonjit._util import InputError
from sonjit._util.extensions import Registry, extension_problems, resolved
from sonjit._util.files import UNFINISHED, check_local, reading
from sonjit.media.tables import base, layout
from sonjit.media.tables.characters import BoneNames, CharacterChoice
from sonjit.media.tables.formats import Download, Loader, Opener, OpenFrames, RowOpener, TableFormat
from sonjit.media.tables.json_files import StandardOutputWriter
from sonjit.results import Frame
from sonjit.results.measures import in_degrees

_HERE: Final = "sonjit.media.tables"
FORMATS: Final[Registry[TableFormat]] = Registry(
    "table format",
    values={
        ".json": f"{_HERE}.json_files:JSON",
        ".jsonl": f"{_HERE}.json_files:JSON_LINES",
        ".csv": f"{_HERE}.csv_files:CSV",
        ".parquet": f"{_HERE}.columns:PARQUET",
        ".xlsx": f"{_HERE}.columns:EXCEL",
        ".rrd": f"{_HERE}.rerun_files:RERUN",
        ".bvh": f"{_HERE}.characters:BVH",
        ".glb": f"{_HERE}.characters:GLB",
        ".vrma": f"{_HERE}.characters:VRMA",
        ".coco.json": f"{_HERE}.labels:COCO",
        ".yolo.yaml": f"{_HERE}.labels:YOLO",
        ".cvat.xml": f"{_HERE}.labels:CVAT",
        ".labelstudio.json": f"{_HERE}.labels:LABEL_STUDIO",
        ".pose": f"{_HERE}.pose_files:POSE",
        ".eaf": "sonjit.gestures.exports:EAF",
    },
)
"""Formats by file name ending. To add one, add a line here; its record is in its module."""


_ELSEWHERE: Final = {
    ".fbx": "Write a .glb, which Blender imports and exports as .fbx",
    ".gltf": "Write a .glb, which is glTF in one file",
    ".obj": "sonjit mesh writes surfaces of hands as .obj",
    **dict.fromkeys((".html", ".pdf", ".mot", ".trc"), "sonjit report writes it"),
    ".c3d": "sonjit annotate export writes it, of several cameras",
    **dict.fromkeys((".xls", ".ods"), "Write .xlsx, which the same programs open"),
    **dict.fromkeys((".tsv", ".txt", ".dat"), "Write .csv"),
    **dict.fromkeys((".feather", ".arrow", ".h5", ".hdf5"), "Write .parquet"),
    **dict.fromkeys((".ndjson", ".jsonlines"), "Write .jsonl"),
    **dict.fromkeys((".yaml", ".yml"), "Write .yolo.yaml for Ultralytics, or .json"),
    ".xml": "Write .cvat.xml for CVAT",
}
"""What else to use, by the ending that users try."""


class _Readable(Mapping[str, TableFormat]):
    """The formats that can be read back, also those that are registered later."""

    def __getitem__(self, ending: str) -> TableFormat:
        return FORMATS[ending]

    def __iter__(self) -> Iterator[str]:
        return (ending for ending, table_format in FORMATS.items() if table_format.load)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, ending: object) -> bool:
        return ending in FORMATS and FORMATS[str(ending)].load is not None


TABLE_ENDINGS: Final[KeysView[str]] = _Readable().keys()
"""Endings of the tables that `load_frames` reads; it grows with `register_table_format`."""


@overload
def register_table_format(ending: str, open_table: TableFormat) -> None: ...
@overload
def register_table_format(
    ending: str, open_table: Opener, load: Loader, open_rows: RowOpener | None = None
) -> None: ...
def register_table_format(
    ending: str, open_table: Opener | TableFormat, load: Loader | None = None, open_rows: RowOpener | None = None
) -> None:
    """Make a table format known.

    Args:
        ending: File name ending in lower case, such as ".json".
        open_table: Function that opens a `FrameWriter` for a path, a header and the types of further columns. Or a
            `TableFormat`, the record that the formats of Sonjit have, with all that commands and the server ask.
        load: Function that reads the header and the frames of a file.
        open_rows: Function that opens a `RowWriter` for a path, a header (or None) and the columns' types. It writes
            other rows than frames: maps, COCO results, evaluations. Without it the format supports only frames.

    Raises:
        InputError: An ending without a dot, or one that is taken.
    """
    if not ending.startswith("."):
        raise InputError(f"table format {ending!r}: give an ending such as .txt")
    if isinstance(open_table, TableFormat):
        FORMATS.add(ending, open_table)
        return

    def open_frames(path: Path, header: base.Header, types: base.ExtraTypes, _: object) -> base.FrameWriter:
        return open_table(path, header, types)

    downloads = (Download({}),)
    FORMATS.add(ending, TableFormat(open_frames, load, open_rows, downloads=downloads, in_threads=False))


def find_format(path: str | os.PathLike[str]) -> TableFormat | None:
    """Return the format of a file name, or None if its ending is unknown."""
    return FORMATS.get(_ending_of(Path(path)))


def endings_of(is_chosen: Callable[[TableFormat], object]) -> str:
    """Return the endings of some formats for a message, such as ".csv, .parquet or .xlsx"."""
    return joined(ending for ending, table_format in FORMATS.items() if is_chosen(table_format))


def joined(words: Iterable[str]) -> str:
    """Return words as a list, such as ".csv, .parquet or .xlsx"."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def is_in_degrees(path: str | os.PathLike[str]) -> bool:
    """Check whether the format of a file name has angles in degrees by default."""
    table_format = find_format(path)
    return table_format is not None and table_format.in_degrees


def _ending_of(path: Path) -> str:
    """Return the ending in lower case, with the name of the format where one has it, such as `.coco.json`."""
    whole = "".join(path.suffixes[-2:]).lower()
    return whole if FORMATS.has(whole) else path.suffix.lower()


def open_writer(
    path: str | os.PathLike[str],
    header: base.Header,
    extra: Iterable[str] | base.ExtraTypes = (),
    *,
    rows: base.TableRows | None = None,
    bones: BoneNames | None = None,
    onto: str | os.PathLike[str] | None = None,
    degrees: bool | None = None,
) -> base.FrameWriter:
    """Open a file for the frames of one source, in the format of its ending, see the table of formats in the guide.

    Characters, which follow bodies or people, and labels for annotators ignore further values.

    The file appears under its name when the writer is closed, complete and valid after any number of frames. Memory
    does not grow with the number of frames.

    Args:
        path: File to write; missing folders are created. `-` prints each frame as a line of JSON with its source.
        header: Description of the source; CSV files omit it.
        extra: Names of further values that `write` receives for each instance, such as its measures. They become
            columns, in JSON an object "measures". They are numbers, or text as in `{"gesture": str}`.
        rows: What a row of `.csv`, `.parquet` and `.xlsx` describes: a "keypoint", an "instance", or an instance with
            a column per keypoint and axis ("wide"). Default: "keypoint", for `.xlsx` "instance".
        bones: Bone names of a character: "vrm" (default), "mixamo", "unreal" or "webxr".
        onto: A .vrm or .glb model that moves as the person. A `.glb` is then a copy of the model with the motion;
            `.bvh` and `.vrma` have its proportions.
        degrees: Write angles in degrees: columns that end in `_rad` then end in `_deg`. Default: only for `.xlsx`.

    Raises:
        InputError: The ending is unknown or has no rows or bones, a name is taken, or the folder is read-only.
        MissingExtraError: `.parquet` without pyarrow, or `.xlsx` without XlsxWriter.
    """
    types = layout.extra_types(extra, (*layout.COLUMNS, layout.ERROR_COLUMN, layout.SOURCE_COLUMN))
    if degrees or (degrees is None and is_in_degrees(path)):
        types = in_degrees(types)
        header = replace(header, options={**header.options, "angles": "degrees"})
    if os.fspath(path) == "-":
        return StandardOutputWriter(header, types)
    path = Path(path)
    ending = _ending(path)
    table_format = FORMATS[ending]
    for name, value in (("bones", bones), ("onto", None if onto is None else os.fspath(onto))):
        if value is not None and not table_format.has_bones:
            raise InputError(f"{path}: {name}={value!r} applies only to {endings_of(lambda known: known.has_bones)}")
    if onto is not None and bones is not None and table_format.people == "files onto a model":
        raise InputError(f"{path}: bones={bones!r} has no effect with onto, because the model keeps its names of bones")
    if rows is not None and not table_format.rows:
        raise InputError(f"{path}: rows={rows!r} applies only to {endings_of(lambda known: known.rows)}")
    if table_format.needs_size and (header.width is None or header.height is None):
        raise InputError(f"{path}: {table_format.noun} require images of one size, as in a video")
    choice = CharacterChoice(bones, None if onto is None else Path(onto))
    writer = resolved(table_format.open)(
        path, header, types, choice if table_format.has_bones else rows or table_format.rows
    )
    if table_format.sources != "many":
        _restrict(writer, path, table_format)
    return writer


def _restrict(writer: base.FrameWriter, path: Path, table_format: TableFormat) -> None:
    """Let a writer whose files describe one recording refuse the frames of another one, whoever writes them."""
    write = writer.write
    earlier: Frame | None = None

    def write_checked(frame: Frame, extras: base.Extras | None = None) -> None:
        nonlocal earlier
        if earlier is None:
            is_another = False
        elif earlier.time is None and frame.time is None:
            is_another = table_format.sources == "one"
        else:  # in one recording, the numbers of frames do not fall
            is_still = frame.time is None or earlier.time is None
            is_another = is_still or frame.source != earlier.source or frame.index < earlier.index
        if is_another:
            photographs = " or the photographs of a folder" * (table_format.sources == "photographs")
            sources = (None if earlier is None else earlier.source, frame.source)
            names = " and ".join(dict.fromkeys(name for name in sources if name is not None))
            raise InputError(
                f"{path}: {table_format.noun} describe one video or photograph{photographs}, not several"
                f"{f' such as {names}' if names else ''}. Write a file for each"
            )
        earlier = frame
        write(frame, extras)

    writer.write = write_checked


def open_row_writer(path: Path, header: Mapping[str, object] | None, columns: base.ColumnTypes) -> base.RowWriter:
    """Open a table of rows that are not frames. Raise InputError if the format contains only frames."""
    ending = _ending(path)
    open_rows = FORMATS[ending].open_rows
    if open_rows is None:
        endings = endings_of(lambda known: known.open_rows)
        raise InputError(f"{path}: {ending} files contain only frames. Use {endings}")
    return resolved(open_rows)(path, header, columns)


def convert_table(
    lines: str | os.PathLike[str],
    path: str | os.PathLike[str],
    extra: Iterable[str] | base.ExtraTypes = (),
    *,
    rows: base.TableRows | None = None,
    bones: BoneNames | None = None,
    onto: str | os.PathLike[str] | None = None,
    summary: base.Summary | None = None,
) -> None:
    """Convert a table to the format of another ending.

    A `.jsonl` table is read frame by frame. The content of the new table is that of a table written at once, as far as
    the format of the old one contains it; see `load_frames`.

    Args:
        lines: Path of a table from `open_writer` that `load_frames` reads.
        path: Output path, as in `open_writer`.
        extra: Additional columns of a `.json` or `.jsonl` table. Default: all that it has.
        rows: What a row describes, as in `open_writer`.
        bones: Bone names of a character, as in `open_writer`.
        onto: Model that moves as the person, as in `open_writer`.
        summary: First sheet of a workbook. Other formats ignore it.

    Raises:
        InputError: A missing or damaged table, an unknown ending, or `extra` for another format.

    Example:
        >>> convert_table("clip.jsonl", "clip.parquet")  # doctest: +SKIP
    """
    source = Path(lines)
    ending = _ending_to_read(source)
    table_format = FORMATS[ending]
    if extra and table_format.open_frames is None:
        endings = endings_of(lambda known: known.open_frames)
        raise InputError(f"{source}: extra={sorted(extra)} applies only to {endings} tables")
    if (wanted := find_format(path)) is not None and wanted.needs_size and not table_format.has_size:
        endings = endings_of(lambda known: known.load and known.has_size)
        raise InputError(
            f"{source}: {ending} tables do not contain the size of the images, which {wanted.noun} require. Convert a "
            f"{endings} table"
        )
    with ExitStack() as stack:
        stack.enter_context(reading(source))
        with _readable(source, ending):
            header, frames = _open_frames(source, table_format, stack)
            extra = extra or _extra_types(source, table_format)
        start = replace(header, sources={}, notes=())
        writer = stack.enter_context(open_writer(path, start, extra, rows=rows, bones=bones, onto=onto))
        writer.sources.update(header.sources)
        writer.remarks = header.notes
        writer.summary = summary
        while True:
            with _readable(source, ending):
                first_frame = next(frames, None)
            if first_frame is None:
                break
            writer.write(*first_frame)


def _extra_types(path: Path, table_format: TableFormat) -> base.ExtraTypes:
    """Return the types of the additional columns of a table by name; none for formats that are read without them."""
    if table_format.open_frames is None:
        return {}
    with ExitStack() as stack:
        frames = _open_frames(path, table_format, stack)[1]
        return layout.types_of(values for _, extras in frames for values in extras or ())


def _open_frames(path: Path, table_format: TableFormat, stack: ExitStack) -> OpenFrames:
    """Return the header and the frames of a table with the further values of their instances, if it has them."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if table_format.open_frames is not None:
        return stack.enter_context(table_format.open_frames(path))
    header, frames = load_frames(path)
    return header, ((frame, None) for frame in frames)


@contextmanager
def _readable(path: Path, ending: str) -> Generator[None]:
    """Convert errors of a reader inside the block to an InputError that names the file."""
    try:
        yield
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
        RecursionError,
        OverflowError,
        StopIteration,
    ) as error:
        if isinstance(error, InputError):
            raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is not a {ending} table that Sonjit wrote, or it is damaged ({reason})") from error


def load_frames(path: str | os.PathLike[str]) -> tuple[base.Header, list[Frame]]:
    """Read back what `open_writer` wrote, exactly, to the last bit of the float32 keypoints, without extra columns.

    No table contains a body's mask. The row tables contain less than JSON. Values without a column are unknown: a
    hand's `handedness_score` as `None`, a body's `presence` and the box of a face with 6 keypoints as NaN. A mesh's box
    is tight around its keypoints. CSV has no header, so its kind follows from its rows: a body with hands or a face is
    a person, and people without either are read as bodies. Parquet's header contains the kind.

    Raises:
        InputError: A missing or damaged file, or an unknown ending.
        MissingExtraError: `.parquet` without pyarrow.
    """
    path = Path(path)
    ending = _ending_to_read(path)
    table_format = FORMATS[ending]
    if table_format.load is None:
        endings = endings_of(lambda known: known.load)
        raise InputError(f"{path}: {table_format.noun} cannot be read back. Use {endings}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with _readable(path, ending):
        return resolved(table_format.load)(path)


def load_video_table(path: str | os.PathLike[str]) -> tuple[base.Header, list[Frame]]:
    """Read the table of one video as `load_frames`. Raise InputError if it has several files."""
    header, frames = load_frames(path)
    if len(names := sorted({str(frame.source) for frame in frames})) > 1:
        raise InputError(f"{path} describes {len(names)} files, such as {names[0]}: save a table of one video")
    return header, frames


def _ending_to_read(path: Path) -> str:
    """Return the ending of a table's format, also of an unfinished table such as `clip.csv.unfinished`."""
    return _ending(path.with_suffix("") if path.suffix == UNFINISHED else path)


def _ending(path: Path) -> str:
    check_local(path)
    ending = _ending_of(path)
    if not FORMATS.has(ending):
        hint = f"{_ELSEWHERE[ending]}. " if ending in _ELSEWHERE else ""
        known = f"{hint}Choose from {', '.join(FORMATS)}{extension_problems()}"
        raise InputError(f"{path}: Unknown ending {ending!r}. {known}")
    return ending
