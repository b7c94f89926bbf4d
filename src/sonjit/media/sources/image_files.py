"""Any image -> (H, W, 3) uint8 RGB, upright. The content decides the format, never the file's ending.

How many pixels an image file declares in its header is known before anything is decoded. Decoders fill what is missing
with grey or garbage; here it is named instead, and OpenCV's own log lines stay off standard error.
"""

from __future__ import annotations

import math
import os
import re
import struct
import threading
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import Image
from sonjit.errors import InputError
from sonjit.extras import needed_for
from sonjit.media.sources.remote import File

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif")
"""Endings that a folder is searched for, in lower case."""

SNIFF_BYTES = 64
"""Bytes from a file's start that `image_format` and `is_text` want to see."""

_MAGIC = (
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

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def image_format(head: bytes) -> str | None:
    """The image format that a file's first bytes announce, or `None`.

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
    """Whether a file's first bytes are printable text, which no image or video is."""
    return bool(head) and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head) and b"\x7f" not in head


def read_bytes(path: File) -> bytes:
    """All bytes of a file; a file that cannot be read is an InputError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: name one image, or open it with open_source") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} cannot be read: {reason}") from None


def load_image(path: File, *, upright: bool = True) -> Image:
    """An image file as (H, W, 3) uint8 RGB, see `decode_image`; InputError where it is none."""
    return decode_image(read_bytes(path), str(path), upright=upright)


def decode_image(data: bytes, name: str, *, upright: bool = True) -> Image:
    """Encoded bytes as (H, W, 3) uint8 RGB.

    Alpha is dropped and 16 bits are cut to the upper 8.

    Args:
        data: the whole file.
        name: what error messages call it.
        upright: turn it as its EXIF orientation says; HEIC is always turned.

    Raises:
        InputError: empty, cut, damaged or no image.
        MissingExtraError: HEIC without pillow-heif.
    """
    if not data:
        raise InputError(f"{name} is empty (0 bytes): copy or export it again")
    found = image_format(data[:SNIFF_BYTES])
    if found is None and is_text(data[:SNIFF_BYTES]):
        raise InputError(f"{name} holds text, not an image: name a JPEG, PNG, WebP, BMP, TIFF or HEIC file")
    if damage := image_damage(data, found):
        raise InputError(f"{name}: {damage}; copy or export it again")
    if found == "heic":
        return _decode_heic(data, name)
    rgb = _decode_opencv(data, name, upright=upright)
    if rgb is None:
        if found is None:
            raise InputError(f"{name} is not an image: name a JPEG, PNG, WebP, BMP, TIFF or HEIC file")
        raise InputError(f"{name} is a damaged {found} image and cannot be decoded; copy or export it again")
    return rgb


def _decode_opencv(data: bytes, name: str, *, upright: bool) -> Image | None:
    import cv2

    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        with quiet_opencv():
            bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        reason = getattr(error, "err", "") or "out of memory"
        raise InputError(f"{name} cannot be decoded: {reason}; make it smaller or export it again") from None
    if bgr is None:  # pyright: ignore[reportUnnecessaryComparison]  # what OpenCV returns for no image
        return None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)


def _decode_heic(data: bytes, name: str) -> Image:
    with needed_for("HEIC images"):
        import pillow_heif
    from io import BytesIO

    try:
        image = pillow_heif.read_heif(BytesIO(data)).to_pillow()
        return np.array(image.convert("RGB"), np.uint8)
    except (ValueError, OSError, EOFError, SyntaxError, RuntimeError, MemoryError) as error:
        raise InputError(f"{name} is a damaged HEIC image: {error}; copy or export it again") from None


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
        if tag >= max(_TIFF_TAGS):  # tags are in order
            break
        position += 20 if is_big else 12
    return size[0], size[1]


def _heif(data: bytes) -> Size | None:
    """The largest of the items: the image itself, its tiles and its thumbnail all have a size."""
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

_CUT = "the image is cut short"


def image_damage(data: bytes, image_format: str | None) -> str | None:
    """What is wrong with an image file as far as its own framing shows, or `None`.

    A JPEG must reach its end marker, a PNG its last chunk with every checksum right, WebP and BMP the length that they
    state. Other formats are left to the decoder.
    """
    checks = {"jpeg": _jpeg_damage, "png": _png_damage, "webp": _webp_damage, "bmp": _bmp_damage}
    check = checks.get(image_format or "")
    return check(data) if check else None


def _jpeg_damage(data: bytes) -> str | None:
    # the markers before the first scan may hold a thumbnail with an end marker of its own
    scan = next((position for marker, position in jpeg_segments(data) if marker == JPEG_SCAN), None)
    whole = scan is not None and data.rfind(b"\xff\xd9", scan) >= 0  # from the end, where it mostly is
    return None if whole else f"{_CUT} (JPEG without its end marker)"


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


_lock = threading.Lock()

_inside = 0

_level_before = 0


@contextmanager
def quiet_opencv() -> Generator[None]:
    """Silence OpenCV's logger inside the block; the last thread to leave restores the caller's level."""
    global _inside, _level_before
    with _lock:
        if _inside == 0:
            _level_before = _set_log_level(_SILENT)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set_log_level(_level_before)


_SILENT = 0


def _set_log_level(level: int) -> int:
    """Set OpenCV's level of logging; gives the one before."""
    import cv2

    if set_level := getattr(cv2, "setLogLevel", None):  # of OpenCV 4
        return set_level(level)
    from cv2.utils import logging

    return logging.setLogLevel(level)


