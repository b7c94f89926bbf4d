"""Anything that holds an image -> one (H, W, 3) uint8 RGB array."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import Image
from sonjit.errors import InputError
from sonjit.media.sources.image_files import decode_image, load_image

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
