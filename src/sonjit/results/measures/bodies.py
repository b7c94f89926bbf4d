"""Compute measures of bodies.

World keypoints (..., 33, 3) are in metres, in BlazePose's order. In their coordinates, x points right, y down and z
forward.
"""

from __future__ import annotations

import numpy as np

from sonjit._util.arrays import FloatArray, RealArray
from sonjit._util.errors import InputError
from sonjit.results import Body
from sonjit.results.measures.joints import angle_between_rad, distances, joint_angles_rad, named
from sonjit.results.skeletons import load_skeleton

MIN_VISIBILITY = 0.5
"""Minimum visibility of keypoints; measures of less visible keypoints are NaN."""

_JOINTS = {
    "elbow": ("shoulder", "elbow", "wrist"),
    "shoulder": ("elbow", "shoulder", "hip"),
    "hip": ("shoulder", "hip", "knee"),
    "knee": ("hip", "knee", "ankle"),
    "ankle": ("knee", "ankle", "foot_index"),
}
_LIMBS = {
    "upper_arm": ("shoulder", "elbow"),
    "forearm": ("elbow", "wrist"),
    "thigh": ("hip", "knee"),
    "shin": ("knee", "ankle"),
}
_SIDES = ("left", "right")
_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_UP = np.array([0.0, -1.0, 0.0])
BODY_ANGLES = tuple(f"{side}_{joint}_angle_rad" for joint in _JOINTS for side in _SIDES)
"""Names of the angles of `body_angles_rad`, in order."""

BODY_ANGLES_2D = tuple(name.replace("_rad", "_2d_rad") for name in BODY_ANGLES)
"""Names of the angles of `body_angles_2d_rad`, in order."""

LIMBS = (*(f"{side}_{limb}_m" for limb in _LIMBS for side in _SIDES), "shoulder_width_m", "hip_width_m")
"""Names of the lengths of `limb_lengths_m`, in order."""

BODY_MEASURES = (*(*BODY_ANGLES, *LIMBS), *("torso_length_m", "torso_lean_rad", "torso_side_lean_rad"), *BODY_ANGLES_2D)
"""Names of the columns that `measure_body` fills, in order."""

_INDEX = load_skeleton("body_blazepose33").index
_TRIPLES = tuple(tuple(_INDEX(f"{side}_{name}") for name in names) for names in _JOINTS.values() for side in _SIDES)
_PAIRS = (
    *(tuple(_INDEX(f"{side}_{name}") for name in names) for names in _LIMBS.values() for side in _SIDES),
    (_INDEX("left_shoulder"), _INDEX("right_shoulder")),
    (_INDEX("left_hip"), _INDEX("right_hip")),
)
_TORSO_POINTS = tuple(map(_INDEX, _TORSO))


def body_angles_rad(points: RealArray) -> FloatArray:
    """Return the angles (..., 10) of `BODY_ANGLES`. A straight joint has pi, an arm along the trunk 0."""
    _check(points)
    return joint_angles_rad(points, _TRIPLES)  # pyright: ignore[reportArgumentType]  # three names each


def body_angles_2d_rad(points: RealArray) -> FloatArray:
    """Return the angles (..., 10) of `BODY_ANGLES_2D` in the image plane, as a protractor on the image shows them.

    An angle in the image plane equals the angle of the joint if both bones are parallel to the image.

    Args:
        points: Image keypoints (..., 33, 2 or 3) in pixels; z is ignored.
    """
    if points.shape[-2] != 33 or points.shape[-1] not in (2, 3):
        raise InputError(f"a body's points in the image are (..., 33, 2 or 3), not {points.shape}")
    return joint_angles_rad(points[..., :2], _TRIPLES)  # pyright: ignore[reportArgumentType]  # three names each


def limb_lengths_m(points: RealArray) -> FloatArray:
    """Return the lengths (..., 10) of `LIMBS` in metres."""
    _check(points)
    return distances(points, _PAIRS)  # pyright: ignore[reportArgumentType]  # two names each


def torso_vector_m(points: RealArray) -> FloatArray:
    """Return the vector (..., 3) from the middle of the hips to the middle of the shoulders."""
    _check(points)
    corners = points[..., _TORSO_POINTS, :].astype(np.float64)
    return corners[..., :2, :].mean(axis=-2) - corners[..., 2:, :].mean(axis=-2)


def torso_lean_rad(points: RealArray) -> FloatArray:
    """Return the angle (...) between the trunk and the image's up: 0 is upright, pi/2 is lying."""
    return angle_between_rad(torso_vector_m(points), _UP)


def torso_side_lean_rad(points: RealArray) -> FloatArray:
    """Return the trunk's lean (...) in the image plane, in (-pi, pi]; positive leans to the image's right."""
    torso = torso_vector_m(points)
    return np.arctan2(torso[..., 0], -torso[..., 1])


def measure_body(body: Body) -> dict[str, float]:
    """Return every measure of `BODY_MEASURES`; NaN if a required keypoint is below `MIN_VISIBILITY`."""
    is_visible = body.visibility[:, None] >= MIN_VISIBILITY
    points = np.where(is_visible, body.keypoints_3d, np.nan)
    angles_2d = body_angles_2d_rad(np.where(is_visible, body.keypoints, np.nan))
    torso = [np.linalg.norm(torso_vector_m(points)), torso_lean_rad(points), torso_side_lean_rad(points)]
    return named(BODY_MEASURES, np.concatenate([body_angles_rad(points), limb_lengths_m(points), torso, angles_2d]))


def _check(points: RealArray) -> None:
    if points.shape[-2:] != (33, 3):
        raise InputError(f"a body's points are (..., 33, 3), not {points.shape}")
