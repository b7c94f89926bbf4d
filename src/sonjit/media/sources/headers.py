"""Know the formats of media files by their first bytes, and where images end that follow each other in a stream."""

import math
import re
from collections.abc import Iterator
from typing import Final

SNIFF_BYTES = 64  # number of bytes from the start of a file that `image_format` and `is_text` need
WITH_END: Final = ("jpeg", "png", "bmp", "webp", "pnm")
"""Formats of images whose end `image_end` knows."""
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
_PNM: Final = re.compile(rb"P[4-6](?:\s+|\s*#[^\n]*\n)+(\d{1,9})(?:\s+|\s*#[^\n]*\n)+(\d{1,9})\s")
_LAST_CHUNK: Final = b"IEND\xaeB`\x82"  # of PNG
_PNM_MAXIMUM: Final = re.compile(rb"P[56](?:(?:\s|#[^\n]*\n)+\d+){2}(?:\s|#[^\n]*\n)+(\d{1,5})\s")
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


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker of a JPEG file with the offset of its segment, up to the first scan; skip junk between them."""
    position = 2
    while (match := _MARKER.search(data, position)) and match.end() + 2 <= len(data):
        marker, position = match[1][0], match.end()
        yield marker, position
        if marker == _JPEG_SCAN:
            return
        position += max(2, int.from_bytes(data[position : position + 2]))


def _scan_start(data: bytes) -> int:
    """Return the offset of the first scan of a JPEG file, or its length without one."""
    return next((position for marker, position in _jpeg_segments(data) if marker == _JPEG_SCAN), len(data))


def is_motion_jpeg(data: bytes) -> bool:
    """Check whether JPEG images follow each other in a file. Images that belong to the first one have an index."""
    scan = _scan_start(data)
    return data.find(b"MPF\0", 0, scan) < 0 <= data.find(b"\xff\xd9\xff\xd8\xff", scan)


def image_end(data: bytes, image_format: str | None) -> int:
    """Return where the first image in data ends, or 0 if that is unknown. Formats are those of `WITH_END`."""
    if image_format == "jpeg":  # a thumbnail before the first scan may contain an end marker
        return end + 2 if (end := data.find(b"\xff\xd9", _scan_start(data))) >= 0 else 0
    if image_format == "png":
        return end + len(_LAST_CHUNK) if (end := data.find(_LAST_CHUNK)) >= 0 else 0
    if image_format == "pnm" and (match := _PNM.match(data[:4096])):
        maximum = _PNM_MAXIMUM.match(data[:4096])
        sizes = 1 + 2 * (data[1:2] == b"6"), 1 + (maximum is not None and int(maximum[1]) > 255), int(match[2])
        return (maximum or match).end() + math.prod(sizes) * (int(match[1]) if maximum else (int(match[1]) + 7) // 8)
    stated = {"bmp": int.from_bytes(data[2:6], "little"), "webp": int.from_bytes(data[4:8], "little") + 8}
    return stated.get(image_format or "", 0)


def pnm_maximum(data: bytes) -> int:
    """Return the largest value that the header of a PGM or PPM file allows, or 0 if it states none."""
    match = _PNM_MAXIMUM.match(data[:4096])
    return int(match[1]) if match else 0


def is_media(head: bytes) -> bool:
    """Check whether the first 512 bytes of a file are those of an image or a video."""
    if image_format(head) is not None or any(head[at : at + len(magic)] == magic for at, magic in _VIDEO_MAGIC):
        return True
    return any(len(head) > at + step and head[at] == head[at + step] == 0x47 for at, step in ((0, 188), (4, 192)))
