"""Refine the poses of calibrated cameras on the people whom they see.

Triangulated keypoints project next to the detected ones in cameras that were moved or turned since their calibration.
Bundle adjustment finds the poses with the least error. Lenses and the first camera stay as calibrated. Images determine
no scale, so the mean distance of the other cameras from the first stays, too.
"""

from dataclasses import dataclass, replace

import numpy as np

from sonjit._util import FloatArray, InputError, RealArray
from sonjit.geometry.rotations import rotation_vector_from_matrix
from sonjit_studio import bundles, estimates, triangulation
from sonjit_studio.rig import CameraRig

LOOSENESS = 4.0  # how much larger reprojection errors may be before the refinement than usually
_MIN_CONFIDENCE = 0.5  # least confidence of keypoints that are used
_MIN_CAMERAS = 4  # with fewer, errors that a detector repeats in each image move the cameras
_MIN_VIEWS = 3  # two of several views show errors along one direction only
_MIN_POINTS, _MAX_POINTS = 50, 1500  # number of points in space that poses are fitted to
_MIN_GAIN = 0.05  # least reduction of the error in left-out frame sets, as a share
_ROBUST_SHARE = 1 / 8  # error from which the cost grows linearly, relative to the largest error of an inlier
_STEPS = 50  # of the adjustment


@dataclass(frozen=True, eq=False)
class Refinement:
    """Refined cameras, and their errors in frame sets that were not used.

    Attributes:
        rig: Cameras with refined poses.
        before_px: Median reprojection error of the given cameras in the left-out frame sets, pixels.
        after_px: The same of the refined cameras.
        turned_rad: (C,) rotation of each camera, radians.
        moved_m: (C,) movement of each camera, metres.
    """

    rig: CameraRig
    before_px: float
    after_px: float
    turned_rad: FloatArray
    moved_m: FloatArray

    def __str__(self) -> str:
        changes = ", ".join(
            f"{name} {np.degrees(turn):.2f}° and {1000 * move:.0f} mm"
            for name, turn, move in zip(self.rig.names, self.turned_rad, self.moved_m, strict=True)
        )
        return (
            f"refined poses: median error {self.before_px:.2f} px before and {self.after_px:.2f} px after, in frame "
            f"sets that were left out; changes: {changes}"
        )


def refine_poses(rig: CameraRig, points_px: RealArray, confidence: RealArray, *, threshold_px: float) -> Refinement:
    """Refine the poses of cameras on keypoints of people. Every second frame set is left out, to measure the gain.

    Args:
        rig: C calibrated cameras. The first one's pose and all lenses stay.
        points_px: (C, F, J, 2) pixels of J keypoints in F frame sets, NaN where unknown.
        confidence: (C, F, J) weights from 0 to 1.
        threshold_px: Largest reprojection error of an inlier with correct cameras, pixels.

    Raises:
        InputError: There are fewer than four cameras or too few points, or the error in the left-out frame sets does
            not fall by 5 %.
    """
    if len(rig) < _MIN_CAMERAS:
        raise InputError(
            f"--refine-cameras requires {_MIN_CAMERAS} or more cameras that fit each other, not {len(rig)}"
        )
    seen = np.isfinite(points_px).all(-1) & (np.asarray(confidence) >= _MIN_CONFIDENCE)
    seen &= seen.sum(0) >= _MIN_VIEWS
    pixels = np.where(seen[..., None], points_px, np.nan)
    fitted, left_out = pixels[:, ::2].reshape(len(rig), -1, 2), pixels[:, 1::2].reshape(len(rig), -1, 2)
    counts = [int(np.isfinite(part[..., 0]).any(0).sum()) for part in (fitted, left_out)]
    if min(counts) < _MIN_POINTS:
        raise InputError(
            f"--refine-cameras requires {2 * _MIN_POINTS} certain keypoints seen by {_MIN_VIEWS} cameras, in two "
            f"or more frame sets; there are {sum(counts)}"
        )
    refined = _adjusted(rig, fitted, threshold_px * _ROBUST_SHARE)
    before_px, after_px = (_median_error_px(cameras, left_out) for cameras in (rig, refined))
    if not after_px < (1 - _MIN_GAIN) * before_px:
        raise InputError(
            f"--refine-cameras does not help: in frame sets left out, the median error is {before_px:.2f} px before "
            f"and {after_px:.2f} px after; use the cameras as calibrated"
        )
    turned = [
        np.linalg.norm(rotation_vector_from_matrix(new.R @ old.R.T)) for old, new in zip(rig, refined, strict=True)
    ]
    moved_m = np.linalg.norm(refined.centres_m - rig.centres_m, axis=1)
    return Refinement(refined, before_px, after_px, np.array(turned, np.float64), moved_m)


def _adjusted(rig: CameraRig, pixels: FloatArray, robust_px: float) -> CameraRig:
    """Return the rig with the least robust error of pixels (C, N, 2) and of points in space, which are free."""
    triangulated = triangulation.triangulate(rig, pixels)
    usable = np.flatnonzero(triangulated.ok)
    rows = usable[np.unique(np.linspace(0, len(usable) - 1, min(len(usable), _MAX_POINTS)).astype(int))]
    camera, point = np.nonzero(np.isfinite(pixels[:, rows, 0]))
    start = bundles.Bundle(
        lenses=np.stack([estimates.lens_values(view.camera) for view in rig]),
        camera_rotations=np.stack([view.R for view in rig]),
        camera_translations=np.stack([view.t for view in rig]),
        target_rotations=np.tile(np.eye(3), (len(rows), 1, 1)),  # a point is a target without extent
        target_translations=triangulated.points_m[rows],
        fisheye=np.array([view.camera.is_fisheye for view in rig]),
    )
    observed = bundles.Observations(camera, point, np.zeros((len(point), 3)), pixels[:, rows][camera, point])
    kept = np.zeros((len(rig), bundles.LENS_SIZE), np.bool_)
    best = bundles.adjust(start, observed, free_lens=kept, robust_px=robust_px, steps=_STEPS)
    turned = zip(rig, best.camera_rotations, best.camera_translations, strict=True)
    moved = CameraRig(replace(view, camera=replace(view.camera, R=R, t=t)) for view, R, t in turned)
    return _with_size_of(rig, moved)


def _with_size_of(rig: CameraRig, moved: CameraRig) -> CameraRig:
    """Return moved cameras at the mean distance from the first that a rig has."""
    first = rig.centres_m[0]
    apart, apart_now = (float(np.linalg.norm(cameras.centres_m - first, axis=1).mean()) for cameras in (rig, moved))
    scale = apart / apart_now
    centres = first + scale * (moved.centres_m - first)
    placed = zip(moved, centres, strict=True)
    return CameraRig(replace(view, camera=replace(view.camera, t=-view.R @ centre)) for view, centre in placed)


def _median_error_px(rig: CameraRig, pixels: FloatArray) -> float:
    """Return the median reprojection error of pixels (C, N, 2) with the points that all views determine."""
    triangulated = triangulation.triangulate(rig, pixels)
    return float(np.nanmedian(triangulated.residual_px[:, triangulated.ok]))
