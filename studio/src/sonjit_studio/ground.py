"""Find the floor on which people in space stand, and turn their world so that it lies at height zero."""

from dataclasses import replace

import numpy as np

from sonjit._util import FloatArray, InputError
from sonjit.results.skeletons import load_skeleton
from sonjit_studio.bones import medians
from sonjit_studio.people import PeopleInSpace
from sonjit_studio.rig import World

_BODY = load_skeleton("body_blazepose33").keypoints
_FEET = [_BODY.index(f"{side}_{part}") for side in ("left", "right") for part in ("heel", "foot_index")]
_SHOULDERS, _ANKLES = ([_BODY.index(f"{side}_{part}") for side in ("left", "right")] for part in ("shoulder", "ankle"))
_STILL_M_S = 0.3  # largest speed of a foot on the floor; feet in the air move at several metres per second
_WINDOW_S = 0.2  # time over which the speed is measured
_TOLERANCES_M = (0.2, 0.1, 0.05, 0.03, 0.03, 0.03)  # largest distances of contacts from the plane, in each round
_MIN_CONTACTS = 20  # number of contacts that determine a floor
_MIN_SPREAD_M = 0.08  # least standard deviation of contacts along the shorter direction of the floor
_MAX_TILT = np.radians(30)  # largest angle between the floor's normal and the direction from ankles to shoulders
Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # from a world with z up to one with y up


def floor_world(people: PeopleInSpace) -> World:
    """Return the world, in metres, in which the floor under the feet of bodies is z = 0 and z points up.

    Heels and toes that are still, at the lowest height, determine the floor. The new x axis is the old one along the
    floor, and the old origin lies on the new z axis.

    Raises:
        InputError: There are no bodies, or the feet stand too rarely, along a line, or on several levels.
    """
    bodies = [points for _, part, points in people.each_part() if part.skeleton == "body_blazepose33"]
    if not bodies:
        raise InputError("--floor applies only to bodies: triangulate tables of sonjit body or holistic")
    upwards = np.concatenate([points[:, _SHOULDERS].mean(1) - points[:, _ANKLES].mean(1) for points in bodies])
    standing = medians(upwards)
    normal = standing / np.linalg.norm(standing)
    still = np.concatenate([_still_points(points[:, _FEET], people.times_s) for points in bodies])
    if len(still) < _MIN_CONTACTS or not np.isfinite(normal).all():
        raise InputError(f"--floor requires feet that stand: {len(still)} still heels and toes were found")
    height = float(np.percentile(still @ normal, 20))
    contacts = still
    for tolerance_m in _TOLERANCES_M:
        contacts = still[np.abs(still @ normal - height) < tolerance_m]
        if len(contacts) < _MIN_CONTACTS:
            raise InputError("--floor: the feet stand at several heights; calibrate with --floor instead")
        _, sizes, axes = np.linalg.svd(contacts - contacts.mean(0), full_matrices=False)
        spread_m = float(sizes[1] / np.sqrt(len(contacts)))
        if spread_m < _MIN_SPREAD_M:
            raise InputError(
                f"--floor: the feet stand along a line, {1000 * spread_m:.0f} mm wide; walk in two directions, or "
                "calibrate with --floor"
            )
        normal = axes[2] * np.sign(axes[2] @ standing)
        height = float(np.median(contacts @ normal))
    if normal @ standing < np.cos(_MAX_TILT) * np.linalg.norm(standing):
        raise InputError("--floor: the feet lie in a plane that is not below the body; calibrate with --floor instead")
    return _world_with_z(normal, height)


def people_on_floor(people: PeopleInSpace, *, y_up: bool) -> PeopleInSpace:
    """Return people in metres on a floor at height 0, with y up, or z up."""
    R, t_m = floor_world(people)
    axes = Y_UP if y_up else np.eye(3)
    return replace(people, points_m=(people.points_m @ R.T + t_m) @ axes.T)


def _world_with_z(normal: FloatArray, height_m: float) -> World:
    """Return the world with z along a unit normal (3,) and its origin at a height in metres along it."""
    along = np.eye(3)[0 if abs(normal[0]) < 0.9 else 1]
    x = along - (along @ normal) * normal
    x /= np.linalg.norm(x)
    return np.stack([x, np.asarray(np.cross(normal, x), np.float64), normal]), np.array([0, 0, -height_m])


def _still_points(points_m: FloatArray, times_s: FloatArray) -> FloatArray:
    """Return the points (M, 3) of feet (F, J, 3), at times (F,), that hardly move."""
    before = np.searchsorted(times_s, times_s - _WINDOW_S / 2 - 1e-6)
    after = np.searchsorted(times_s, times_s + _WINDOW_S / 2 + 1e-6) - 1
    spans_s = np.maximum(times_s[after] - times_s[before], 1e-9)
    speeds = np.linalg.norm(points_m[after] - points_m[before], axis=-1) / spans_s[:, None]  # NaN where unknown
    still = (speeds < _STILL_M_S) & np.isfinite(points_m).all(-1)
    return points_m[still]
