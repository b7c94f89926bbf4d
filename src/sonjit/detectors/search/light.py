"""Brighten dark images and tint grey ones in skin colour, as in the training images of the networks."""

import cv2
import numpy as np

from sonjit._util import Image

_DARK, _LIT = 100.0, 230.0  # 99th percentile of luma below which an image is brightened, and its value afterwards
_NOISE_SIGMA_PX = 1.0
"""Standard deviation of the smoothing before, because brightening amplifies the noise of the sensor."""
_GREY = 8.5  # mean range of red, green and blue in a pixel below which an image is grey, in grey levels
_SKIN = 1.2, 0.95, 0.8  # red, green and blue of skin, relative to its luma
_SAMPLES = 128  # minimum number of sampled pixels along the shorter side, if the image has as many


def in_good_light(rgb: Image) -> Image:
    """Brighten an image (H, W, 3) if it is dark and tint it if it is grey. Return other images unchanged."""
    lumas = np.sort(cv2.cvtColor(_sampled(rgb), cv2.COLOR_RGB2GRAY), axis=None)
    brightest = max(int(lumas[round(0.99 * (lumas.size - 1))]), 1)
    if brightest < _DARK:
        smooth = cv2.GaussianBlur(rgb.astype(np.uint16) * 256, (0, 0), _NOISE_SIGMA_PX)
        rgb = np.asarray(cv2.convertScaleAbs(smooth, alpha=_LIT / brightest / 256), np.uint8)
    if np.ptp(_sampled(rgb), axis=2).mean() >= _GREY:
        return rgb
    luma = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    tints = np.clip(np.arange(256)[None, :, None] * np.array(_SKIN, np.float32), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(luma, tints), np.uint8)


def _sampled(rgb: Image) -> Image:
    """Return every n-th pixel of an image along both axes."""
    step = max(1, min(rgb.shape[:2]) // _SAMPLES)
    return np.ascontiguousarray(rgb[::step, ::step])
