"""Define `Image` and `ImageFormat`, the input of the tasks, their errors, and `Timestamp`."""

from __future__ import annotations

from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from sonjit._util import InputError, JobError
from sonjit.compat.mediapipe import follows_current
from sonjit.media.sources.images import decode_channels

_ALIGNMENT, _CURRENT_ALIGNMENT = 4, 16  # of rows, in bytes
_SPECIAL = {
    "UNSET": -(2**63),
    "UNSTARTED": 1 - 2**63,
    "PRESTREAM": 2 - 2**63,
    "MIN": 3 - 2**63,
    "MAX": 2**63 - 4,
    "POSTSTREAM": 2**63 - 3,
    "DONE": 2**63 - 1,
}
"""Times before, at the limits of and after a stream."""


class ModelError(InputError, RuntimeError):
    """Report a model file that is missing or of no use: a ValueError, and MediaPipe's RuntimeError."""


class MissingFileError(ModelError, FileNotFoundError):
    """Report a file that does not exist: a RuntimeError as in MediaPipe 0.10.21, a FileNotFoundError as in 1.2.2."""


class ImageError(InputError, RuntimeError, AttributeError, TypeError, IndexError):
    """Report an argument that is not the required image. MediaPipe raises one of these exceptions for each mistake."""


class ImageFormat(IntEnum):
    """Format of an image's numbers."""

    SRGB = 1
    SRGBA = 2
    GRAY8 = 3
    GRAY16 = 4
    SRGB48 = 7
    SRGBA64 = 8
    VEC32F1 = 9
    SBGRA = 11
    VEC32F2 = 12

    __str__ = Enum.__str__


_LAYOUTS: dict[ImageFormat, tuple[int, type[np.generic]]] = {
    ImageFormat.SRGB: (3, np.uint8),
    ImageFormat.SRGBA: (4, np.uint8),
    ImageFormat.GRAY8: (1, np.uint8),
    ImageFormat.GRAY16: (1, np.uint16),
    ImageFormat.SRGB48: (3, np.uint16),
    ImageFormat.SRGBA64: (4, np.uint16),
    ImageFormat.VEC32F1: (1, np.float32),
    ImageFormat.SBGRA: (4, np.uint8),
    ImageFormat.VEC32F2: (2, np.float32),
}
"""Channels and type of the numbers of each format."""


