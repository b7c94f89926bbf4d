"""The two places in which a flat board explains one picture almost equally well, and which of them is true.

Source: Collins and Bartoli, "Infinitesimal plane-based pose estimation", 2014 (OpenCV's IPPE gives both).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.geometry.rotations import matrix_from_rotation_vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.datasets.sample import SampleCamera

_WRONG_TIMES, _WRONG_PX = 4.0, 1.0
"""A point further off than both, in median distances and in pixels, is left out."""
_FEWEST = 6


@dataclass(frozen=True, eq=False)
class TargetPose:
    """Where a target stands before one camera.

    Attributes:
        R: (3, 3) target to camera.
        t: (3,) metres.
        rms_px: of its points, wrong ones left out.
    """

    R: NDArray[np.float64]
    t: NDArray[np.float64]
    rms_px: float


def target_poses(
    points_m: NDArray[np.float64], pixels: NDArray[np.float64], camera: SampleCamera, *, flat: bool
) -> list[TargetPose]:
    """The places that explain a picture, the best first: two for a flat target, one otherwise; none that is behind.

    Args:
        points_m: (n, 3) in the target's axes; flat ones in z = 0.
        pixels: (n, 2).
        camera: K and distortion.
        flat: all points lie in one plane.
    """
    poses = _solved(points_m, pixels, camera, flat)
    if not poses:
        return []
    gap = np.linalg.norm(camera.project(points_m @ poses[0].R.T + poses[0].t) - pixels, axis=1)
    near = gap <= max(_WRONG_TIMES * float(np.median(gap)), _WRONG_PX)
    if near.all() or near.sum() < _FEWEST:
        return poses
    return _solved(points_m[near], pixels[near], camera, flat)  # a few wrong corners turn a board a lot


def _solved(
    points_m: NDArray[np.float64], pixels: NDArray[np.float64], camera: SampleCamera, flat: bool
) -> list[TargetPose]:
    import cv2

    method = cv2.SOLVEPNP_IPPE if flat else cv2.SOLVEPNP_SQPNP
    try:
        _, turns, shifts, _ = cv2.solvePnPGeneric(
            points_m, pixels, np.asarray(camera.K, np.float64), _lens(camera), flags=method
        )
    except cv2.error:
        return []  # points on one line fix nothing
    found: list[TargetPose] = []
    for turn, shift in zip(turns, shifts, strict=True):
        refined: Any = cv2.solvePnPRefineLM(
            points_m, pixels, np.asarray(camera.K, np.float64), _lens(camera), turn, shift
        )
        for vector, place in (refined, (turn, shift)):  # refining may jump to the other place: keep both
            turned, t = (np.ravel(np.asarray(value, np.float64)) for value in (vector, place))
            R = matrix_from_rotation_vector(turned)
            seen = points_m @ R.T + t
            if (seen[:, 2] > 0).all():
                gap = camera.project(seen) - pixels
                found.append(TargetPose(R, t, float(np.sqrt((gap**2).sum(1).mean()))))
    return _distinct(sorted(found, key=lambda pose: pose.rms_px))


def _distinct(poses: list[TargetPose]) -> list[TargetPose]:
    """At most two of them that differ by more than 2 degrees, the best first."""
    kept: list[TargetPose] = []
    for pose in poses:
        if all(angle_between(pose.R, other.R) > np.radians(2) for other in kept):
            kept.append(pose)
    return kept[:2]


def angle_between(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Radians of the turn that takes one rotation (3, 3) to another."""
    return float(np.arccos(np.clip((np.trace(one @ other.T) - 1) / 2, -1, 1)))


def _lens(camera: SampleCamera) -> NDArray[np.float64]:
    return np.zeros(5) if camera.distortion is None else np.asarray(camera.distortion, np.float64)
