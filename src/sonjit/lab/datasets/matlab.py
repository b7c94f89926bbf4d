"""Read MATLAB files of numbers, such as STB's labels.

SciPy reads the files. Its reader trusts the types that a file declares, and an unknown type ends the process. A file is
therefore scanned first, and only a valid one is passed on.

Source: "MAT-File Format", The MathWorks, chapter 1.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sonjit._util.errors import InputError
from sonjit._util.extras import optional_import
from sonjit.lab.datasets.reading import file_bytes, one_line

_HEADER = 128
_ORDERS = {b"\0\1IM": "<", b"\1\0MI": ">"}
_NAME, _SHAPE, _FLAGS, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13)
_REAL_CLASSES = range(6, 16)  # double, single and the whole numbers
_COMPLEX = 0x800
_MAX_ELEMENT = 1 << 30  # maximum size of a compressed variable in bytes


def load_matlab(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a MATLAB file by name.

    Raises:
        InputError: The file is missing, damaged, of MATLAB's version 7.3 or 4, or has other data than real numbers.
        MissingExtraError: SciPy is not installed.
    """
    with optional_import("MATLAB files"):
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
        ((kind, data),) = _elements(zlib.decompressobj().decompress(data, _MAX_ELEMENT), order)
    parts = list(_elements(data, order))
    kinds = [part for part, _ in parts]
    (flags,) = struct.unpack(order + "I4x", parts[0][1]) if parts else (0,)
    is_real = flags & 0xFF in _REAL_CLASSES and not flags & _COMPLEX
    if kind != _MATRIX or not is_real or kinds[:3] != [_FLAGS, _SHAPE, _NAME] or len(kinds) != 4:
        raise ValueError("a variable is not an array of real numbers")
    if kinds[3] not in _NUMBERS:
        raise ValueError(f"numbers of the unknown type {kinds[3]}")


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield the types and contents of data elements."""
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
