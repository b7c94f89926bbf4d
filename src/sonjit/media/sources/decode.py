"""Decode image files into upright (H, W, 3) uint8 RGB arrays. The content decides the format, not the file name."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError
from sonjit._util.extras import optional_import
from sonjit.media.sources.remote import File
from sonjit.media.sources.sniff import SNIFF_BYTES, image_damage, image_format, is_text

_SILENT: Final = 0  # OpenCV's log level

_lock = threading.Lock()
_quiet_threads = 0
_level_before = 0


def read_bytes(path: File) -> bytes:
    """Return the content of a file.

    Raises:
        InputError: The file cannot be read.
    """
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
    """Return an image file as (H, W, 3) uint8 RGB, see `decode_image`."""
    return decode_image(read_bytes(path), str(path), upright=upright)


def decode_image(data: bytes, name: str, *, upright: bool = True) -> Image:
    """Return an encoded image as (H, W, 3) uint8 RGB; drop alpha, and keep the upper 8 of 16 bits.

    Args:
        data: Content of the image file.
        name: File name shown in error messages.
        upright: Apply the EXIF orientation. HEIC images are always upright.

    Raises:
        InputError: The data is empty, truncated, damaged or no image.
        MissingExtraError: The image is HEIC, and pillow-heif is not installed.
    """
    found = _checked_format(data, name)
    if found == "heic":
        return _decode_heic(data, name)
    import cv2

    orientation = 0 if upright else cv2.IMREAD_IGNORE_ORIENTATION
    if found == "jpeg":  # of other formats, OpenCV exchanges red and blue of AVIF with alpha
        return np.asarray(_decode_opencv(data, name, found, cv2.IMREAD_COLOR_RGB | orientation), np.uint8)
    bgr = _decode_opencv(data, name, found, cv2.IMREAD_COLOR | orientation)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)


def decode_channels(data: bytes, name: str) -> NDArray[Any]:
    """Return an encoded image with the channels and depth that it has: (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

    Args:
        data: Content of the image file.
        name: File name shown in error messages.

    Raises:
        InputError: The data is empty, truncated, damaged or no image.
    """
    import cv2

    image = _decode_opencv(data, name, _checked_format(data, name), cv2.IMREAD_UNCHANGED)
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _checked_format(data: bytes, name: str) -> str | None:
    if not data:
        raise InputError(f"{name} is empty (0 bytes): copy or export it again")
    found = image_format(data[:SNIFF_BYTES])
    if found is None and is_text(data[:SNIFF_BYTES]):
        raise InputError(f"{name} contains text, not an image. Use a JPEG, PNG, WebP, BMP, TIFF or HEIC file")
    if damage := image_damage(data, found):
        raise InputError(f"{name}: {damage}; copy or export it again")
    return found


def _decode_opencv(data: bytes, name: str, image_format: str | None, flags: int) -> NDArray[Any]:
    import cv2

    try:
        with quiet_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        reason = getattr(error, "err", "") or "out of memory"
        raise InputError(f"{name} cannot be decoded: {reason}; make it smaller or export it again") from None
    if image is None:  # pyright: ignore[reportUnnecessaryComparison]  # what OpenCV returns for no image
        if image_format is None:
            raise InputError(f"{name} is not an image: name a JPEG, PNG, WebP, BMP, TIFF or HEIC file")
        raise InputError(f"{name} is a damaged {image_format} image and cannot be decoded; copy or export it again")
    return image


def _decode_heic(data: bytes, name: str) -> Image:
    with optional_import("HEIC images"):
        import pillow_heif
    from io import BytesIO

    try:
        image = pillow_heif.read_heif(BytesIO(data)).to_pillow()
        return np.array(image.convert("RGB"), np.uint8)
    except (ValueError, OSError, EOFError, SyntaxError, RuntimeError, MemoryError) as error:
        raise InputError(f"{name} is a damaged HEIC image: {error}; copy or export it again") from None


@contextmanager
def quiet_opencv() -> Generator[None]:
    """Silence OpenCV's logger inside the block; the last thread to leave restores the caller's level."""
    global _quiet_threads, _level_before
    with _lock:
        if _quiet_threads == 0:
            _level_before = _set_log_level(_SILENT)
        _quiet_threads += 1
    try:
        yield
    finally:
        with _lock:
            _quiet_threads -= 1
            if _quiet_threads == 0:
                _set_log_level(_level_before)


def _set_log_level(level: int) -> int:
    """Set OpenCV's log level and return the previous one."""
    import cv2

    if set_level := getattr(cv2, "setLogLevel", None):  # OpenCV 4
        return set_level(level)
    from cv2.utils import logging

    return logging.setLogLevel(level)
