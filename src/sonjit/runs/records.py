"""Records of what was found, as rows or as JSON: for processors whose results are not frames of a detector."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from sonjit.errors import InputError
from sonjit.files import Draft, Output, failing_as_job
from sonjit.json_text import json_from
from sonjit.media import TABLE_ENDINGS
from sonjit.media.tables.parquet_tables import METADATA_KEY, arrow

Record: TypeAlias = Mapping[str, Any]
"""JSON: what is in a file of results for one image or one instance."""
ColumnType: TypeAlias = type[int] | type[float] | type[str]
"""What a column of a row format holds."""


class RecordTable(Output):
    """A file of records: `.json`, `.jsonl` (a header if there is one, then a record a line), `.csv` or `.parquet`.

    Args:
        save: where to write; the ending picks the format.
        header: what is written once, before `"frames"`; None for a bare list of records.
        columns: names and types of the row formats' columns; what is neither number nor text is there as JSON.
        rows: the rows of a record, with values by column; what is missing is unknown.
        place: the record of a still as one of many: with its index and what the table calls it.
    """

    def __init__(
        self,
        save: str,
        header: Record | None,
        columns: Mapping[str, ColumnType],
        rows: Callable[[Record], Sequence[Record]],
        place: Callable[[Record, int, str | None], Record],
    ) -> None:
        super().__init__()
        path = Path(save)
        self._ending = path.suffix.lower()
        if self._ending not in TABLE_ENDINGS:
            raise InputError(f"{path}: unknown ending {self._ending!r}; known: {', '.join(TABLE_ENDINGS)}")
        self._arrow = arrow() if self._ending == ".parquet" else None
        self._header, self._columns, self._rows, self._place = header, columns, rows, place
        self._gathered: list[Record] = []
        self._draft = Draft(path)
        self._file = self._draft.path.open("w", encoding="utf-8", newline="", errors="surrogateescape")
        self._separator = ""
        with failing_as_job(self._draft.final):
            if self._ending == ".csv":
                csv.writer(self._file).writerow(columns)
            elif self._ending == ".json":
                self._file.write("[" if header is None else json_from(header)[:-1] + ',"frames":[\n')
            elif self._ending == ".jsonl" and header is not None:
                self._file.write(json_from(header) + "\n")

    def write(self, record: Record) -> None:
        """Append one record."""
        with failing_as_job(self._draft.final):
            if self._ending in (".json", ".jsonl"):
                self._file.write(self._separator + (json.dumps(record) if self._header is None else json_from(record)))
                self._separator = "\n" if self._ending == ".jsonl" else ", " if self._header is None else ",\n"
                return
            rows = [{name: _cell(row.get(name)) for name in self._columns} for row in self._rows(record)]
            if self._arrow is not None:
                self._gathered += rows
            else:
                csv.writer(self._file).writerows(row.values() for row in rows)

    def append_part(self, path: Path, index: int, source: str | None) -> None:
        """Append the records of a still's own `.jsonl` table."""
        lines = path.read_text("utf-8", "surrogateescape").splitlines()
        for line in lines[0 if self._header is None else 1 :]:
            self.write(self._place(json.loads(line), index, source))

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            if self._ending == ".json":
                self._file.write("]\n" if self._header is None else "\n]}\n")
            elif self._separator:
                self._file.write("\n")
            self._file.close()
            if self._arrow is not None:
                self._write_parquet(self._arrow)
        self._draft.keep()

    def _write_parquet(self, pa: Any) -> None:  # noqa: ANN401  # a module; its stubs are partial
        types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
        fields = [pa.field(name, types[kind]) for name, kind in self._columns.items()]
        metadata = None if self._header is None else {METADATA_KEY: json_from(self._header).encode()}
        table = pa.Table.from_pylist(self._gathered, pa.schema(fields, metadata=metadata))
        pa.parquet.write_table(table, self._draft.path, compression="zstd")

    def _abort(self) -> None:
        with suppress(OSError):  # a full disk refuses the rest of the buffer once more
            self._file.close()
        self._draft.drop()


def _cell(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return json_from(value) if isinstance(value, list | tuple | dict) else value
