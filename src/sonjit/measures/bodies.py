"""Measures of bodies from world keypoints (..., 33, 3): metres, x right, y down, z forward, BlazePose's order."""

from __future__ import annotations

import numpy as np

from sonjit.arrays import FloatArray, RealArray
from sonjit.errors import InputError
from sonjit.measures.joints import angle_between_rad, distances, joint_angles_rad, named
from sonjit.results import Body
from sonjit.skeletons import load_skeleton

MIN_VISIBILITY = 0.5
"""A keypoint that is less visible makes every measure that needs it NaN."""

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

LIMBS = (*(f"{side}_{limb}_m" for limb in _LIMBS for side in _SIDES), "shoulder_width_m", "hip_width_m")
"""Names of the lengths of `limb_lengths_m`, in order."""

BODY_MEASURES = (*BODY_ANGLES, *LIMBS, "torso_length_m", "torso_lean_rad", "torso_side_lean_rad")
"""Names of the columns that `measure_body` fills, in order."""


def _indices(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(load_skeleton("body_blazepose33").index(name) for name in names)


_TRIPLES = tuple(_indices(tuple(f"{side}_{n}" for n in names)) for names in _JOINTS.values() for side in _SIDES)
_PAIRS = (
    *(_indices(tuple(f"{side}_{name}" for name in names)) for names in _LIMBS.values() for side in _SIDES),
    _indices(("left_shoulder", "right_shoulder")),
    _indices(("left_hip", "right_hip")),
)
_TORSO_POINTS = _indices(_TORSO)


def body_angles_rad(points: RealArray) -> FloatArray:
    """(..., 10) angles of `BODY_ANGLES`: pi is straight; for a shoulder, 0 is the arm along the trunk."""
    _check(points)
    return joint_angles_rad(points, _TRIPLES)  # pyright: ignore[reportArgumentType]  # three names each


def limb_lengths_m(points: RealArray) -> FloatArray:
    """(..., 10) lengths of `LIMBS` in metres."""
    _check(points)
    return distances(points, _PAIRS)  # pyright: ignore[reportArgumentType]  # two names each


def torso_vector_m(points: RealArray) -> FloatArray:
    """(..., 3) from the middle of the hips to the middle of the shoulders."""
    _check(points)
    corners = points[..., _TORSO_POINTS, :].astype(np.float64)
    return corners[..., :2, :].mean(axis=-2) - corners[..., 2:, :].mean(axis=-2)


def torso_lean_rad(points: RealArray) -> FloatArray:
    """(...) angle between the trunk and the image's up: 0 upright, pi/2 lying, whichever way it leans."""
    return angle_between_rad(torso_vector_m(points), _UP)


def torso_side_lean_rad(points: RealArray) -> FloatArray:
    """(...) the trunk's lean in the image's plane, in (-pi, pi]: positive leans to the image's right."""
    torso = torso_vector_m(points)
    return np.arctan2(torso[..., 0], -torso[..., 1])


def measure_body(body: Body) -> dict[str, float]:
    """Every measure of `BODY_MEASURES`; NaN where a keypoint that it needs is less visible than `MIN_VISIBILITY`."""
    points = np.where(body.visibility[:, None] >= MIN_VISIBILITY, body.keypoints_3d, np.nan)
    torso = [np.linalg.norm(torso_vector_m(points)), torso_lean_rad(points), torso_side_lean_rad(points)]
    return named(BODY_MEASURES, np.concatenate([body_angles_rad(points), limb_lengths_m(points), torso]))


def _check(points: RealArray) -> None:
    if points.shape[-2:] != (33, 3):
        raise InputError(f"a body's points are (..., 33, 3), not {points.shape}")
