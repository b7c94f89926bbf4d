"""Write and read tables in the format of the file name ending."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, KeysView, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from sonjit._util import InputError, JsonObject, json_from
from sonjit._util.extensions import Registry, extension_problems, resolved
from sonjit._util.files import UNFINISHED, Draft, check_local, failing_as_job
from sonjit.media.tables import base, layout
from sonjit.media.tables.characters import CHARACTER_ENDINGS, BoneNames, CharacterChoice
from sonjit.media.tables.csv_files import CsvRows, CsvWriter, load_csv
from sonjit.results import RESULT_TYPES, Frame, Person
from sonjit.results.measures import in_degrees

Opener: TypeAlias = "Callable[[Path, base.Header, base.ExtraTypes], base.FrameWriter]"
Loader: TypeAlias = "Callable[[Path], tuple[base.Header, list[Frame]]]"
RowOpener: TypeAlias = "Callable[[Path, Mapping[str, object] | None, base.ColumnTypes], base.RowWriter]"
LABEL_ENDINGS = (".coco.json", ".yolo.yaml", ".cvat.xml", ".labelstudio.json")
"""Endings of labels for programs of annotators."""


def _line_of_frame(header: base.Header, extra: base.ExtraTypes, frame: Frame, extras: base.Extras | None) -> str:
    """Return a frame as a line of JSON. An instance with additional values contains them as "measures"."""
    data = frame.to_dict((header.kind,))
    measured = layout.known_extras(frame, extras, extra)
    if extra:
        for instance, values in zip(_instances(data), measured, strict=True):
            instance["measures"] = dict(zip(extra, values, strict=True))
    return json_from(data)


def _instances(frame: JsonObject) -> Iterator[MutableMapping[str, Any]]:
    """Return the results of a frame in the order of `Frame.instances()`."""
    for name, kind in RESULT_TYPES.items():
        records: Any = frame.get(name, [])  # a list of objects
        for item in records:
            yield from (part for part in item.values() if isinstance(part, dict)) if kind is Person else (item,)


class _JsonOutput(base.TextOutput):
    """Records as a JSON list, as an object with a header and the list "frames", or as JSON Lines after a header."""

    def __init__(self, path: Path, header: Mapping[str, object] | None) -> None:
        super().__init__(path)
        self._as_lines = path.suffix.lower() == ".jsonl"
        self._has_header = header is not None
        self._separator = ""
        with failing_as_job(self._draft.final):
            self._file.write(self._start(header))

    def _start(self, header: Mapping[str, object] | None) -> str:
        """Return the text before the records."""
        if header is None:
            return "" if self._as_lines else "["
        text = json_from(header)
        return f"{text}\n" if self._as_lines else f'{text[:-1]},"frames":[\n'

    def _put(self, record: str) -> None:
        with failing_as_job(self._draft.final):
            self._file.write(self._separator + record)
            self._pass_on()
        if self._as_lines:
            self._separator = "\n"
        else:
            self._separator = ",\n" if self._has_header else ", "

    def _complete(self) -> None:
        with failing_as_job(self._draft.final):
            if not self._as_lines:
                self._file.write("\n]}\n" if self._has_header else "]\n")
            elif self._separator:
                self._file.write("\n")
        super()._complete()


class JsonRows(_JsonOutput, base.RowWriter):
    """Records as JSON or JSON Lines."""

    nests = True

    def __init__(self, path: Path, header: Mapping[str, object] | None, columns: base.ColumnTypes) -> None:
        super().__init__(path, header)
        del columns

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for record in rows:
            self._put(json_from(record, spaced=not self._has_header))


class JsonWriter(_JsonOutput, base.FrameWriter):
    """Frames as JSON or JSON Lines, one frame a line."""

    def __init__(self, path: Path, header: base.Header, extra: base.ExtraTypes, rows: None = None) -> None:
        super().__init__(path, header.to_dict())
        self._header, self._extra = header, extra

    def write(self, frame: Frame, extras: base.Extras | None = None) -> None:
        self._put(_line_of_frame(self._header, self._extra, frame, extras))

    def _complete(self) -> None:
        """Close the file. If sizes of sources are known, write it again with them in its header."""
        super()._complete()
        if not (self.sources or self.remarks):
            return
        complete_header = replace(self._header, sources=self.sources, notes=self.remarks or self._header.notes)
        written, again = self._draft, Draft(self._draft.final)
        try:
            with failing_as_job(again.final), written.path.open("rb") as file, again.path.open("wb") as complete:
                file.seek(len(self._start(self._header.to_dict()).encode()))
                complete.write(self._start(complete_header.to_dict()).encode())
                shutil.copyfileobj(file, complete)
        except BaseException:
            again.drop()
            raise
        self._draft = again
        written.drop()


class StandardOutputWriter(base.FrameWriter):
    """A line of JSON for each frame on standard output at once, with its source, for the next program in a pipe."""

    def __init__(self, header: base.Header, extra: base.ExtraTypes) -> None:
        super().__init__()
        self._header, self._extra = header, extra

    def write(self, frame: Frame, extras: base.Extras | None = None) -> None:
        """Print one frame."""
        frame = replace(frame, source=frame.source or self._header.source)
        sys.stdout.write(_line_of_frame(self._header, self._extra, frame, extras) + "\n")
        sys.stdout.flush()

    def _finish(self) -> None: ...

    def _abort(self) -> None: ...


def load_json(path: Path) -> tuple[base.Header, list[Frame]]:
    """Read the JSON that JsonWriter wrote."""
    data = json.loads(path.read_text("utf-8"))
    return base.Header.from_dict(data), [Frame.from_dict(frame) for frame in data["frames"]]


def load_json_lines(path: Path) -> tuple[base.Header, list[Frame]]:
    """Read the JSON Lines that JsonWriter wrote."""
    with open_json_lines(path) as (header, frames):
        return header, [frame for frame, _ in frames]


@contextmanager
def open_json_lines(path: Path) -> Generator[tuple[base.Header, Iterator[tuple[Frame, base.Extras]]]]:
    """Read the JSON Lines that JsonWriter wrote frame by frame, each with its instances' further values."""
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        header = base.Header.from_dict(json.loads(next(lines, "")))
        yield header, (_frame_and_extras(json.loads(line)) for line in lines if line.strip())


