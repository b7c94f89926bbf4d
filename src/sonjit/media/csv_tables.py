"""The row table as CSV (RFC 4180)."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from sonjit.errors import InputError
from sonjit.media.frame_writer import FrameWriter, Header
from sonjit.media.outputs import Draft, failing_as_job
from sonjit.media.row_tables import COLUMNS, Layout, frames_from_rows, kind_of_frames

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sonjit.media.frame_writer import Extras, ExtraTypes
    from sonjit.results import Frame


class CsvWriter(FrameWriter):
    """RFC 4180: comma, CRLF, UTF-8, one line of column names."""

    def __init__(self, path: Path, extra: ExtraTypes) -> None:
        super().__init__()
        self._draft = Draft(path)
        self._file = self._draft.draft.open("w", encoding="utf-8", newline="", errors="surrogateescape")
        self._csv = csv.writer(self._file)
        self._extra = extra
        self._layout: Layout | None = None

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append the rows of one frame; the first frame decides whether there is a `source` column."""
        with failing_as_job(self._draft.final):
            self._csv.writerows(self._begin(frame.source is not None).rows(frame, extras))

    def _begin(self, with_source: bool) -> Layout:
        if self._layout is None:
            self._layout = Layout(with_source, self._extra)
            self._csv.writerow(self._layout.columns)
        return self._layout

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            self._begin(False)
            self._file.close()
        self._draft.keep()

    def _abort(self) -> None:
        try:
            self._file.close()
        except OSError:  # a full disk refuses the rest of the buffer once more
            pass
        finally:
            self._draft.drop()


_PARSERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("frame", "instance", "id", "keypoint"), int),
    **dict.fromkeys(("time", "score", "x", "y", "z", "x_m", "y_m", "z_m", "visibility"), float),
}


def load_csv(path: Path) -> tuple[Header, list[Frame]]:
    """Read what CsvWriter wrote; the header knows only the kind, from what was found."""
    with path.open(encoding="utf-8", newline="", errors="surrogateescape") as file:
        reader = csv.DictReader(file, strict=True)
        if missing := set(COLUMNS) - set(reader.fieldnames or ()):
            raise InputError(f"{path}: columns are missing: {', '.join(sorted(missing))}")
        frames = frames_from_rows(
            {name: _PARSERS.get(name, str)(text) if text else None for name, text in row.items()} for row in reader
        )
    return Header(kind=kind_of_frames(frames)), frames