class Image:
    """An image whose pixels do not change.

    Args:
        image_format: Format of `data`.
        data: (H, W, C), of formats with one channel also (H, W): uint8, of formats with 16 bits uint16, of VEC32F1 and
            VEC32F2 float32. It is copied. The fourth channel of an array given as SRGB is dropped.

    Raise ImageError if shape or type do not match the format (also a ValueError and a RuntimeError).
    """

    def __init__(self, image_format: ImageFormat, data: NDArray[Any]) -> None:
        image_format = ImageFormat(image_format)
        channels, dtype = _LAYOUTS[image_format]
        if not isinstance(data, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]  # scripts pass anything
            raise ImageError(f"data is a {type(data).__name__}: give an array (H, W, {channels})")
        if channels == 1 and data.ndim == 3 and data.shape[2] == 1:
            data = data[:, :, 0]
        if image_format is ImageFormat.SRGB and data.ndim == 3 and data.shape[2] == 4:
            data = data[:, :, :3]
        shape = data.shape[2:] if channels > 1 else ()
        if data.ndim != 2 + (channels > 1) or shape not in ((), (channels,)) or data.dtype != dtype or not data.size:
            raise ImageError(
                f"data is {data.shape} {data.dtype}: {image_format.name} takes (H, W, {channels}) {np.dtype(dtype)}"
            )
        self._data = np.array(data, order="C")
        self._data.setflags(write=False)
        self.image_format = image_format

    @classmethod
    def create_from_file(cls, file_name: str) -> Self:
        """Read an image file as SRGB, SRGBA or GRAY8.

        Raise MissingFileError, a RuntimeError and a FileNotFoundError, if there is no such file, and JobError, a
        RuntimeError, if the file is not an image.
        """
        try:
            image = decode_channels(Path(file_name).read_bytes(), file_name)
        except OSError:
            raise MissingFileError(f"Image decoding failed (can't fopen): {file_name}") from None
        except InputError as error:
            raise JobError(f"Image decoding failed: {error}") from None
        if image.dtype != np.uint8:
            raise JobError(f"Image decoding failed: {file_name} is not an image of 8 bits")
        if image.ndim == 2:
            return cls(ImageFormat.GRAY8, image)
        return cls(ImageFormat.SRGBA if image.shape[2] == 4 else ImageFormat.SRGB, image)

    def numpy_view(self) -> NDArray[Any]:
        """Return the read-only pixels (H, W, C).

        One channel is (H, W) as in MediaPipe 0.10.21, and (H, W, 1) after `follow_version("1.2.2")`.
        """
        view = np.asarray(self) if self.is_contiguous() else self._data  # padded rows are a copy in MediaPipe
        return view[:, :, None] if view.ndim == 2 and follows_current() else view

    @property
    def __array_interface__(self) -> dict[str, object]:
        """The pixels for NumPy, whose arrays then keep the image."""
        return self._data.__array_interface__

    @property
    def width(self) -> int:
        """In pixels."""
        return self._data.shape[1]

    @property
    def height(self) -> int:
        """In pixels."""
        return self._data.shape[0]

    @property
    def channels(self) -> int:
        """Numbers of each pixel."""
        return _LAYOUTS[self.image_format][0]

    @property
    def step(self) -> int:
        """Bytes of a row as MediaPipe keeps it. The array of `numpy_view` has no such padding.

        It is a multiple of 4 as in MediaPipe 0.10.21, and of 16 after `follow_version("1.2.2")`.
        """
        alignment = _CURRENT_ALIGNMENT if follows_current() else _ALIGNMENT
        return -(-self._data.strides[0] // alignment) * alignment

    def is_contiguous(self) -> bool:
        """Check whether rows follow one another without padding, see `step`."""
        return self.step == self._data.strides[0]

    def is_aligned(self, alignment_boundary: int) -> bool:
        """Check whether every row begins at a multiple of a number of bytes."""
        return self._data.ctypes.data % alignment_boundary == self.step % alignment_boundary == 0

    def is_empty(self) -> bool:
        """Never."""
        return False

    def uses_gpu(self) -> bool:
        """Never."""
        return False

    def __getitem__(self, place: tuple[int, ...]) -> int | float:
        """Return one value by row, column and, for several channels, channel.

        Raise IndexError if the position is outside the image, or the number of indices is wrong.
        """
        if not isinstance(place, tuple) or len(place) != self._data.ndim:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise IndexError(f"Invalid index dimension: index dimension mismatch, give {self._data.ndim} indices")
        return self._data[place].item()


def rgb_of(image: Image) -> NDArray[np.uint8]:
    """Convert an image for a task to (H, W, 3) uint8 RGB.

    Raise ImageError if it is not an `Image`, and InputError if its numbers are floats or have 16 bits.
    """
    if not isinstance(image, Image):  # pyright: ignore[reportUnnecessaryIsInstance]  # scripts pass anything
        raise ImageError(f"Please provide an mp.Image with 'image_format' and 'data', not a {type(image).__name__}")
    data = image.numpy_view()
    match image.image_format:
        case ImageFormat.SRGB:
            return data
        case ImageFormat.SRGBA:
            return np.ascontiguousarray(data[:, :, :3])
        case ImageFormat.SBGRA:
            return np.ascontiguousarray(data[:, :, 2::-1])
        case ImageFormat.GRAY8:
            return np.repeat(data.reshape(image.height, image.width, 1), 3, axis=2)
        case other:
            raise InputError(f"an image in {other.name}: tasks take SRGB, SRGBA or GRAY8")


class ImageFrame(Image):
    """An image that reports the size of its numbers. The tasks accept it as an `Image`."""

    @property
    def byte_depth(self) -> int:
        """Bytes of one number."""
        return self.numpy_view().itemsize


class Timestamp(int):
    """A time as an integer of microseconds.

    >>> Timestamp.from_seconds(1.5).value
    1500000
    """

    UNSET: ClassVar[Timestamp]
    UNSTARTED: ClassVar[Timestamp]
    PRESTREAM: ClassVar[Timestamp]
    MIN: ClassVar[Timestamp]
    MAX: ClassVar[Timestamp]
    POSTSTREAM: ClassVar[Timestamp]
    DONE: ClassVar[Timestamp]

    @classmethod
    def from_seconds(cls, seconds: float) -> Self:
        """Return the time of a number of seconds, rounded to microseconds."""
        return cls(round(seconds * 1e6))

    @property
    def value(self) -> int:
        """Microseconds."""
        return int(self)

    def seconds(self) -> float:
        """Return the time in seconds."""
        return self / 1e6

    def microseconds(self) -> int:
        """Return the time in microseconds."""
        return int(self)

    def __repr__(self) -> str:
        """Return MediaPipe's text, with the name of a special value."""
        names = (name for name in _SPECIAL if getattr(Timestamp, name) == self)
        return f"<mediapipe.Timestamp with value: {next(names, self.value)}>"


for _name, _value in _SPECIAL.items():
    setattr(Timestamp, _name, Timestamp(_value))
