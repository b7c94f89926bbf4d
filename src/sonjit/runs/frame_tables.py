"""Tables of a run: frames of a detector with their motions and events, and other records."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from sonjit._util import files, json_from
from sonjit.media import Header, open_writer
from sonjit.media.sources.base import renamed
from sonjit.media.tables import (
    find_format,
    is_in_degrees,
    open_row_writer,
)
from sonjit.media.tables.base import ColumnTypes, Extras, TableRows, Value
from sonjit.media.tables.characters import BoneNames
from sonjit.media.tables.json_files import open_json_lines
from sonjit.results import Event, Frame, MotionEvent
from sonjit.results.measures import in_degrees
from sonjit.runs.annotations import Columns
from sonjit.runs.events import EVENTS, EventTracker

SIDE_TABLES: Final = (".motions", ".events")  # further parts of the names of tables next to a table of frames
Record: TypeAlias = Mapping[str, Any]  # JSON object for one image or one instance
MOTION_COLUMNS: Final = {
    "source": str,
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
"""Columns of tables of motions."""
EVENT_COLUMNS: Final = {
    "source": str,
    "frame": int,
    "name": str,
    "type": str,
    "id": int,
    "handedness": str,
    "begin": float,
    "end": float,
    "duration_s": float,
    "value": float,
    "phase": str,
}
"""Columns of tables of events."""


class RecordTable(files.Output):
    """File of records: `.json`, `.jsonl` (a header if there is one, then a record a line), or rows in another format.

    In formats of rows, `rows` returns those of a record, with values by column. Missing values are unknown, lists and
    objects become JSON text. `renumber` changes a record of one of several files, given the file's index and name.
    """

    more_paths: Sequence[str] = ()  # further files, of which there are none

    def __init__(
        self,
        save: str,
        header: Record | None,
        columns: ColumnTypes,
        rows: Callable[[Record], Sequence[Record]] = lambda record: [record],
        renumber: Callable[[Record, int, str | None], Record] = lambda record, _, __: record,
    ) -> None:
        super().__init__()
        self._writer = open_row_writer(Path(save), header, columns)
        self._header = header
        self._columns = columns
        self._rows = rows
        self._renumber = renumber

    def write(self, record: Record) -> None:
        """Append a record."""
        if self._writer.nests:
            self._writer.write([record])
        else:
            self._writer.write([{name: _cell(row.get(name)) for name in self._columns} for row in self._rows(record)])

    def append_part(self, path: Path, index: int, source: str | None) -> None:
        """Append the records of a `.jsonl` table of one file."""
        lines = path.read_text("utf-8", "surrogateescape").splitlines()
        for line in lines[0 if self._header is None else 1 :]:
            self.write(self._renumber(json.loads(line), index, source))

    def add_notes(self, lines: Sequence[str]) -> None:
        """Ignore notes, for which there is no place."""

    def _complete(self) -> None:
        self._writer.complete()

    def _finish(self) -> None:
        self._writer.close()

    def _abort(self) -> None:
        self._writer.discard()

    def _leave(self) -> list[Path]:
        return self._writer.leave()


def _cell(value: Any) -> Value:  # noqa: ANN401  # JSON
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return json_from(value) if isinstance(value, list | tuple | dict) else value


def open_event_table(save: str) -> RecordTable:
    """Open a table of events that ended, one row each. Its ending selects the format, see `event_record`."""
    return RecordTable(save, None, EVENT_COLUMNS)


def open_motion_table(save: str) -> RecordTable:
    """Open a table of motion events. Its ending selects the format, see `motion_record`."""
    return RecordTable(
        save, None, MOTION_COLUMNS, lambda row: [{**row, "moved_x": row["moved"][0], "moved_y": row["moved"][1]}]
    )


class FrameTable:
    """Table of frames at a path, or lines of JSON on standard output for "-".

    If the format has no place for motions and events, `NAME.motions.csv` and `NAME.events.csv` contain them, whose
    paths are in `more_paths`.
    """

    def __init__(
        self,
        save: str,
        header: Header,
        columns: Columns,
        *,
        with_motions: bool = False,
        rows: TableRows | None = None,
        bones: BoneNames | None = None,
        onto: str | None = None,
        with_events: bool = False,
        degrees: bool = False,
    ) -> None:
        path = Path(save)
        self._motions = self._events = None
        self._source = header.source
        self._in_degrees = degrees or is_in_degrees(path)
        self.more_paths: list[str] = []
        with ExitStack() as stack:
            self.writer = stack.enter_context(
                open_writer(
                    save,
                    replace(header, notes=()),
                    columns,
                    rows=rows,
                    bones=bones,
                    onto=onto,
                    degrees=self._in_degrees,
                )
            )
            self.writer.remarks = header.notes
            table_format = find_format(save)
            is_separate = table_format is not None and table_format.separates_events
            if with_motions and is_separate:
                self.more_paths.append(str(path.with_suffix(f"{SIDE_TABLES[0]}{path.suffix}")))
                self._motions = stack.enter_context(open_motion_table(self.more_paths[-1]))
            if (with_motions or with_events) and is_separate:
                self.more_paths.append(str(path.with_suffix(f"{SIDE_TABLES[1]}{path.suffix}")))
                self._events = stack.enter_context(open_event_table(self.more_paths[-1]))
            self._files = stack.pop_all()

    def write(self, frame: Frame, extras: Extras | None) -> None:
        """Append a frame."""
        frame = replace(frame, events=[self._in_unit(event) for event in frame.events])
        self.writer.write(frame, extras)
        for motion in frame.motions:
            self.write_motion(frame.index, frame.source, motion)
        for event in frame.events:
            self.write_event(frame.index, frame.source, event)

    def write_motion(self, frame: int, source: str | None, motion: MotionEvent) -> None:
        """Append a motion event of a frame, if the format has no place for motions."""
        if self._motions is not None:
            self._motions.write(motion_record(frame, source or self._source, motion))

    def write_event(self, frame: int, source: str | None, event: Event) -> None:
        """Append an event that was found in a frame, if it ended and the format has no place for events."""
        if event.end is not None:
            record = event_record(frame, source or self._source, self._in_unit(event))
            self.writer.write_event(record)
            if self._events is not None:
                self._events.write(record)

    def _in_unit(self, event: Event) -> Event:
        """Return an event with its value in the unit of the table."""
        if not (self._in_degrees and EVENTS[event.type].has_unit):
            return event
        ((name, value),) = in_degrees({event.name: event.value}).items()
        return replace(event, name=name, value=value)

    def add_notes(self, lines: Sequence[str]) -> None:
        """Add what was left out or changed while reading to the header, each line once."""
        self.writer.remarks = tuple(dict.fromkeys((*self.writer.remarks, *lines)))

    def append_part(self, path: Path, index: int, source: str | None) -> None:
        """Append the frames of a `.jsonl` table of one file, which is named `source` in this table.

        The index of the file becomes that of a still image. Frames of a video keep theirs.
        """
        with open_json_lines(path) as (header, frames):
            if source is not None:
                properties = {name: getattr(header, name) for name in ("width", "height", "fps", "start_s", "geometry")}
                self.writer.sources[source] = {name: value for name, value in properties.items() if value}
            self.add_notes(renamed(header.notes, [header.source], [source or ""]))
            for frame, extras in frames:
                position = index if frame.time is None else frame.index
                self.write(replace(frame, index=position, source=source), extras)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:  # noqa: ANN401
        if kind is not None and not issubclass(kind, KeyboardInterrupt):
            self._files.__exit__(kind, error, trace)
            return
        with self._files:  # the tables are kept together
            for table in (self.writer, self._motions, self._events):
                if table is not None:
                    table.complete()
        files.note_kept(error)


def convert_motions(lines: Path, path: Path) -> None:
    """Write the motions of a `.jsonl` table of frames as a table."""
    with open_json_lines(lines) as (header, frames), open_motion_table(str(path)) as table:
        for frame, _ in frames:
            for event in frame.motions:
                table.write(motion_record(frame.index, frame.source or header.source, event))


def convert_events(lines: Path, path: Path) -> None:
    """Find the events in a `.jsonl` table of frames again, and write those that ended as a table."""
    with open_json_lines(lines) as (header, frames), open_event_table(str(path)) as table:
        tracker, frame = EventTracker(), None
        for frame, _ in frames:
            for event in tracker(frame):
                if event.end is not None:
                    table.write(event_record(frame.index, frame.source or header.source, event))
        for event in tracker.finish():
            assert frame is not None
            table.write(event_record(frame.index, frame.source or header.source, event))


def event_record(frame: int, source: str | None, event: Event) -> Record:
    """Return an event whose end was found in the frame with an index as a row."""
    end = event.begin if event.end is None else event.end
    record = {"source": source, "frame": frame, **event.to_dict(), "duration_s": round(end - event.begin, 4)}
    return {name: record[name] for name in EVENT_COLUMNS}


def motion_record(frame: int, source: str | None, event: MotionEvent) -> Record:
    """Return an event of the frame with an index as plain JSON types."""
    return {"source": source, "frame": frame, **event.to_dict()}
