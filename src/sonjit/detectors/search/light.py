"""Brighten dark images and tint grey ones in skin colour, as in the training images of the networks."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sonjit._util import Image

_DARK, _LIT = 100.0, 230.0
"""99th percentile of luma below which an image is brightened, and its value afterwards."""
_NOISE_SIGMA_PX = 1.0
"""Standard deviation of the smoothing before, because brightening amplifies the noise of the sensor."""
_GREY_CHROMA = 4.0
"""Mean chroma in CIELAB below which an image is grey."""
_SKIN = 1.2, 0.95, 0.8
"""Red, green and blue of skin, relative to its luma."""
_SAMPLE_PX = 64
_XYZ = (
    np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
    / np.array([[0.950456], [1.0], [1.088754]])
).astype(np.float32)
"""Matrix from linear sRGB to CIE XYZ, relative to the white point D65."""


def in_good_light(rgb: Image) -> Image:
    """Brighten an image (H, W, 3) if it is dark and tint it if it is grey. Return other images unchanged."""
    return _in_colour(_brightened(rgb))


def _brightened(rgb: Image) -> Image:
    step = max(1, min(rgb.shape[:2]) // (2 * _SAMPLE_PX))
    luma = cv2.cvtColor(np.ascontiguousarray(rgb[::step, ::step]), cv2.COLOR_RGB2GRAY)
    brightest = _percentile(luma, 0.99)
    if brightest >= _DARK:
        return rgb
    bright = np.empty_like(rgb)
    rows, margin = 512, 4  # strips, because float32 copies of large images need much memory
    for top in range(0, len(rgb), rows):
        first = max(top - margin, 0)
        part = rgb[first : top + rows + margin].astype(np.float32)
        smooth = cv2.GaussianBlur(part, (0, 0), _NOISE_SIGMA_PX)[top - first :][:rows]
        bright[top : top + rows] = np.clip(smooth * (_LIT / max(brightest, 1.0)), 0, 255)
    return bright


def _in_colour(rgb: Image) -> Image:
    step = max(1, min(rgb.shape[:2]) // (2 * _SAMPLE_PX))
    small = cv2.resize(np.ascontiguousarray(rgb[::step, ::step]), (_SAMPLE_PX,) * 2, interpolation=cv2.INTER_AREA)
    if _mean_chroma(np.asarray(small, np.uint8)) >= _GREY_CHROMA:
        return rgb
    luma = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    tints = np.clip(np.arange(256)[None, :, None] * np.array(_SKIN, np.float32), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(luma, tints), np.uint8)


def _percentile(values: NDArray[Any], part: float) -> float:
    """Return a percentile as `np.percentile` does, without its import of masked arrays."""
    position = part * (values.size - 1)
    low = int(position)
    high = min(low + 1, values.size - 1)
    around = np.partition(values.ravel(), (low, high))[[low, high]]
    return float(np.interp(position - low, (0, 1), around))


def _mean_chroma(rgb: Image) -> float:
    """Return the mean chroma in CIELAB, computed with its formula."""
    values = np.arange(256) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)
    xyz = linear[rgb] @ _XYZ.T
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return float(np.hypot(500 * (root[..., 0] - root[..., 1]), 200 * (root[..., 1] - root[..., 2])).mean())
