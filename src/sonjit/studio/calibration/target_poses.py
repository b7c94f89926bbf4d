"""Solve the pose of a target in front of one camera from its points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.studio.calibration.board_observations import BoardObservation

_OUTLIER_RATIO, _OUTLIER_PX = 4.0, 1.0
"""A point is an outlier if its error exceeds both, the former in median errors."""

_MIN_POINTS = 6
"""Least number of points without outliers."""
Transform = tuple["FloatArray", "FloatArray"]
"""Rotation (3, 3) and translation (3,) in metres from one coordinate frame to another."""


@dataclass(frozen=True, eq=False)
class TargetPose:
    """A target's pose relative to one camera.

    Attributes:
        R: (3, 3) rotation from target to camera.
        t: (3,) translation in metres.
        rms_px: Error of the points without outliers, pixels.
    """

    R: FloatArray
    t: FloatArray
    rms_px: float


def poses_from_points(
    points_m: FloatArray, pixels: FloatArray, camera: CalibratedCamera, *, flat: bool
) -> list[TargetPose]:
    """Return the poses that explain an image, the best first. Poses behind the camera are excluded.

    Args:
        points_m: (n, 3) points in the target's frame, z = 0 for flat targets.
        pixels: (n, 2) points in the image.
        camera: K and distortion.
        flat: True if all points lie in one plane, which has up to two solutions.
    """
    poses = _solve_poses(points_m, pixels, camera, flat)
    if not poses:
        return []
    error = np.linalg.norm(camera.project(points_m @ poses[0].R.T + poses[0].t) - pixels, axis=1)
    is_inlier = error <= max(_OUTLIER_RATIO * float(np.median(error)), _OUTLIER_PX)
    if is_inlier.all() or is_inlier.sum() < _MIN_POINTS:
        return poses
    return _solve_poses(
        points_m[is_inlier], pixels[is_inlier], camera, flat
    )  # a few wrong corners change the rotation of a board a lot


def observation_poses(observation: BoardObservation, camera: CalibratedCamera) -> list[TargetPose]:
    """Return the poses of an observation's target, as `poses_from_points`."""
    return poses_from_points(observation.points_m, observation.pixels, camera, flat=observation.target.is_flat)


def _solve_poses(points_m: FloatArray, pixels: FloatArray, camera: CalibratedCamera, flat: bool) -> list[TargetPose]:
    """Solve and refine the poses of a target."""
    import cv2

    method = cv2.SOLVEPNP_IPPE if flat else cv2.SOLVEPNP_SQPNP
    shown, lens = pixels, np.zeros(5) if camera.distortion is None else np.asarray(camera.distortion, np.float64)
    if camera.is_fisheye:  # OpenCV's solvers know other lenses only
        shown, lens = camera.undistorted_rays(pixels) @ camera.K[:2, :2].T + camera.K[:2, 2], np.zeros(5)
        if not np.isfinite(shown).all():
            return []
    try:
        _, rotations, translations, _ = cv2.solvePnPGeneric(
            points_m, shown, np.asarray(camera.K, np.float64), lens, flags=method
        )
    except cv2.error:
        return []  # points on one line fix nothing
    poses: list[TargetPose] = []
    for rotation, translation in zip(rotations, translations, strict=True):
        refined: Any = cv2.solvePnPRefineLM(
            points_m, shown, np.asarray(camera.K, np.float64), lens, rotation, translation
        )
        for vector, vector_t in (refined, (rotation, translation)):  # refinement may jump to the other pose: keep both
            rotation_vector, t = (np.ravel(np.asarray(value, np.float64)) for value in (vector, vector_t))
            R = matrix_from_rotation_vector(rotation_vector)
            in_camera = points_m @ R.T + t
            if (in_camera[:, 2] > 0).all():
                error = camera.project(in_camera) - pixels
                poses.append(TargetPose(R, t, float(np.sqrt((error**2).sum(1).mean()))))
    return _distinct_poses(sorted(poses, key=lambda pose: pose.rms_px))


def _distinct_poses(poses: list[TargetPose]) -> list[TargetPose]:
    """Return at most two poses that differ by more than 2 degrees, the best first."""
    distinct: list[TargetPose] = []
    for pose in poses:
        if all(angle_between(pose.R, other.R) > np.radians(2) for other in distinct):
            distinct.append(pose)
    return distinct[:2]


def angle_between(first: FloatArray, second: FloatArray) -> float:
    """Return the angle in radians between two rotations (3, 3)."""
    return float(np.arccos(np.clip((np.trace(first @ second.T) - 1) / 2, -1, 1)))


def compose_transforms(second: Transform, first: Transform) -> Transform:
    """Return the transform that applies `first`, then `second`."""
    return second[0] @ first[0], second[0] @ first[1] + second[1]


def invert_transform(transform: Transform) -> Transform:
    """Return the inverse of a transform."""
    return transform[0].T, -transform[0].T @ transform[1]
