"""How many pixels an image file says that it has, from its header: to be known before anything is decoded."""

from __future__ import annotations

import math
import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Size = tuple[int, int]
"""Width and height in pixels, as stored: not turned upright."""

_MARKER = re.compile(rb"\xff+([\x02-\xcf\xd9-\xfe])")  # not stuffing, nor a marker without a length
JPEG_SCAN = 0xDA
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)  # Huffman tables, reserved, arithmetic coding
_TIFF_TAGS = {256: 0, 257: 1}
_TIFF_FORMATS = {3: "H", 4: "I", 16: "Q"}
_PNM = re.compile(rb"P[4-6](?:\s+|\s*#[^\n]*\n)+(\d{1,9})(?:\s+|\s*#[^\n]*\n)+(\d{1,9})\s")


def image_size(data: bytes, image_format: str | None) -> Size | None:
    """Width and height that a file's header states, or `None` where it states none.

    Args:
        data: the whole file.
        image_format: as `image_files.image_format` gives it.
    """
    read = _READERS.get(image_format or "")
    try:
        size = read(data) if read else None
    except (struct.error, IndexError):
        return None
    return size if size and min(size) > 0 else None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Markers of a JPEG with the offset of what follows each, up to the first scan; junk between is stepped over."""
    position = 2
    while (found := _MARKER.search(data, position)) and found.end() + 2 <= len(data):
        marker, position = found[1][0], found.end()
        yield marker, position
        if marker == JPEG_SCAN:
            return
        position += max(2, int.from_bytes(data[position : position + 2]))


def _jpeg(data: bytes) -> Size | None:
    for marker, position in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
    return None


def _png(data: bytes) -> Size | None:
    return struct.unpack_from(">II", data, 16) if data[12:16] == b"IHDR" else None


def _webp(data: bytes) -> Size | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return (width & 0x3FFF, height & 0x3FFF) if kind == b"VP8 " else None


def _bmp(data: bytes) -> Size | None:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return width, abs(height)


def _gif(data: bytes) -> Size | None:
    return struct.unpack_from("<HH", data, 6)


def _tiff(data: bytes) -> Size | None:
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    (position,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)
    (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, position)
    position += 8 if is_big else 2
    size = [0, 0]
    for _ in range(min(count, 0xFFFF)):
        tag, kind = struct.unpack_from(order + "HH", data, position)
        if tag in _TIFF_TAGS and kind in _TIFF_FORMATS:
            value = position + (12 if is_big else 8)
            (size[_TIFF_TAGS[tag]],) = struct.unpack_from(order + _TIFF_FORMATS[kind], data, value)
        if tag >= max(_TIFF_TAGS):  # tags stand in order
            break
        position += 20 if is_big else 12
    return size[0], size[1]


def _heif(data: bytes) -> Size | None:
    """The largest of the items: the picture itself, its tiles and its thumbnail all have a size."""
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"meta":
            sizes = re.finditer(rb"ispe\0\0\0\0(.{8})", data[position : position + length], re.DOTALL)
            return max((struct.unpack(">II", found[1]) for found in sizes), key=math.prod, default=None)
        if length < 8:
            return None
        position += length
    return None


def _jpeg2000(data: bytes) -> Size | None:
    start = data.find(b"\xff\x4f\xff\x51")
    width, height, left, top = struct.unpack_from(">IIII", data, start + 8)
    return (width - left, height - top) if start >= 0 else None


def _pnm(data: bytes) -> Size | None:
    found = _PNM.match(data[:4096])
    return (int(found[1]), int(found[2])) if found else None


_READERS = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "bmp": _bmp,
    "gif": _gif,
    "tiff": _tiff,
    "heic": _heif,
    "avif": _heif,
    "jpeg2000": _jpeg2000,
    "pnm": _pnm,
}
