"""Calibrated cameras with names, in one world; how to choose its origin, axes and scale; checks of what files hold.

The world is in metres. Camera frame: x right, y down, z forward; x_camera = R x_world + t. Pixels are continuous.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, RealArray
from sonjit.datasets.reading import file_bytes, numbers
from sonjit.errors import InputError
from sonjit.geometry.cameras import FISHEYE, CalibratedCamera

_NEAR_M = 1e-6
_TURNED = 1e-3


@dataclass(frozen=True, eq=False)
class RigCamera:
    """One camera of a rig.

    Attributes:
        name: unique in its rig.
        width: of its images, pixels.
        height: likewise.
        camera: K, R, t and distortion; R and t are known.

    Raises:
        InputError: a number is missing, not finite or impossible; a rotation that mirrors.
    """

    name: str
    width: int
    height: int
    camera: CalibratedCamera

    def __post_init__(self) -> None:
        _refuse_impossible(self)

    @cached_property
    def R(self) -> FloatArray:  # noqa: N802  # the field's name for it
        """(3, 3) world to camera."""
        return np.asarray(self.camera.pose[0], np.float64)

    @cached_property
    def t(self) -> FloatArray:
        """(3,) metres."""
        return np.asarray(self.camera.pose[1], np.float64)

    @cached_property
    def centre_m(self) -> FloatArray:
        """(3,) where it is in the world."""
        return -self.R.T @ self.t

    def project(self, points_m: RealArray) -> FloatArray:
        """Pixels (..., 2) of the world's points (..., 3).

        Returns:
            NaN for points that are unknown, not before the camera, or beyond what its lens model holds for.
        """
        return self.camera.project_world(points_m)

    def inside(self, points_px: RealArray) -> BoolArray:
        """(...) which pixels (..., 2) lie in the image."""
        x, y = points_px[..., 0], points_px[..., 1]
        return (x >= 0) & (x <= self.width) & (y >= 0) & (y <= self.height)

    def directions(self, points_px: RealArray) -> FloatArray:
        """Unit directions (..., 3) in the world, from `centre_m`, of what is seen at pixels (..., 2)."""
        flat = self.camera.undistorted_rays(points_px)
        rays = np.concatenate([flat, np.ones_like(flat[..., :1])], -1) @ self.R
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def epipolar_line(
        self, point_px: RealArray, other: RigCamera, *, depth_m: tuple[float, float] = (0.0, math.inf), points: int = 64
    ) -> FloatArray:
        """Where another camera may see what this one sees at a pixel: a line, bent by the other's lens.

        Args:
            point_px: (2,) in this camera's image.
            other: whose image the line is drawn in.
            depth_m: how far from this camera what is seen may be.
            points: of the line.

        Returns:
            (points, 2) pixels of the other camera, from near to far, within a margin around its image; (0, 2) where
            nothing of the line is there.
        """
        start = other.R @ self.centre_m + other.t
        along = other.R @ self.directions(np.asarray(point_px, np.float64))
        span = _before(start, along, depth_m)
        if span is None or not np.isfinite(along).all():
            return np.zeros((0, 2))
        ends = np.array([start + s * along if math.isfinite(s) else along for s in span])  # (2, 3)
        kept = _clipped(ends[:, :2] / ends[:, 2:], _view(other))
        if kept is None:
            return np.zeros((0, 2))
        line = kept[0] + np.linspace(0, 1, points)[:, None] * (kept[1] - kept[0])
        return other.camera.project(np.concatenate([line, np.ones((points, 1))], 1))


class CameraRig:
    """Cameras with names, in one world.

    Args:
        cameras: in the order of every array over cameras.

    Raises:
        InputError: none, or two of one name.
    """

    def __init__(self, cameras: Iterable[RigCamera]) -> None:
        self.cameras = tuple(cameras)
        self.names = tuple(camera.name for camera in self.cameras)
        if not self.cameras:
            raise InputError("a rig of 0 cameras: give at least one")
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise InputError(f"two cameras are named {twice[0]!r}: give each its own name")

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[RigCamera]:
        return iter(self.cameras)

    def __getitem__(self, name: str) -> RigCamera:
        return self.cameras[self.index(name)]

    def index(self, name: str) -> int:
        """A camera's place in the rig's order.

        Raises:
            InputError: there is no such camera.
        """
        if name not in self.names:
            raise InputError(f"camera {name!r} is not in the rig: it has {', '.join(self.names)}")
        return self.names.index(name)

    def subset(self, names: Iterable[str]) -> CameraRig:
        """A rig of the cameras named, in that order."""
        return CameraRig(self[name] for name in names)

    @cached_property
    def centres_m(self) -> FloatArray:
        """(C, 3) where the cameras are."""
        return np.stack([camera.centre_m for camera in self])

    def project(self, points_m: RealArray) -> FloatArray:
        """Pixels (C, ..., 2) of the world's points (..., 3) in every camera; NaN as `RigCamera.project` says."""
        return np.stack([camera.project(points_m) for camera in self])

    def moved(self, R: RealArray, t_m: RealArray, scale: float = 1.0) -> CameraRig:
        """The same cameras in another world, x_new = scale R x_old + t_m."""
        made: list[RigCamera] = []
        for view in self:
            turned = view.R @ R.T
            made.append(replace(view, camera=replace(view.camera, R=turned, t=scale * view.t - turned @ t_m)))
        return CameraRig(made)


