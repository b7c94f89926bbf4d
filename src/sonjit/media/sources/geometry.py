"""Turn stored pixels into the image that players and browsers show: cropped, square, unmirrored, upright, not HDR.

Files state this besides their pixels: as display matrix and sample aspect ratio (videos), EXIF orientation (JPEG, PNG,
WebP, TIFF, AVIF). `Geometry` applies it in the order of ISO/IEC 14496-12: crop, aspect ratio, then rotation and mirror.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np

from sonjit._util import Image, JsonObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from av.video.frame import VideoFrame

Turns: TypeAlias = tuple[bool, bool, bool]  # `transposed`, `flip_x` and `flip_y` of a `Geometry`
_MATRIX_BYTES = 36
_HEAD_BYTES = 1 << 18  # bytes of an MKV file that are searched for its tracks
HDR = (16, 18)  # numbers of the transfer functions PQ and HLG (ITU-T H.273)
_WHITE_NITS = 203.0  # luminance of white in HDR (ITU-R BT.2408)
_KNEE = 0.75  # share of white up to which tone mapping keeps luminance. What is brighter is compressed.
_SIMILAR = 0.02  # relative difference of two ratios of sides that is not corrected
_MAX_ASPECT = 20  # largest ratio of the sides of a pixel that is believed


@dataclass(frozen=True)
class Geometry:
    """Transformation from stored pixels to the shown image."""

    crop: tuple[int, int, int, int] = (0, 0, 0, 0)  # pixels to cut from the left, top, right and bottom
    aspect: Fraction = Fraction(1)  # width of a pixel over its height
    transposed: bool = False  # exchange x and y, before the mirrors
    # Mirror left and right, or top and bottom
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of_frame(
        cls,
        frame: VideoFrame,
        aspect: Fraction | None = None,
        crop: tuple[int, int, int, int] = (0, 0, 0, 0),
        before: Geometry | None = None,
    ) -> Self:
        """Return the geometry of a frame with the aspect of the stream, the container's crop, and a display matrix.

        A frame without a matrix has the turn of the frame `before`: H.264 and H.265 state it in few frames.
        """
        if not aspect or not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
            aspect = Fraction(1)
        left, top, right, bottom = crop
        if left + right >= frame.width or top + bottom >= frame.height:
            crop = (0, 0, 0, 0)
        return cls(crop, aspect, *turns_of_matrix(frame, before.turns if before else (False, False, False)))

    @property
    def turns(self) -> Turns:
        """Return the turn and mirrors."""
        return self.transposed, self.flip_x, self.flip_y

    @classmethod
    def of_orientation(cls, orientation: int) -> Self:
        """Return the geometry of an EXIF orientation, 1 to 8.

        >>> Geometry.of_orientation(6).to_dict()
        {'rotation_deg': 90, 'mirrored': False}
        """
        transposed, flip_x, flip_y = {
            2: (False, True, False),
            3: (False, True, True),
            4: (False, False, True),
            5: (True, False, False),
            6: (True, True, False),
            7: (True, True, True),
            8: (True, False, True),
        }.get(orientation, (False, False, False))
        return cls(transposed=transposed, flip_x=flip_x, flip_y=flip_y)

    def inverse(self) -> Geometry:
        """Return the turn and mirrors that undo those of this geometry."""
        flip_x, flip_y = (self.flip_y, self.flip_x) if self.transposed else (self.flip_x, self.flip_y)
        return Geometry(transposed=self.transposed, flip_x=flip_x, flip_y=flip_y)

    @property
    def is_turn(self) -> bool:
        """Check whether the image is only turned or mirrored, so that its pixels keep their values."""
        return self.aspect == 1 and not any(self.crop)

    def to_dict(self) -> JsonObject:
        """Return the changes in the header of a table. The rotation is clockwise and precedes the mirror."""
        data: JsonObject = {"crop": list(self.crop)} if any(self.crop) else {}
        if self.aspect != 1:
            data["pixel_aspect"] = f"{self.aspect.numerator}:{self.aspect.denominator}"
        if self.transposed or self.flip_x or self.flip_y:
            mirrored = self.transposed ^ self.flip_x ^ self.flip_y
            flip_x = self.flip_x ^ mirrored
            quarter_turns = (1 if flip_x else 3) if self.transposed else 2 * self.flip_y
            data |= {"rotation_deg": 90 * quarter_turns, "mirrored": mirrored}
        return data

    def scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height of the cropped image with square pixels, before it is turned. No side shrinks."""
        left, top, right, bottom = self.crop
        width, height = width - left - right, height - top - bottom
        if self.aspect > 1:
            return round(width * self.aspect), height
        return width, round(height / self.aspect)

    def shown_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height of the shown image."""
        width, height = self.scaled_size(width, height)
        return (height, width) if self.transposed else (width, height)

    def turned(self, pixels: Image) -> Image:
        """Turn and mirror an image (H, W, ...) or one of its planes."""
        import cv2

        if self.transposed and self.flip_x != self.flip_y:
            turn = cv2.ROTATE_90_CLOCKWISE if self.flip_x else cv2.ROTATE_90_COUNTERCLOCKWISE
            return np.asarray(cv2.rotate(pixels, turn), np.uint8)
        if self.transposed:
            pixels = np.asarray(cv2.transpose(pixels), np.uint8)
        if self.flip_x or self.flip_y:
            pixels = np.asarray(cv2.flip(pixels, int(self.flip_x) if self.flip_x != self.flip_y else -1), np.uint8)
        return np.ascontiguousarray(pixels)

    def cropped(self, pixels: Image) -> Image:
        """Cut the crop rectangle out of an image (H, W, ...)."""
        left, top, right, bottom = self.crop
        return pixels[top : pixels.shape[0] - bottom, left : pixels.shape[1] - right]

    def apply(self, pixels: Image) -> Image:
        """Crop, scale, turn and mirror an image (H, W, ...)."""
        import cv2

        size = self.scaled_size(pixels.shape[1], pixels.shape[0])
        pixels = self.cropped(pixels)
        if size != (pixels.shape[1], pixels.shape[0]):
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        return self.turned(pixels)


def fitted(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Return a size that keeps the ratio of its sides and fills one side of a box, or the box for a similar ratio.

    >>> fitted((480, 270), (270, 480))
    (270, 152)
    """
    across, down = box[0] / size[0], box[1] / size[1]
    if abs(across - down) < _SIMILAR * across:
        return box
    return max(1, round(size[0] * min(across, down))), max(1, round(size[1] * min(across, down)))


