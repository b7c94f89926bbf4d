"""Choose the size of released images at which fingerprint ridges cannot be read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from sonjit._util.arrays import Float32Array, Image
from sonjit.studio.cameras.rig import RigCamera

RIDGE_MM: Final = 0.45
"""Typical period of the ridges of an adult's finger; children's are finer."""
SIZE: Final = (512, 334)
"""Longer and shorter side of a released image, as InterHand2.6M's."""
_READABLE_CONTRAST: Final = 0.1  # remaining fraction of a pattern's contrast from which it is readable
_MIN_RIDGE_PX: Final = 2.0  # period below which a pattern cannot be sampled
_SHRINK_FACTOR: Final = 0.9  # step by which an image becomes smaller until its ridges are unreadable


@dataclass(frozen=True)
class Sampling:
    """Resolution of skin in a view's released images.

    Attributes:
        view: Name of the camera.
        size: Released width and height in pixels.
        px_per_mm: Pixels per millimetre at the labelled joint nearest to the camera.
        ridge_px: Period of a ridge there in pixels.
        ridge_contrast: Fraction of the contrast of synthetic ridges that downsizing leaves. Ridges below two pixels per
            period cannot be read whatever remains of them.
    """

    view: str
    size: tuple[int, int]
    px_per_mm: float
    ridge_px: float
    ridge_contrast: float

    @property
    def readable(self) -> bool:
        """Whether ridges cover two pixels or more, and more than a tenth of their contrast remains."""
        return self.ridge_px >= _MIN_RIDGE_PX and self.ridge_contrast > _READABLE_CONTRAST


def sampling_of(camera: RigCamera, nearest_m: float) -> Sampling:
    """Return the largest size of at most 512 x 334 (or upright) at which ridges cannot be read, and its sampling.

    Args:
        camera: Camera whose images are released.
        nearest_m: Depth of the nearest labelled joint, metres.
    """
    longer, shorter = max(camera.width, camera.height), min(camera.width, camera.height)
    scale = min(1.0, SIZE[0] / longer, SIZE[1] / shorter)
    finest = float(max(camera.camera.K[0, 0], camera.camera.K[1, 1])) / (1000 * nearest_m)
    while True:
        size = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
        shown = finest * scale
        sampling = Sampling(camera.name, size, shown, shown * RIDGE_MM, ridge_contrast(finest, scale))
        if not sampling.readable:
            return sampling
        scale *= _SHRINK_FACTOR


def ridge_contrast(px_per_mm: float, scale: float) -> float:
    """Return the fraction of the contrast of synthetic ridges after downsizing, the maximum over directions.

    Args:
        px_per_mm: Resolution before downsizing.
        scale: Scale of the images, at most 1.
    """
    side = 240
    y, x = np.mgrid[:side, :side]
    largest = 0.0
    for angle in np.linspace(0, math.pi / 2, 7):
        along = (x * math.cos(angle) + y * math.sin(angle)) / (px_per_mm * RIDGE_MM)
        ridges = (128 + 100 * np.sin(2 * np.pi * along)).astype(np.float32)
        if px_per_mm * RIDGE_MM < _MIN_RIDGE_PX:
            return 0.0  # the camera does not resolve them
        small = downsize(ridges, (max(1, round(side * scale)), max(1, round(side * scale))))
        largest = max(largest, float(small.std() / ridges.std()))
    return largest


def downsize(image: Image | Float32Array, size: tuple[int, int]) -> Float32Array:
    """Downsize an image (H, W) or (H, W, 3) to a width and height by area means."""
    import cv2

    if (image.shape[1], image.shape[0]) == size:
        return np.asarray(image, np.float32)
    return np.asarray(cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