def _refuse_impossible(view: RigCamera) -> None:
    """Raise an InputError where a camera's numbers cannot be those of a camera."""
    camera, name = view.camera, f"camera {view.name!r}"
    if camera.R is None or camera.t is None:
        raise InputError(f"{name}: its pose is not known; a rig needs R and t of every camera")
    for what, array, shape in (
        ("K", camera.K, (3, 3)),
        ("R", camera.R, (3, 3)),
        ("t", camera.t, (3,)),
    ):
        if np.shape(array) != shape or not np.isfinite(array).all():
            raise InputError(f"{name}: {what} must be {' x '.join(map(str, shape))} finite numbers")
    lens = camera.distortion
    if lens is not None and (np.shape(lens) not in ((FISHEYE,), (5,), (8,)) or not np.isfinite(lens).all()):
        raise InputError(f"{name}: distortion must be 5, 8 (rational) or 4 (fisheye) finite numbers")
    if not (camera.K[0, 0] > 0 and camera.K[1, 1] > 0) or np.abs(camera.K[2] - (0, 0, 1)).max() > 1e-9:
        raise InputError(f"{name}: K must have focal lengths above 0, and 0 0 1 as its last row")
    if view.width < 1 or view.height < 1:
        raise InputError(f"{name}: {view.width} x {view.height} pixels; give the size of its images")
    if np.abs(camera.R @ camera.R.T - np.eye(3)).max() > _TURNED:
        raise InputError(f"{name}: R is not a rotation: its rows are not at right angles and of length 1")
    if np.linalg.det(camera.R) < 0:
        raise InputError(f"{name}: R mirrors the world (determinant -1): a sign or two columns are exchanged")


def _before(start: FloatArray, along: FloatArray, depth_m: tuple[float, float]) -> tuple[float, float] | None:
    """The part of a ray, in metres along it, that is before a camera's lens; None without."""
    low, high = depth_m
    if abs(along[2]) < 1e-12:
        return (low, high) if start[2] > _NEAR_M else None
    lens = float((_NEAR_M - start[2]) / along[2])
    low, high = (max(low, lens), high) if along[2] > 0 else (low, min(high, lens))
    return (low, high) if low < high else None


