"""What a released picture must not show: ridges of fingers that can be read, and faces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.multiview.release_faces import FacesFound, without_faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.cameras import RigCamera

RIDGE_MM: Final = 0.45
"""Period of the ridges of an adult's finger, about; children's are finer."""
SIZE: Final = (512, 334)
"""Longer and shorter side of a released picture, as InterHand2.6M's."""
_READABLE: Final = 0.1  # share of a pattern's contrast that is left
_NYQUIST_PX: Final = 2.0
_SHRINK: Final = 0.9


@dataclass(frozen=True)
class Sampling:
    """How finely a view's released pictures show skin.

    Attributes:
        view: name.
        size: width and height that are released, pixels.
        px_per_mm: at the labelled joint that is nearest to the camera.
        ridge_px: period of a ridge there, pixels.
        ridge_contrast: share of the ridges' contrast that downsizing leaves, measured on drawn ones; ridges below two
            pixels a period cannot be read, whatever is left of them.
    """

    view: str
    size: tuple[int, int]
    px_per_mm: float
    ridge_px: float
    ridge_contrast: float

    @property
    def readable(self) -> bool:
        """Ridges are shown by two pixels or more, and a tenth of their contrast is left."""
        return self.ridge_px >= _NYQUIST_PX and self.ridge_contrast > _READABLE


def sampling_of(camera: RigCamera, nearest_m: float) -> Sampling:
    """The largest size of at most 512 x 334 (or upright) at which ridges cannot be read, and what it shows.

    Args:
        camera: whose pictures are released.
        nearest_m: depth of the nearest labelled joint.
    """
    longer, shorter = max(camera.width, camera.height), min(camera.width, camera.height)
    scale = min(1.0, SIZE[0] / longer, SIZE[1] / shorter)
    finest = float(max(camera.camera.K[0, 0], camera.camera.K[1, 1])) / (1000 * nearest_m)
    while True:
        size = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
        shown = finest * scale
        said = Sampling(camera.name, size, shown, shown * RIDGE_MM, ridge_contrast(finest, scale))
        if not said.readable:
            return said
        scale *= _SHRINK


def ridge_contrast(px_per_mm: float, scale: float) -> float:
    """Share of the contrast of drawn ridges that is left after downsizing; the most over directions and phases.

    Args:
        px_per_mm: of the pictures before.
        scale: of the pictures after, at most 1.
    """
    side = 240
    y, x = np.mgrid[:side, :side]
    most = 0.0
    for angle in np.linspace(0, math.pi / 2, 7):
        along = (x * math.cos(angle) + y * math.sin(angle)) / (px_per_mm * RIDGE_MM)
        ridges = (128 + 100 * np.sin(2 * np.pi * along)).astype(np.float32)
        if px_per_mm * RIDGE_MM < _NYQUIST_PX:
            return 0.0  # the camera itself does not show them
        small = downsized(ridges, (max(1, round(side * scale)), max(1, round(side * scale))))
        most = max(most, float(small.std() / ridges.std()))
    return most


def downsized(picture: NDArray[np.uint8] | NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A picture (H, W) or (H, W, 3) at a width and height not above its own; pixels are means of those beneath."""
    import cv2

    if (picture.shape[1], picture.shape[0]) == size:
        return np.asarray(picture, np.float32)
    return np.asarray(cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


def released_picture(
    rgb: NDArray[np.uint8], camera: RigCamera, size: tuple[int, int], points_m: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], FacesFound]:
    """A camera's picture as it is released, without its lens; not to be shown where a face is `withheld`.

    Args:
        rgb: (H, W, 3) as taken.
        camera: whose.
        size: width and height to release.
        points_m: (2, 21, 3) labelled joints in the world; NaN where unknown.
    """
    import cv2

    if camera.camera.distortion is not None:
        rgb = np.asarray(cv2.undistort(rgb, camera.camera.K, camera.camera.distortion), np.uint8)
    shown, faces = without_faces(rgb, camera, points_m)
    return np.asarray(downsized(shown, size).round().clip(0, 255), np.uint8), faces
