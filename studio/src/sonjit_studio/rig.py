"""Represent calibrated cameras with names in one world, and choose its origin, axes and scale.

The world is in metres. In a camera's frame x points right, y down and z forward, and x_camera = R x_world + t. Pixel
coordinates are continuous.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sonjit._util import BoolArray, FloatArray, InputError, RealArray
from sonjit.geometry.cameras import CalibratedCamera, check_camera

World = tuple["FloatArray", "FloatArray"]  # R (3, 3) and t (3,) in metres for `CameraRig.moved`: x_new = R x_old + t
_MIN_DEPTH_M = 1e-6  # least depth of a visible point, metres


def world_on_board(R: FloatArray, t_m: FloatArray) -> World:
    """Return the world of a board that lies on the floor, print up: its origin, x along rows and z up.

    The board's pose is a rotation (3, 3) and a translation (3,) in metres.
    """
    flip = np.diag([1.0, -1.0, -1.0])  # a board's z axis points away from its reader: down for one on the floor
    return flip @ R.T, -flip @ R.T @ t_m


def is_z_up(rig: CameraRig) -> bool:
    """Return whether z points up in a rig's world, or else y down, as in the world of its first camera.

    Cameras stand upright and look ahead or down: up is between the upper side of their images and the way back.
    """
    _, y, z = -np.mean([camera.R[1] + camera.R[2] / 2 for camera in rig], axis=0)
    return bool(z > -y)


def view_centre(rig: CameraRig) -> tuple[FloatArray, float]:
    """Return the point nearest to all optical axes, and their RMS distance from it in metres.

    Axes of a studio meet, unless a file was read wrongly: positions as translations, or inverse rotations.
    """
    axes = np.stack([camera.R[2] for camera in rig])
    projectors = np.eye(3) - axes[:, :, None] * axes[:, None]  # (C, 3, 3) removes the component along an axis
    centres = rig.centres_m[..., None]
    centre = np.linalg.lstsq(projectors.sum(0), (projectors @ centres).sum(0), rcond=None)[0]
    distances = np.linalg.norm((projectors @ (centre - centres))[..., 0], axis=1)
    return np.asarray(centre[:, 0], np.float64), float(np.sqrt((distances**2).mean()))


@dataclass(frozen=True, eq=False)
class RigCamera:
    """One camera of a rig.

    Attributes:
        name: Name, unique in the rig.
        width: Image width in pixels.
        height: Image height in pixels.
        camera: K, R, t and distortion. R and t must be known.

    Raises:
        InputError: A value is missing, not finite or impossible, or the rotation mirrors.
    """

    name: str
    width: int
    height: int
    camera: CalibratedCamera

    def __post_init__(self) -> None:
        name = f"camera {self.name!r}"
        if self.camera.R is None or self.camera.t is None:
            raise InputError(f"{name}: its pose is unknown; a rig requires R and t of every camera")
        check_camera(self.camera, name)
        if self.width < 1 or self.height < 1:
            raise InputError(f"{name}: {self.width} x {self.height} pixels; give the size of its images")

    @cached_property
    def R(self) -> FloatArray:  # noqa: N802  # the field's name for it
        """Rotation (3, 3) from world to camera."""
        return np.asarray(self.camera.pose[0], np.float64)

    @cached_property
    def t(self) -> FloatArray:
        """Translation (3,) in metres."""
        return np.asarray(self.camera.pose[1], np.float64)

    @cached_property
    def centre_m(self) -> FloatArray:
        """Position (3,) in the world, metres."""
        return -self.R.T @ self.t

    def project(self, points_m: RealArray) -> FloatArray:
        """Project points (..., 3) of the world to pixels (..., 2).

        Returns:
            Pixels, NaN for points that are unknown, behind the camera, or outside the range of its lens model.
        """
        return self.camera.project(self.camera.from_world(points_m))

    def inside(self, points_px: RealArray) -> BoolArray:
        """Check which pixels (..., 2) lie in the image, as (...)."""
        x, y = points_px[..., 0], points_px[..., 1]
        return (x >= 0) & (x <= self.width) & (y >= 0) & (y <= self.height)

    def directions(self, points_px: RealArray) -> FloatArray:
        """Return the unit directions (..., 3) in the world, from `centre_m`, of pixels (..., 2)."""
        flat = self.camera.undistorted_rays(points_px)
        rays = np.concatenate([flat, np.ones_like(flat[..., :1])], -1) @ self.R
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def epipolar_line(
        self, point_px: RealArray, other: RigCamera, *, depth_m: tuple[float, float] = (0.0, math.inf), points: int = 64
    ) -> FloatArray:
        """Return where another camera may see the point that this camera sees at a pixel.

        The line is curved by the other camera's distortion.

        Args:
            point_px: (2,) pixel in this camera's image.
            other: Camera whose image the line is drawn in.
            depth_m: Least and greatest distance of the point from this camera, metres.
            points: Number of points of the line.

        Returns:
            (points, 2) pixels of the other camera, from near to far, within a margin around its image. (0, 2) if no
            part of the line is there.
        """
        start = other.R @ self.centre_m + other.t
        along = other.R @ self.directions(np.asarray(point_px, np.float64))
        depths = _depth_range_in_front(start, along, depth_m)
        if depths is None or not np.isfinite(along).all():
            return np.zeros((0, 2))
        ends = np.array([start + s * along if math.isfinite(s) else along for s in depths])  # (2, 3)
        clipped = _clip_line(ends[:, :2] / ends[:, 2:], _ray_bounds(other))
        if clipped is None:
            return np.zeros((0, 2))
        line = clipped[0] + np.linspace(0, 1, points)[:, None] * (clipped[1] - clipped[0])
        return other.camera.project(np.concatenate([line, np.ones((points, 1))], 1))


class CameraRig:
    """Cameras with names in one world.

    Args:
        cameras: Cameras in the order of every array over cameras.

    Raises:
        InputError: There are no cameras, or two have the same name.
    """

    def __init__(self, cameras: Iterable[RigCamera]) -> None:
        self.cameras = tuple(cameras)
        self.names = tuple(camera.name for camera in self.cameras)
        if not self.cameras:
            raise InputError("a rig of 0 cameras: give at least one")
        if duplicates := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise InputError(f"two cameras are named {duplicates[0]!r}: give each its own name")

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[RigCamera]:
        return iter(self.cameras)

    def __getitem__(self, name: str) -> RigCamera:
        return self.cameras[self.index(name)]

    def index(self, name: str) -> int:
        """Return the index of a camera in the rig's order. Raise an InputError if there is no such camera."""
        if name not in self.names:
            raise InputError(f"camera {name!r} is not in the rig: it has {', '.join(self.names)}")
        return self.names.index(name)

    def intrinsics(self) -> Iterator[tuple[str, FloatArray, int, int]]:
        """Iterate over the name, the intrinsics (3, 3) in pixels, and the width and height of each camera."""
        for view in self:
            yield view.name, np.asarray(view.camera.K, np.float64), view.width, view.height

    def subset(self, names: Iterable[str]) -> CameraRig:
        """Return a rig of the named cameras, in the given order."""
        return CameraRig(self[name] for name in names)

    @cached_property
    def centres_m(self) -> FloatArray:
        """Positions (C, 3) of the cameras, metres."""
        return np.stack([camera.centre_m for camera in self])

    def project(self, points_m: RealArray) -> FloatArray:
        """Project points (..., 3) to pixels (C, ..., 2) of every camera, NaN as in `RigCamera.project`."""
        return np.stack([camera.project(points_m) for camera in self])

    def moved(self, R: RealArray, t_m: RealArray) -> CameraRig:
        """Return the same cameras in another world: x_new = R x_old + t, with R (3, 3) and t (3,) in metres."""
        cameras: list[RigCamera] = []
        for camera in self:
            turned = camera.R @ R.T
            posed = replace(camera.camera, R=turned, t=camera.t - turned @ t_m)
            cameras.append(replace(camera, camera=posed))
        return CameraRig(cameras)


