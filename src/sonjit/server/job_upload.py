"""A job's request body -> files in a folder, as they come: raw, or the files of a multipart form."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from sonjit.errors import InputError
from sonjit.server.job_names import free_name, is_hidden, split_name

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

MOST_FILES = 20_000
"""Of one job: more than anybody films by the picture, fewer than the file systems' patience."""


class Upload(Protocol):
    """Takes a body piece by piece in a worker's thread and writes its files."""

    files: list[Path]
    folder: str | None

    def feed(self, data: bytes) -> None:
        """The next piece of the body."""
        ...

    def finish(self) -> None:
        """The body has ended; InputError where it is no whole form."""
        ...

    def close(self) -> None:
        """Close what is open; may be called at any time."""
        ...


def open_upload(into: Path, content_type: str, name: str) -> Upload:
    """What writes a body into a folder.

    Args:
        into: an empty folder.
        content_type: of the request; a multipart form holds files, anything else is one file.
        name: of that one file.
    """
    kind, parameters = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return _RawUpload(into, name)
    boundary = parameters.get(b"boundary", b"")
    if not 0 < len(boundary) <= 70:  # RFC 2046
        raise InputError("the form has no boundary of 1 to 70 characters: let the HTTP library set the Content-Type")
    return _FormUpload(into, boundary)


class _Files:
    """Files being written into one folder, one at a time, under names of their own.

    Attributes:
        files: what was written, in order.
        folder: the folder that the client chose, or None.
    """

    def __init__(self, into: Path) -> None:
        self.files: list[Path] = []
        self.folder: str | None = None
        self._into = into
        self._taken: set[str] = set()
        self._file: BinaryIO | None = None

    def begin(self, sent_name: str) -> None:
        """Open the next file."""
        if len(self.files) >= MOST_FILES:
            raise InputError(f"more than {MOST_FILES} files in one job: send them as several jobs")
        folder, name = split_name(sent_name)
        self.folder = self.folder or folder
        path = self._into / free_name(name, self._taken)
        self._file = path.open("xb")
        self.files.append(path)

    def write(self, data: bytes | memoryview) -> None:
        """Append to the open file, if there is one."""
        if self._file is not None:
            self._file.write(data)

    def close(self) -> None:
        """Close the open file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _RawUpload(_Files):
    """A body that is one file."""

    def __init__(self, into: Path, name: str) -> None:
        super().__init__(into)
        self.begin(name)

    def feed(self, data: bytes) -> None:
        self.write(data)

    def finish(self) -> None:
        self.close()


class _FormUpload(_Files):
    """The files called `file` of a multipart form; hidden files and other fields are passed over."""

    def __init__(self, into: Path, boundary: bytes) -> None:
        super().__init__(into)
        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what it warns of is raised as well
        self._ended = False
        self._field, self._value, self._disposition = b"", b"", b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part,
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": lambda data, start, end: self.write(memoryview(data)[start:end]),
                "on_part_end": self.close,
                "on_end": self._on_end,
            },
        )

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise InputError(f"the multipart form is damaged: {error}") from None

    def finish(self) -> None:
        if not self._ended:
            raise InputError("the multipart form was cut: its closing boundary is missing; send it again")

    def _on_part(self) -> None:
        self._disposition = b""

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _on_headers(self) -> None:
        _, parameters = parse_options_header(self._disposition.decode("latin-1"))
        name = parameters.get(b"filename", b"").decode(errors="replace")
        if parameters.get(b"name") == b"file" and b"filename" in parameters and not is_hidden(name):
            self.begin(name)

    def _on_end(self) -> None:
        self._ended = True