def _view(camera: RigCamera) -> FloatArray:
    """(2, 2) smallest and largest ray at depth 1 that a camera shows in its image, and a little around it."""
    x, y = np.meshgrid(np.linspace(-0.1, 1.1, 13) * camera.width, np.linspace(-0.1, 1.1, 13) * camera.height)
    rays = camera.camera.undistorted_rays(np.stack([x, y], -1).reshape(-1, 2))
    reach = min(camera.camera.fold / math.sqrt(2), 1e3)
    return np.clip(np.array([np.nanmin(rays, 0), np.nanmax(rays, 0)]), -reach, reach)


def _clipped(ends: FloatArray, box: FloatArray) -> FloatArray | None:
    """The part (2, 2) of a line between two ends (2, 2) within smallest and largest corner (2, 2); None without."""
    step = ends[1] - ends[0]
    with np.errstate(all="ignore"):
        to = (box - ends[0]) / step  # (2, 2) at which part of the line each side is crossed
    flat = step == 0
    if ((ends[0] < box[0]) | (ends[0] > box[1]))[flat].any():
        return None
    low = max(0.0, float(np.where(flat, 0, to.min(0)).max()))
    high = min(1.0, float(np.where(flat, 1, to.max(0)).min()))
    return np.array([ends[0] + low * step, ends[0] + high * step]) if low < high else None


World = tuple["FloatArray", "FloatArray"]
"""R (3, 3) and t (3,) metres for `CameraRig.moved`: x_new = R x_old + t."""


def world_on_board(R: FloatArray, t_m: FloatArray) -> World:
    """The world whose floor is a board that lies on it, print up: origin at the board's, x along its rows, z up.

    Args:
        R: (3, 3) board to the world that is left, as `RigCalibration.target_places` has it.
        t_m: (3,) likewise.
    """
    up = np.diag([1.0, -1.0, -1.0])  # a board's z points away from who reads it: down, where it lies
    return up @ R.T, -up @ R.T @ t_m


def world_on_points(origin_m: FloatArray, x_m: FloatArray, y_m: FloatArray) -> World:
    """The world whose floor holds three points: the origin, one along x, and one on the side of y; z is up.

    Args:
        origin_m: (3,) in the world that is left.
        x_m: (3,) likewise.
        y_m: (3,) likewise.

    Raises:
        InputError: the points are one, or on one line.
    """
    x, other = x_m - origin_m, y_m - origin_m
    z = np.cross(x, other)
    if not np.linalg.norm(z) > 1e-6 * np.linalg.norm(x) * np.linalg.norm(other) > 0:
        raise InputError("the three points lie on one line: take one to the side")
    rows = np.stack([x, np.cross(z, x), z])
    R = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return R, -R @ origin_m


def scale_to_length(one_m: FloatArray, other_m: FloatArray, measured_m: float) -> float:
    """What a rig is to be scaled by so that two points are as far apart as was measured.

    Raises:
        InputError: no length, or the two are one.
    """
    now = float(np.linalg.norm(one_m - other_m))
    if not (measured_m > 0 and now > 0):
        raise InputError(f"{measured_m:g} m between points that are {now:g} m apart: that gives no scale")
    return measured_m / now


def middle_of_view(rig: CameraRig) -> tuple[FloatArray, float]:
    """The point nearest to all optical axes, and the root mean square distance of the axes from it, metres.

    Cameras of a studio point at one place. A rig whose axes do not meet was read wrongly: positions taken for
    translations, or rotations for their inverse.
    """
    ahead = np.stack([camera.R[2] for camera in rig])
    across = np.eye(3) - ahead[:, :, None] * ahead[:, None]  # (C, 3, 3) takes away what is along an axis
    centres = rig.centres_m[..., None]
    middle = np.linalg.lstsq(across.sum(0), (across @ centres).sum(0), rcond=None)[0]
    apart = np.linalg.norm((across @ (middle - centres))[..., 0], axis=1)
    return np.asarray(middle[:, 0], np.float64), float(np.sqrt((apart**2).mean()))


METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}


