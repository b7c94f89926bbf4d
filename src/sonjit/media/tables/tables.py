"""Frames -> a table file and back; the ending picks the format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, KeysView, Mapping
from pathlib import Path
from typing import TypeAlias

from sonjit.errors import InputError
from sonjit.extensions import Registry, extension_problems
from sonjit.media.tables.base import ColumnTypes, ExtraTypes, FrameWriter, Header, RowWriter, extra_types
from sonjit.media.tables.json_tables import (
    JsonLinesWriter,
    JsonWriter,
    StandardOutputWriter,
    load_json,
    load_json_lines,
    open_json_lines,
)
from sonjit.media.tables.rows import COLUMNS, SOURCE_COLUMN, CsvRows, CsvWriter, load_csv
from sonjit.results import Frame

Opener: TypeAlias = "Callable[[Path, Header, ExtraTypes], FrameWriter]"
Loader: TypeAlias = "Callable[[Path], tuple[Header, list[Frame]]]"
RowOpener: TypeAlias = "Callable[[Path, Mapping[str, object] | None, ColumnTypes], RowWriter]"

_FORMATS: Registry[tuple[Opener, Loader, RowOpener | None]] = Registry("table format")


TABLE_ENDINGS: KeysView[str] = _FORMATS.keys()
"""Of the files that `open_writer` writes; it grows with `register_table_format`."""


def register_table_format(ending: str, open_table: Opener, load: Loader, open_rows: RowOpener | None = None) -> None:
    """Make a table format known.

    Args:
        ending: of its files, such as ".json".
        open_table: opens a `FrameWriter` for a path, a header and the types of further columns.
        load: reads a file back: header and frames.
        open_rows: opens a `RowWriter` for a path, what is said once (or None) and the columns' types, for what is no
            frame: maps, COCO results, evaluations. Without it the format is of frames alone.

    Raises:
        InputError: an ending without a dot, or one that is taken.
    """
    if not ending.startswith("."):
        raise InputError(f"table format {ending!r}: give an ending such as .txt")
    _FORMATS.add(ending, (open_table, load, open_rows))


def _open_parquet(path: Path, header: Header, types: ExtraTypes) -> FrameWriter:
    from sonjit.media.tables.parquet_tables import ParquetWriter

    return ParquetWriter(path, header, types)


def _open_parquet_rows(path: Path, header: Mapping[str, object] | None, columns: ColumnTypes) -> RowWriter:
    from sonjit.media.tables.parquet_tables import ParquetRows

    return ParquetRows(path, header, columns)


def _load_parquet(path: Path) -> tuple[Header, list[Frame]]:
    from sonjit.media.tables.parquet_tables import load_parquet

    return load_parquet(path)


register_table_format(".json", JsonWriter, load_json)
register_table_format(".jsonl", JsonLinesWriter, load_json_lines)
register_table_format(
    ".csv", lambda path, _, types: CsvWriter(path, types), load_csv, lambda path, _, columns: CsvRows(path, columns)
)
register_table_format(".parquet", _open_parquet, _load_parquet, _open_parquet_rows)


def open_writer(path: str | os.PathLike[str], header: Header, extra: Iterable[str] | ExtraTypes = ()) -> FrameWriter:
    """Open a file for the frames of one source: `.json`, `.jsonl`, `.csv`, `.parquet`, or `-`.

    The file appears under its name when the writer is closed, whole and valid after any number of frames. Memory does
    not grow with the number of frames.

    Args:
        path: where to write; the folder must exist; `-` prints each frame as a line of JSON, with its source.
        header: what holds for the whole source; CSV has no place for it.
        extra: names of further values that `write` is given for each instance, such as its measures: columns after the
            others, in JSON an object "measures". Numbers; text where `{"gesture": str, "curl_rad": float}` says so.

    Raises:
        InputError: an unknown ending, a name that is taken, a folder that is read-only: before any work.
        MissingExtraError: `.parquet` without pyarrow.
    """
    types = extra_types(extra, (*COLUMNS, SOURCE_COLUMN))
    if os.fspath(path) == "-":
        return StandardOutputWriter(header, types)
    path = Path(path)
    return _FORMATS[_ending(path)][0](path, header, types)


def open_row_writer(path: Path, header: Mapping[str, object] | None, columns: ColumnTypes) -> RowWriter:
    """Open a row table for what is no frame; raises as `open_writer`, and InputError where the format has none."""
    ending = _ending(path)
    open_rows = _FORMATS[ending][2]
    if open_rows is None:
        known = ", ".join([".json", ".jsonl", *(one for one, (*_, rows) in _FORMATS.items() if rows)])
        raise InputError(f"{path}: {ending} tables are of frames alone; give one of {known}")
    return open_rows(path, header, columns)


def convert_table(
    lines: str | os.PathLike[str], path: str | os.PathLike[str], extra: Iterable[str] | ExtraTypes = ()
) -> None:
    """Write a JSON Lines table of ours once more in the format of another ending, as if it had been written so at once.

    Args:
        lines: a `.jsonl` file that `open_writer` wrote; read frame by frame.
        path: where to write, as of `open_writer`.
        extra: the further values that it was written with.
    """
    with open_json_lines(Path(lines)) as (header, frames), open_writer(path, header, extra) as writer:
        for frame, extras in frames:
            writer.write(frame, extras)


def load_frames(path: str | os.PathLike[str]) -> tuple[Header, list[Frame]]:
    """Read back what `open_writer` wrote, exactly, to the last bit of the float32 keypoints; extras are left out.

    No table holds a body's mask. The row tables hold less than JSON. What has no column reads as unknown: a hand's
    `handedness_score` as `None`, a body's `presence` and the box of a face with 6 keypoints as NaN; a mesh's box is
    tight around its keypoints. CSV has no header: only the kind is known, from what was found. A person is known by the
    hands or face after a body; in a CSV in which no body has any, people read as bodies (Parquet's header says which).

    Raises:
        InputError: a missing or damaged file, or an unknown ending.
        MissingExtraError: `.parquet` without pyarrow.
    """
    path = Path(path)
    ending = _ending(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return _FORMATS[ending][1](path)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is not a {ending} table that Sonjit wrote, or it is damaged ({reason})") from error


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    if not _FORMATS.has(ending):
        raise InputError(f"{path}: unknown ending {ending!r}; known: {', '.join(_FORMATS)}{extension_problems()}")
    return ending
