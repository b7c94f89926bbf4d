"""MATLAB's version 5 files: their arrays of real numbers by name, all that STB's labels need.

Source: "MAT-File Format", The MathWorks, chapter 1. Other kinds of variables are passed over.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_HEADER = 128
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_REAL_CLASSES = range(6, 16)  # double, single and the whole numbers
_LARGEST = 1 << 30  # bytes that a compressed variable may hold


def load_mat(path: Path) -> dict[str, NDArray[np.float64]]:
    """The real arrays of a file.

    Raises:
        InputError: missing, damaged, or of MATLAB's version 7.3, which is another format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    order = {b"IM": "<", b"MI": ">"}.get(content[126:_HEADER])
    if order is None or content[:10] != b"MATLAB 5.0":
        raise InputError(f"{path} is no MATLAB 5 file; save it with -v6 or -v7")
    try:
        variables = (_variable(kind, data, order) for kind, data in _elements(content[_HEADER:], order))
        return dict(found for found in variables if found)
    except (struct.error, ValueError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged: {error}; get it again") from None


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Kinds and contents of data elements, one after the other."""
    position = 0
    while position < len(content):
        kind, size = struct.unpack_from(order + "II", content, position)
        if kind >> 16:  # a small element: size and kind share four bytes, up to four bytes of data follow
            kind, size, start, end = kind & 0xFFFF, kind >> 16, position + 4, position + 8
        else:
            start = position + 8
            end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if start + size > len(content):
            raise ValueError(f"{start + size - len(content)} bytes are missing at its end")
        yield kind, content[start : start + size]
        position = end


def _variable(kind: int, data: bytes, order: str) -> tuple[str, NDArray[np.float64]] | None:
    if kind == _COMPRESSED:
        unpacked = zlib.decompressobj().decompress(data, _LARGEST)
        ((kind, data),) = list(_elements(unpacked, order))[:1]
    if kind != _MATRIX:
        return None
    parts = list(_elements(data, order))
    if len(parts) < 4 or parts[0][1][0 if order == "<" else 3] not in _REAL_CLASSES:
        return None
    shape = np.frombuffer(parts[1][1], order + "i4")
    numbers_kind, raw = parts[3]
    values = np.frombuffer(raw, order + _NUMBERS[numbers_kind] if numbers_kind in _NUMBERS else "V1")
    if numbers_kind not in _NUMBERS or len(values) != math.prod(shape.tolist()):
        raise ValueError(f"{len(values)} numbers for an array of shape {tuple(shape.tolist())}")
    return parts[2][1].decode("ascii"), values.astype(np.float64).reshape(shape, order="F")
