"""Stream the values of large JSON files, whose objects would not fit into memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sonjit._util.errors import InputError

_CHUNK = 1 << 20  # characters read at once
_NUMBER_PARTS = ("", ".", "e", "E")


def stream_json(path: Path, depth: int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the values at one depth of a JSON file without loading the rest.

    Args:
        path: File of any size.
        depth: 1 for the members of the outermost object or list.

    Yields:
        Keys and indices that lead to a value, and the value. Values at a smaller depth are skipped.

    Raises:
        InputError: The file is missing, truncated or no JSON. The message names the position.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = _Text(file)
            yield from _walk(text, depth, ())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged or not JSON: {error}") from None


class _Text:
    """Text of a file from the current position."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401  # a text file
        self._file = file
        self._text = ""
        self._at = 0
        self._discarded = 0  # characters that were removed from the buffer
        self._ended = False
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is not a space; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def expect(self, expected: str) -> str:
        """Read the next character. It must be one of `expected`."""
        found = self.peek()
        if not found or found not in expected:
            raise ValueError(f"{found or 'the end'!r} at character {self._discarded + self._at}")
        self._at += 1
        return found

    def value(self) -> Any:  # noqa: ANN401  # JSON
        """Read the next complete value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise ValueError(f"{error} at character {self._discarded + self._at}") from None
            except json.JSONDecodeError as error:
                if not self._more():
                    raise ValueError(f"{error.msg} at character {self._discarded + error.pos}") from None
                continue
            # A number may continue in the next chunk, also after a point or an exponent's e at the end of this one.
            if self._text[end : end + 1] not in _NUMBER_PARTS or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        # The buffer doubles while a value is incomplete, so that a long value is parsed only a few times.
        read = "" if self._ended else self._file.read(max(_CHUNK, len(self._text) - self._at))
        self._ended = not read
        if read:
            self._discarded += self._at
            self._text = self._text[self._at :] + read
            self._at = 0
        return bool(read)


def _walk(text: _Text, depth: int, keys: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if depth == 0:
        yield keys, text.value()
        return
    opening = text.peek()
    if opening not in ("{", "["):
        text.value()
        return
    closing = "}" if opening == "{" else "]"
    text.expect(opening)
    if text.peek() == closing:
        text.expect(closing)
        return
    index = 0
    while True:
        key: str | int = index
        if opening == "{":
            key = str(text.value())
            text.expect(":")
        yield from _walk(text, depth - 1, (*keys, key))
        index += 1
        if text.expect("," + closing) == closing:
            return
