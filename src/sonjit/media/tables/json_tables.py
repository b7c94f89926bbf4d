"""Stream tables as JSON and JSON Lines: a header, then the frames, with null for unknown values."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Generator, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sonjit._util.files import Draft, failing_as_job
from sonjit._util.json_text import JsonObject, json_from
from sonjit.media.tables.base import Extras, ExtraTypes, FrameWriter, Header, TextOutput, known_extras
from sonjit.results import RESULT_TYPES, Frame, Person


def _line_of_frame(header: Header, extra: ExtraTypes, frame: Frame, extras: Extras | None) -> str:
    """Return a frame as a line of JSON. An instance with additional values contains them as "measures"."""
    data = frame.to_dict((header.kind,))
    measured = known_extras(frame, extras, extra)
    if extra:
        for instance, values in zip(_instances(data), measured, strict=True):
            instance["measures"] = dict(zip(extra, values, strict=True))
    return json_from(data)


def _instances(frame: JsonObject) -> Iterator[MutableMapping[str, Any]]:
    """Return the results of a frame in the order of `Frame.instances()`."""
    lists: dict[str, Any] = frame
    for name, kind in RESULT_TYPES.items():
        for item in lists.get(name, []):
            yield from (part for part in item.values() if isinstance(part, dict)) if kind is Person else (item,)


class JsonWriter(TextOutput, FrameWriter):
    """Frames as JSON or JSON Lines, one frame a line.

    JSON is `{"source", "width", "height", "fps", "model", "frames": [...]}`. JSON Lines begin with the header.
    """

    def __init__(self, path: Path, header: Header, extra: ExtraTypes) -> None:
        super().__init__(path, newline="\n")
        self._header, self._extra = header, extra
        self._is_array = path.suffix.lower() == ".json"
        self._file.write(self._start(header))
        self._separator = ""

    def _start(self, header: Header) -> str:
        """Return the text before the frames."""
        text = json_from(header.to_dict())
        return f'{text[:-1]},"frames":[\n' if self._is_array else f"{text}\n"

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append one frame."""
        with failing_as_job(self._draft.final):
            self._file.write(self._separator + _line_of_frame(self._header, self._extra, frame, extras))
        self._separator = ",\n" if self._is_array else "\n"

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            self._file.write("\n]}\n" if self._is_array else "\n")
            if self.sources:
                self._file.close()
                self._add_sources()
        super()._finish()

    def _add_sources(self) -> None:
        """Write the file again with the size of each source in its header."""
        header, written = self._header, self._draft
        self._draft = Draft(written.final)
        with written.path.open("rb") as file, self._draft.path.open("wb") as complete:
            file.seek(len(_encoded(self._start(header))))
            complete.write(_encoded(self._start(replace(header, sources=self.sources))))
            shutil.copyfileobj(file, complete)
        written.drop()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class StandardOutputWriter(FrameWriter):
    """A line of JSON for each frame on standard output at once, with its source, for the next program in a pipe."""

    def __init__(self, header: Header, extra: ExtraTypes) -> None:
        super().__init__()
        self._header, self._extra = header, extra

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Print one frame."""
        frame = replace(frame, source=frame.source or self._header.source)
        sys.stdout.write(_line_of_frame(self._header, self._extra, frame, extras) + "\n")
        sys.stdout.flush()

    def _finish(self) -> None: ...

    def _abort(self) -> None: ...


def load_json(path: Path) -> tuple[Header, list[Frame]]:
    """Read the JSON that JsonWriter wrote."""
    data = json.loads(path.read_text("utf-8"))
    return Header.from_dict(data), [Frame.from_dict(frame) for frame in data["frames"]]


def load_json_lines(path: Path) -> tuple[Header, list[Frame]]:
    """Read the JSON Lines that JsonWriter wrote."""
    with path.open(encoding="utf-8") as lines:
        header = Header.from_dict(json.loads(next(lines, "")))
        return header, [Frame.from_dict(json.loads(line)) for line in lines if line.strip()]


@contextmanager
def open_json_lines(path: Path) -> Generator[tuple[Header, Iterator[tuple[Frame, Extras]]]]:
    """Read the JSON Lines that JsonWriter wrote frame by frame, each with its instances' further values."""
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        header = Header.from_dict(json.loads(next(lines, "")))
        frames = (json.loads(line) for line in lines)
        yield (
            header,
            ((Frame.from_dict(f), [instance.get("measures", {}) for instance in _instances(f)]) for f in frames),
        )
