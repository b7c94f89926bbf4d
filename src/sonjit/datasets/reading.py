"""Annotation files read so that whatever is wrong in them is named with file and field.

MATLAB's files of numbers, such as STB's labels, read by SciPy.

SciPy's reader trusts the types that a file declares: an unknown one ends the process, not the call. So a file
is walked through first, and only a sound one is handed on.

Source: "MAT-File Format", The MathWorks, chapter 1.

Depth images: the low byte in red, the high byte in green.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import Float32Array, FloatArray
from sonjit.errors import InputError
from sonjit.extras import needed_for
from sonjit.hand_models.mano_files import plain_array
from sonjit.media.sources.image_files import load_image

_CHUNK = 1 << 20  # characters read at once


def numbers(value: object, shape: tuple[int, ...], named: str) -> FloatArray:
    """Numbers of a known shape; -1 in the shape for any length.

    Args:
        value: what was read.
        shape: how many are wanted.
        named: file and field, for the message.

    Raises:
        InputError: another shape, or no numbers.
    """
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{named} holds no {_by(shape)} numbers: {str(value)[:60]}") from None
    fits = array.ndim == len(shape) and all(want in (-1, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        raise InputError(f"{named} has {_by(array.shape)} numbers and {_by(shape)} are wanted")
    return array


def pickled_numbers(value: Any, shape: tuple[int, ...], named: str) -> FloatArray:  # noqa: ANN401  # a stand-in
    """Numbers of a known shape as a pickle holds them.

    Raises:
        InputError: another shape, no numbers, or damaged ones.
    """
    try:
        return numbers(plain_array(value), shape, named)
    except InputError:
        raise
    except (ValueError, TypeError, IndexError, MemoryError) as error:
        raise InputError(f"{named} is damaged: {error}") from None


def field(record: Any, name: str, named: str) -> Any:  # noqa: ANN401  # JSON
    """One field of a record.

    Raises:
        InputError: the record has no such field.
    """
    try:
        return record[name]
    except (KeyError, TypeError, IndexError):
        raise InputError(f"{named} has no {name!r}") from None


def file_bytes(path: Path) -> bytes:
    """All of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def one_line(error: Exception) -> str:
    """What a library's error says; its name where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def load_json(path: Path) -> Any:  # noqa: ANN401  # JSON
    """A whole JSON file.

    Raises:
        InputError: missing, cut off or no JSON; says where.
    """
    content = file_bytes(path)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is cut off or no JSON: {error}; get it again") from None


def load_yaml(path: Path) -> dict[Any, Any]:
    """A whole YAML file that holds a mapping of plain values.

    Raises:
        InputError: missing, damaged, no mapping, or with tags that would make objects.
        MissingExtraError: PyYAML is not installed.
    """
    with needed_for("YAML files"):
        import yaml
    text = file_bytes(path)
    try:
        content = yaml.safe_load(text)
    except Exception as error:  # beside its own errors, whatever its constructors trip over
        raise InputError(f"{path} is damaged: {one_line(error)}; get it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no mapping; get it again")
    return content


def stream_json(path: Path, depth: int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """What is so many levels deep in a JSON file, one after the other, without holding the rest.

    Args:
        path: the file, of any size.
        depth: 1 for the members of the outermost object or list.

    Yields:
        The keys and places that lead to a value, and the value; values that end at a lesser depth are left out.

    Raises:
        InputError: missing, cut off or no JSON; says where.
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
        raise InputError(f"{path} is cut off or no JSON: {error}; get it again") from None


def number_table(
    path: Path, shape: tuple[int, ...], wrong: dict[int, str] | None = None, *, half: bool = False
) -> NDArray[Any]:
    """Rows of a JSON list of numbers as (N, *shape), float64.

    Args:
        path: the file.
        shape: of each row.
        wrong: takes what is wrong with a row, by its place; such a row is NaN. None: it is an error at once.
        half: as float32.

    Raises:
        InputError: a missing or damaged file, or a wrong row; says which.
    """
    dtype = np.float32 if half else np.float64
    rows: list[NDArray[Any]] = []
    for (place, *_), value in stream_json(path, 1):
        try:
            row = numbers(value, shape, f"{path}: [{place}]")
        except InputError as error:
            if wrong is None:
                raise
            wrong.setdefault(len(rows), str(error))
            row = np.full(shape, np.nan)
        rows.append(row.astype(dtype))
    return np.array(rows, dtype).reshape(-1, *shape)


