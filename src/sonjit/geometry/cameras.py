"""Project points through cameras with lens distortion, and undo both.

Camera axes are x right, y down, z forward. Distortion follows OpenCV's two camera models, on rays (..., 2) at depth 1.
A pinhole camera has k1, k2, p1, p2, k3, then k4, k5, k6 of the rational model, s1 to s4 of thin prisms, and the two
angles of a tilted sensor. A fisheye has k1 to k4, and sees rays less than 90 degrees off its axis.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit._util import BoolArray, FloatArray, InputError, RealArray

ASSUMED_VIEW_DEG = 60
"""Assumed field of view across the longer image side, between phones (65 to 75) and webcams (50 to 60)."""

_STEPS = 30
_TOGETHER = 4  # after which most rays are found, and only the others go on
_CLOSE = 1e-12
_LOST = 1e3
"""Maximum number of steps of the undistortion, its tolerance, and the radius at which it diverges."""
CameraModel = Literal["pinhole", "fisheye"]
FISHEYE: Final = 4
"""Number of coefficients of the fisheye model."""
COEFFICIENT_COUNTS: Final[dict[CameraModel, tuple[int, ...]]] = {"pinhole": (4, 5, 8, 12, 14), "fisheye": (FISHEYE,)}
"""Numbers of coefficients of each camera model; a pinhole's four are stored as five."""
_RATIONAL: Final = slice(5, 8)
_PRISM: Final = slice(8, 12)
_TILT: Final = slice(12, 14)
"""Places of the coefficients of the rational model, of thin prisms and of tilted sensors."""
_MAX_ROTATION_ERROR = 1e-3  # largest accepted deviation of R Rᵀ from the identity; rounded files stay below it


class Intrinsics(NamedTuple):
    """Focal lengths and principal point in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float

    def project(self, points: RealArray) -> FloatArray:
        """Project points (..., 3) in the camera's frame to pixels (..., 2)."""
        return points[..., :2] / points[..., 2:] * self[:2] + np.array(self[2:])

    def back_project(self, xy_px: RealArray, depth: RealArray) -> FloatArray:
        """Return points (..., 3) in the camera's frame from pixels (..., 2), in the unit of their depths (...)."""
        deep = np.asarray(depth, np.float64)[..., None]
        return np.concatenate([(xy_px - np.array(self[2:])) / self[:2] * deep, deep], -1)


@dataclass(frozen=True, eq=False)
class CalibratedCamera:
    """A calibrated camera, with its pose where that is known.

    Attributes:
        K: Intrinsic matrix (3, 3) in pixels.
        R: Rotation (3, 3) from world to camera, for column vectors. None if the pose is unknown.
        t: Translation (3,) in metres, with x_camera = R x_world + t. None if the pose is unknown.
        distortion: Coefficients in OpenCV's order, without a unit but for angles in radians. A pinhole has (4,) k1, k2,
            p1, p2, which become (5,) with k3, or (8,) with k4 to k6, (12,) with s1 to s4, (14,) with tau x and y. A
            fisheye has (4,) k1 to k4. None for no distortion.
        model: OpenCV's camera model, which gives the coefficients their meaning.
    """

    K: FloatArray
    R: FloatArray | None = None
    t: FloatArray | None = None
    distortion: FloatArray | None = None
    model: CameraModel = "pinhole"

    def __post_init__(self) -> None:
        if self.model == "pinhole" and self.distortion is not None and np.shape(self.distortion) == (4,):
            object.__setattr__(self, "distortion", np.append(np.asarray(self.distortion, np.float64), 0.0))

    @property
    def intrinsics(self) -> Intrinsics:
        """Return the focal lengths and the principal point in pixels."""
        return Intrinsics(*(float(self.K[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2))))

    @property
    def pose(self) -> tuple[FloatArray, FloatArray]:
        """Return R (3, 3) and t (3,) in metres.

        Raises:
            InputError: The pose of the camera is unknown.
        """
        if self.R is None or self.t is None:
            raise InputError("this camera's place in the world is not known: the data set gives no extrinsics")
        return self.R, self.t

    @property
    def is_fisheye(self) -> bool:
        """Check whether the lens uses OpenCV's fisheye model."""
        return self.model == "fisheye"

    @cached_property
    def fold(self) -> float:
        """Return the radius at depth 1 beyond which the lens model is invalid; infinite for most lenses."""
        return math.inf if self.distortion is None else fold_radius(self.distortion, self.model)

    def project(self, points_m: RealArray) -> FloatArray:
        """Project points (..., 3) in the camera's frame to pixels (..., 2), NaN behind it or beyond `fold`."""
        depth = np.where(points_m[..., 2:] > 0, points_m[..., 2:], np.nan)
        rays = np.asarray(points_m[..., :2] / depth, np.float64)  # (..., 2) at depth 1
        if self.distortion is not None:
            is_valid = np.linalg.norm(rays, axis=-1, keepdims=True) <= self.fold
            rays = np.where(is_valid, distort(rays, self.distortion, self.model), np.nan)
        return rays @ self.K[:2, :2].T + self.K[:2, 2]

    def from_world(self, points_m: RealArray) -> FloatArray:
        """Transform world points (..., 3) to the camera's frame, in metres.

        Raises:
            InputError: The pose of the camera is unknown.
        """
        R, t = self.pose
        return np.asarray(points_m @ R.T + t, np.float64)

    def undistorted_rays(self, points_px: RealArray) -> FloatArray:
        """Return undistorted rays (..., 2) at depth 1 for pixels (..., 2), accurate to 1e-9."""
        rays = (points_px - self.K[:2, 2]) @ np.linalg.inv(self.K[:2, :2]).T
        return rays if self.distortion is None else undistort(rays, self.distortion, self.fold, self.model)


