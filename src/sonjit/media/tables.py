"""Frames -> a table file and back; the ending picks the format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sonjit.errors import InputError
from sonjit.media.frame_writer import FrameWriter, Header
from sonjit.media.json_tables import JsonLinesWriter, JsonWriter, StandardOutputWriter, load_json, load_json_lines
from sonjit.media.row_tables import CsvWriter, load_csv

if TYPE_CHECKING:
    from sonjit.results import Frame

TABLE_ENDINGS = (".json", ".jsonl", ".csv", ".parquet")


def open_writer(path: str | os.PathLike[str], header: Header) -> FrameWriter:
    """Open a file for the frames of one source: `.json`, `.jsonl`, `.csv`, `.parquet`, or `-` for JSONL on stdout.

    The file appears under its name when the writer is closed, whole and valid after any number of frames. Memory does
    not grow with the number of frames.

    Args:
        path: where to write; the folder must exist.
        header: what is said once about the source; CSV has no place for it.

    Raises:
        InputError: an unknown ending, or a folder that is missing or read-only: before any work starts.
        MissingExtraError: `.parquet` without pyarrow.
    """
    if os.fspath(path) == "-":
        return StandardOutputWriter(header)
    path = Path(path)
    match _ending(path):
        case ".json":
            return JsonWriter(path, header)
        case ".jsonl":
            return JsonLinesWriter(path, header)
        case ".csv":
            return CsvWriter(path)
        case _:
            from sonjit.media.parquet_tables import ParquetWriter

            return ParquetWriter(path, header)


def load_frames(path: str | os.PathLike[str]) -> tuple[Header, list[Frame]]:
    """Read back what `open_writer` wrote; hands come back exactly, to the last bit of their float32 keypoints.

    The row tables hold less than JSON: CSV no header, neither CSV nor Parquet `handedness_score`; these read as `None`.

    Raises:
        InputError: a missing or damaged file, or an unknown ending.
        MissingExtraError: `.parquet` without pyarrow.
    """
    path = Path(path)
    ending = _ending(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        match ending:
            case ".json":
                return load_json(path)
            case ".jsonl":
                return load_json_lines(path)
            case ".csv":
                return Header(), load_csv(path)
            case _:
                from sonjit.media.parquet_tables import load_parquet

                return load_parquet(path)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        if isinstance(error, InputError):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is not a {ending} table that Sonjit wrote, or it is damaged ({reason})") from error


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in TABLE_ENDINGS:
        raise InputError(f"{path}: unknown ending {ending!r}; known: {', '.join(TABLE_ENDINGS)}, or - for stdout")
    return ending
