"""Write row tables as Parquet and as Excel workbooks, and read Parquet."""

import json
import unicodedata
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from sonjit._util import InputError, json_from, optional_import
from sonjit._util.files import DiskError, Draft, Output, ReservedFile, WorkFolder, failing_as_job
from sonjit.media.tables import base
from sonjit.media.tables.formats import Download, TableFormat
from sonjit.media.tables.layout import SOURCE_COLUMN, Layout, Row, RowMaker
from sonjit.media.tables.rows import RowRecord, frames_from_rows
from sonjit.results import Frame
from sonjit.results.schema import VIEW_KEYS

ROWS_PER_GROUP = 32_768  # about 780 hands; a group is what waits in memory
METADATA_KEY = b"sonjit"  # key of the header as JSON in the metadata of the schema
SOURCES_KEY = b"sonjit.sources"  # key of the size of each source as JSON in the metadata of the file
NOTES_KEY = b"sonjit.notes"  # key of the notes as JSON in the metadata of the file
MAX_ROWS: Final = 1_048_576
_TEXT_WIDTH: Final = 90  # of the texts of a summary, in digits
_LINE_POINTS: Final = 17  # height of a line of such a text
_MAX_COLUMNS: Final = 16_384  # limits of a sheet in Excel
_CREATED: Final = datetime(1980, 1, 1, tzinfo=UTC)  # date in every workbook, so that equal results are equal files


def arrow() -> Any:  # noqa: ANN401  # a module; its stubs are partial
    """Import PyArrow and its Parquet module, or raise a MissingExtraError."""
    with optional_import("reading or writing Parquet"):
        import pyarrow as pa
        import pyarrow.parquet  # pyright: ignore[reportUnusedImport]  # makes pa.parquet exist
    return pa


def _schema(pa: Any, header: base.Header, layout: Layout) -> Any:  # noqa: ANN401
    types = dict[str, object].fromkeys(layout.columns, pa.float32())
    types |= {"frame": pa.int64(), "id": pa.int64(), "instance": pa.int32(), "keypoint": pa.int32(), "key": pa.int64()}
    types |= dict.fromkeys(VIEW_KEYS, pa.int8())
    types |= {"time": pa.float64(), "score": pa.float64()}
    types |= dict.fromkeys(("kind", "handedness", "name", SOURCE_COLUMN), pa.string())
    types |= {name: _arrow_type(pa, kind) for name, kind in layout.extra.items()}
    fields = [pa.field(name, types[name], nullable=name != "frame") for name in layout.columns]
    return pa.schema(fields, metadata={METADATA_KEY: json_from(header.to_dict()).encode()})


def _arrow_type(pa: Any, kind: base.ColumnType) -> Any:  # noqa: ANN401
    return {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}[kind]


