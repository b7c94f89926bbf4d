"""Write and read tables as CSV."""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sonjit._util import InputError
from sonjit._util.files import failing_as_job
from sonjit.media.tables.base import (
    ColumnTypes,
    Extras,
    ExtraTypes,
    FrameWriter,
    Header,
    RowWriter,
    TableRows,
    TextOutput,
    Value,
)
from sonjit.media.tables.formats import Download, TableFormat
from sonjit.media.tables.layout import COLUMNS, ERROR_COLUMN, VALUES, RowMaker
from sonjit.media.tables.rows import frames_from_rows
from sonjit.results import RESULT_TYPES, Frame
from sonjit.results.schema import VIEW_KEYS

V = TypeVar("V")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # starts of texts that spreadsheets read as formulas
_PARSERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("frame", "instance", "id", "keypoint", *VIEW_KEYS), int),
    **dict.fromkeys(("time", "score", *VALUES, ERROR_COLUMN), float),
}


class CsvRows(TextOutput, RowWriter):
    """Plain rows as CSV by RFC 4180: comma, CRLF, UTF-8, one line of column names."""

    def __init__(self, path: Path, header: Mapping[str, object] | None, columns: ColumnTypes) -> None:
        super().__init__(path)
        del header
        self._csv = csv.writer(self._file)
        self._columns = columns
        self._csv.writerow(columns)

    def write(self, rows: Iterable[Mapping[str, Value]]) -> None:
        with failing_as_job(self._draft.final):
            self._csv.writerows([_as_cell(row.get(name)) for name in self._columns] for row in rows)
            self._pass_on()


class CsvWriter(TextOutput, FrameWriter):
    """Frames as CSV like `CsvRows`. Instances have a byte order mark, by which spreadsheet programs recognise UTF-8."""

    def __init__(self, path: Path, header: Header, extra: ExtraTypes, rows: TableRows) -> None:
        super().__init__(path, "utf-8" if rows == "keypoint" else "utf-8-sig")
        self._csv = csv.writer(self._file)
        self._rows_from = RowMaker(header, extra, rows, lambda layout: self._csv.writerow(layout.columns))

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        if frame.source is not None and _is_formula(frame.source):
            frame = replace(frame, source=_as_cell(frame.source))
        if extras is not None:
            extras = [{name: _as_cell(value) for name, value in values.items()} for values in extras]
        with failing_as_job(self._draft.final):
            self._csv.writerows(self._rows_from(frame, extras))
            self._pass_on()

    def _complete(self) -> None:
        with failing_as_job(self._draft.final):
            self._csv.writerows(self._rows_from.finish())
        super()._complete()


def _is_formula(text: str) -> bool:
    """Check whether spreadsheets would read a text as a formula, also after apostrophes."""
    return text.lstrip("'").startswith(_FORMULA)


def _as_cell(value: V) -> V | str:
    """Return a text that would be a formula with an apostrophe in front, and other values as they are."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def _from_cell(text: str) -> str:
    """Return a text without the apostrophe of `_as_cell`."""
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def load_csv(path: Path) -> tuple[Header, list[Frame]]:
    """Read what CsvWriter wrote; the header knows only the kind, from what was found."""
    with path.open(encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            if missing := set(COLUMNS) - set(reader.fieldnames or ()):
                raise InputError(f"columns are missing: {', '.join(sorted(missing))}")
            frames = frames_from_rows(
                {name: _PARSERS.get(name, _from_cell)(text) if text else None for name, text in row.items()}
                for row in reader
            )
        except csv.Error as error:
            raise ValueError(str(error)) from None  # it is an error of no other kind
    kinds = {name for frame in frames for name in RESULT_TYPES if frame.results(name)}
    return Header(kind=next((name for name in RESULT_TYPES if name in kinds), "hands")), frames


CSV = TableFormat(
    CsvWriter,
    load_csv,
    CsvRows,
    summary="rows for spreadsheets and other programs",
    rows="keypoint",
    separates_events=True,
    has_size=False,
    media_type="text/csv",
    downloads=(
        Download(
            {
                "en": ("Measures", "A row per frame and person or hand"),
                "ko": ("측정값", "프레임과 사람 또는 손마다 한 행"),
            },
            prefix="instances",
            rows="instance",
        ),
        Download(
            {
                "en": ("Points", "A row per point of the body, face or hand"),
                "ko": ("점", "몸, 얼굴, 손의 점마다 한 행"),
            }
        ),
        Download(
            {"en": ("Points, wide", "A column per point"), "ko": ("점, 넓은 표", "점마다 한 열")},
            prefix="wide",
            rows="wide",
            of="one detector",
        ),
    ),
)
