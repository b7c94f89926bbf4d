"""Pictures from clients: how large they are is known before they are decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import SonjitError
from sonjit.media.image_files import SNIFF_BYTES, decode_image, image_format
from sonjit.media.image_size import image_size
from sonjit.server.errors import RefusedError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def decode_picture(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """An encoded picture as (H, W, 3) uint8 RGB, upright.

    Raises:
        RefusedError: it is no picture, damaged or has too many pixels.
    """
    if not data:
        raise RefusedError("bad_image", "no picture came: send the bytes of a JPEG, PNG or WebP file")
    found = image_format(data[:SNIFF_BYTES])
    size = image_size(data, found)
    if size is None:
        what = f"a damaged {found} picture" if found else "no picture that is known here"
        raise RefusedError("bad_image", f"{len(data)} bytes are {what}: send a whole JPEG, PNG or WebP file")
    check_pixels(*size, max_pixels)
    try:
        return decode_image(data, f"the picture of {len(data)} bytes")
    except SonjitError as error:
        raise RefusedError("bad_image", str(error)) from error


def raw_picture(data: memoryview, width: int, height: int, channels: int, max_pixels: int) -> NDArray[np.uint8]:
    """Rows of RGB or RGBA bytes as (H, W, 3) uint8 RGB; RefusedError where size and bytes do not agree."""
    if not width or not height or len(data) != width * height * channels:
        raise RefusedError(
            "bad_image", f"{len(data)} bytes are not {width} x {height} pixels of {channels} bytes: send whole rows"
        )
    check_pixels(width, height, max_pixels)
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    if channels == 3:
        return pixels
    import cv2

    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), np.uint8)


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """RefusedError where a picture is larger than the server takes."""
    if width * height > max_pixels:
        raise RefusedError(
            "too_many_pixels",
            f"the picture has {width} x {height} pixels, more than {max_pixels / 1e6:g} million: "
            "send a smaller one or raise --max-megapixels",
        )
