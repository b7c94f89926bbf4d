"""Cameras: x right, y down, z forward; intrinsics alone, or calibrated with lens distortion and place.

Distortion is that of OpenCV's camera models, on rays (..., 2) at depth 1. The number of coefficients tells which: five
are k1, k2, p1, p2, k3; eight have k4, k5, k6 of the rational model after them; four are k1 to k4 of the fisheye model,
here for rays less than 90 degrees off the axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from sonjit.arrays import FloatArray, RealArray
from sonjit.errors import InputError

ASSUMED_VIEW_DEG = 60
"""Across the longer side of an image whose camera nobody knows: between phones (65 to 75) and webcams (50 to 60)."""


class Intrinsics(NamedTuple):
    """Focal lengths and principal point in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float

    def project(self, points: RealArray) -> FloatArray:
        """Pixels (..., 2) of points (..., 3) in the camera's frame."""
        return points[..., :2] / points[..., 2:] * self[:2] + np.array(self[2:])

    def back_project(self, xy_px: RealArray, depth: RealArray) -> FloatArray:
        """Points (..., 3) in the camera's frame, in the unit of their depths (...), from pixels (..., 2)."""
        deep = np.asarray(depth, np.float64)[..., None]
        return np.concatenate([(xy_px - np.array(self[2:])) / self[:2] * deep, deep], -1)


@dataclass(frozen=True, eq=False)
class CalibratedCamera:
    """A calibrated camera, with its pose where that is known.

    Attributes:
        K: (3, 3) pixels.
        R: (3, 3) world to camera, on column vectors; None where no world is known.
        t: (3,) metres, x_camera = R x_world + t; None likewise.
        distortion: (5,) k1, k2, p1, p2, k3 as OpenCV orders them, (8,) with k4, k5, k6 of its rational model, or (4,)
            of its fisheye model; None without.
    """

    K: FloatArray
    R: FloatArray | None = None
    t: FloatArray | None = None
    distortion: FloatArray | None = None

    @property
    def intrinsics(self) -> Intrinsics:
        """Focal lengths and principal point alone, in pixels."""
        return Intrinsics(*(float(self.K[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2))))

    @property
    def pose(self) -> tuple[FloatArray, FloatArray]:
        """R (3, 3) and t (3,) metres.

        Raises:
            InputError: it is not known where the camera is.
        """
        if self.R is None or self.t is None:
            raise InputError("this camera's place in the world is not known: the data set gives no extrinsics")
        return self.R, self.t

    @property
    def is_fisheye(self) -> bool:
        """The lens is of OpenCV's fisheye model."""
        return self.distortion is not None and len(self.distortion) == FISHEYE

    @cached_property
    def fold(self) -> float:
        """Radius at depth 1 beyond which the lens model does not hold; infinite for most."""
        return math.inf if self.distortion is None else fold_radius(self.distortion)

    def project(self, points_m: RealArray) -> FloatArray:
        """Pixels (..., 2) of points (..., 3) in the camera's frame; NaN for points that are not before it."""
        depth = np.where(points_m[..., 2:] > 0, points_m[..., 2:], np.nan)
        rays = np.asarray(points_m[..., :2] / depth, np.float64)  # (..., 2) at depth 1
        if self.distortion is not None:
            rays = distort(rays, self.distortion)
        return rays @ self.K[:2, :2].T + self.K[:2, 2]

    def from_world(self, points_m: RealArray) -> FloatArray:
        """Points (..., 3) of the world in the camera's frame, metres.

        Raises:
            InputError: it is not known where the camera is.
        """
        R, t = self.pose
        return np.asarray(points_m @ R.T + t, np.float64)

    def project_world(self, points_m: RealArray) -> FloatArray:
        """Pixels (..., 2) of the world's points (..., 3).

        Returns:
            NaN for points that are unknown, not before the camera, or beyond what its lens model holds for.

        Raises:
            InputError: it is not known where the camera is.
        """
        seen = self.from_world(points_m)
        if math.isfinite(self.fold):
            beyond = np.hypot(seen[..., 0], seen[..., 1]) > self.fold * seen[..., 2]
            seen = np.where(beyond[..., None], np.nan, seen)
        return self.project(seen)

    def undistorted_rays(self, points_px: RealArray) -> FloatArray:
        """Rays (..., 2) at depth 1 in the camera's frame, of pixels (..., 2): the lens taken out, to 1e-9."""
        rays = (points_px - self.K[:2, 2]) @ np.linalg.inv(self.K[:2, :2]).T
        return rays if self.distortion is None else undistort(rays, self.distortion, self.fold)