def check_camera(camera: CalibratedCamera, name: str) -> None:
    """Refuse values that cannot be those of a camera, such as a mirrored world. `name` begins the messages.

    Raises:
        InputError: A value has another shape or is not finite, a focal length is not above 0, or R is not a rotation.
    """
    for what, array, shape in (("K", camera.K, (3, 3)), ("R", camera.R, (3, 3)), ("t", camera.t, (3,))):
        if array is not None and (np.shape(array) != shape or not np.isfinite(array).all()):
            raise InputError(f"{name}: {what} must be {' x '.join(map(str, shape))} finite numbers")
    lens, R, counts = camera.distortion, camera.R, COEFFICIENT_COUNTS.get(camera.model, ())
    if not counts:
        raise InputError(f"{name}: the camera model {camera.model!r:.40} is not {' or '.join(COEFFICIENT_COUNTS)}")
    if (camera.model == "fisheye" and lens is None) or (
        lens is not None and (np.shape(lens) not in [(count,) for count in counts] or not np.isfinite(lens).all())
    ):
        choice = " or ".join(", ".join(map(str, counts)).rsplit(", ", 1))
        raise InputError(f"{name}: distortion of a {camera.model} camera must be {choice} finite numbers")
    if not (camera.K[0, 0] > 0 and camera.K[1, 1] > 0) or np.abs(camera.K[2] - (0, 0, 1)).max() > 1e-9:
        raise InputError(f"{name}: K must have focal lengths above 0, and 0 0 1 as its last row")
    if R is not None and np.abs(R @ R.T - np.eye(3)).max() > _MAX_ROTATION_ERROR:
        raise InputError(f"{name}: R is not a rotation: its rows are not orthonormal")
    if R is not None and np.linalg.det(R) < 0:
        raise InputError(f"{name}: R mirrors the world (determinant -1): a sign or two columns are exchanged")


def camera_from_text(text: str) -> Intrinsics:
    """Read "fx,fy,cx,cy" in pixels.

    >>> camera_from_text("608,608,320,240").cx
    320.0

    Raises:
        InputError: The text is not four numbers, or a focal length is not above 0.
    """
    try:
        camera = Intrinsics(*map(float, text.split(",")))
    except (ValueError, TypeError):
        raise InputError(f"camera {text!r}: give fx,fy,cx,cy in pixels, such as 608,608,320,240") from None
    if not (all(map(math.isfinite, camera)) and camera.fx > 0 and camera.fy > 0):
        raise InputError(f"camera {text!r}: focal lengths must be above 0, and all four numbers finite")
    return camera


def assumed_camera(width: int, height: int) -> Intrinsics:
    """Return a camera with a view of `ASSUMED_VIEW_DEG` and its principal point at the image centre.

    >>> [round(value) for value in assumed_camera(640, 480)]
    [554, 554, 320, 240]
    """
    focal = max(width, height) / 2 / math.tan(math.radians(ASSUMED_VIEW_DEG / 2))
    return Intrinsics(focal, focal, width / 2, height / 2)


