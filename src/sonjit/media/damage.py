"""Is an image file whole? Decoders fill what is missing with grey or garbage; here it is named instead."""

from __future__ import annotations

import struct
import zlib

from sonjit.media.image_size import JPEG_SCAN, jpeg_segments

_CUT = "the image is cut short"


def image_damage(data: bytes, image_format: str | None) -> str | None:
    """What is wrong with an image file as far as its own framing tells, or `None`.

    A JPEG must reach its end marker, a PNG its last chunk with every checksum right, WebP and BMP the length that they
    state. Other formats are left to the decoder.
    """
    checks = {"jpeg": _jpeg_damage, "png": _png_damage, "webp": _webp_damage, "bmp": _bmp_damage}
    check = checks.get(image_format or "")
    return check(data) if check else None


def _jpeg_damage(data: bytes) -> str | None:
    scan = _jpeg_scan_start(data)
    whole = scan is not None and data.rfind(b"\xff\xd9", scan) >= 0  # from the end, where it mostly is
    return None if whole else f"{_CUT} (JPEG without its end marker)"


def _jpeg_scan_start(data: bytes) -> int | None:
    """Offset of the first scan; the markers before it may hold a thumbnail with an end marker of its own."""
    return next((position for marker, position in jpeg_segments(data) if marker == JPEG_SCAN), None)


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
    return f"{_CUT} (PNG without its last part)"


def _webp_damage(data: bytes) -> str | None:
    stated = int.from_bytes(data[4:8], "little") + 8
    return f"{_CUT} ({len(data)} of {stated} bytes)" if len(data) < stated - 1 else None


def _bmp_damage(data: bytes) -> str | None:
    stated = int.from_bytes(data[2:6], "little")
    return f"{_CUT} ({len(data)} of {stated} bytes)" if len(data) < stated else None
