"""Convert the colours of images with ICC profiles to sRGB. Source: ICC.1:2022, the profile format.

Matrix profiles, such as Display P3 and Adobe RGB, and grey profiles are converted: nearly all photographs have one of
them or sRGB. Profiles of tables, as of printers, are not.
"""

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, Image
from sonjit._util.lazy_names import LazyModule

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

_SRGB_RED: Final = (0.436, 0.222, 0.014)  # XYZ under D50
_SRGB: Final = ((0.4360747, 0.3850649, 0.1430804), (0.2225045, 0.7168786, 0.0606169), (0.0139322, 0.0971045, 0.7141733))
"""Columns are red, green and blue of sRGB as XYZ under D50."""
_HEADER_BYTES: Final = 128
_MAX_TAGS: Final = 100
_MAX_CONVERSIONS: Final = 8  # number of profiles whose conversion is kept
_LEVELS: Final = 1 << 14  # number of levels of linear values
_ROWS_PIXELS: Final = 1 << 18  # number of pixels that are converted at a time
_PARAMETERS: Final = (1, 3, 4, 5, 7)  # number of parameters of a curve, by the type of its function


class _Conversion(NamedTuple):
    """Conversion to the numbers of levels of linear sRGB."""

    curves: Float32Array  # (1, 256, 3), linear values of red, green and blue, 0..1
    matrix: Float32Array  # (3, 4) from them and 1 to the levels
    is_grey: bool


def is_srgb(profile: bytes) -> bool:
    """Check whether the red, which a grey one lacks, and the medium value of an ICC profile are those of sRGB."""
    tags, is_grey = _tags(profile), profile[16:20] == b"GRAY"
    curve = _grey_curve(profile, tags) if is_grey else _curve(tags.get(b"rTRC", b""))
    middle = 0.5**2.2 if curve is None else float(curve[127] + curve[128]) / 2
    red = _xyz(tags.get(b"rXYZ", b""))
    is_red = red is not None and bool(np.allclose(red, _SRGB_RED, rtol=0, atol=0.02))
    return 0.17 < middle < 0.26 and (is_grey or is_red)