def camera_from_text(text: str) -> Intrinsics:
    """Read "fx,fy,cx,cy" in pixels.

    >>> camera_from_text("608,608,320,240").cx
    320.0

    Raises:
        InputError: not four numbers, or a focal length that is not above 0.
    """
    try:
        camera = Intrinsics(*map(float, text.split(",")))
    except (ValueError, TypeError):
        raise InputError(f"camera {text!r}: give fx,fy,cx,cy in pixels, such as 608,608,320,240") from None
    if not (all(map(math.isfinite, camera)) and camera.fx > 0 and camera.fy > 0):
        raise InputError(f"camera {text!r}: focal lengths must be above 0, and all four numbers finite")
    return camera


def assumed_camera(width: int, height: int) -> Intrinsics:
    """A camera of `ASSUMED_VIEW_DEG` that looks through the middle of an image.

    >>> [round(value) for value in assumed_camera(640, 480)]
    [554, 554, 320, 240]
    """
    focal = max(width, height) / 2 / math.tan(math.radians(ASSUMED_VIEW_DEG / 2))
    return Intrinsics(focal, focal, width / 2, height / 2)


def translation_to_view(points: RealArray, xy_px: RealArray, camera: Intrinsics) -> FloatArray | None:
    """Where points of known shape and orientation are in front of a camera that sees them at given pixels.

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


_STEPS = 30
_TOGETHER = 4  # after which most rays are found, and only the others go on
_CLOSE = 1e-12
_LOST = 1e3


FISHEYE = 4
"""Coefficients of the fisheye model; the other models have more."""


def distort(rays: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Rays (..., 2) as a lens of coefficients (4,), (5,) or (8,) shows them, or each by a lens of its own, (..., 5)."""
    if coefficients.shape[-1] == FISHEYE:
        return rays * _fisheye_scale(rays, coefficients)[0][..., None]
    _, _, p1, p2 = np.moveaxis(coefficients[..., :4], -1, 0)
    x, y = rays[..., 0], rays[..., 1]
    r2 = x * x + y * y
    radial = _radial(r2, coefficients)
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        -1,
    )


def distortion_jacobian(rays: FloatArray, coefficients: FloatArray) -> FloatArray:
    """(..., 2, 2) how far `distort` moves the shown ray for a small move of the true one."""
    x, y = rays[..., 0], rays[..., 1]
    if coefficients.shape[-1] == FISHEYE:
        scale, slope = _fisheye_scale(rays, coefficients)
        p1 = p2 = np.zeros(())
        radial = scale
    else:
        _, _, p1, p2 = np.moveaxis(coefficients[..., :4], -1, 0)
        r2 = x * x + y * y
        radial = _radial(r2, coefficients)
        slope = 2 * _radial_slope(r2, coefficients, radial)
    across = x * y * slope + 2 * (p1 * x + p2 * y)
    return np.stack(
        [
            np.stack([radial + x * x * slope + 2 * p1 * y + 6 * p2 * x, across], -1),
            np.stack([across, radial + y * y * slope + 6 * p1 * y + 2 * p2 * x], -1),
        ],
        -2,
    )


def _radial(r2: FloatArray, coefficients: FloatArray) -> FloatArray:
    """(...) by how much a ray of squared length r2 (...) is lengthened."""
    k1, k2, k3 = (coefficients[..., place] for place in (0, 1, 4))
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return radial if coefficients.shape[-1] == 5 else radial / _below(r2, coefficients)


def _radial_slope(r2: FloatArray, coefficients: FloatArray, radial: FloatArray) -> FloatArray:
    """(...) how that changes with r2."""
    k1, k2, k3 = (coefficients[..., place] for place in (0, 1, 4))
    slope = k1 + r2 * (2 * k2 + r2 * 3 * k3)
    if coefficients.shape[-1] == 5:
        return slope
    k4, k5, k6 = np.moveaxis(coefficients[..., 5:], -1, 0)
    return (slope - radial * (k4 + r2 * (2 * k5 + r2 * 3 * k6))) / _below(r2, coefficients)


def _below(r2: FloatArray, coefficients: FloatArray) -> FloatArray:
    """(...) what a rational lens divides by."""
    k4, k5, k6 = np.moveaxis(coefficients[..., 5:], -1, 0)
    return 1 + r2 * (k4 + r2 * (k5 + r2 * k6))


