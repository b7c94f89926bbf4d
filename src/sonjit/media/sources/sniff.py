"""Read what the bytes of an image file state.

The bytes state the format and the size of the image, and whether the file is complete. Decoders fill missing parts of
an image with grey or garbage, so damage is detected before anything is decoded.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif")
"""File name endings of images in a folder, in lower case."""

SNIFF_BYTES = 64
"""Number of bytes from the start of a file that `image_format` and `is_text` need."""

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels as stored, before the EXIF orientation is applied."""

_MAGIC: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"BM", "bmp"),
    (b"GIF8", "gif"),
    (b"\0\0\0\x0cjP  ", "jpeg2000"),
    (b"P4\n", "pnm"),
    (b"P5\n", "pnm"),
    (b"P6\n", "pnm"),
)

_HEIF_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_MARKER: Final = re.compile(rb"\xff+([\x02-\xcf\xd9-\xfe])")  # neither stuffing nor a marker without a length
_JPEG_SCAN: Final = 0xDA
_NOT_FRAMES: Final = (0xC4, 0xC8, 0xCC)  # Huffman tables, reserved, arithmetic coding
_TIFF_TAGS: Final = {256: 0, 257: 1}
_TIFF_FORMATS: Final = {3: "H", 4: "I", 16: "Q"}
_PNM: Final = re.compile(rb"P[4-6](?:\s+|\s*#[^\n]*\n)+(\d{1,9})(?:\s+|\s*#[^\n]*\n)+(\d{1,9})\s")
_TRUNCATED: Final = "the image is cut short"


def image_format(head: bytes) -> str | None:
    """Return the image format that the first bytes of a file announce, or `None`.

    >>> image_format(bytes([0x89]) + b"PNG" + bytes([13, 10, 26, 10]))
    'png'
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        brands = {head[i : i + 4] for i in (8, *range(16, min(len(head), int.from_bytes(head[:4])), 4))}
        return "avif" if b"avif" in brands else "heic" if head[8:12] in _HEIF_BRANDS else None
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def is_text(head: bytes) -> bool:
    """Check whether the first bytes of a file are printable text, which no image or video has."""
    return bool(head) and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head) and b"\x7f" not in head


def image_size(data: bytes, image_format: str | None) -> Size | None:
    """Return the width and height that an image header states, or `None` if it states none.

    Args:
        data: Content of the image file.
        image_format: Result of the function `image_format`.
    """
    readers: dict[str | None, Callable[[bytes], Size | None]] = {
        "jpeg": _jpeg_size,
        "png": _png_size,
        "webp": _webp_size,
        "bmp": _bmp_size,
        "gif": _gif_size,
        "tiff": _tiff_size,
        "heic": _heif_size,
        "avif": _heif_size,
        "jpeg2000": _jpeg2000_size,
        "pnm": _pnm_size,
    }
    read = readers.get(image_format)
    try:
        size = read(data) if read else None
    except (struct.error, IndexError):
        return None
    return size if size and min(size) > 0 else None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker of a JPEG file with the offset of its segment, up to the first scan; skip junk between them."""
    position = 2
    while (found := _MARKER.search(data, position)) and found.end() + 2 <= len(data):
        marker, position = found[1][0], found.end()
        yield marker, position
        if marker == _JPEG_SCAN:
            return
        position += max(2, int.from_bytes(data[position : position + 2]))


def _jpeg_size(data: bytes) -> Size | None:
    for marker, position in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
    return None


def _png_size(data: bytes) -> Size | None:
    return struct.unpack_from(">II", data, 16) if data[12:16] == b"IHDR" else None


def _webp_size(data: bytes) -> Size | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return (width & 0x3FFF, height & 0x3FFF) if kind == b"VP8 " else None


def _bmp_size(data: bytes) -> Size | None:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return width, abs(height)


def _gif_size(data: bytes) -> Size | None:
    return struct.unpack_from("<HH", data, 6)


def _tiff_size(data: bytes) -> Size | None:
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
        if tag >= max(_TIFF_TAGS):  # tags are in order
            break
        position += 20 if is_big else 12
    return size[0], size[1]


def _heif_size(data: bytes) -> Size | None:
    """Return the largest size in the file: the image, its tiles and its thumbnail each state one."""
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


def _jpeg2000_size(data: bytes) -> Size | None:
    start = data.find(b"\xff\x4f\xff\x51")
    width, height, left, top = struct.unpack_from(">IIII", data, start + 8)
    return (width - left, height - top) if start >= 0 else None


def _pnm_size(data: bytes) -> Size | None:
    found = _PNM.match(data[:4096])
    return (int(found[1]), int(found[2])) if found else None


def image_damage(data: bytes, image_format: str | None) -> str | None:
    """Return the damage that the structure of an image file shows, or `None`.

    A JPEG must reach its end marker, and a PNG its last chunk with correct checksums. WebP and BMP must have the length
    that they state. The decoder checks all other formats.
    """
    checks = {"jpeg": _jpeg_damage, "png": _png_damage, "webp": _webp_damage, "bmp": _bmp_damage}
    check = checks.get(image_format or "")
    return check(data) if check else None


def _jpeg_damage(data: bytes) -> str | None:
    # A thumbnail before the first scan may contain an end marker.
    scan = next((position for marker, position in jpeg_segments(data) if marker == _JPEG_SCAN), None)
    is_complete = scan is not None and data.rfind(b"\xff\xd9", scan) >= 0
    return None if is_complete else f"{_TRUNCATED} (JPEG without its end marker)"


def _png_damage(data: bytes) -> str | None:
    view = memoryview(data)
    position = 8
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4]):
            return f"the PNG image is damaged (checksum of its {kind.decode('latin-1')!r} part is wrong)"
        if kind == b"IEND":
            return None
        position = end + 4
    return f"{_TRUNCATED} (PNG without its last part)"


def _webp_damage(data: bytes) -> str | None:
    stated = int.from_bytes(data[4:8], "little") + 8
    return f"{_TRUNCATED} ({len(data)} of {stated} bytes)" if len(data) < stated - 1 else None


def _bmp_damage(data: bytes) -> str | None:
    stated = int.from_bytes(data[2:6], "little")
    return f"{_TRUNCATED} ({len(data)} of {stated} bytes)" if len(data) < stated else None