def translation_to_view(points: RealArray, xy_px: RealArray, camera: Intrinsics) -> FloatArray | None:
    """Estimate the translation of points of known shape and orientation from their pixels in an image.

    Args:
        points: Points (K, 3) in the camera's axes, from any origin.
        xy_px: Pixels (K, 2) of the points in the image.
        camera: Camera whose lens is used.

    Returns:
        Least-squares translation (3,) in the unit of the points. None if a point is unknown or would lie behind the
        camera.
    """
    if not (np.isfinite(points).all() and np.isfinite(xy_px).all()):
        return None
    rays = (np.asarray(xy_px, np.float64) - np.array(camera[2:])) / camera[:2]  # (K, 2) at depth 1
    offsets = rays * points[:, 2:] - points[:, :2]  # (K, 2) of tx - ray_x tz and ty - ray_y tz
    zero, ones = np.zeros(len(rays)), np.ones(len(rays))
    rows = np.stack([np.stack([ones, zero, -rays[:, 0]], 1), np.stack([zero, ones, -rays[:, 1]], 1)], 1)
    # Of a ray's misfit at depth 1 the translation is a linear function: (K, 2, 3) t = (K, 2).
    shift = np.linalg.lstsq(rows.reshape(-1, 3), offsets.reshape(-1), rcond=None)[0].astype(np.float64)
    return shift if (points[:, 2] + shift[2] > 0).all() else None


