"""Dark and grey images made as the networks know hands, faces and people: in good light, in the colours of skin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from sonjit.detectors.search.geometry import Image

_DARK, _LIT = 100.0, 230.0
"""99th percentile of luma below which an image is brightened, and to where."""
_NOISE_SIGMA_PX = 1.0
"""Of the smoothing before: brightening enlarges the sensor's noise as much."""
_GREY_CHROMA = 4.0
"""Mean chroma in CIELAB below which an image counts as grey."""
_SKIN = 1.2, 0.95, 0.8
"""Red, green and blue of skin in parts of its luma."""
_SAMPLE_PX = 64


def in_good_light(rgb: Image) -> Image:
    """Brighten an image (H, W, 3) if it is dark and tint it if it is grey. Return other images unchanged."""
    return _in_colour(_brightened(rgb))


def _brightened(rgb: Image) -> Image:
    step = max(1, min(rgb.shape[:2]) // (2 * _SAMPLE_PX))
    luma = cv2.cvtColor(np.ascontiguousarray(rgb[::step, ::step]), cv2.COLOR_RGB2GRAY)
    brightest = float(np.percentile(luma, 99))
    if brightest >= _DARK:
        return rgb
    smooth = cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), _NOISE_SIGMA_PX)
    return np.clip(smooth * (_LIT / max(brightest, 1.0)), 0, 255).astype(np.uint8)


def _in_colour(rgb: Image) -> Image:
    step = max(1, min(rgb.shape[:2]) // (2 * _SAMPLE_PX))
    small = cv2.resize(np.ascontiguousarray(rgb[::step, ::step]), (_SAMPLE_PX,) * 2, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    if np.linalg.norm(lab[..., 1:], axis=2).mean() >= _GREY_CHROMA:
        return rgb
    luma = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    tints = np.clip(np.arange(256)[None, :, None] * np.array(_SKIN, np.float32), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(luma, tints), np.uint8)