class _ParquetFile(Output):
    """Rows are gathered and written a row group at a time. A full disk keeps the row groups that were written."""

    leaves = "groups"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._pa = arrow()
        self._draft = Draft(path, leaves=self.leaves)
        self._waiting: list[Row] = []
        self._schema: Any = None
        self._file: ReservedFile | None = None
        self._encoded = BytesIO()  # what PyArrow wrote and the file does not have
        self._writer: Any = None
        self._has_rows = False

    def _open(self, schema: Any) -> None:  # noqa: ANN401
        self._schema = schema
        with failing_as_job(self._draft.final):
            self._file = ReservedFile(self._draft.path)
            self._writer = self._pa.parquet.ParquetWriter(self._encoded, schema, compression="zstd")

    def _add(self, rows: Iterable[Row]) -> None:
        self._waiting += rows
        if len(self._waiting) >= ROWS_PER_GROUP:
            file = self._flush()
            with failing_as_job(self._draft.final):
                file.reserve()

    def _flush(self) -> ReservedFile:
        if self._waiting:
            columns = [list(column) for column in zip(*self._waiting, strict=True)]
            arrays = [self._array(c, f.type) for c, f in zip(columns, self._schema, strict=True)]
            self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))
            self._waiting.clear()
            self._has_rows = True
        with failing_as_job(self._draft.final):
            return self._move()

    def _move(self) -> ReservedFile:
        """Move what PyArrow wrote into the file."""
        assert self._file is not None
        self._file.write(self._encoded.getvalue())
        self._encoded.seek(0)
        self._encoded.truncate()
        return self._file

    def _array(self, values: Sequence[base.Value | None], kind: Any) -> Any:  # noqa: ANN401  # Arrow's types
        try:
            return self._pa.array(values, kind)
        except UnicodeEncodeError:  # a file name that is not UTF-8
            texts = [base.escaped(value) if isinstance(value, str) else value for value in values]
            return self._pa.array(texts, kind)

    def _complete(self) -> None:
        self._flush()
        with failing_as_job(self._draft.final):
            self._end()

    def _end(self) -> None:
        self._writer.close()
        self._move()
        self._close_file()

    def _abort(self) -> None:
        with suppress(OSError):
            self._close_file()
        self._draft.drop()

    def _leave(self) -> list[Path]:
        if self._has_rows and self._file is not None and self._file.is_complete:
            with suppress(OSError):  # no room for the end
                self._end()
                return self._draft.leave_finished()
        return super()._leave()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()


class ParquetRows(_ParquetFile, base.RowWriter):
    """Plain rows as Parquet."""

    def __init__(self, path: Path, header: Mapping[str, object] | None, columns: base.ColumnTypes) -> None:
        super().__init__(path)
        self._columns = columns
        pa = self._pa
        metadata = None if header is None else {METADATA_KEY: json_from(header).encode()}
        self._open(pa.schema([pa.field(n, _arrow_type(pa, kind)) for n, kind in columns.items()], metadata=metadata))

    def write(self, rows: Iterable[Mapping[str, base.Value]]) -> None:
        self._add(tuple(row.get(name) for name in self._columns) for row in rows)


class ParquetWriter(_ParquetFile, base.FrameWriter):
    """Frames as Parquet."""

    def __init__(self, path: Path, header: base.Header, extra: base.ExtraTypes, rows: base.TableRows) -> None:
        super().__init__(path)
        self._rows_from = RowMaker(header, extra, rows, lambda layout: self._open(_schema(self._pa, header, layout)))

    def write(self, frame: Frame, extras: base.Extras | None = None) -> None:
        self._add(self._rows_from(frame, extras))

    def _complete(self) -> None:
        self._add(self._rows_from.finish())
        if self.sources:  # known at the end, when the schema with the header has been written
            self._writer.add_key_value_metadata({SOURCES_KEY: json_from(self.sources).encode()})
        if self.remarks:
            self._writer.add_key_value_metadata({NOTES_KEY: json_from(list(self.remarks)).encode()})
        super()._complete()


def load_parquet(path: Path) -> tuple[base.Header, list[Frame]]:
    """Read what ParquetWriter wrote."""
    with path.open("rb") as opened, arrow().parquet.ParquetFile(opened) as file:
        metadata = file.schema_arrow.metadata or {}
        header = base.Header.from_dict(json.loads(metadata.get(METADATA_KEY, b"{}")))
        if SOURCES_KEY in file.metadata.metadata:
            header = replace(header, sources=json.loads(file.metadata.metadata[SOURCES_KEY]))
        if NOTES_KEY in file.metadata.metadata:
            header = replace(header, notes=tuple(json.loads(file.metadata.metadata[NOTES_KEY])))

        def rows() -> Generator[RowRecord]:
            for batch in file.iter_batches():
                yield from batch.to_pylist()

        return header, frames_from_rows(rows(), people=header.kind == "people")


