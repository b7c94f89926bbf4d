"""Tables of records: results that are not frames of a detector, such as saliency maps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from sonjit._util.files import Draft, Output, failing_as_job
from sonjit._util.json_text import json_from
from sonjit.media.tables.base import ColumnTypes, Value
from sonjit.media.tables.tables import open_row_writer

Record: TypeAlias = Mapping[str, Any]
"""JSON object for one image or one instance."""


def _unchanged(record: Record, index: int, source: str | None) -> Record:
    del index, source
    return record


class RecordTable(Output):
    """File of records: `.json`, `.jsonl` (a header if there is one, then a record a line), or rows in another format.

    Args:
        save: Path of the table. The ending selects the format.
        header: Object to write before the records; None for a list of records only.
        columns: Names and types of the columns in formats of rows. Lists and objects are written as JSON text.
        rows: Function that returns the rows of a record, with values by column. Missing values are unknown.
        renumber: Function that returns the record of one of several files, given the index of the file and its name.

    Attributes:
        more_paths: Paths of further files, of which there are none.
    """

    def __init__(
        self,
        save: str,
        header: Record | None,
        columns: ColumnTypes,
        rows: Callable[[Record], Sequence[Record]] = lambda record: [record],
        renumber: Callable[[Record, int, str | None], Record] = _unchanged,
    ) -> None:
        super().__init__()
        path = Path(save)
        as_json = path.suffix.lower() in (".json", ".jsonl")
        self._writer = _JsonRecords(path, header) if as_json else open_row_writer(path, header, columns)
        self.more_paths: list[str] = []
        self._header, self._columns, self._rows, self._renumber = header, columns, rows, renumber

    def write(self, record: Record) -> None:
        """Append a record."""
        if isinstance(self._writer, _JsonRecords):
            self._writer.write(record)
        else:
            self._writer.write([{name: _cell(row.get(name)) for name in self._columns} for row in self._rows(record)])

    def append_part(self, path: Path, index: int, source: str | None) -> None:
        """Append the records of a `.jsonl` table of one file.

        Args:
            path: Path of that table.
            index: Index of the file.
            source: Name of the file in this table.
        """
        lines = path.read_text("utf-8", "surrogateescape").splitlines()
        for line in lines[0 if self._header is None else 1 :]:
            self.write(self._renumber(json.loads(line), index, source))

    def _finish(self) -> None:
        self._writer.close()

    def _abort(self) -> None:
        self._writer.discard()


class _JsonRecords(Output):
    """Records as a JSON file."""

    def __init__(self, path: Path, header: Record | None) -> None:
        super().__init__()
        self._has_header, self._as_lines = header is not None, path.suffix.lower() == ".jsonl"
        self._draft = Draft(path)
        self._file = self._draft.path.open("w", encoding="utf-8", newline="", errors="surrogateescape")
        self._separator = ""
        with failing_as_job(self._draft.final):
            if header is not None:
                self._file.write(
                    json_from(header) + "\n" if self._as_lines else f'{json_from(header)[:-1]},"frames":[\n'
                )
            elif not self._as_lines:
                self._file.write("[")

    def write(self, record: Record) -> None:
        """Append a record."""
        with failing_as_job(self._draft.final):
            self._file.write(self._separator + json_from(record, spaced=not self._has_header))
        self._separator = "\n" if self._as_lines else ",\n" if self._has_header else ", "

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            if not self._as_lines:
                self._file.write("\n]}\n" if self._has_header else "]\n")
            elif self._separator:
                self._file.write("\n")
            self._file.close()
        self._draft.keep()

    def _abort(self) -> None:
        with suppress(OSError):  # a full disk refuses the rest of the buffer again
            self._file.close()
        self._draft.drop()


def _cell(value: Any) -> Value:  # noqa: ANN401  # JSON
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return json_from(value) if isinstance(value, list | tuple | dict) else value