@dataclass(frozen=True)
class TableFormat:
    """Format of tables with one file name ending.

    A function may be an import string such as `"package.module:function"`, for modules that load slowly.
    """

    # Function that opens a writer for a path, a header, the types of further columns, and what a row describes or how a
    # character is written
    open: Callable[[Path, base.Header, base.ExtraTypes, Any], base.FrameWriter] | str
    # Function that reads the header and the frames of a file. None if the format cannot be read back.
    load: Loader | str | None = None
    # Function that opens a table of rows that are not frames. None if the format supports only frames.
    open_rows: RowOpener | str | None = None
    rows: base.TableRows | None = None  # what a row describes by default. None if there is no choice.
    has_bones: bool = False  # the file is a character with named bones
    in_degrees: bool = False  # angles are in degrees by default, not in radians
    joins_videos: bool = True  # False if one file cannot have the frames of several videos
    separates_events: bool = False  # motions and events go into tables of their own
    has_header: bool = True  # False if the files have no header, and so no size of the video
    noun: str = ""  # noun for the files in messages
    media_type: str = ""  # MIME type of downloads; "" if the server guesses it from the ending
    is_own: bool = True  # False for a format of an extension, whose tables are written one after the other

    @property
    def has_events(self) -> bool:
        """Whether events have a place, in the frames, in a sheet or in a table of their own."""
        return self.load is not None or self.rows is not None


FORMATS: Registry[TableFormat] = Registry("table format")  # formats by file name ending


_READABLE: dict[str, TableFormat] = {}
TABLE_ENDINGS: KeysView[str] = _READABLE.keys()
"""Endings of the tables that `load_frames` reads; it grows with `register_table_format`."""


def register_table_format(ending: str, open_table: Opener, load: Loader, open_rows: RowOpener | None = None) -> None:
    """Make a table format known.

    Args:
        ending: File name ending in lower case, such as ".json".
        open_table: Function that opens a `FrameWriter` for a path, a header and the types of further columns.
        load: Function that reads the header and the frames of a file.
        open_rows: Function that opens a `RowWriter` for a path, a header (or None) and the columns' types. It writes
            other rows than frames: maps, COCO results, evaluations. Without it the format supports only frames.

    Raises:
        InputError: An ending without a dot, or one that is taken.
    """
    if not ending.startswith("."):
        raise InputError(f"table format {ending!r}: give an ending such as .txt")
    added = TableFormat(lambda path, header, types, _: open_table(path, header, types), load, open_rows, is_own=False)
    FORMATS.add(ending, added)
    _READABLE[ending] = added


def find_format(path: str | os.PathLike[str]) -> TableFormat | None:
    """Return the format of a file name, or None if its ending is unknown."""
    return FORMATS.get(_ending_of(Path(path)))


def endings_of(is_chosen: Callable[[TableFormat], object]) -> str:
    """Return the endings of some formats for a message, such as ".csv, .parquet or .xlsx"."""
    *others, last = (ending for ending, table_format in FORMATS.items() if is_chosen(table_format))
    return f"{', '.join(others)} or {last}" if others else last


def is_in_degrees(path: str | os.PathLike[str]) -> bool:
    """Check whether the format of a file name has angles in degrees by default."""
    table_format = find_format(path)
    return table_format is not None and table_format.in_degrees


