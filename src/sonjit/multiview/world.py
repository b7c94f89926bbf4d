"""Where a rig's world has its origin, what is up in it, and how long a metre is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.cameras import CameraRig

World = tuple["NDArray[np.float64]", "NDArray[np.float64]"]
"""R (3, 3) and t (3,) metres for `CameraRig.moved`: x_new = R x_old + t."""


def world_on_board(R: NDArray[np.float64], t_m: NDArray[np.float64]) -> World:
    """The world whose floor is a board that lies on it, print up: origin at the board's, x along its rows, z up.

    Args:
        R: (3, 3) board to the world that is left, as `Calibration.target_places` has it.
        t_m: (3,) likewise.
    """
    up = np.diag([1.0, -1.0, -1.0])  # a board's z points away from who reads it: down, where it lies
    return up @ R.T, -up @ R.T @ t_m


def world_on_points(origin_m: NDArray[np.float64], x_m: NDArray[np.float64], y_m: NDArray[np.float64]) -> World:
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


def scale_to_length(one_m: NDArray[np.float64], other_m: NDArray[np.float64], measured_m: float) -> float:
    """What a rig is to be scaled by so that two points are as far apart as was measured.

    Raises:
        InputError: no length, or the two are one.
    """
    now = float(np.linalg.norm(one_m - other_m))
    if not (measured_m > 0 and now > 0):
        raise InputError(f"{measured_m:g} m between points that are {now:g} m apart: no scale follows from that")
    return measured_m / now


def middle_of_view(rig: CameraRig) -> tuple[NDArray[np.float64], float]:
    """The point nearest to all optical axes, and the root mean square distance of the axes from it, metres.

    Cameras of a studio look at one place. A rig whose axes do not meet was read wrongly: positions taken for
    translations, or rotations for their inverse.
    """
    ahead = np.stack([camera.R[2] for camera in rig])
    across = np.eye(3) - ahead[:, :, None] * ahead[:, None]  # (C, 3, 3) takes away what is along an axis
    centres = rig.centres_m[..., None]
    middle = np.linalg.lstsq(across.sum(0), (across @ centres).sum(0), rcond=None)[0]
    apart = np.linalg.norm((across @ (middle - centres))[..., 0], axis=1)
    return np.asarray(middle[:, 0], np.float64), float(np.sqrt((apart**2).mean()))
