"""Choose the origin, axes and scale of a rig's world."""

from __future__ import annotations

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.errors import InputError
from sonjit.studio.cameras.rig import CameraRig

World = tuple["FloatArray", "FloatArray"]
"""Rotation (3, 3) and translation (3,) in metres for `CameraRig.moved`: x_new = R x_old + t."""


def world_on_board(R: FloatArray, t_m: FloatArray) -> World:
    """Return the world whose floor is a board that lies on it, print up.

    The origin is the board's, x runs along its rows and z points up.

    Args:
        R: (3, 3) rotation from the board to the current world, as in `RigCalibration.poses_from_points`.
        t_m: (3,) translation in metres in the same direction.
    """
    flip = np.diag(
        [1.0, -1.0, -1.0]
    )  # the z axis of a board points away from its reader, which is down for a board on the floor
    return flip @ R.T, -flip @ R.T @ t_m


def world_on_points(origin_m: FloatArray, x_m: FloatArray, y_m: FloatArray) -> World:
    """Return the world whose floor contains three points, with z up.

    Args:
        origin_m: (3,) origin in the current world, metres.
        x_m: (3,) point on the positive x axis, metres.
        y_m: (3,) point on the side of positive y, metres.

    Raises:
        InputError: The points lie on one line.
    """
    x, toward_y = x_m - origin_m, y_m - origin_m
    z = np.cross(x, toward_y)
    if not np.linalg.norm(z) > 1e-6 * np.linalg.norm(x) * np.linalg.norm(toward_y) > 0:
        raise InputError("the three points lie on one line: move one of them off the line")
    rows = np.stack([x, np.cross(z, x), z])
    R = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return R, -R @ origin_m


def scale_to_length(one_m: FloatArray, other_m: FloatArray, measured_m: float) -> float:
    """Return the factor by which to scale a rig so that two points are as far apart as measured.

    Args:
        one_m: (3,) first point, metres.
        other_m: (3,) second point, metres.
        measured_m: Measured distance, metres.

    Raises:
        InputError: The length is not positive, or the points coincide.
    """
    current_m = float(np.linalg.norm(one_m - other_m))
    if not (measured_m > 0 and current_m > 0):
        raise InputError(f"{measured_m:g} m between points that are {current_m:g} m apart: that gives no scale")
    return measured_m / current_m


def view_centre(rig: CameraRig) -> tuple[FloatArray, float]:
    """Return the point nearest to all optical axes, and the RMS distance of the axes from it, in metres.

    The cameras of a studio point at one spot. If the axes do not meet, the file was read wrongly: positions were taken
    for translations, or rotations for their inverse.
    """
    axes = np.stack([camera.R[2] for camera in rig])
    projectors = np.eye(3) - axes[:, :, None] * axes[:, None]  # (C, 3, 3) removes the component along an axis
    centres = rig.centres_m[..., None]
    centre = np.linalg.lstsq(projectors.sum(0), (projectors @ centres).sum(0), rcond=None)[0]
    distances = np.linalg.norm((projectors @ (centre - centres))[..., 0], axis=1)
    return np.asarray(centre[:, 0], np.float64), float(np.sqrt((distances**2).mean()))
