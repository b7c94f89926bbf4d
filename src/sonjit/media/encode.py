"""Encode images as image files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import NDArray

from sonjit._util.errors import JobError, check_memory
from sonjit.media.sources.decode import quiet_opencv

_QUALITY: Final = 95  # JPEG and WebP, 0 to 100


def encode_image(image: NDArray[Any], ending: str, options: Sequence[int] | None = None) -> bytes:
    """Return an image as the content of an image file.

    Args:
        image: Grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) image as uint8; PNG and TIFF also accept uint16.
        ending: File name ending in lower case: .png, .jpg, .jpeg, .webp, .bmp, .tif or .tiff.
        options: OpenCV's encoding flags and values. Default: quality 95 for JPEG and WebP.

    Raises:
        JobError: The format cannot store an image of this size.
    """
    import cv2

    quality = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".jpeg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}
    if options is None:
        options = (quality[ending], _QUALITY) if ending in quality else ()
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    try:
        with quiet_opencv():
            pixels = image if image.ndim == 2 else cv2.cvtColor(image, order[image.shape[2]])
            done, data = cv2.imencode(ending, pixels, options)
    except cv2.error as error:
        check_memory(error)
        raise JobError(f"a {image.shape[1]} x {image.shape[0]} image does not fit {ending}: {error.err}") from None
    if not done:
        raise JobError(f"a {image.shape[1]} x {image.shape[0]} image does not fit {ending}: choose .png")
    return data.tobytes()
