"""Convert arrays, paths, encoded bytes and PIL images to (H, W, 3) uint8 RGB arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError
from sonjit.media.sources.decode import decode_image, load_image

ImageLike: TypeAlias = "NDArray[Any] | str | os.PathLike[str] | bytes | bytearray | memoryview | PilImage"

_UINT8: Final = np.dtype(np.uint8)


class PilImage(Protocol):
    """Describe the part of a PIL image that Sonjit uses."""

    mode: str

    def convert(self, mode: str) -> PilImage:
        """Return the image in another mode."""
        ...

    def getbands(self) -> tuple[str, ...]:
        """Return the names of the channels."""
        ...


def rgb_from(image: ImageLike) -> Image:
    """Return an image as a C-contiguous (H, W, 3) uint8 RGB array.

    A uint8 RGB array is returned without a copy. Grey becomes three equal channels, an alpha channel is dropped
    (colours keep their stored values), and uint16 is divided by 256. The EXIF orientation is applied to image files and
    encoded bytes, but not to PIL images.

    Args:
        image: Image as a (H, W, 3|4|1) or (H, W) uint8 or uint16 array in RGB order, a path, encoded bytes (JPEG,
            PNG, ...), or a PIL image.

    Raises:
        InputError: The array has another dtype, is empty or has its channels first, or the file is missing, truncated
            or no image.
        MissingExtraError: The image is HEIC, and pillow-heif is not installed.
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
        raise InputError(_dtype_problem(array))
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


def _dtype_problem(array: NDArray[Any]) -> str:
    kind = array.dtype.kind
    if kind == "f":
        note = " with NaN" if np.isnan(array).any() else ""
        return f"{array.dtype} array{note}: scale to uint8 yourself, 0..255"
    if kind == "b":
        return "bool array is a mask, no image: pass uint8 RGB, (H, W, 3), 0..255"
    return f"{array.dtype} array: an image is uint8 (or uint16); convert it with .astype('uint8') if it is 0..255"