def _fisheye_scale(rays: FloatArray, coefficients: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(...) by how much rays (..., 2) are lengthened, and how that changes with their length, over that length."""
    r = np.maximum(np.hypot(rays[..., 0], rays[..., 1]), 1e-6)
    theta = np.arctan(r)
    t2 = theta * theta
    k1, k2, k3, k4 = np.moveaxis(coefficients, -1, 0)
    scale = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))) / r
    turned = (1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))) / (1 + r * r)
    return scale, np.where(r > 1e-4, (turned - scale) / (r * r), 2 * (k1 - 1 / 3))


def undistort(bent: FloatArray, coefficients: FloatArray, reach: FloatArray | float | None = None) -> FloatArray:
    """The rays (..., 2) that a lens shows at `bent` (..., 2), to 1e-9 by Newton's steps.

    Args:
        bent: rays at depth 1, as they are shown.
        coefficients: of one lens, or of one for each row of rays: (C, 1, 5) for rays (C, N, 2).
        reach: `fold_radius` of each, where it is known.

    Returns:
        NaN where no ray of the lens's own side of its fold (`fold_radius`) is shown there.
    """
    every = np.atleast_2d(np.asarray(bent, np.float64))
    reach = np.apply_along_axis(fold_radius, -1, coefficients) if reach is None else reach
    rays = every.copy()
    with np.errstate(all="ignore"):  # at the fold nothing can be divided by; the last lines find those rays
        for _ in range(_TOGETHER - 1):
            rays += _newton_step(rays, every, coefficients)
        rays += (step := _newton_step(rays, every, coefficients))
        size = np.abs(step).max(-1)
        moving = np.nonzero((size > _CLOSE) & (size < _LOST))  # and none that is NaN
        own = np.broadcast_to(coefficients, (*every.shape[:-1], coefficients.shape[-1]))
        for _ in range(_STEPS - _TOGETHER):
            if not len(moving[0]):
                break
            step = _newton_step(rays[moving], every[moving], own[moving])
            rays[moving] += step
            size = np.abs(step).max(-1)
            goes_on = (size > _CLOSE) & (size < _LOST)
            moving = tuple(place[goes_on] for place in moving)
        found = np.abs(every - distort(rays, coefficients)).max(-1) < 1e-10
        found &= np.linalg.norm(rays, axis=-1) <= reach
    return np.where(found[..., None], rays, np.nan).reshape(np.shape(bent))


def _newton_step(rays: FloatArray, shown: FloatArray, coefficients: FloatArray) -> FloatArray:
    """(..., 2) from rays towards those that are shown where `shown` says."""
    gap = shown - distort(rays, coefficients)
    (a, b), (c, d) = np.moveaxis(distortion_jacobian(rays, coefficients), (-2, -1), (0, 1))
    step = np.stack([d * gap[..., 0] - b * gap[..., 1], a * gap[..., 1] - c * gap[..., 0]], -1)
    return step / (a * d - b * c)[..., None]


def fold_radius(coefficients: FloatArray) -> float:
    """Radius at depth 1 beyond which the lens model turns back and shows rays where nearer ones are; infinite without.

    >>> round(fold_radius(np.array([-1 / 3, 0, 0, 0, 0])), 9)
    1.0
    """
    if len(coefficients) == FISHEYE:
        k1, k2, k3, k4 = (float(value) for value in coefficients)
        angle = _least_root(np.array([9 * k4, 7 * k3, 5 * k2, 3 * k1, 1])) ** 0.5  # of d(shown angle)/d(angle)
        return math.tan(angle) if angle < math.pi / 2 else math.inf
    k1, k2, _, _, k3, *more = (float(value) for value in coefficients)
    above = np.array([k3, k2, k1, 1])
    if not any(more):
        return _least_root(np.array([7, 5, 3, 1]) * above) ** 0.5  # of d(r radial)/dr over r squared
    k4, k5, k6 = more
    below = np.array([k6, k5, k4, 1])
    turning = np.polysub(
        np.polymul(np.array([7, 5, 3, 1]) * above, below), np.polymul(above, np.array([6, 4, 2, 0]) * below)
    )
    return min(_least_root(turning), _least_root(below)) ** 0.5


def _least_root(polynomial: FloatArray) -> float:
    """The least real root above 0; infinite without."""
    return min(
        (float(root.real) for root in np.roots(polynomial) if abs(root.imag) < 1e-9 and root.real > 0), default=math.inf
    )
