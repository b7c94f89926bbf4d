"""Multipart forms that are read in pieces, and the names of their files.

Starlette's form parser would keep each file open, and python-multipart drops names of the form `filename*`.
"""

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from sonjit._util import InputError

FIELD = "file"  # field of a form that contains files
_MAX_BOUNDARY = 70  # RFC 2046
_MAX_HEADER_BYTES = 16_384  # maximum size of a header of a part
_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
_EXTENDED_NAME = re.compile(rb"filename\*(\d{0,3})(\*?)")
"""Parameter of RFC 5987 (`filename*`), or of RFC 2231, whose names come in parts (`filename*0`, `filename*1*`)."""

Receive = Callable[[bytes | memoryview], object]
Begin = Callable[[str, str | None], Receive | None]
"""Function of a part's field and file name. Returns what receives the part's data, or None to skip it."""


def is_form(content_type: str) -> bool:
    """Check whether a body is a multipart form."""
    return parse_options_header(content_type)[0] == b"multipart/form-data"


class Form:
    """A multipart form that is fed in pieces of any size."""

    def __init__(self, content_type: str, begin: Begin) -> None:
        """Read the boundary; `begin` is called for each part. Raise InputError if there is no boundary."""
        self._begin = begin
        self._receive: Receive | None = None
        self._header, self._value, self._disposition = bytearray(), bytearray(), b""
        self._has_ended = False
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not 0 < len(boundary) <= _MAX_BOUNDARY:
            raise InputError(
                f"the form has no boundary of 1 to {_MAX_BOUNDARY} characters: let the library set the Content-Type"
            )
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": lambda data, start, end: self._extend(self._header, data[start:end]),
                "on_header_value": lambda data, start, end: self._extend(self._value, data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_part,
                "on_part_data": self._pass_on,
                "on_end": lambda: setattr(self, "_has_ended", True),
            },
        )

    def feed(self, data: bytes) -> None:
        """Read the next piece of the body. Raise InputError if the form is damaged."""
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise InputError(f"the multipart form is damaged: {error}") from None

    def finish(self) -> None:
        """End the body. Raise InputError if the closing boundary is missing."""
        if not self._has_ended:
            raise InputError("the multipart form was cut: its closing boundary is missing; send it again")

    def _pass_on(self, data: bytes, start: int, end: int) -> None:
        if self._receive is not None:
            self._receive(memoryview(data)[start:end])

    def _extend(self, text: bytearray, more: bytes) -> None:
        if len(text) + len(more) > _MAX_HEADER_BYTES:
            raise InputError(f"the multipart form is damaged: a header has more than {_MAX_HEADER_BYTES} bytes")
        text.extend(more)

    def _end_header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _begin_part(self) -> None:
        field, file_name = names_of_part(self._disposition)
        self._disposition = b""
        self._receive = self._begin(field, file_name)


def names_of_part(disposition: bytes) -> tuple[str, str | None]:
    """Return the field of a part and the name of its file, None without one, from its Content-Disposition.

    Plain names are UTF-8, as browsers send them. Clients that follow RFC 5987 or RFC 2231 state the character set.

    >>> names_of_part(b"form-data; name=file; filename*=UTF-8''%EC%86%90.jpg")
    ('file', '손.jpg')
    """
    parameters: dict[bytes, bytes] = {}
    for name, value in _PARAMETER.findall(disposition):
        parameters.setdefault(name.lower(), _unquoted(value.strip()))
    plain = parameters.get(b"filename")
    field = parameters.get(b"name", b"").decode(errors="replace")
    name = _extended_name(parameters)
    return field, name if name is not None else None if plain is None else plain.decode(errors="replace")


def _unquoted(value: bytes) -> bytes:
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        return value[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\")
    return value


def _extended_name(parameters: dict[bytes, bytes]) -> str | None:
    """Return the name in `filename*`, or in its numbered parts; None without it."""
    parts = {
        int(match[1] or 0): (value, bool(match[2]) or not match[1])
        for key, value in parameters.items()
        if (match := _EXTENDED_NAME.fullmatch(key))
    }
    encoded, charset = b"", "utf-8"
    for number in range(len(parts)):
        if number not in parts:
            break
        value, is_encoded = parts[number]
        if number == 0 and is_encoded and value.count(b"'") > 1:  # character set, language, name
            stated, _, value = value.split(b"'", 2)
            charset = stated.decode("ascii", "replace") or charset
        encoded += unquote_to_bytes(value) if is_encoded else value
    if 0 not in parts:
        return None
    try:
        return encoded.decode(charset, "replace")
    except (LookupError, ValueError):  # no character set that Python knows
        return encoded.decode(errors="replace")
