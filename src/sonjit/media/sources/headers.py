"""Read the format, the size and damage of image files from their bytes, without decoding them."""

import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

from sonjit.media.sources.geometry import boxes

SNIFF_BYTES = 64  # number of bytes from the start of a file that `image_format` and `is_text` need
Size: TypeAlias = tuple[int, int]  # width and height in pixels as stored, before the EXIF orientation is applied
_MAGIC: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"BM", "bmp"),
    (b"GIF8", "gif"),
    (b"\0\0\0\x0cjP  ", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
)
_HEIF_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_MARKER: Final = re.compile(rb"\xff+([\x02-\xcf\xd9-\xfe])")  # neither stuffing nor a marker without a length
_JPEG_SCAN: Final = 0xDA  # marker of the pixels of a JPEG
NEXT: Final = 0  # stands for the position of the next directory of TIFF
_NOT_FRAMES: Final = (0xC4, 0xC8, 0xCC)  # Huffman tables, reserved, arithmetic coding
_TIFF_BYTES: Final = 7  # kind of a tag of TIFF whose number is the position of its bytes
_TIFF_FORMATS: Final = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_PNM: Final = re.compile(rb"P[4-6](?:\s+|\s*#[^\n]*\n)+(\d{1,9})(?:\s+|\s*#[^\n]*\n)+(\d{1,9})\s")
LAST_CHUNK: Final = b"IEND\xaeB`\x82"  # of PNG
PNM_MAXIMUM: Final = re.compile(rb"P[56](?:(?:\s|#[^\n]*\n)+\d+){2}(?:\s|#[^\n]*\n)+(\d{1,5})\s")
TRUNCATED: Final = "the image is cut short"
_VIDEO_MAGIC: Final = (
    (4, b"ftyp"),
    (4, b"moov"),
    (4, b"mdat"),
    (4, b"wide"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"FLV"),
    (0, b"OggS"),
    (0, b"\x30\x26\xb2\x75"),
    (0, b"YUV4MPEG2 "),
    (8, b"AVI "),
    (0, b"\0\0\x01\xba"),
    (0, b"\0\0\x01\xb3"),
    (0, b"\0\0\0\x01\x67"),
    (0, b"\0\0\0\x01\x09"),
    (0, b"\0\0\0\x01\x40\x01"),
    (0, b"\x06\x0e\x2b\x34"),
    (0, b"DHAV"),
)
"""Position and first bytes of containers and raw video."""


