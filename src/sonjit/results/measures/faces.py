"""Compute measures of faces.

Meshes have the shape (..., 468 or 478, 3) and are in pixels. In their coordinates, x points right, y down and z forward
in the same scale.
"""

from __future__ import annotations

import math

import numpy as np

from sonjit._util.arrays import FloatArray, RealArray
from sonjit._util.errors import InputError
from sonjit.results import Face
from sonjit.results.measures.joints import distances, named

FACE_MEASURES = (
    "head_yaw_rad",
    "head_pitch_rad",
    "head_roll_rad",
    "left_eye_openness",
    "right_eye_openness",
    "mouth_openness",
)
"""Names of the columns that `measure_face` fills, in order."""

# An upright face turned to the camera, in widths between the outer eye corners: points that neither jaw nor brows
# move. The mean of meshes that the networks found in photographs, made symmetrical; level where the line from
# forehead (10) to chin is.
STABLE_POINTS = {
    33: (-0.500, 0.022, 0.005),
    263: (0.500, 0.022, 0.005),
    133: (-0.193, 0.033, -0.061),
    362: (0.193, 0.033, -0.061),
    127: (-0.763, 0.114, 0.534),
    356: (0.763, 0.114, 0.534),
    234: (-0.752, 0.273, 0.569),
    454: (0.752, 0.273, 0.569),
    10: (0.0, -0.569, -0.131),
    151: (0.0, -0.400, -0.185),
    168: (0.0, -0.045, -0.236),
    6: (0.0, 0.038, -0.295),
    4: (0.0, 0.343, -0.529),
    2: (0.0, 0.499, -0.349),
}
_TEMPLATE = np.array(list(STABLE_POINTS.values())) - np.mean(list(STABLE_POINTS.values()), axis=0)

# Pairs (upper, lower) across the opening, then its two corners.
_LEFT_EYE = ((387, 373), (386, 374), (385, 380), (362, 263))
_RIGHT_EYE = ((160, 144), (159, 145), (158, 153), (133, 33))
_MOUTH = ((82, 87), (13, 14), (312, 317), (78, 308))


def head_rotation(points: RealArray) -> FloatArray:
    """Return the rotation (..., 3, 3), for column vectors, from a face turned to the camera to this one.

    The best rigid fit (Kabsch) of fourteen points of the upper face. NaN where a point is NaN or all coincide.
    """
    _check(points)
    stable = points[..., list(STABLE_POINTS), :].astype(np.float64)
    stable -= stable.mean(axis=-2, keepdims=True)
    covariance = np.einsum("...ki,kj->...ij", stable, _TEMPLATE)
    valid = np.isfinite(covariance).all(axis=(-2, -1)) & (np.abs(covariance).max(axis=(-2, -1), initial=0) > 0)
    u, _, vt = np.linalg.svd(np.where(valid[..., None, None], covariance, np.eye(3)))
    u[..., :, 2] *= np.linalg.det(u @ vt)[..., None]  # a rotation, never a reflection
    return np.where(valid[..., None, None], u @ vt, np.nan)


def head_pose_rad(points: RealArray) -> FloatArray:
    """Return yaw, pitch and roll (..., 3) of the head; all are 0 for a face turned to the camera.

    Yaw in (-pi, pi]: positive turns the face to the image's right (the person's own left). Pitch in [-pi/2, pi/2]:
    positive looks up. Roll in (-pi, pi]: positive tilts the head clockwise on the screen. Yaw and pitch are the
    direction of the nose; roll turns about that direction. A mirrored image has the opposite yaw and roll.
    """
    rotation = head_rotation(points)
    forward = -rotation[..., :, 2]
    yaw = np.arctan2(forward[..., 0], -forward[..., 2])
    pitch = np.arcsin(np.clip(-forward[..., 1], -1, 1))
    roll = np.arctan2(rotation[..., 1, 0], rotation[..., 1, 1])
    return np.stack([yaw, pitch, roll], axis=-1)


def eye_openness(points: RealArray) -> FloatArray:
    """Return the mean lid distance over the eye's width (..., 2), for the person's left and right eye.

    About 0.2 to 0.4 open and below 0.1 closed; it differs from person to person, so compare with the same person's.
    """
    return np.stack([_openness(points, _LEFT_EYE), _openness(points, _RIGHT_EYE)], axis=-1)


def mouth_openness(points: RealArray) -> FloatArray:
    """Return the mean inner lip distance over the inner mouth width (...); 0 is closed."""
    return _openness(points, _MOUTH)


def measure_face(face: Face) -> dict[str, float]:
    """Return every measure of `FACE_MEASURES`; all are NaN for a face without a mesh."""
    if len(face.keypoints) < 468:
        return dict.fromkeys(FACE_MEASURES, math.nan)
    points = face.keypoints
    values = (head_pose_rad(points), eye_openness(points), [mouth_openness(points)])
    return named(FACE_MEASURES, np.concatenate(values))


def _openness(points: RealArray, pairs: tuple[tuple[int, int], ...]) -> FloatArray:
    _check(points)
    lengths = distances(points, pairs)
    width = lengths[..., -1]
    return lengths[..., :-1].mean(axis=-1) / np.where(width > 0, width, np.nan)


def _check(points: RealArray) -> None:
    if points.shape[-1] != 3 or points.shape[-2] not in (468, 478):
        raise InputError(f"a face mesh is (..., 468 or 478, 3), not {points.shape}")