class ExcelWriter(base.FrameWriter):
    """Frames as a workbook with sheets of frames, instances, the header and, if there are any, a summary and events.

    Rows that exceed a sheet continue in further sheets, such as `instances 2`.
    """

    def __init__(self, path: Path, header: base.Header, extra: base.ExtraTypes, rows: base.TableRows) -> None:
        super().__init__()
        with optional_import("writing .xlsx"):
            from xlsxwriter import Workbook
            from xlsxwriter.exceptions import XlsxWriterException
        self._error = XlsxWriterException
        self._draft, self._header = Draft(path), header
        self._folder = WorkFolder()
        options = {"constant_memory": True, "tmpdir": self._folder.name, "use_zip64": True}
        self._book: Any = Workbook(str(self._draft.path), options)
        self._book.set_properties({"created": _CREATED})
        self._bold: Any = self._book.add_format({"bold": True})
        self._sheets: dict[str, _Sheet] = {}
        self._rows_from = RowMaker(header, extra, rows, self._begin)

    def _sheet(self, name: str) -> "_Sheet":
        """Return a sheet. The first call makes the usual ones, after the summary, which is known then."""
        if not self._sheets:
            if self.summary is not None:
                _write_summary(self._book, self.summary)
            self._sheets = {name: _Sheet(self._book, name) for name in ("frames", "instances", "run")}
            self._sheets["frames"].add(("source", "frame", "time", "instances"), self._bold)
            if self.summary is None:
                self._sheets["instances"].activate()
        return self._sheets[name]

    def _begin(self, layout: Layout) -> None:
        if len(layout.columns) > _MAX_COLUMNS:
            raise InputError(f"{self._draft.final}: {len(layout.columns)} columns exceed Excel's {_MAX_COLUMNS}")
        self._sheet("instances").add(layout.columns, self._bold)

    def write(self, frame: Frame, extras: base.Extras | None = None) -> None:
        """Append one frame."""
        rows = self._rows_from(frame, extras)
        count = sum(1 for _ in frame.all_results())
        with failing_as_job(self._draft.final):
            self._sheet("frames").add((frame.source or self._header.source, frame.index, frame.time, count))
            self._add(rows)

    def write_event(self, record: Mapping[str, object]) -> None:
        """Append a row to the sheet `events`."""
        with failing_as_job(self._draft.final):
            self._sheet("frames")  # the usual sheets come first
            if "events" not in self._sheets:
                self._sheets["events"] = _Sheet(self._book, "events")
                self._sheets["events"].add(record, self._bold)
            self._sheet("events").add(record.values())

    def _add(self, rows: Iterable[Sequence[object]]) -> None:
        for row in rows:
            self._sheet("instances").add(row)

    def _complete(self) -> None:
        with failing_as_job(self._draft.final):
            self._write_rest()
            try:
                self._book.close()
            except self._error as error:
                raise DiskError(f"{self._draft.final} cannot be written: {error}") from None
        self._folder.cleanup()

    def _write_rest(self) -> None:
        """Write the rows that were kept back, and the sheet about the run."""
        self._add(self._rows_from.finish())
        run = self._sheet("run")
        run.add(("name", "value", "width", "height", "fps"), self._bold)
        header = replace(self._header, sources={}, notes=self.remarks or self._header.notes).to_dict()
        options = header.pop("options", {})
        for name, value in {**header, **options}.items():  # pyright: ignore[reportGeneralTypeIssues]
            run.add((name, value if isinstance(value, (int, float)) or value is None else str(value)))
        for name, size in self.sources.items():
            run.add((name, "source", size.get("width"), size.get("height"), size.get("fps")))
        for name, sheet in self._sheets.items():
            if name != "run" and sheet.number > 1:
                self.notes.append(
                    f"{self._draft.final}: {sheet.name} continue in {sheet.number} sheets of {MAX_ROWS} rows"
                )

    def _abort(self) -> None:
        for sheet in self._book.worksheets():
            with suppress(OSError):
                sheet.row_data_fh.close()
        self._folder.cleanup()
        self._draft.drop()


