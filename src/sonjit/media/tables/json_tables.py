"""JSON and JSON Lines: a header, then the frames, streamed. Never a NaN: what is unknown is null."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sonjit.files import failing_as_job
from sonjit.json_text import JsonObject, json_from
from sonjit.media.tables.base import Extras, ExtraTypes, FrameWriter, Header, TextOutput, known_extras
from sonjit.results import RESULT_TYPES, Frame, Person


class _Encoder:
    """Frames as lines of JSON; an instance with further values has them under "measures"."""

    def __init__(self, header: Header, extra: ExtraTypes) -> None:
        self.header = json_from(header.to_dict())
        self._kinds = (header.kind,)
        self._extra = extra

    def line(self, frame: Frame, extras: Extras | None) -> str:
        """One frame."""
        data = frame.to_dict(self._kinds)
        measured = known_extras(frame, extras, self._extra)
        if self._extra:
            for instance, values in zip(_instances(data), measured, strict=True):
                instance["measures"] = dict(zip(self._extra, values, strict=True))
        return json_from(data)


def _instances(frame: JsonObject) -> Iterator[MutableMapping[str, Any]]:
    """What is in a frame's lists, in the order of `Frame.instances()`."""
    lists: dict[str, Any] = frame
    for name, kind in RESULT_TYPES.items():
        for one in lists.get(name, []):
            yield from (part for part in one.values() if isinstance(part, dict)) if kind is Person else (one,)


class _JsonFileWriter(TextOutput, FrameWriter):
    """A text file with something before the frames, between them and after them."""

    def __init__(self, path: Path, encoder: _Encoder, before: str, between: str, after: str) -> None:
        super().__init__(path, newline="\n")
        self._encoder = encoder
        self._file.write(before)
        self._separator, self._between, self._after = "", between, after

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Append one frame."""
        with failing_as_job(self._draft.final):
            self._file.write(self._separator + self._encoder.line(frame, extras))
        self._separator = self._between

    def _finish(self) -> None:
        with failing_as_job(self._draft.final):
            self._file.write(self._after)
        super()._finish()


class JsonWriter(_JsonFileWriter):
    """`{"source", "width", "height", "fps", "model", "frames": [...]}`, one frame a line."""

    def __init__(self, path: Path, header: Header, extra: ExtraTypes) -> None:
        encoder = _Encoder(header, extra)
        super().__init__(path, encoder, encoder.header[:-1] + ',"frames":[\n', ",\n", "\n]}\n")


class JsonLinesWriter(_JsonFileWriter):
    """A header line, then one frame a line."""

    def __init__(self, path: Path, header: Header, extra: ExtraTypes) -> None:
        encoder = _Encoder(header, extra)
        super().__init__(path, encoder, encoder.header + "\n", "\n", "\n")


class StandardOutputWriter(FrameWriter):
    """A line of JSON for each frame on standard output at once, with its source, for the next program in a pipe."""

    def __init__(self, header: Header, extra: ExtraTypes) -> None:
        super().__init__()
        self._encoder, self._source = _Encoder(header, extra), header.source

    def write(self, frame: Frame, extras: Extras | None = None) -> None:
        """Print one frame."""
        sys.stdout.write(self._encoder.line(replace(frame, source=frame.source or self._source), extras) + "\n")
        sys.stdout.flush()

    def _finish(self) -> None: ...

    def _abort(self) -> None: ...


def load_json(path: Path) -> tuple[Header, list[Frame]]:
    """Read what JsonWriter wrote."""
    data = json.loads(path.read_text("utf-8"))
    return Header.from_dict(data), [Frame.from_dict(frame) for frame in data["frames"]]


def load_json_lines(path: Path) -> tuple[Header, list[Frame]]:
    """Read what JsonLinesWriter wrote."""
    with path.open(encoding="utf-8") as lines:
        header = Header.from_dict(json.loads(next(lines, "")))
        return header, [Frame.from_dict(json.loads(line)) for line in lines if line.strip()]


@contextmanager
def open_json_lines(path: Path) -> Generator[tuple[Header, Iterator[tuple[Frame, Extras]]]]:
    """Read what JsonLinesWriter wrote frame by frame, each with its instances' further values."""
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        header = Header.from_dict(json.loads(next(lines, "")))
        frames = (json.loads(line) for line in lines)
        yield header, ((Frame.from_dict(f), [one.get("measures", {}) for one in _instances(f)]) for f in frames)