def metres_of(unit: object, named: str) -> float:
    """How many metres a unit has: m, cm, mm, or a length of its own such as 44mm, the side of a board's square.

    Raises:
        InputError: it is missing, or no such unit.
    """
    if unit is None:
        raise InputError(f"{named} does not state the unit of its camera positions: give --unit m, cm, mm or as 25mm")
    found = re.fullmatch(r"(\d*\.?\d+)?(mm|cm|m)", str(unit))
    metres = float(found[1] or 1) * METRES[found[2]] if found else 0.0
    if not metres > 0:
        raise InputError(
            f"{named}: unit {str(unit)[:20]!r}: give m, cm, mm, or a length such as 44mm, or 25.4mm for an inch"
        )
    return metres


def lens_from(value: Any, named: str, *, fisheye: bool = False) -> FloatArray | None:  # noqa: ANN401  # of a file
    """(5,) or (8,) coefficients from as many as a file gives, in OpenCV's order, None without; (4,) of a fisheye.

    Raises:
        InputError: no numbers, or a lens model of more than these.
    """
    given = np.ravel(numbers(np.ravel(np.asarray(value, object)).tolist(), (-1,), named))
    most = FISHEYE if fisheye else 8
    if given[most:].any():
        wanted = "a fisheye has four" if fisheye else "thin prisms (s1 to s4) and tilted sensors are not supported"
        raise InputError(f"{named} has {len(given)} coefficients: {wanted}")
    count = FISHEYE if fisheye else 8 if given[5:].any() else 5
    lens = np.zeros(count)
    lens[: min(len(given), count)] = given[:count]
    return lens if lens.any() or fisheye else None


def lens_or_zeros(view: RigCamera) -> FloatArray:
    """(4,), (5,) or (8,) coefficients of a camera."""
    lens = view.camera.distortion
    return np.zeros(5) if lens is None else np.asarray(lens, np.float64)


def record_camera(
    named: str,
    name: object,
    size: Any,  # noqa: ANN401  # read from a file
    K: FloatArray,
    R: FloatArray,
    t_m: FloatArray,
    lens: FloatArray | None,
) -> RigCamera:
    """A camera from what was read.

    Args:
        named: the file, for messages.
        name: of the camera.
        size: width and height, pixels.
        K: (3, 3) pixels.
        R: (3, 3) world to camera; one rounded to a few digits is turned into the nearest rotation.
        t_m: (3,) metres.
        lens: (4,), (5,), (8,) or None.

    Raises:
        InputError: impossible numbers, with the file's name.
    """
    width, height = numbers(size, (2,), f"{named}: size of camera {name!r}")
    try:
        made = RigCamera(str(name), int(width), int(height), CalibratedCamera(K, R, t_m, lens))
    except InputError as error:
        raise InputError(f"{named}: {error}") from None
    left, _, right = np.linalg.svd(made.R)
    return RigCamera(made.name, made.width, made.height, CalibratedCamera(K, left @ right, t_m, lens))


def rig_from_records(cameras: list[RigCamera], named: str) -> CameraRig:
    """A rig of what a file held.

    Raises:
        InputError: no cameras, or two of one name, with the file's name.
    """
    if not cameras:
        raise InputError(f"{named} holds no cameras")
    try:
        return CameraRig(cameras)
    except InputError as error:
        raise InputError(f"{named}: {error}") from None


def rotation_vector(R: FloatArray) -> FloatArray:
    """(3,) axis times angle of a rotation (3, 3)."""
    import cv2

    return np.asarray(cv2.Rodrigues(R)[0], np.float64).ravel()


def refuse_skew(rig: CameraRig, what: str) -> None:
    """Raise an InputError where a camera has skew, which a format cannot hold.

    Raises:
        InputError: names the camera.
    """
    for view in rig:
        if abs(view.camera.K[0, 1]) > 1e-9 or abs(view.camera.K[1, 0]) > 1e-9:
            raise InputError(f"camera {view.name!r} has skew, which {what} cannot hold: write .json or OpenCV's .yml")


def text_of(path: Path) -> str:
    """A whole text file.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    try:
        return file_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file of cameras; get it again") from None