def _write_summary(book: Any, summary: base.Summary) -> None:  # noqa: ANN401  # XlsxWriter has no types
    """Write the sheet that a reader sees first. Its sentences and the names of its columns stay in view."""
    sheet = book.add_worksheet(summary.name)
    sheet.activate()
    bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top"})
    plain = book.add_format({"text_wrap": True, "valign": "top", "align": "left"})
    columns = [list(column) for column in zip(summary.headings, *summary.rows, strict=True)] or [[], []]
    widths = [max((_width(str(value)) for value in column), default=0) + 2 for column in columns]
    widths[0] = max(widths[0], *(_width(name) + 2 for name, _ in summary.facts))
    widths[-1] = max(widths[-1], _TEXT_WIDTH - sum(widths[1:-1]))  # the texts of facts reach over all further columns
    for column, width in enumerate(widths):
        sheet.set_column(column, column, width)
    row, last = 0, len(widths) - 1

    def add_text(first: int, text: str, style: object) -> None:
        """Write a text over all columns from one on, in as many lines as it needs."""
        sheet.set_row(row, _LINE_POINTS * -(-_width(text) // (sum(widths[first:]) - 2)))
        if first < last:
            sheet.merge_range(row, first, row, last, "", style)
        sheet.write_string(row, first, base.escaped(text), style)

    for line in summary.lead:
        add_text(0, line, book.add_format({"bold": True, "font_size": 12, "text_wrap": True}))
        row += 1
    for cells in (summary.headings, *summary.rows) if summary.rows else ():
        for column, value in enumerate(cells):
            if value is not None:
                sheet.write(row, column, value, bold if cells is summary.headings else plain)
        row += 1
        if cells is summary.headings:
            sheet.freeze_panes(row, 0)
    row += 1
    for name, text in summary.facts:
        add_text(1, text, plain)
        sheet.write_string(row, 0, name, bold)
        row += 1


def _width(text: str) -> int:
    """Return the width of a text in digits. Letters of Hangul are as wide as two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


class _Sheet:
    """Sheet of a workbook that receives rows in order, the names of its columns first."""

    def __init__(self, book: Any, name: str) -> None:  # noqa: ANN401  # XlsxWriter has no types
        self._book, self.name = book, name
        self._first: tuple[Iterable[object], object] | None = None
        self.number = 0
        self._open()

    def _open(self) -> None:
        """Start the next sheet."""
        self.number += 1
        self._sheet = self._book.add_worksheet(self.name if self.number == 1 else f"{self.name} {self.number}")
        self._sheet.freeze_panes(1, 0)
        self._count = 0

    def activate(self) -> None:
        """Select the sheet that a reader sees first."""
        self._sheet.activate()

    def add(self, values: Iterable[object], style: object = None) -> None:
        """Append a row. Unknown values leave their cell empty."""
        if self._first is None:
            values = tuple(values)
            self._first = values, style
        if self._count >= MAX_ROWS:
            self._open()
            self.add(*self._first)
        for column, value in enumerate(values):
            if isinstance(value, str):
                self._sheet.write_string(self._count, column, base.escaped(value), style)
            elif value is not None:
                self._sheet.write(self._count, column, value, style)
        self._count += 1


PARQUET = TableFormat(
    ParquetWriter,
    load_parquet,
    ParquetRows,
    summary="rows for pandas and Polars",
    rows="keypoint",
    separates_events=True,
    extra="tables",
    media_type="application/vnd.apache.parquet",
    downloads=(Download({"en": ("Parquet", "For pandas and Polars"), "ko": ("Parquet", "pandas와 Polars용")}),),
)
EXCEL = TableFormat(
    ExcelWriter,
    summary="a workbook for Excel, with measures and angles in degrees",
    noun="Excel workbooks",
    rows="instance",
    in_degrees=True,
    has_summary=True,
    extra="tables",
    media_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    downloads=(
        Download(
            {
                "en": ("Excel", "A summary, and all measures with a row per frame"),
                "ko": ("엑셀", "요약, 그리고 프레임마다 한 행인 모든 측정값"),
            }
        ),
    ),
)