def _ending_of(path: Path) -> str:
    """Return the ending in lower case, with the name of the format where one has it, such as `.coco.json`."""
    whole = "".join(path.suffixes[-2:]).lower()
    return whole if FORMATS.has(whole) else path.suffix.lower()


_CHARACTER = TableFormat("sonjit.media.tables.characters.writer:CharacterWriter", has_bones=True, noun="Characters")
FORMATS.update(
    {
        ".json": TableFormat(JsonWriter, load_json, JsonRows, media_type="application/json"),
        ".jsonl": TableFormat(JsonWriter, load_json_lines, JsonRows, media_type="application/x-ndjson"),
        ".csv": TableFormat(
            CsvWriter,
            load_csv,
            CsvRows,
            rows="keypoint",
            separates_events=True,
            has_header=False,
            media_type="text/csv",
        ),
        ".parquet": TableFormat(
            "sonjit.media.tables.columns:ParquetWriter",
            "sonjit.media.tables.columns:load_parquet",
            "sonjit.media.tables.columns:ParquetRows",
            rows="keypoint",
            separates_events=True,
            media_type="application/vnd.apache.parquet",
        ),
        ".xlsx": TableFormat(
            "sonjit.media.tables.columns:ExcelWriter",
            rows="instance",
            in_degrees=True,
            noun="Excel workbooks",
            media_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ),
        ".rrd": TableFormat(
            "sonjit.media.tables.rerun_files:RerunWriter", joins_videos=False, noun="Recordings for Rerun"
        ),
        **dict.fromkeys(CHARACTER_ENDINGS, _CHARACTER),
        **dict.fromkeys(LABEL_ENDINGS, TableFormat("sonjit.media.tables.labels:LabelWriter", noun="Labels")),
    }
)
_READABLE.update((ending, known) for ending, known in FORMATS.items() if known.load)


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
    """Open a file for the frames of one source: `.json`, `.jsonl`, `.csv`, `.parquet`, `.xlsx`, or `-`.

    `.bvh`, `.glb` and `.vrma` are characters that follow bodies or people; they ignore further values. `.coco.json`,
    `.yolo.yaml`, `.cvat.xml` and `.labelstudio.json` are labels for annotators, which ignore them too. `.rrd` is a
    recording for the viewer Rerun.

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
    path, table_format = Path(path), find_format(path)
    if bones is not None and not (table_format and table_format.has_bones):
        raise InputError(f"{path}: bones={bones!r} applies only to {endings_of(lambda known: known.has_bones)}")
    if onto is not None and not (table_format and table_format.has_bones):
        endings = endings_of(lambda known: known.has_bones)
        raise InputError(f"{path}: onto={os.fspath(onto)!r} applies only to {endings}")
    if onto is not None and bones is not None and path.suffix.lower() == ".glb":
        raise InputError(f"{path}: bones={bones!r} has no effect with onto, because the model keeps its names of bones")
    if rows is not None and not (table_format and table_format.rows):
        raise InputError(f"{path}: rows={rows!r} applies only to {endings_of(lambda known: known.rows)}")
    table_format = FORMATS[_ending(path)]
    choice = CharacterChoice(bones, None if onto is None else Path(onto))
    return resolved(table_format.open)(
        path, header, types, choice if table_format.has_bones else rows or table_format.rows
    )


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
    if extra and ending not in (".json", ".jsonl"):
        raise InputError(f"{source}: extra={sorted(extra)} applies only to .json and .jsonl tables")
    with ExitStack() as stack:
        with _readable(source, ending):
            header, frames = _open_frames(source, ending, stack)
            extra = extra or _extra_types(source, ending)
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


def _extra_types(path: Path, ending: str) -> base.ExtraTypes:
    """Return the types of the additional columns of a table by name; none for formats that are read without them."""
    if ending not in (".json", ".jsonl"):
        return {}
    with ExitStack() as stack:
        return layout.types_of(values for _, extras in _open_frames(path, ending, stack)[1] for values in extras or ())


def _open_frames(
    path: Path, ending: str, stack: ExitStack
) -> tuple[base.Header, Iterator[tuple[Frame, base.Extras | None]]]:
    """Return the header and the frames of a table with the further values of their instances, if it has them."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if ending == ".jsonl":
        return stack.enter_context(open_json_lines(path))
    if ending == ".json":
        data = json.loads(path.read_text("utf-8", "surrogateescape"))
        return base.Header.from_dict(data), map(_frame_and_extras, data["frames"])
    header, frames = load_frames(path)
    return header, ((frame, None) for frame in frames)


def _frame_and_extras(data: JsonObject) -> tuple[Frame, base.Extras]:
    return Frame.from_dict(data), [item.get("measures", {}) for item in _instances(data)]


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
        raise InputError(f"{path}: Unknown ending {ending!r}. Choose from {', '.join(FORMATS)}{extension_problems()}")
    return ending
