"""Calibrated cameras with names, in one world.

The world is metres. Camera frame: x right, y down, z forward; x_camera = R x_world + t. Pixels are continuous.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.geometry.lenses import fold_radius, straighten_rays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.datasets.sample import SampleCamera

_NEAR_M = 1e-6
_TURNED = 1e-3


@dataclass(frozen=True, eq=False)
class RigCamera:
    """One camera of a rig.

    Attributes:
        name: unique in its rig.
        width: of its pictures, pixels.
        height: likewise.
        camera: K, R, t and distortion; R and t are known.

    Raises:
        InputError: a number is missing, not finite or impossible; a rotation that mirrors.
    """

    name: str
    width: int
    height: int
    camera: SampleCamera

    def __post_init__(self) -> None:
        _refuse_impossible(self)

    @cached_property
    def R(self) -> NDArray[np.float64]:  # noqa: N802  # the field's name for it
        """(3, 3) world to camera."""
        assert self.camera.R is not None
        return np.asarray(self.camera.R, np.float64)

    @cached_property
    def t(self) -> NDArray[np.float64]:
        """(3,) metres."""
        assert self.camera.t is not None
        return np.asarray(self.camera.t, np.float64)

    @cached_property
    def centre_m(self) -> NDArray[np.float64]:
        """(3,) where it stands in the world."""
        return -self.R.T @ self.t

    @cached_property
    def fold(self) -> float:
        """Radius at depth 1 beyond which its lens model says nothing; infinite for most."""
        return math.inf if self.camera.distortion is None else fold_radius(self.camera.distortion)

    def project(self, points_m: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels (..., 2) of the world's points (..., 3).

        Returns:
            NaN for points that are unknown, not before the camera, or beyond what its lens model holds for.
        """
        seen = self.camera.from_world(points_m)
        if math.isfinite(self.fold):
            beyond = np.hypot(seen[..., 0], seen[..., 1]) > self.fold * seen[..., 2]
            seen = np.where(beyond[..., None], np.nan, seen)
        return self.camera.project(seen)

    def inside(self, points_px: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(...) which pixels (..., 2) lie in the picture."""
        x, y = points_px[..., 0], points_px[..., 1]
        return (x >= 0) & (x <= self.width) & (y >= 0) & (y <= self.height)

    def straightened(self, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Rays (..., 2) at depth 1 in the camera's frame, of pixels (..., 2): the lens taken out, to 1e-9."""
        bent = (points_px - self.camera.K[:2, 2]) @ np.linalg.inv(self.camera.K[:2, :2]).T
        return bent if self.camera.distortion is None else straighten_rays(bent, self.camera.distortion)

    def undistorted_px(self, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels (..., 2) at which the same camera without its lens would see what it sees at these."""
        return self.straightened(points_px) @ self.camera.K[:2, :2].T + self.camera.K[:2, 2]

    def directions(self, points_px: NDArray[np.floating]) -> NDArray[np.float64]:
        """Unit directions (..., 3) in the world, from `centre_m`, of what is seen at pixels (..., 2)."""
        flat = self.straightened(points_px)
        rays = np.concatenate([flat, np.ones_like(flat[..., :1])], -1) @ self.R
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def epipolar_line(
        self,
        point_px: NDArray[np.floating],
        other: RigCamera,
        *,
        depth_m: tuple[float, float] = (0.0, math.inf),
        points: int = 64,
    ) -> NDArray[np.float64]:
        """Where another camera may see what this one sees at a pixel: a line, bent by the other's lens.

        Args:
            point_px: (2,) in this camera's picture.
            other: whose picture the line is drawn in.
            depth_m: how far from this camera what is seen may be.
            points: of the line.

        Returns:
            (points, 2) pixels of the other camera, from near to far, within a margin around its picture; (0, 2) where
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
        cameras: in the order in which every array over cameras stands.

    Raises:
        InputError: none, or two of one name.
    """

    def __init__(self, cameras: Iterable[RigCamera]) -> None:
        self.cameras = tuple(cameras)
        self.names = tuple(camera.name for camera in self.cameras)
        if not self.cameras:
            raise InputError("a rig of 0 cameras: give at least one")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise InputError(f"two cameras are called {twice[0]!r}: give each its own name")

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[RigCamera]:
        return iter(self.cameras)

    def __getitem__(self, name: str) -> RigCamera:
        return self.cameras[self.index(name)]

    def index(self, name: str) -> int:
        """A camera's place in the rig's order.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self.names:
            raise InputError(f"camera {name!r} is not in the rig: it has {', '.join(self.names)}")
        return self.names.index(name)

    def subset(self, names: Iterable[str]) -> CameraRig:
        """A rig of the cameras named, in that order."""
        return CameraRig(self[name] for name in names)

    @cached_property
    def centres_m(self) -> NDArray[np.float64]:
        """(C, 3) where the cameras stand."""
        return np.stack([camera.centre_m for camera in self])

    def project(self, points_m: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels (C, ..., 2) of the world's points (..., 3) in every camera; NaN as `RigCamera.project` says."""
        return np.stack([camera.project(points_m) for camera in self])

    def moved(self, R: NDArray[np.floating], t_m: NDArray[np.floating], scale: float = 1.0) -> CameraRig:
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
        raise InputError(f"{name}: where it stands is not known; a rig needs R and t of every camera")
    for what, array, shape in (
        ("K", camera.K, (3, 3)),
        ("R", camera.R, (3, 3)),
        ("t", camera.t, (3,)),
        ("distortion", camera.distortion, (5,)),
    ):
        if array is not None and (np.shape(array) != shape or not np.isfinite(array).all()):
            raise InputError(f"{name}: {what} must be {' x '.join(map(str, shape))} finite numbers")
    if not (camera.K[0, 0] > 0 and camera.K[1, 1] > 0) or np.abs(camera.K[2] - (0, 0, 1)).max() > 1e-9:
        raise InputError(f"{name}: K must have focal lengths above 0, and 0 0 1 as its last row")
    if view.width < 1 or view.height < 1:
        raise InputError(f"{name}: {view.width} x {view.height} pixels; give the size of its pictures")
    if np.abs(camera.R @ camera.R.T - np.eye(3)).max() > _TURNED:
        raise InputError(f"{name}: R is no rotation: its rows are not at right angles and of length 1")
    if np.linalg.det(camera.R) < 0:
        raise InputError(f"{name}: R mirrors the world (determinant -1): a sign or two columns are exchanged")


def _before(
    start: NDArray[np.float64], along: NDArray[np.float64], depth_m: tuple[float, float]
) -> tuple[float, float] | None:
    """The part of a ray, in metres along it, that is before a camera's lens; None without."""
    low, high = depth_m
    if abs(along[2]) < 1e-12:
        return (low, high) if start[2] > _NEAR_M else None
    lens = float((_NEAR_M - start[2]) / along[2])
    low, high = (max(low, lens), high) if along[2] > 0 else (low, min(high, lens))
    return (low, high) if low < high else None


def _view(camera: RigCamera) -> NDArray[np.float64]:
    """(2, 2) smallest and largest ray at depth 1 that a camera shows in its picture, and a little around it."""
    x, y = np.meshgrid(np.linspace(-0.1, 1.1, 13) * camera.width, np.linspace(-0.1, 1.1, 13) * camera.height)
    rays = camera.straightened(np.stack([x, y], -1).reshape(-1, 2))
    reach = min(camera.fold / math.sqrt(2), 1e3)
    return np.clip(np.array([np.nanmin(rays, 0), np.nanmax(rays, 0)]), -reach, reach)


def _clipped(ends: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64] | None:
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
