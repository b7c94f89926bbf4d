"""Write and read tables as JSON and JSON Lines."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sonjit._util import JsonObject, json_from
from sonjit._util.files import Draft, failing_as_job
from sonjit.media.tables import base, layout
from sonjit.media.tables.formats import Download, OpenFrames, TableFormat
from sonjit.results import RESULT_TYPES, Frame, Person


def _line_of_frame(header: base.Header, extra: base.ExtraTypes, frame: Frame, extras: base.Extras | None) -> str:
    """Return a frame as a line of JSON. An instance with additional values contains them as "measures"."""
    data = frame.to_dict((header.kind,))
    measured = layout.known_extras(frame, extras, extra)
    if extra:
        for instance, values in zip(_instances(data), measured, strict=True):
            instance["measures"] = dict(zip(extra, values, strict=True))
    return json_from(data)


def _instances(frame: JsonObject) -> Iterator[MutableMapping[str, Any]]:
    """Return the results of a frame in the order of `Frame.instances()`."""
    for name, kind in RESULT_TYPES.items():
        records: Any = frame.get(name, [])  # a list of objects
        for item in records:
            yield from (part for part in item.values() if isinstance(part, dict)) if kind is Person else (item,)


class _JsonOutput(base.TextOutput):
    """Records as a JSON list, as an object with a header and the list "frames", or as JSON Lines after a header."""

    def __init__(self, path: Path, header: Mapping[str, object] | None) -> None:
        super().__init__(path)
        self._as_lines = path.suffix.lower() == ".jsonl"
        self._has_header = header is not None
        self._separator = ""
        with failing_as_job(self._draft.final):
            self._file.write(self._start(header))

    def _start(self, header: Mapping[str, object] | None) -> str:
        """Return the text before the records."""
        if header is None:
            return "" if self._as_lines else "["
        text = json_from(header)
        return f"{text}\n" if self._as_lines else f'{text[:-1]},"frames":[\n'

    def _put(self, record: str) -> None:
        with failing_as_job(self._draft.final):
            self._file.write(self._separator + record)
            self._pass_on()
        if self._as_lines:
            self._separator = "\n"
        else:
            self._separator = ",\n" if self._has_header else ", "

    def _complete(self) -> None:
        with failing_as_job(self._draft.final):
            if not self._as_lines:
                self._file.write("\n]}\n" if self._has_header else "]\n")
            elif self._separator:
                self._file.write("\n")
        super()._complete()


class JsonRows(_JsonOutput, base.RowWriter):
    """Records as JSON or JSON Lines."""

    nests = True

    def __init__(self, path: Path, header: Mapping[str, object] | None, columns: base.ColumnTypes) -> None:
        super().__init__(path, header)
        del columns

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for record in rows:
            self._put(json_from(record, spaced=not self._has_header))


class JsonWriter(_JsonOutput, base.FrameWriter):
    """Frames as JSON or JSON Lines, one frame a line."""

    def __init__(self, path: Path, header: base.Header, extra: base.ExtraTypes, rows: None = None) -> None:
        super().__init__(path, header.to_dict())
        self._header, self._extra = header, extra

    def write(self, frame: Frame, extras: base.Extras | None = None) -> None:
        self._put(_line_of_frame(self._header, self._extra, frame, extras))

    def _complete(self) -> None:
        """Close the file. If sizes of sources are known, write it again with them in its header."""
        super()._complete()
        if not (self.sources or self.remarks):
            return
        complete_header = replace(self._header, sources=self.sources, notes=self.remarks or self._header.notes)
        written, again = self._draft, Draft(self._draft.final, leaves=self.leaves)
        try:
            with failing_as_job(again.final), written.path.open("rb") as file, again.path.open("wb") as complete:
                file.seek(len(self._start(self._header.to_dict()).encode()))
                complete.write(self._start(complete_header.to_dict()).encode())
                shutil.copyfileobj(file, complete)
        except BaseException:
            again.drop()
            raise
        self._draft = again
        written.drop()


class StandardOutputWriter(base.FrameWriter):
    """A line of JSON for each frame on standard output at once, with its source, for the next program in a pipe."""

    def __init__(self, header: base.Header, extra: base.ExtraTypes) -> None:
        super().__init__()
        self._header, self._extra = header, extra

    def write(self, frame: Frame, extras: base.Extras | None = None) -> None:
        """Print one frame."""
        frame = replace(frame, source=frame.source or self._header.source)
        sys.stdout.write(_line_of_frame(self._header, self._extra, frame, extras) + "\n")
        sys.stdout.flush()

    def _finish(self) -> None: ...

    def _abort(self) -> None: ...


@contextmanager
def open_json(path: Path) -> Generator[OpenFrames]:
    """Read the JSON that JsonWriter wrote, each frame with its instances' further values."""
    data = json.loads(path.read_text("utf-8", "surrogateescape"))
    yield base.Header.from_dict(data), map(_frame_and_extras, data["frames"])


@contextmanager
def open_json_lines(path: Path) -> Generator[OpenFrames]:
    """Read the JSON Lines that JsonWriter wrote frame by frame, each with its instances' further values."""
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        header = base.Header.from_dict(json.loads(next(lines, "")))
        yield header, (_frame_and_extras(json.loads(line)) for line in lines if line.strip())


def _frame_and_extras(data: JsonObject) -> tuple[Frame, base.Extras]:
    return Frame.from_dict(data), [item.get("measures", {}) for item in _instances(data)]


def load_json(path: Path) -> tuple[base.Header, list[Frame]]:
    """Read the JSON that JsonWriter wrote."""
    data = json.loads(path.read_text("utf-8"))
    return base.Header.from_dict(data), [Frame.from_dict(frame) for frame in data["frames"]]


def load_json_lines(path: Path) -> tuple[base.Header, list[Frame]]:
    """Read the JSON Lines that JsonWriter wrote."""
    with open_json_lines(path) as (header, frames):
        return header, [frame for frame, _ in frames]


JSON = TableFormat(
    JsonWriter,
    load_json,
    JsonRows,
    open_json,
    summary="all results in one file",
    media_type="application/json",
    downloads=(
        Download(
            {
                "en": ("JSON", "All results in one file, for programs"),
                "ko": ("JSON", "모든 결과를 한 파일로, 프로그램용"),
            }
        ),
    ),
)
JSON_LINES = TableFormat(
    JsonWriter,
    load_json_lines,
    JsonRows,
    open_json_lines,
    summary="all results, a line per frame",
    media_type="application/x-ndjson",
    downloads=(
        Download(
            {
                "en": ("JSON Lines", "A line per frame, for programs"),
                "ko": ("JSON Lines", "프레임마다 한 줄, 프로그램용"),
            }
        ),
    ),
)