def in_srgb(rgb: Image, profile: bytes) -> Image | None:
    """Return an image (H, W, 3) with a profile in the colours of sRGB; None if the profile is of another kind.

    `profile` may be only its beginning, if that has the tags of its matrix and curves.
    """
    conversion = _conversion(profile)
    if conversion is None or (conversion.is_grey and np.ptp(rgb, axis=2).any()):  # not a profile of this image
        return None
    out, rows = np.empty_like(rgb), max(1, _ROWS_PIXELS // rgb.shape[1])
    for start in range(0, len(rgb), rows):
        linear = cv2.transform(cv2.LUT(rgb[start : start + rows], conversion.curves), conversion.matrix)
        np.clip(linear, 0, _LEVELS - 1, out=linear)
        np.take(_encoded(), linear.astype(np.uint16), out=out[start : start + rows], mode="clip")
    return out


@lru_cache(maxsize=_MAX_CONVERSIONS)
def _conversion(profile: bytes) -> _Conversion | None:
    """Return the conversion of a profile, or None if it has no matrix and curves."""
    tags = _tags(profile)
    if profile[16:20] == b"GRAY":
        grey = _grey_curve(profile, tags)
        return (
            None
            if grey is None
            else _Conversion(np.repeat(grey[None, :, None], 3, axis=2), _levels(np.eye(3)), is_grey=True)
        )
    if profile[16:20] != b"RGB " or profile[20:24] != b"XYZ ":
        return None
    curves = [_curve(tags.get(name, b"")) for name in (b"rTRC", b"gTRC", b"bTRC")]
    columns = [_xyz(tags.get(name, b"")) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    known, primaries = [one for one in curves if one is not None], [one for one in columns if one is not None]
    if len(known) < 3 or len(primaries) < 3:
        return None
    matrix = np.linalg.solve(np.array(_SRGB), np.stack(primaries, axis=1))
    return _Conversion(np.stack(known, axis=1)[None], _levels(np.asarray(matrix, np.float64)), is_grey=False)


def _levels(matrix: FloatArray) -> Float32Array:
    """Return a matrix (3, 4) to the rounded numbers of levels from one (3, 3) to linear values, 0..1."""
    return np.hstack([(_LEVELS - 1) * matrix, np.full((3, 1), 0.5)]).astype(np.float32)


@lru_cache(maxsize=1)
def _encoded() -> Image:
    """Return the values of sRGB, 0 to 255, for linear values."""
    linear = np.linspace(0, 1, _LEVELS)
    values = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * values).astype(np.uint8)


def _tags(profile: bytes) -> Mapping[bytes, bytes]:
    """Return the complete tags of a profile by name."""
    count = int.from_bytes(profile[_HEADER_BYTES : _HEADER_BYTES + 4])
    found: dict[bytes, bytes] = {}
    for at in range(_HEADER_BYTES + 4, _HEADER_BYTES + 4 + 12 * min(count, _MAX_TAGS), 12):
        start, size = (int.from_bytes(profile[at + k : at + k + 4]) for k in (4, 8))
        if len(tag := profile[start : start + size]) == size:
            found[profile[at : at + 4]] = tag
    return found


def _xyz(tag: bytes) -> NDArray[np.float64] | None:
    """Return the colour (3,) of a tag as XYZ under D50."""
    return np.array(struct.unpack(">3i", tag[8:20])) / 65536 if tag[:4] == b"XYZ " and len(tag) >= 20 else None


def _curve(tag: bytes) -> Float32Array | None:
    """Return the linear values (256,) of a curve, 0..1; None if it is none."""
    x = np.linspace(0, 1, 256)
    if tag[:4] == b"curv" and len(tag) >= 12:
        count = int.from_bytes(tag[8:12])
        table = np.frombuffer(tag[12 : 12 + len(tag[12:]) // 2 * 2], ">u2")[:count].astype(np.float64)
        if len(table) < count:
            return None
        if count == 1:
            return (x ** (table[0] / 256)).astype(np.float32)
        return (x if count == 0 else np.interp(x, np.linspace(0, 1, count), table / 65535)).astype(np.float32)
    if tag[:4] != b"para" or len(tag) < 12:
        return None
    kind = int.from_bytes(tag[8:10])
    count = _PARAMETERS[kind] if kind < len(_PARAMETERS) else 0
    if not count or len(tag) < 12 + 4 * count:
        return None
    values = [part / 65536 for part in struct.unpack(f">{count}i", tag[12 : 12 + 4 * count])]
    return _parametric(x, kind, values)


def _grey_curve(profile: bytes, tags: Mapping[bytes, bytes]) -> Float32Array | None:
    """Return the linear values (256,) of a grey profile, 0..1; None if it has no curve."""
    curve = _curve(tags.get(b"kTRC", b""))
    if curve is None or profile[20:24] != b"Lab ":
        return curve
    lightness = 100 * curve  # CIE 1976 L*, which the curve has instead of linear values
    return np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * 27 / 24389).astype(np.float32)


def _parametric(x: NDArray[np.float64], kind: int, values: list[float]) -> Float32Array:
    """Return a parametric curve (256,) at values x (256,), 0..1."""
    power, scale, offset, slope, limit, above, below = (*values, *[0.0] * (7 - len(values)))
    if kind == 0:
        scale = 1.0
    if kind == 2:  # its constant is added to both parts
        slope, above, below = 0.0, slope, slope
    if kind in (1, 2):
        limit = -offset / scale if scale else 0.0
    with np.errstate(divide="ignore", over="ignore"):  # a damaged profile may have any power
        curve = np.maximum(scale * x + offset, 0) ** power + above
    return np.clip(np.where(x >= limit, curve, slope * x + below), 0, 1).astype(np.float32)