_UINT8 = np.dtype(np.uint8)


class PilImage(Protocol):
    """What is asked of a PIL image."""

    mode: str

    def convert(self, mode: str) -> PilImage:
        """The same image in another mode."""
        ...

    def getbands(self) -> tuple[str, ...]:
        """Names of the channels."""
        ...


ImageLike: TypeAlias = "NDArray[Any] | str | os.PathLike[str] | bytes | bytearray | memoryview | PilImage"


def rgb_from(image: ImageLike) -> Image:
    """One image as a (H, W, 3) uint8 RGB array, C-contiguous.

    A uint8 RGB array is returned as it is, without a copy. Grey becomes three equal channels, an alpha channel is
    dropped (the colours below it are kept as stored), uint16 is scaled down by 256. Image files and encoded bytes are
    turned upright as their EXIF orientation says; a PIL image is taken pixel for pixel.

    Args:
        image: (H, W, 3|4|1) or (H, W) uint8 or uint16 array in RGB order; a path; encoded bytes (JPEG, PNG, ...);
            or a PIL image.

    Raises:
        InputError: another dtype (float and bool arrays too), channels first, an empty array, or a file that is
            missing, cut or no image.
        MissingExtraError: a HEIC file without pillow-heif.
    """
    if isinstance(image, np.ndarray):
        is_rgb = image.dtype == _UINT8 and image.ndim == 3 and image.shape[2] == 3 and image.size
        return image if is_rgb and image.flags.c_contiguous else _rgb_from_array(image)
    if isinstance(image, (str, os.PathLike)):
        return load_image(Path(image))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode_image(bytes(image), f"{len(image)} bytes")
    if hasattr(image, "getbands"):  # a PIL image; Pillow itself is never imported
        is_deep = image.mode == "F" or image.mode.startswith("I")  # convert("RGB") would clip these
        return rgb_from(np.array(image if is_deep else image.convert("RGB")))
    kind = type(image).__name__
    raise InputError(
        f"a {kind} is not an image: give a (H, W, 3) uint8 RGB array, a path, encoded bytes or a PIL image"
    )


def _rgb_from_array(array: NDArray[Any]) -> Image:
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype != _UINT8:
        raise InputError(_dtype_complaint(array))
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3:
        raise InputError(
            f"array of shape {array.shape}: one image has 2 or 3 axes, (H, W) or (H, W, 3); "
            "pass the images of a batch one by one"
        )
    height, width, channels = array.shape
    if array.size == 0:
        raise InputError(f"array of shape {array.shape} is empty: an image needs at least one pixel")
    if channels not in (1, 3, 4):
        if height in (1, 3, 4):
            raise InputError(
                f"array of shape {array.shape} looks channels-first: pass image.transpose(1, 2, 0), (H, W, 3)"
            )
        raise InputError(f"array of shape {array.shape} has {channels} channels ({width} wide): pass RGB, (H, W, 3)")
    if channels == 1:
        array = np.repeat(array, 3, axis=2)  # (H, W, 3)
    return np.ascontiguousarray(array[:, :, :3])


def _dtype_complaint(array: NDArray[Any]) -> str:
    kind = array.dtype.kind
    if kind == "f":
        holds = " with NaN" if np.isnan(array).any() else ""
        return f"{array.dtype} array{holds}: scale to uint8 yourself, 0..255"
    if kind == "b":
        return "bool array is a mask, no image: pass uint8 RGB, (H, W, 3), 0..255"
    return f"{array.dtype} array: an image is uint8 (or uint16); convert it with .astype('uint8') if it is 0..255"