def image_format(head: bytes) -> str | None:
    """Return the image format that the first bytes of a file announce, or `None`."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        brands = {head[i : i + 4] for i in (8, *range(16, min(len(head), int.from_bytes(head[:4])), 4))}
        if b"avif" in brands:
            return "avif"
        return "heic" if head[8:12] in _HEIF_BRANDS else None
    if re.match(rb"P[4-6]\s+[\d#]", head):
        return "pnm"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def is_text(head: bytes) -> bool:
    """Check whether the first bytes of a file are printable text, as only YUV4MPEG and multipart JPEG have of media."""
    is_printable = b"\x7f" not in head and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
    return bool(head) and is_printable and not head.startswith((b"YUV4MPEG2 ", b"--"))


def image_size(data: bytes, image_format: str | None) -> Size | None:
    """Return the width and height that an image header states, or `None` if it states none."""
    readers: dict[str | None, Callable[[bytes], Size | None]] = {
        "jpeg": _jpeg_size,
        "webp": _webp_size,
        "bmp": _bmp_size,
        "heic": _heif_size,
        "avif": _heif_size,
        "png": lambda data: struct.unpack_from(">II", data, 16) if data[12:16] == b"IHDR" else None,
        "gif": lambda data: struct.unpack_from("<HH", data, 6),
        "tiff": lambda data: ((size := tiff_numbers(data, 256, 257))[0], size[1]),
        "jpeg2000": _jpeg2000_size,
        "pnm": _pnm_size,
    }
    try:
        size = readers[image_format](data) if image_format in readers else None
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


def scan_start(data: bytes) -> int:
    """Return the offset of the first scan of a JPEG file, or its length without one."""
    return next((position for marker, position in jpeg_segments(data) if marker == _JPEG_SCAN), len(data))


def _jpeg_size(data: bytes) -> Size | None:
    for marker, position in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
    return None


def jpeg_channels(data: bytes) -> int:
    """Return the number of channels of a JPEG file, such as 4 of CMYK; 0 if it states none."""
    frames = (at for marker, at in jpeg_segments(data) if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES)
    return next((data[at + 7] for at in frames if at + 7 < len(data)), 0)


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


def tiff_numbers(data: bytes, *tags: int) -> list[int]:
    """Return the numbers of tags in the first directory of TIFF or EXIF data, 0 for missing ones and damaged data."""
    order, is_big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    address, length, head, entry = ("Q", "Q", 8, 20) if is_big else ("I", "H", 2, 12)
    found = dict.fromkeys(tags, 0)
    with suppress(struct.error):
        (start,) = struct.unpack_from(order + address, data, 8 if is_big else 4)
        (count,) = struct.unpack_from(order + length, data, start)
        end = start + head + entry * min(count, 0xFFFF)
        for position in range(start + head, end, entry):
            tag, kind = struct.unpack_from(order + "HH", data, position)
            form = address if kind == _TIFF_BYTES else _TIFF_FORMATS.get(kind)
            if tag in found and form:
                (found[tag],) = struct.unpack_from(order + form, data, position + (12 if is_big else 8))
        if NEXT in found:
            (found[NEXT],) = struct.unpack_from(order + address, data, end)
    return list(found.values())


def _heif_size(data: bytes) -> Size | None:
    """Return the largest size in the file: the image, its tiles and its thumbnail each state one."""
    meta = next((content for kind, content in boxes(data) if kind == b"meta"), b"")
    sizes = re.finditer(rb"ispe\0\0\0\0(.{8})", meta, re.DOTALL)
    return max((struct.unpack(">II", found[1]) for found in sizes), key=math.prod, default=None)


def _jpeg2000_size(data: bytes) -> Size | None:
    start = data.find(b"\xff\x4f\xff\x51")
    width, height, left, top = struct.unpack_from(">IIII", data, start + 8)
    return (width - left, height - top) if start >= 0 else None


def _pnm_size(data: bytes) -> Size | None:
    found = _PNM.match(data[:4096])
    return (int(found[1]), int(found[2])) if found else None


def is_motion_jpeg(data: bytes) -> bool:
    """Check whether JPEG images follow each other in a file. Images that belong to the first one have an index."""
    scan = scan_start(data)
    return data.find(b"MPF\0", 0, scan) < 0 <= data.find(b"\xff\xd9\xff\xd8\xff", scan)


def image_end(data: bytes, image_format: str | None) -> int:
    """Return where the first JPEG, PNG, BMP, WebP or PNM image in data ends, or 0 if that is unknown."""
    if image_format == "jpeg":  # a thumbnail before the first scan may contain an end marker
        return end + 2 if (end := data.find(b"\xff\xd9", scan_start(data))) >= 0 else 0
    if image_format == "png":
        return end + len(LAST_CHUNK) if (end := data.find(LAST_CHUNK)) >= 0 else 0
    if image_format == "pnm" and (found := _PNM.match(data[:4096])):
        maximum = PNM_MAXIMUM.match(data[:4096])
        sizes = 1 + 2 * (data[1:2] == b"6"), 1 + (maximum is not None and int(maximum[1]) > 255), int(found[2])
        return (maximum or found).end() + math.prod(sizes) * (int(found[1]) if maximum else (int(found[1]) + 7) // 8)
    stated = {"bmp": int.from_bytes(data[2:6], "little"), "webp": int.from_bytes(data[4:8], "little") + 8}
    return stated.get(image_format or "", 0)


def is_media(head: bytes) -> bool:
    """Check whether the first 512 bytes of a file are those of an image or a video."""
    if image_format(head) is not None or any(head[at : at + len(magic)] == magic for at, magic in _VIDEO_MAGIC):
        return True
    return any(len(head) > at + step and head[at] == head[at + step] == 0x47 for at, step in ((0, 188), (4, 192)))


def image_damage(data: bytes, image_format: str | None) -> str | None:
    """Return the damage that the structure of an image file shows, or `None`; decoders check other formats.

    A JPEG must reach its end marker, a PNG its last chunk with correct checksums, and WebP and BMP their stated length.
    """
    if image_format == "png":
        return _png_damage(data)
    if image_format == "jpeg":
        return None if image_end(data, "jpeg") else f"{TRUNCATED} (JPEG without its end marker)"
    stated = {"webp": int.from_bytes(data[4:8], "little") + 7, "bmp": int.from_bytes(data[2:6], "little")}
    is_cut = len(data) < stated.get(image_format or "", 0)
    return f"{TRUNCATED} ({len(data)} of {stated[image_format or '']} bytes)" if is_cut else None


def _png_damage(data: bytes) -> str | None:
    view = memoryview(data)
    for kind, start, end in chunks(data, "png"):
        if end + 4 > len(data):
            break
        if zlib.crc32(view[start - 4 : end]) != int.from_bytes(view[end : end + 4]):
            return f"the PNG image is damaged (checksum of its {kind.decode('latin-1')!r} part is wrong)"
        if kind == b"IEND":
            return None
    return f"{TRUNCATED} (PNG without its last part)"


def chunks(data: bytes, image_format: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, start and end of each part of a PNG or WebP file."""
    position = 8 if image_format == "png" else 12
    while position + 8 <= len(data):
        if image_format == "png":
            length, kind = struct.unpack_from(">I4s", data, position)
        else:
            kind, length = struct.unpack_from("<4sI", data, position)
        yield kind, position + 8, position + 8 + length
        position += 12 + length if image_format == "png" else 8 + length + length % 2


def png_head(data: bytes) -> dict[bytes, bytes]:
    """Return the parts of a PNG file before its pixels, by kind."""
    head = data[: data.find(b"IDAT")]
    return {kind: head[start:end] for kind, start, end in chunks(head, "png")}