class _Text:
    """A file's text from where it was read to."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401  # a text file
        self._file = file
        self._text = ""
        self._at = 0
        self._gone = 0  # characters that are no longer held
        self._ended = False
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is not a space; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def take(self, wanted: str) -> str:
        """The next character, which has to be one of those wanted."""
        found = self.peek()
        if not found or found not in wanted:
            raise ValueError(f"{found or 'the end'!r} at character {self._gone + self._at}")
        self._at += 1
        return found

    def value(self) -> Any:  # noqa: ANN401  # JSON
        """The next whole value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise ValueError(f"{error} at character {self._gone + self._at}") from None
            except json.JSONDecodeError as error:
                if not self._more():
                    raise ValueError(f"{error.msg} at character {self._gone + error.pos}") from None
                continue
            if end < len(self._text) or not self._more():  # a number may go on behind what was read
                self._at = end
                return value

    def _more(self) -> bool:
        # Twice as much each time that a value does not end in it, so that a long one is not begun too often.
        read = "" if self._ended else self._file.read(max(_CHUNK, len(self._text) - self._at))
        self._ended = not read
        if read:
            self._gone += self._at
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
    text.take(opening)
    if text.peek() == closing:
        text.take(closing)
        return
    place = 0
    while True:
        key: str | int = place
        if opening == "{":
            key = str(text.value())
            text.take(":")
        yield from _walk(text, depth - 1, (*keys, key))
        place += 1
        if text.take("," + closing) == closing:
            return


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join("any" if size < 0 else str(size) for size in shape) or "1"


_HEADER = 128
_ORDERS = {b"\0\1IM": "<", b"\1\0MI": ">"}
_NAME, _SHAPE, _FLAGS, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13)
_REAL_CLASSES = range(6, 16)  # double, single and the whole numbers
_COMPLEX = 0x800
_LARGEST = 1 << 30  # bytes that a compressed variable may hold


def load_matlab(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file, by name.

    Raises:
        InputError: missing, damaged, of MATLAB's version 7.3 or 4, or with anything but real numbers.
        MissingExtraError: SciPy is not installed.
    """
    with needed_for("MATLAB files"):
        from scipy.io import loadmat
    content = file_bytes(path)
    order = _ORDERS.get(content[124:_HEADER])
    if order is None:
        raise InputError(f"{path} is not a MATLAB 5 file; save it with -v6 or -v7")
    try:
        for kind, data in _elements(content[_HEADER:], order):
            _check_variable(kind, data, order)
        found = loadmat(BytesIO(content))
    except Exception as error:  # SciPy's reader names none that it raises
        raise InputError(f"{path} is damaged: {one_line(error)}; get it again") from None
    return {name: value for name, value in found.items() if not name.startswith("__")}


def _check_variable(kind: int, data: bytes, order: str) -> None:
    if kind == _COMPRESSED:
        ((kind, data),) = _elements(zlib.decompressobj().decompress(data, _LARGEST), order)
    parts = list(_elements(data, order))
    kinds = [part for part, _ in parts]
    (flags,) = struct.unpack(order + "I4x", parts[0][1]) if parts else (0,)
    is_real = flags & 0xFF in _REAL_CLASSES and not flags & _COMPLEX
    if kind != _MATRIX or not is_real or kinds[:3] != [_FLAGS, _SHAPE, _NAME] or len(kinds) != 4:
        raise ValueError("a variable is not an array of real numbers")
    if kinds[3] not in _NUMBERS:
        raise ValueError(f"numbers of the unknown type {kinds[3]}")


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Kinds and contents of data elements, one after the other."""
    position = 0
    while position < len(content):
        kind, size = struct.unpack_from(order + "II", content, position)
        start = position + 8
        end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if kind >> 16:  # a small element: size and kind share four bytes, up to four bytes of data follow
            kind, size, start, end = kind & 0xFFFF, kind >> 16, position + 4, position + 8
        if start + size > len(content):
            raise ValueError(f"{start + size - len(content)} bytes are missing at its end")
        yield kind, content[start : start + size]
        position = end


def depth_from_png(path: Path, metres_per_step: float, *, red_is_high: bool = False) -> Float32Array:
    """(H, W) metres from a colour PNG.

    Args:
        path: the file.
        metres_per_step: of the sixteen bits that two channels make.
        red_is_high: the high byte is in red, the low byte in green, as in RHD.

    Raises:
        InputError: missing or damaged.
    """
    red, green = np.moveaxis(load_image(path, upright=False)[..., :2].astype(np.float32), -1, 0)
    steps = red * 256 + green if red_is_high else red + green * 256
    return steps * np.float32(metres_per_step)
