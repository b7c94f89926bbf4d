"""Pinhole cameras without distortion: x right, y down, z forward."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ASSUMED_VIEW_DEG = 60
"""Across the longer side of a picture whose camera nobody knows: between phones (65 to 75) and webcams (50 to 60)."""


class Camera(NamedTuple):
    """Focal lengths and principal point in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels (..., 2) of points (..., 3) in the camera's frame."""
        return points[..., :2] / points[..., 2:] * self[:2] + np.array(self[2:])

    def back_project(self, xy_px: NDArray[np.floating], depth: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points (..., 3) in the camera's frame, in the unit of their depths (...), from pixels (..., 2)."""
        deep = np.asarray(depth, np.float64)[..., None]
        return np.concatenate([(xy_px - np.array(self[2:])) / self[:2] * deep, deep], -1)


def camera_from_text(text: str) -> Camera:
    """Read "fx,fy,cx,cy" in pixels.

    >>> camera_from_text("608,608,320,240").cx
    320.0

    Raises:
        InputError: not four numbers, or a focal length that is not above 0.
    """
    try:
        camera = Camera(*map(float, text.split(",")))
    except (ValueError, TypeError):
        raise InputError(f"camera {text!r}: give fx,fy,cx,cy in pixels, such as 608,608,320,240") from None
    if not (all(map(math.isfinite, camera)) and camera.fx > 0 and camera.fy > 0):
        raise InputError(f"camera {text!r}: focal lengths must be above 0, and all four numbers finite")
    return camera


def assumed_camera(width: int, height: int) -> Camera:
    """A camera of `ASSUMED_VIEW_DEG` that looks through the middle of a picture.

    >>> [round(value) for value in assumed_camera(640, 480)]
    [554, 554, 320, 240]
    """
    focal = max(width, height) / 2 / math.tan(math.radians(ASSUMED_VIEW_DEG / 2))
    return Camera(focal, focal, width / 2, height / 2)


def translation_to_view(
    points: NDArray[np.floating], xy_px: NDArray[np.floating], camera: Camera
) -> NDArray[np.float64] | None:
    """Where points of known shape and turn stand before a camera that sees them at given pixels.

    Args:
        points: (K, 3) in the camera's axes, from any origin.
        xy_px: (K, 2) where the camera sees them.
        camera: which.

    Returns:
        (3,) what to add to the points, in their unit, least squares; None where that would not be before the
        camera, or something is unknown.
    """
    if not (np.isfinite(points).all() and np.isfinite(xy_px).all()):
        return None
    rays = (np.asarray(xy_px, np.float64) - np.array(camera[2:])) / camera[:2]  # (K, 2) at depth 1
    known = rays * points[:, 2:] - points[:, :2]  # (K, 2) of tx - ray_x tz and ty - ray_y tz
    zero, one = np.zeros(len(rays)), np.ones(len(rays))
    rows = np.stack([np.stack([one, zero, -rays[:, 0]], 1), np.stack([zero, one, -rays[:, 1]], 1)], 1)
    # Of a ray's misfit at depth 1 the translation is a linear function: (K, 2, 3) t = (K, 2).
    shift = np.linalg.lstsq(rows.reshape(-1, 3), known.reshape(-1), rcond=None)[0].astype(np.float64)
    return shift if (points[:, 2] + shift[2] > 0).all() else None
