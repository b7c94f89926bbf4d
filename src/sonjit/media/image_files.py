"""Image files and encoded bytes -> RGB, upright. The content decides the format, never the file's ending."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError, MissingExtraError
from sonjit.media.damage import image_damage
from sonjit.media.quiet import quiet_opencv

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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


def read_bytes(path: Path) -> bytes:
    """All bytes of a file; whatever stands in the way is an InputError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: name one image, or open it with open_source") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} cannot be read: {reason}") from None


def load_image(path: Path, *, upright: bool = True) -> NDArray[np.uint8]:
    """An image file as (H, W, 3) uint8 RGB, see `decode_image`; InputError where it is none."""
    return decode_image(read_bytes(path), str(path), upright=upright)


def decode_image(data: bytes, name: str, *, upright: bool = True) -> NDArray[np.uint8]:
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


def _decode_opencv(data: bytes, name: str, *, upright: bool) -> NDArray[np.uint8] | None:
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


def _decode_heic(data: bytes, name: str) -> NDArray[np.uint8]:
    try:
        import pillow_heif
    except ImportError:
        raise MissingExtraError("HEIC images", "heic") from None
    from io import BytesIO

    try:
        picture = pillow_heif.read_heif(BytesIO(data)).to_pillow()
        return np.array(picture.convert("RGB"), np.uint8)
    except (ValueError, OSError, EOFError, SyntaxError, RuntimeError, MemoryError) as error:
        raise InputError(f"{name} is a damaged HEIC image: {error}; copy or export it again") from None
