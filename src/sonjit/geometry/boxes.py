"""Boxes in pixels, and the crops of rotated boxes.

A rotated box is five numbers `(cx, cy, width, height, rotation)`: centre and size in pixels, rotation in radians,
positive turns the box's x axis towards the image's y axis (clockwise on the screen). One affine map leads from the
image to the network's input.

Convention: corners. Pixel (i, j) of a crop of size n x m samples the image at the box's point (i/n, j/m), and
points given as fractions of the crop map back through the same corners. This is what MediaPipe's CPU path computes.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, Image, RealArray
from sonjit._util.lazy_names import LazyModule

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

Box: TypeAlias = tuple[float, float, float, float]  # x_min, y_min, x_max, y_max in pixels
Border: TypeAlias = Literal["replicate", "zero"]
P = TypeVar("P", np.uint8, np.float32)

_MAX_MAP_PX: Final = 32_766  # the largest coordinate of OpenCV's fixed-point maps
_MAX_PART: Final = 4  # maximum size of an image's part, in sizes of the crop, that is warped with four channels


class RotatedBox(NamedTuple):
    """Centre and size in pixels, rotation in radians (clockwise on the screen)."""

    cx: float
    cy: float
    width: float
    height: float
    rotation: float = 0.0


def wrap_angle(angle_rad: float) -> float:
    """Return the same angle in [-pi, pi).

    >>> round(wrap_angle(3 * math.pi / 2), 4)
    -1.5708
    """
    return angle_rad - 2 * math.pi * math.floor((angle_rad + math.pi) / (2 * math.pi))


def upright_rotation(start: Sequence[float], end: Sequence[float]) -> float:
    """Return the rotation in radians of a box in which the direction from one point to another points up.

    >>> upright_rotation((0, 0), (0, -1)), round(upright_rotation((0, 0), (1, 0)), 4)
    (0.0, 1.5708)
    """
    return wrap_angle(math.pi / 2 - math.atan2(start[1] - end[1], end[0] - start[0]))


def square_box(box: RotatedBox, *, scale: float, shift_y: float = 0.0) -> RotatedBox:
    """Shift a box along its own y axis by a part of its height, then square its long side and scale it.

    The order is that of MediaPipe's rectangle transformation: the shift counts in the box's height before squaring.
    """
    cx, cy, width, height, rotation = box
    shift = height * shift_y
    side = max(width, height) * scale
    return RotatedBox(cx - shift * math.sin(rotation), cy + shift * math.cos(rotation), side, side, rotation)


def clamped_box(box: RotatedBox, width: int, height: int) -> RotatedBox | None:
    """Return the part of an upright box inside an image, or None.

    A box of w pixels ends at its last pixel, w - 1 after its first, as the code of HandOccNet has it.
    """
    left, top = max(0.0, box.cx - box.width / 2), max(0.0, box.cy - box.height / 2)
    right = min(width - 1.0, left + max(0.0, box.width - 1))
    bottom = min(height - 1.0, top + max(0.0, box.height - 1))
    if box.width * box.height <= 0 or right < left or bottom < top:
        return None
    return RotatedBox((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def box_around(points: RealArray) -> Box:
    """Return the tight upright box around points (K, 2) or with more columns, in pixels."""
    rows = points[:, :2].T.copy()  # in rows: four times as fast for faces
    (x_min, y_min), (x_max, y_max) = rows.min(axis=1).tolist(), rows.max(axis=1).tolist()
    return x_min, y_min, x_max, y_max


def box_from_corners(corners: Sequence[float], rotation: float = 0.0) -> RotatedBox:
    """Return the box with corners x_min, y_min, x_max, y_max, and a rotation about its centre."""
    x_min, y_min, x_max, y_max = corners
    return RotatedBox((x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min, rotation)


def rotated_box_around(points: RealArray, rotation_rad: float) -> RotatedBox:
    """Return the smallest box with this rotation around points (K, 2) in pixels."""
    cos, sin = math.cos(rotation_rad), math.sin(rotation_rad)
    along_x = points[:, 0] * cos + points[:, 1] * sin  # (K,) in the box's axes
    along_y = points[:, 1] * cos - points[:, 0] * sin
    left, right = float(along_x.min()), float(along_x.max())
    top, bottom = float(along_y.min()), float(along_y.max())
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    return RotatedBox(
        middle_x * cos - middle_y * sin, middle_x * sin + middle_y * cos, right - left, bottom - top, rotation_rad
    )


def size_of(points: Float32Array) -> float:
    """Return the long side of the box around points (K, D), in their unit. It is never zero."""
    return max(float(_extent(points).max()), 1e-6)


def mean_size_of(points: Float32Array) -> float:
    """Return the mean of width and height of the box around points (K, 2), in their unit. It is never zero."""
    return max(float(_extent(points).mean()), 1e-6)


def _extent(points: Float32Array) -> Float32Array:
    rows = points.T.copy()  # in rows: three times as fast for faces
    return rows.max(axis=1) - rows.min(axis=1)


def iou(a: RotatedBox, b: RotatedBox) -> float:
    """Return the intersection over union of two boxes, 0 to 1. Rotations are ignored, as in MediaPipe's association."""
    width = min(a.cx + a.width / 2, b.cx + b.width / 2) - max(a.cx - a.width / 2, b.cx - b.width / 2)
    height = min(a.cy + a.height / 2, b.cy + b.height / 2) - max(a.cy - a.height / 2, b.cy - b.height / 2)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.width * a.height + b.width * b.height - shared)


