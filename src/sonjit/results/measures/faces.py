"""Measure faces: head pose, openings of eyes and mouth, and blendshapes from a mesh."""

import math
from typing import Final

import numpy as np

from sonjit._util import FloatArray, RealArray
from sonjit.results import Face
from sonjit.results.measures.joints import check_mesh, distances, named
from sonjit.results.skeletons.faces import STABLE_POINTS

__all__ = [
    "eye_openness", "head_pose_rad", "head_rotation", "measure_face", "mouth_openness",
]  # fmt: skip
FACE_MEASURES = (
    *("head_yaw_rad", "head_pitch_rad", "head_roll_rad"),
    *("left_eye_openness", "right_eye_openness", "mouth_openness"),
)
"""Names of the columns that `measure_face` fills, in order."""

_TEMPLATE = np.array(list(STABLE_POINTS.values())) - np.mean(list(STABLE_POINTS.values()), axis=0)

# Pairs (upper, lower) across the opening, then its two corners.
_LEFT_EYE = ((387, 373), (386, 374), (385, 380), (362, 263))
_RIGHT_EYE = ((160, 144), (159, 145), (158, 153), (133, 33))
_MOUTH = ((82, 87), (13, 14), (312, 317), (78, 308))
_MESH: Final = 468
_BETWEEN_BROWS, _BELOW_NOSE = 168, 2
_UPPER_LIP, _UPPER_LIP_EDGE, _LOWER_LIP_EDGE, _LOWER_LIP = 0, 13, 14, 17
_INNER_EYE: Final = (362, 133)  # of the person's left and right side
_OUTER_EYE: Final = (263, 33)
_IRIS: Final = (473, 468)
_INNER_BROW: Final = (285, 55)
_OUTER_BROW: Final = (300, 70)
_CORNER: Final = (291, 61)  # of the mouth
_INNER_CORNER: Final = (308, 78)
_UPPER_EDGE: Final = (311, 81)  # of the lips, between the middle and the corner
_LOWER_EDGE: Final = (402, 178)
_SIDES: Final = (("Left", 1), ("Right", -1))  # name of each side, and the direction of x away from the nose


def head_rotation(points: RealArray) -> FloatArray:
    """Return the rotation (..., 3, 3), for column vectors, from a face turned to the camera to this one.

    The best rigid fit (Kabsch) of fourteen points of the upper face. NaN where a point is NaN or all coincide. A
    mirrored mesh, in which the person's right is on the image's right, has the rotation of the face itself.
    """
    check_mesh(points)
    stable = points[..., list(STABLE_POINTS), :].astype(np.float64)
    stable -= stable.mean(axis=-2, keepdims=True)
    covariance = np.einsum("...ki,kj->...ij", stable, _TEMPLATE)
    covariance[..., 0, :] *= np.where(np.linalg.det(covariance) < 0, -1, 1)[..., None]
    valid = np.isfinite(covariance).all(axis=(-2, -1)) & (np.abs(covariance).max(axis=(-2, -1)) > 0)
    u, _, vt = np.linalg.svd(np.where(valid[..., None, None], covariance, np.eye(3)))
    u[..., :, 2] *= np.linalg.det(u @ vt)[..., None]  # a rotation, never a reflection
    return np.where(valid[..., None, None], u @ vt, np.nan)