def bordered(pixels: Image, size: tuple[int, int]) -> Image:
    """Return an image (H, W, 3) in the centre of a black one of a width and height."""
    right, bottom = size[0] - pixels.shape[1], size[1] - pixels.shape[0]
    if right or bottom:
        pixels = np.pad(pixels, ((bottom // 2, bottom - bottom // 2), (right // 2, right - right // 2), (0, 0)))
    return pixels


def turns_of_matrix(frame: VideoFrame, default: Turns = (False, False, False)) -> Turns:
    """Return the turns of the display matrix of a frame, for the nearest quarter turn, or a default without one."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    data = b"" if matrix is None else bytes(matrix)
    if len(data) != _MATRIX_BYTES:
        return default
    a, b, _, c, d = struct.unpack_from("5i", data)  # x' = a x + c y, y' = b x + d y
    is_transposed = abs(b) + abs(c) > abs(a) + abs(d)
    return (True, c < 0, b < 0) if is_transposed else (False, a < 0, d < 0)


def crop_of_aperture(
    full: Sequence[int], width: Fraction, height: Fraction, x: Fraction, y: Fraction
) -> tuple[int, int, int, int]:
    """Return the crop of an image of a full size by an aperture whose centre is off by x and y, in pixels."""
    left, top, half = (full[0] - width) / 2 + x, (full[1] - height) / 2 + y, Fraction(1, 2)  # halves as in libheif
    far = -((half + left + width - full[0]) // 1), -((half + top + height - full[1]) // 1)
    return max((left + half) // 1, 0), max((top + half) // 1, 0), max(far[0], 0), max(far[1], 0)


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and content of each box of an ISO base media file, or of the content of a box."""
    yield from ((kind, data[start:end]) for kind, _, start, end in box_spans(data))


def box_spans(data: bytes | mmap) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield the type of each box with the positions of its head, of its content and of its end."""
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", data, position + 8), 16
        length = length or len(data) - position
        if length < head:
            return
        yield kind, position, position + head, position + length
        position += length


def container_crop(path: Path, container_format: str) -> tuple[int, int, int, int]:
    """Return the pixels that an MP4, MOV or MKV file cuts on each side. FFmpeg's decoders do not apply it."""
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            if "mp4" in container_format:
                return _crop_of_mp4(data)
            return _crop_of_mkv(data[:_HEAD_BYTES]) if "matroska" in container_format else (0, 0, 0, 0)
    except (OSError, struct.error, ValueError, IndexError, KeyError, StopIteration, ZeroDivisionError):
        return 0, 0, 0, 0


def _crop_of_mp4(data: mmap) -> tuple[int, int, int, int]:
    movie = next(data[start:end] for kind, _, start, end in box_spans(data) if kind == b"moov")
    for track in (content for kind, content in boxes(movie) if kind == b"trak"):
        for name in (b"mdia", b"minf", b"stbl", b"stsd"):
            track = dict(boxes(track))[name]
        entry = next(boxes(track[8:]))[1]
        width, height = struct.unpack_from(">HH", entry, 24)
        values = dict(boxes(entry[78:])).get(b"clap")
        if width and height and values is not None:
            numbers = struct.unpack_from(">2I2I2i2i", values)
            fractions = (Fraction(numbers[k], numbers[k + 1]) for k in range(0, 8, 2))
            return crop_of_aperture((width, height), *fractions)
    return 0, 0, 0, 0


def _crop_of_mkv(data: bytes) -> tuple[int, int, int, int]:
    segment = next(content for name, content in _elements(data) if name == 0x18538067)
    tracks = next(content for name, content in _elements(segment) if name == 0x1654AE6B)
    for entry in (content for name, content in _elements(tracks) if name == 0xAE):
        video = dict(_elements(entry)).get(0xE0)
        if video is not None:
            crops = dict(_elements(video))
            left, top, right, bottom = (crops.get(name, b"") for name in (0x54CC, 0x54BB, 0x54DD, 0x54AA))
            return int.from_bytes(left), int.from_bytes(top), int.from_bytes(right), int.from_bytes(bottom)
    return 0, 0, 0, 0


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the ID and content of each element of EBML."""
    position = 0
    while position < len(data):
        width = 9 - data[position].bit_length()
        name = int.from_bytes(data[position : position + width])
        position += width
        width = 9 - data[position].bit_length()
        size = int.from_bytes(data[position : position + width]) & ((1 << 7 * width) - 1)
        position += width
        yield name, data[position : position + size]
        position += size


@cache
def tone_curve(transfer: int) -> Image:
    """Return the sRGB value (65536,) of each 16-bit value of an HDR video or image.

    Sources: SMPTE ST 2084 (PQ), ITU-R BT.2100 (HLG).
    """
    value = np.arange(65536) / 65535
    if transfer == HDR[0]:
        root = value ** (32 / 2523)
        ratio = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
        light = 10_000 / _WHITE_NITS * ratio ** (8192 / 1305)
    else:
        scene = np.where(value <= 0.5, value**2 / 3, (np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = 1000 / _WHITE_NITS * scene**1.2
    light = np.where(light <= _KNEE, light, _KNEE + (1 - _KNEE) * (1 - np.exp((_KNEE - light) / (1 - _KNEE))))
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * srgb).astype(np.uint8)
