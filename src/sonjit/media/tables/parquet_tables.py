"""The row table as Parquet: typed columns, row groups, the header in the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

from sonjit.extras import needed_for
from sonjit.files import Draft, Output, failing_as_job
from sonjit.json_text import json_from
from sonjit.media.tables.base import ColumnType, ColumnTypes, Extras, ExtraTypes, FrameWriter, Header, RowWriter, Value
from sonjit.media.tables.rows import SOURCE_COLUMN, Layout, Row, RowRecord, frames_from_rows
from sonjit.results import Frame

ROWS_PER_GROUP = 32_768  # about 780 hands; a group is what waits in memory
METADATA_KEY = b"sonjit"
"""Under which a file's metadata holds the header as JSON."""


def arrow() -> Any:  # noqa: ANN401  # a module; its stubs are partial
    """PyArrow with its Parquet; MissingExtraError where it is not installed."""
    with needed_for("reading or writing Parquet"):
        import pyarrow as pa
        import pyarrow.parquet  # pyright: ignore[reportUnusedImport]  # makes pa.parquet exist
    return pa


def _schema(pa: Any, header: Header, layout: Layout) -> Any:  # noqa: ANN401
    types: dict[str, Any] = dict.fromkeys(layout.columns, pa.float32())
    types |= {"frame": pa.int64(), "id": pa.int64(), "instance": pa.int32(), "keypoint": pa.int32()}
    types |= {"time": pa.float64(), "score": pa.float64()}
    types |= dict.fromkeys(("kind", "handedness", "name", SOURCE_COLUMN), pa.string())
    types |= {name: _arrow_type(pa, kind) for name, kind in layout.extra.items()}
    fields = [pa.field(name, types[name], nullable=name != "frame") for name in layout.columns]
    return pa.schema(fields, metadata={METADATA_KEY: json_from(header.to_dict()).encode()})


def _arrow_type(pa: Any, kind: ColumnType) -> Any:  # noqa: ANN401
    return {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}[kind]


class _ParquetFile(Output):
    """Rows are gathered and written a row group at a time."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._pa = arrow()
        self._draft = Draft(path)
        self._rows: list[Row] = []
        self._schema: Any = None
        self._writer: Any = None

    def _open(self, schema: Any) -> None:  # noqa: ANN401
        self._schema = schema
        with failing_as_job(self._draft.final):
            self._writer = self._pa.parquet.ParquetWriter(self._draft.path, schema, compression="zstd")

    def _add(self, rows: Iterable[Row]) -> None:
        self._rows += rows
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = [list(column) for column in zip(*self._rows, strict=True)]
            arrays = [self._pa.array(c, f.type) for c, f in zip(columns, self._schema, strict=True)]
            with failing_as_job(self._draft.final):
                self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))
            self._rows.clear()

    def _finish(self) -> None:
        self._flush()
        with failing_as_job(self._draft.final):
            self._writer.close()
        self._draft.keep()

    def _abort(self) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
        except OSError:  # a full disk refuses the footer once more
            pass
        finally:
            self._draft.drop()


class ParquetRows(_ParquetFile, RowWriter):
    """Plain rows as Parquet."""

    def __init__(self, path: Path, header: Mapping[str, object] | None, columns: ColumnTypes) -> None:
        super().__init__(path)
        self._columns = columns
        pa = self._pa
        metadata = None if header is None else {METADATA_KEY: json_from(header).encode()}
        self._open(pa.schema([pa.field(n, _arrow_type(pa, kind)) for n, kind in columns.items()], metadata=metadata))

    def write(self, rows: Iterable[Mapping[str, Value]]) -> None:
        """Append rows."""
        self._add(tuple(row.get(name) for name in self._columns) for row in rows)


class ParquetWriter(_ParquetFile, FrameWriter):
    """Frames as Parquet."""

    def __init__(self, path: Path, header: Header, extra: ExtraTypes) -> None:
        super().__init__(path)
        self._header = header
        self._extra = extra
        self._layout: Layout | None = None  # known with the first frame

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append the rows of one frame; the first frame decides whether there is a `source` column."""
        self._add(self._begin(frame.source is not None).rows(frame, extras))

    def _begin(self, with_source: bool) -> Layout:
        if self._layout is None:
            self._layout = Layout(with_source, self._extra)
            self._open(_schema(self._pa, self._header, self._layout))
        return self._layout

    def _finish(self) -> None:
        self._begin(False)
        super()._finish()


def load_parquet(path: Path) -> tuple[Header, list[Frame]]:
    """Read what ParquetWriter wrote."""
    with arrow().parquet.ParquetFile(path) as file:
        metadata = file.schema_arrow.metadata or {}
        header = Header.from_dict(json.loads(metadata.get(METADATA_KEY, b"{}")))

        def rows() -> Generator[RowRecord]:
            for batch in file.iter_batches():
                yield from batch.to_pylist()

        return header, frames_from_rows(rows(), people=header.kind == "people")