def head_pose_rad(points: RealArray) -> FloatArray:
    """Return yaw, pitch and roll (..., 3) of the head in radians; all are 0 for a face turned to the camera.

    Yaw in (-pi, pi]: positive turns the face to the person's own left. Pitch in [-pi/2, pi/2]: positive looks up. Roll
    in (-pi, pi]: positive tilts the head to the person's own left. Yaw and pitch are the direction of the nose; roll
    turns about that direction. A selfie view has the opposite yaw and roll unless the detector is `mirrored`.
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
    """Return the mean inner lip distance as a fraction of the inner mouth width (...); 0 is closed."""
    return _openness(points, _MOUTH)


def measure_face(face: Face) -> dict[str, float]:
    """Return every measure of `FACE_MEASURES`; all are NaN for a face without a mesh."""
    if len(face.keypoints) < 468:
        return dict.fromkeys(FACE_MEASURES, math.nan)
    points = face.keypoints
    values = (head_pose_rad(points), eye_openness(points), [mouth_openness(points)])
    return named(FACE_MEASURES, np.concatenate(values))


def _openness(points: RealArray, pairs: tuple[tuple[int, int], ...]) -> FloatArray:
    check_mesh(points)
    lengths = distances(points, pairs)
    width = lengths[..., -1]
    return lengths[..., :-1].mean(axis=-1) / np.where(width > 0, width, np.nan)


def blendshapes_from_mesh(points: RealArray) -> dict[str, float]:
    """Return 22 of ARKit's 52 blendshapes by name, 0 to 1. They depend more on the person than those of a network.

    `browInnerUp`, `jawOpen`, `mouthFunnel`, `mouthPucker`, and for both sides `browOuterUp`, `eyeBlink`, `mouthSmile`,
    `mouthUpperUp` and `mouthLowerDown`. Meshes with irises add `eyeLookDown`, `eyeLookIn`, `eyeLookOut`, `eyeLookUp`.

    Args:
        points: Mesh (468 or 478, 3) in pixels: x right, y down, z forward in the same scale.

    Raises:
        InputError: The points have another shape.

    Example:
        >>> mesh = np.random.default_rng(0).uniform(0, 100, (478, 3))
        >>> len(blendshapes_from_mesh(mesh)), len(blendshapes_from_mesh(mesh[:468]))
        (22, 14)
    """
    rotation = head_rotation(points)
    head_points = (points - points[_BETWEEN_BROWS]).astype(np.float64) @ rotation  # x to the person's left
    head_points /= max(_distance(head_points, *_OUTER_EYE), 1e-9)
    y = head_points[:, 1]
    lips = _distance(head_points, _UPPER_LIP_EDGE, _LOWER_LIP_EDGE)
    mouth = _distance(head_points, *_CORNER)
    values = {
        "browInnerUp": _share((y[list(_INNER_EYE)] - y[list(_INNER_BROW)]).mean(), 0.18, 0.26),
        "jawOpen": _share(y[_LOWER_LIP_EDGE] - y[_BELOW_NOSE], 0.34, 0.75),
        "mouthFunnel": _share(lips, 0.02, 0.2) * _share(mouth, 0.6, 0.4),
        "mouthPucker": _share(_distance(head_points, *_INNER_CORNER), 0.5, 0.3),
    }
    for k, ((side, sign), openness) in enumerate(zip(_SIDES, eye_openness(points).tolist(), strict=True)):
        x, height, depth = head_points[_CORNER[k]]
        raised = (y[_UPPER_LIP] + y[_LOWER_LIP]) / 2 - height
        opened, upper = y[_LOWER_EDGE[k]] - y[_UPPER_EDGE[k]], y[_UPPER_EDGE[k]] - y[_BELOW_NOSE]
        brow = (y[_INNER_EYE[k]] + y[_OUTER_EYE[k]]) / 2 - y[_OUTER_BROW[k]]
        values |= {
            f"browOuterUp{side}": _share(brow, 0.17, 0.25),
            f"eyeBlink{side}": _share(openness, 0.27, 0.08),
            f"mouthSmile{side}": _share(raised + sign * x + depth, 0.38, 0.65),
            f"mouthUpperUp{side}": min(_share(opened, 0.03, 0.2), _share(upper, 0.24, 0.15)),
            f"mouthLowerDown{side}": _share(opened, 0.05, 0.3),
        }
    return values | _gaze(head_points) if len(points) > _MESH else values


def _gaze(head_points: FloatArray) -> dict[str, float]:
    """Return the blendshapes of the mean direction of both eyes, from points with irises."""
    left = down = 0.0
    for inner_eye, outer_eye, iris in zip(_INNER_EYE, _OUTER_EYE, _IRIS, strict=True):
        inner, outer = head_points[inner_eye, :2], head_points[outer_eye, :2]
        x, y = (head_points[iris, :2] - (inner + outer) / 2) / max(abs(outer[0] - inner[0]), 1e-9)
        left, down = left + x / 2, down + y / 2
    values: dict[str, float] = {}
    for side, sign in _SIDES:
        values |= {
            f"eyeLookDown{side}": _share(down, -0.06, 0.08),
            f"eyeLookIn{side}": _share(-sign * left, 0, 0.2),
            f"eyeLookOut{side}": _share(sign * left, 0, 0.2),
            f"eyeLookUp{side}": _share(-down, 0.06, 0.2),
        }
    return values


def _distance(points: FloatArray, first: int, second: int) -> float:
    return float(np.linalg.norm(points[first] - points[second]))


def _share(value: float, relaxed: float, full: float) -> float:
    """Return where a value lies between those of the relaxed face (0) and of the full expression (1)."""
    return float(np.clip((value - relaxed) / (full - relaxed), 0, 1))
