"""Write frames as an Excel workbook with the sheets frames, instances and run."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sonjit._util.errors import InputError, JobError
from sonjit._util.extras import optional_import
from sonjit._util.files import Draft, WorkFolder
from sonjit.media.tables.base import FrameWriter
from sonjit.media.tables.rows import RowMaker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sonjit.media.tables.base import Extras, ExtraTypes, Header, TableRows
    from sonjit.media.tables.rows import Layout
    from sonjit.results import Frame

_MAX_ROWS: Final = 1_048_576
_MAX_COLUMNS: Final = 16_384
"""Limits of a sheet in Excel."""
_CREATED: Final = datetime(1980, 1, 1, tzinfo=UTC)
"""Date in every workbook, so that equal results are equal files."""


class ExcelWriter(FrameWriter):
    """Frames as a workbook.

    The sheet `frames` has a row per frame, `instances` the rows of the table, and `run` the header. A sheet `events`
    has the events that ended, if there are any.

    Args:
        path: File to write.
        header: Header of the table.
        extra: Additional columns.
        rows: What a row of the sheet `instances` describes.
    """

    def __init__(self, path: Path, header: Header, extra: ExtraTypes, rows: TableRows) -> None:
        super().__init__()
        with optional_import("writing .xlsx"):
            from xlsxwriter import Workbook
            from xlsxwriter.exceptions import XlsxWriterException
        self._error = XlsxWriterException
        self._draft, self._header = Draft(path), header
        self._folder = WorkFolder()
        options = {"constant_memory": True, "tmpdir": self._folder.name}
        self._book: Any = Workbook(str(self._draft.path), options)
        self._book.set_properties({"created": _CREATED})
        bold: Any = self._book.add_format({"bold": True})
        self._bold = bold
        self._frames, self._instances, self._run = (_Sheet(self._book, name) for name in ("frames", "instances", "run"))
        self._frames.add(("source", "frame", "time", "instances"), bold)
        self._events: _Sheet | None = None
        self._rows_from = RowMaker(header, extra, rows, self._begin)

    def _begin(self, layout: Layout) -> None:
        if len(layout.columns) > _MAX_COLUMNS:
            raise InputError(f"{self._draft.final}: {len(layout.columns)} columns exceed Excel's {_MAX_COLUMNS}")
        self._instances.add(layout.columns, self._bold)

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append one frame. A sheet that exceeds Excel's number of rows is a JobError."""
        rows = self._rows_from(frame, extras)
        if self._instances.count + len(rows) > _MAX_ROWS or self._frames.count >= _MAX_ROWS:
            raise JobError(
                f"{self._draft.final}: a sheet has at most {_MAX_ROWS} rows. Use .csv, .parquet or --rows wide"
            )
        count = sum(1 for _ in frame.all_results())
        self._frames.add((frame.source or self._header.source, frame.index, frame.time, count))
        self._add(rows)

    def write_event(self, record: Mapping[str, object]) -> None:
        """Append a row to the sheet `events`."""
        if self._events is None:
            self._events = _Sheet(self._book, "events")
            self._events.add(record, self._bold)
        self._events.add(record.values())

    def _add(self, rows: Iterable[Sequence[object]]) -> None:
        for row in rows:
            self._instances.add(row)

    def _finish(self) -> None:
        self._add(self._rows_from.finish())
        self._run.add(("name", "value", "width", "height", "fps"), self._bold)
        header = replace(self._header, sources={}).to_dict()
        options = header.pop("options", {})
        for name, value in {**header, **options}.items():  # pyright: ignore[reportGeneralTypeIssues]
            self._run.add((name, value if isinstance(value, (int, float)) or value is None else str(value)))
        for name, size in self.sources.items():
            self._run.add((name, "source", size.get("width"), size.get("height"), size.get("fps")))
        try:
            self._book.close()
        except self._error as error:
            raise JobError(f"{self._draft.final} cannot be written: {error}") from None
        self._folder.cleanup()
        self._draft.keep()

    def _abort(self) -> None:
        with suppress(self._error, OSError):
            self._book.close()  # closes the temporary files of the sheets
        self._folder.cleanup()
        self._draft.drop()


class _Sheet:
    """Sheet of a workbook that receives rows in order.

    Args:
        book: Workbook of XlsxWriter.
        name: Name of the sheet.
    """

    def __init__(self, book: Any, name: str) -> None:  # noqa: ANN401  # XlsxWriter has no types
        self._sheet = book.add_worksheet(name)
        self._sheet.freeze_panes(1, 0)
        self.count = 0

    def add(self, values: Iterable[object], style: object = None) -> None:
        """Append a row. Unknown values leave their cell empty."""
        for column, value in enumerate(values):
            if isinstance(value, str):  # a file name may contain bytes that are not UTF-8
                text = os.fsencode(value).decode(errors="backslashreplace")
                self._sheet.write_string(self.count, column, text, style)
            elif value is not None:
                self._sheet.write(self.count, column, value, style)
        self.count += 1