def box_iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two upright boxes, 0 to 1.

    >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def overlap_over_smaller(a: RealArray, b: RealArray) -> float:
    """Return the share 0..1 of the smaller box around points (K, 2) of two sets that the other box covers."""
    low_a, high_a, low_b, high_b = (edge[:2] for edge in (a.min(0), a.max(0), b.min(0), b.max(0)))
    shared = np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None).prod()
    return float(shared / max(min((high_a - low_a).prod(), (high_b - low_b).prod()), 1e-6))


def crop_matrix(box: RotatedBox, width: int, height: int) -> FloatArray:
    """Return the (2, 3) matrix from crop pixels (x, y, 1) to image pixels."""
    cos, sin = math.cos(box.rotation), math.sin(box.rotation)
    per_x, per_y = box.width / width, box.height / height
    x_row = [cos * per_x, -sin * per_y, box.cx - (cos * box.width - sin * box.height) / 2]
    y_row = [sin * per_x, cos * per_y, box.cy - (sin * box.width + cos * box.height) / 2]
    return np.array([x_row, y_row])


def inverse_affine(matrix: RealArray) -> FloatArray:
    """Return the inverse of an affine matrix (2, 3) between pixels."""
    turn = np.linalg.inv(matrix[:, :2])
    return np.column_stack([turn, -turn @ matrix[:, 2]]).astype(np.float64)


def crop(
    image: NDArray[P],
    box: RotatedBox,
    width: int,
    height: int,
    *,
    border: Border = "replicate",
    out: NDArray[P] | None = None,
) -> NDArray[P]:
    """Cut a rotated box out of an image (H, W, 3) of uint8, or of float32 to avoid rounding, by one bilinear warp.

    Pixels outside the image are the nearest image pixel, or zero. `out` (height, width, 3) receives the crop.
    """
    matrix, size, mode = crop_matrix(box, width, height), (width, height), _border_mode(border)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    part = _sampled_part(matrix, size, image.shape) if image.dtype == np.uint8 else None
    if part is None:
        return cv2.warpAffine(image, matrix, size, out, flags, mode)  # pyright: ignore
    # OpenCV warps four channels in a third of the time of three, which pays for the conversion of a small part.
    rows, columns = part
    matrix[:, 2] -= columns.start, rows.start
    four = cv2.cvtColor(image[rows, columns], cv2.COLOR_RGB2RGBA)
    return cv2.cvtColor(cv2.warpAffine(four, matrix, size, flags=flags, borderMode=mode), cv2.COLOR_RGBA2RGB, out)  # pyright: ignore


