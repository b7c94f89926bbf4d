"""Tables of motion events: one row for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sonjit.media.tables.json_tables import open_json_lines
from sonjit.runs.records import RecordTable

if TYPE_CHECKING:
    from sonjit.results import MotionEvent
    from sonjit.runs.records import Record

ROW_ENDINGS: Final = (".csv", ".parquet")
"""Of tables of frames in which no place is for motions: those have a table of their own beside them."""

_COLUMNS: Final = {
    "frame": int,
    "time": float,
    "name": str,
    "phase": str,
    "id": int,
    "handedness": str,
    "strength": float,
    "moved_x": float,
    "moved_y": float,
    "count": float,
}


class MotionTable(RecordTable):
    """A file of motion events: `.json`, `.jsonl`, or rows in another format.

    Args:
        save: where to write; the ending picks the format.
    """

    def __init__(self, save: str) -> None:
        super().__init__(save, None, _COLUMNS, _rows, lambda record, _index, _source: record)

    def write_event(self, frame: int, event: MotionEvent) -> None:
        """Append an event of the frame of that index."""
        self.write(motion_record(frame, event))


def convert_motions(lines: Path, path: Path) -> None:
    """Write the motions of a `.jsonl` table of frames as a table of their own; its ending picks the format."""
    with open_json_lines(lines) as (_, frames), MotionTable(str(path)) as table:
        for frame, _ in frames:
            for event in frame.motions:
                table.write_event(frame.index, event)


def motion_record(frame: int, event: MotionEvent) -> Record:
    """An event of the frame of that index, as plain JSON types."""
    return {"frame": frame, **event.to_dict()}


def _rows(record: Record) -> list[Record]:
    x, y = record["moved"]
    return [{**record, "moved_x": x, "moved_y": y}]