def distort(rays: FloatArray, coefficients: FloatArray, model: CameraModel = "pinhole") -> FloatArray:
    """Distort rays (..., 2) at depth 1 (no unit) by a lens of (5,), (8,), (12,), (14,) or for a fisheye (4,) numbers.

    Coefficients (..., 5) or more are one lens per ray.
    """
    if model == "fisheye":
        return rays * _fisheye_scale(rays, coefficients)[0][..., None]
    _, _, p1, p2 = np.moveaxis(coefficients[..., :4], -1, 0)
    x, y = rays[..., 0], rays[..., 1]
    r2 = x * x + y * y
    radial = _radial(r2, coefficients)
    bent = np.stack(
        [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1
    )
    if coefficients.shape[-1] <= _PRISM.start:
        return bent
    bent += r2[..., None] * (coefficients[..., _PRISM][..., ::2] + r2[..., None] * coefficients[..., _PRISM][..., 1::2])
    if coefficients.shape[-1] <= _TILT.start:
        return bent
    tilted = (_tilt(coefficients[..., _TILT]) @ np.concatenate([bent, np.ones_like(bent[..., :1])], -1)[..., None])[
        ..., 0
    ]
    return tilted[..., :2] / tilted[..., 2:]


def distortion_jacobian(rays: FloatArray, coefficients: FloatArray, model: CameraModel = "pinhole") -> FloatArray:
    """Return the Jacobian (..., 2, 2) of `distort` with respect to the rays at depth 1, without a unit."""
    x, y = rays[..., 0], rays[..., 1]
    if model == "fisheye":
        scale, slope = _fisheye_scale(rays, coefficients)
        p1 = p2 = np.zeros(())
        radial = scale
    else:
        _, _, p1, p2 = np.moveaxis(coefficients[..., :4], -1, 0)
        r2 = x * x + y * y
        radial = _radial(r2, coefficients)
        slope = 2 * _radial_slope(r2, coefficients, radial)
    across = x * y * slope + 2 * (p1 * x + p2 * y)
    x_row = np.stack([radial + x * x * slope + 2 * p1 * y + 6 * p2 * x, across], -1)
    y_row = np.stack([across, radial + y * y * slope + 6 * p1 * y + 2 * p2 * x], -1)
    slopes = np.stack([x_row, y_row], -2)
    if model == "fisheye" or coefficients.shape[-1] <= _PRISM.start:
        return slopes
    prism = coefficients[..., _PRISM]
    by_r2 = prism[..., ::2] + 2 * (rays**2).sum(-1, keepdims=True) * prism[..., 1::2]
    slopes = slopes + 2 * by_r2[..., None] * rays[..., None, :]
    if coefficients.shape[-1] <= _TILT.start:
        return slopes
    tilt = _tilt(coefficients[..., _TILT])
    bent = distort(rays, coefficients[..., : _TILT.start])
    tilted = (tilt @ np.concatenate([bent, np.ones_like(bent[..., :1])], -1)[..., None])[..., 0]
    shown = tilted[..., :2] / tilted[..., 2:]
    return (tilt[..., :2, :2] - shown[..., None] * tilt[..., 2:, :2]) / tilted[..., 2:, None] @ slopes


def _tilt(angles: FloatArray) -> FloatArray:
    """Return the homographies (..., 3, 3) of sensors tilted by angles (..., 2) about x and y in radians."""
    (sin_x, sin_y), (cos_x, cos_y) = (np.moveaxis(f(angles), -1, 0) for f in (np.sin, np.cos))
    zero, one = np.zeros_like(sin_x), np.ones_like(sin_x)
    turn_x = np.array([[one, zero, zero], [zero, cos_x, sin_x], [zero, -sin_x, cos_x]])
    turn_y = np.array([[cos_y, zero, -sin_y], [zero, one, zero], [sin_y, zero, cos_y]])
    turn = np.moveaxis(turn_y, (0, 1), (-2, -1)) @ np.moveaxis(turn_x, (0, 1), (-2, -1))
    onto = np.array(
        [[turn[..., 2, 2], zero, -turn[..., 0, 2]], [zero, turn[..., 2, 2], -turn[..., 1, 2]], [zero, zero, one]]
    )
    return np.moveaxis(onto, (0, 1), (-2, -1)) @ turn


def _radial(r2: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Return the radial factor (...) for rays of squared length r2 (...)."""
    k1, k2, k3 = (coefficients[..., index] for index in (0, 1, 4))
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return radial if coefficients.shape[-1] == 5 else radial / _below(r2, coefficients)


def _radial_slope(r2: FloatArray, coefficients: FloatArray, radial: FloatArray) -> FloatArray:
    """Return the derivative (...) of the radial factor with respect to r2."""
    k1, k2, k3 = (coefficients[..., index] for index in (0, 1, 4))
    slope = k1 + r2 * (2 * k2 + r2 * 3 * k3)
    if coefficients.shape[-1] == 5:
        return slope
    k4, k5, k6 = np.moveaxis(coefficients[..., _RATIONAL], -1, 0)
    return (slope - radial * (k4 + r2 * (2 * k5 + r2 * 3 * k6))) / _below(r2, coefficients)


def _below(r2: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Return the denominator (...) of the rational model."""
    k4, k5, k6 = np.moveaxis(coefficients[..., _RATIONAL], -1, 0)
    return 1 + r2 * (k4 + r2 * (k5 + r2 * k6))


def _fisheye_scale(rays: FloatArray, coefficients: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the fisheye factor (...) of rays (..., 2), and its derivative by their length, divided by that length."""
    r = np.maximum(np.hypot(rays[..., 0], rays[..., 1]), 1e-6)
    theta = np.arctan(r)
    t2 = theta * theta
    k1, k2, k3, k4 = np.moveaxis(coefficients, -1, 0)
    scale = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))) / r
    turned = (1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))) / (1 + r * r)
    return scale, np.where(r > 1e-4, (turned - scale) / (r * r), 2 * (k1 - 1 / 3))


def undistort(
    bent: FloatArray,
    coefficients: FloatArray,
    reach: FloatArray | float | None = None,
    model: CameraModel = "pinhole",
) -> FloatArray:
    """Return the rays (..., 2) at depth 1 (no unit) that a lens shows at `bent` (..., 2), by Newton's method to 1e-9.

    Args:
        bent: Distorted rays (..., 2) at depth 1.
        coefficients: Coefficients of one lens, or (C, 1, 5) of one lens for each row of rays (C, N, 2).
        reach: `fold_radius` of each lens, if already computed.
        model: Camera model of the lenses.

    Returns:
        Undistorted rays (..., 2) at depth 1; NaN where no ray within `fold_radius` maps to the distorted one.
    """
    every = np.atleast_2d(np.asarray(bent, np.float64))
    reach = np.apply_along_axis(fold_radius, -1, coefficients, model) if reach is None else reach
    rays = every.copy()
    with np.errstate(all="ignore"):  # at the fold nothing can be divided by
        converged = _find_rays(rays, every, coefficients, model) & (np.linalg.norm(rays, axis=-1) <= reach)
        lost = np.nonzero(~converged & np.isfinite(every).all(-1))  # Newton's method has left the range of the lens
        if len(lost[0]):
            lost_coefficients = np.broadcast_to(coefficients, (*converged.shape, coefficients.shape[-1]))[lost]
            edge = np.broadcast_to(reach, converged.shape)[lost]
            start = _rays_without_tangential(every[lost], lost_coefficients, edge, model)
            converged[lost] = _find_rays(start, every[lost], lost_coefficients, model) & (
                np.linalg.norm(start, axis=-1) <= edge
            )
            rays[lost] = start
    return np.where(converged[..., None], rays, np.nan).reshape(np.shape(bent))


def _find_rays(rays: FloatArray, bent: FloatArray, coefficients: FloatArray, model: CameraModel) -> BoolArray:
    """Move rays (..., 2) in place to those that a lens shows at `bent`, and return where that succeeded (...)."""
    for _ in range(_TOGETHER - 1):
        rays += _newton_step(rays, bent, coefficients, model)
    rays += (step := _newton_step(rays, bent, coefficients, model))
    size = np.abs(step).max(-1)
    moving = np.nonzero((size > _CLOSE) & (size < _LOST))  # and none that is NaN
    all_coefficients = np.broadcast_to(coefficients, (*bent.shape[:-1], coefficients.shape[-1]))
    for _ in range(_STEPS - _TOGETHER):
        if not len(moving[0]):
            break
        step = _newton_step(rays[moving], bent[moving], all_coefficients[moving], model)
        rays[moving] += step
        size = np.abs(step).max(-1)
        goes_on = (size > _CLOSE) & (size < _LOST)
        moving = tuple(index[goes_on] for index in moving)
    return np.abs(bent - distort(rays, coefficients, model)).max(-1) < 1e-10


def _rays_without_tangential(
    bent: FloatArray, coefficients: FloatArray, reach: FloatArray, model: CameraModel
) -> FloatArray:
    """Return the rays (N, 2) that only the radial part of lenses (N, C) shows at `bent`, found by bisection."""
    radial = coefficients[:, : _RATIONAL.stop].copy()
    if model == "pinhole":
        radial[:, 2:4] = 0
    size = np.linalg.norm(bent, axis=-1)
    low, high = np.zeros(len(bent)), np.minimum(reach, _LOST)
    for _ in range(50):
        middle = (low + high) / 2
        is_short = distort(np.stack([middle, np.zeros_like(middle)], -1), radial, model)[:, 0] < size
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    return bent / size[:, None] * low[:, None]


def _newton_step(rays: FloatArray, shown: FloatArray, coefficients: FloatArray, model: CameraModel) -> FloatArray:
    """Return the Newton step (..., 2) from rays towards those whose distorted rays are `shown`."""
    gap = shown - distort(rays, coefficients, model)
    (a, b), (c, d) = np.moveaxis(distortion_jacobian(rays, coefficients, model), (-2, -1), (0, 1))
    step = np.stack([d * gap[..., 0] - b * gap[..., 1], a * gap[..., 1] - c * gap[..., 0]], -1)
    return step / (a * d - b * c)[..., None]


def fold_radius(coefficients: FloatArray, model: CameraModel = "pinhole") -> float:
    """Return the radius at depth 1 (no unit) from which a lens maps rays inwards by its radial part, or infinity.

    >>> round(fold_radius(np.array([-1 / 3, 0, 0, 0, 0])), 9)
    1.0
    """
    if model == "fisheye":
        k1, k2, k3, k4 = (float(value) for value in coefficients)
        angle = _least_root(np.array([9 * k4, 7 * k3, 5 * k2, 3 * k1, 1])) ** 0.5  # of d(shown angle)/d(angle)
        return math.tan(angle) if angle < math.pi / 2 else math.inf
    k1, k2, _, _, k3, *more = (float(value) for value in coefficients[: _RATIONAL.stop])
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
    """Return the smallest positive real root, or infinity."""
    return min(
        (float(root.real) for root in np.roots(polynomial) if abs(root.imag) < 1e-9 and root.real > 0), default=math.inf
    )