def _sampled_part(matrix: FloatArray, size: tuple[int, int], shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Return the rows and columns of an image of a shape (H, W, 3) that a crop of `size` samples.

    None if they are many pixels for the size of the crop, or none.
    """
    width, height = size
    if not np.isfinite(matrix).all():
        return None
    limits: list[tuple[int, int]] = []
    for (per_x, per_y, start), length in zip(matrix.tolist(), (shape[1], shape[0]), strict=True):
        low = start + min(0, per_x * width) + min(0, per_y * height)
        high = start + max(0, per_x * width) + max(0, per_y * height)
        limits.append((max(math.floor(low) - 1, 0), min(math.ceil(high) + 2, length)))
    (left, right), (top, bottom) = limits
    if not (left < right and top < bottom and (right - left) * (bottom - top) <= _MAX_PART * width * height):
        return None
    return slice(top, bottom), slice(left, right)


def crop_on_grid(image: Image, box: RotatedBox, out: Image, *, border: Border = "replicate") -> None:
    """Cut a rotated box out of an image (H, W, 3) into `out` (h, w, 3), sampled on OpenCV 4's grid of 1/32 pixel.

    OpenCV 5 samples without that grid. The difference of a grey level or two moves a hand's keypoints by 0.02 px and a
    body's by 0.1 px, and by 20 px where a heatmap's peak is at the threshold. It takes three times `crop`'s time.
    """
    height, width = out.shape[:2]
    matrix = crop_matrix(box, width, height)
    along_x = np.rint(matrix[:, :1] * np.arange(width) * 1024)  # (2, w) in 1/1024 pixel
    along_y = np.rint((matrix[:, 1:2] * np.arange(height) + matrix[:, 2:]) * 1024)  # (2, h)
    farthest = np.abs(along_y[:, [0, -1], None] + along_x[:, None, [0, -1]]).max()
    if farthest > _MAX_MAP_PX * 1024:
        crop(image, box, width, height, border=border, out=out)
        return
    if farthest < 1 << 22:  # float32 is exact. A quarter rounds halves up
        x, y = ((along_y + 0.25) / 1024).astype(np.float32)[:, :, None] + (along_x / 1024).astype(np.float32)[:, None]
    else:
        points = ((along_y.astype(np.int32) + 16)[:, :, None] + along_x.astype(np.int32)[:, None]) >> 5  # (2, h, w)
        x, y = (points / 32).astype(np.float32)
    where, weights = cv2.convertMaps(x, y, cv2.CV_16SC2)
    cv2.remap(image, where, weights, cv2.INTER_LINEAR, out, _border_mode(border))  # pyright: ignore


def _border_mode(border: Border) -> int:
    return cv2.BORDER_REPLICATE if border == "replicate" else cv2.BORDER_CONSTANT


def letterbox_box(image_width: int, image_height: int, width: int, height: int) -> RotatedBox:
    """Return the upright box around the image with the aspect ratio of a width x height input."""
    scale = max(image_width / width, image_height / height)
    return RotatedBox(image_width / 2, image_height / 2, width * scale, height * scale)


def letterbox(image: Image, width: int, height: int, *, out: Image | None = None) -> Image:
    """Fit an image (H, W, 3) into width x height, keep its aspect ratio and pad with zeros.

    Samples are on OpenCV 4's grid, see `crop_on_grid`. Without it, the found boxes move by up to a pixel.
    """
    where, weights = _letterbox_maps(image.shape[1], image.shape[0], width, height)
    return cv2.remap(image, where, weights, cv2.INTER_LINEAR, out, cv2.BORDER_CONSTANT)  # pyright: ignore


@lru_cache(maxsize=8)
def _letterbox_maps(
    image_width: int, image_height: int, width: int, height: int
) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Return OpenCV's fixed-point maps: source pixels (height, width, 2) and the index of the 1/32 fractions."""
    matrix = crop_matrix(letterbox_box(image_width, image_height, width, height), width, height)
    x = np.rint((np.arange(width) * matrix[0, 0] + matrix[0, 2]) * 32).astype(np.int32)
    y = np.rint((np.arange(height) * matrix[1, 1] + matrix[1, 2]) * 32).astype(np.int32)
    where = np.empty((height, width, 2), np.int16)
    where[..., 0], where[..., 1] = x[None, :] >> 5, y[:, None] >> 5
    return where, ((y[:, None] & 31) * 32 + (x[None, :] & 31)).astype(np.uint16)


def points_into_crop(points: RealArray, box: RotatedBox, size: int) -> FloatArray:
    """Map image points (..., 2) to pixels of a box's square crop."""
    matrix = inverse_affine(crop_matrix(box, size, size))
    return points @ matrix[:, :2].T + matrix[:, 2]


def turn_matrix(box: RotatedBox) -> Float32Array:
    """Return the matrix (3, 3) that multiplies points (K, 3) in the crop's axes to rotate them to the image's."""
    cos, sin = math.cos(box.rotation), math.sin(box.rotation)
    return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)


def points_from_crop(points: RealArray, box: RotatedBox) -> Float32Array:
    """Map points (K, 3) in fractions of a square crop (z in the same scale) to image pixels, (K, 3) float32."""
    cos, sin = math.cos(box.rotation), math.sin(box.rotation)
    x, y = (points[:, 0] - 0.5) * box.width, (points[:, 1] - 0.5) * box.height
    placed = np.empty((len(points), 3), np.float32)
    placed[:, 0] = x * cos - y * sin + box.cx
    placed[:, 1] = x * sin + y * cos + box.cy
    placed[:, 2] = points[:, 2] * box.width
    return placed


def latest_boxes(boxes: Iterable[RotatedBox], is_same: Callable[[RotatedBox, RotatedBox], bool]) -> list[RotatedBox]:
    """Return one box of each instance. Of two boxes of one instance the later stays, as in MediaPipe."""
    kept: list[RotatedBox] = []
    for box in boxes:
        kept = [other for other in kept if not is_same(box, other)]
        kept.append(box)
    return kept