def _depth_range_in_front(
    start: FloatArray, along: FloatArray, depth_m: tuple[float, float]
) -> tuple[float, float] | None:
    """Return the part of a ray, in metres along it, that is in front of a camera's lens, or None."""
    low, high = depth_m
    if abs(along[2]) < 1e-12:
        return (low, high) if start[2] > _MIN_DEPTH_M else None
    at_lens = float((_MIN_DEPTH_M - start[2]) / along[2])
    low, high = (max(low, at_lens), high) if along[2] > 0 else (low, min(high, at_lens))
    return (low, high) if low < high else None


def _ray_bounds(camera: RigCamera) -> FloatArray:
    """Return the least and greatest rays (2, 2) at depth 1 that a camera's image shows, with a margin."""
    x, y = np.meshgrid(np.linspace(-0.1, 1.1, 13) * camera.width, np.linspace(-0.1, 1.1, 13) * camera.height)
    rays = camera.camera.undistorted_rays(np.stack([x, y], -1).reshape(-1, 2))
    reach = min(camera.camera.fold / math.sqrt(2), 1e3)
    return np.clip(np.array([np.nanmin(rays, 0), np.nanmax(rays, 0)]), -reach, reach)


def _clip_line(ends: FloatArray, box: FloatArray) -> FloatArray | None:
    """Return the part (2, 2) of a line between two ends (2, 2) that lies in a box (2, 2) of corners, or None."""
    step = ends[1] - ends[0]
    with np.errstate(all="ignore"):
        crossings = (box - ends[0]) / step  # (2, 2) fraction of the line at which each side is crossed
    flat = step == 0
    if ((ends[0] < box[0]) | (ends[0] > box[1]))[flat].any():
        return None
    low = max(0.0, float(np.where(flat, 0, crossings.min(0)).max()))
    high = min(1.0, float(np.where(flat, 1, crossings.max(0)).min()))
    return np.array([ends[0] + low * step, ends[0] + high * step]) if low < high else None
