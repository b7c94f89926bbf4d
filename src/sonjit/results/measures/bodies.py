"""Compute measures of bodies.

World keypoints (..., 33, 3) are in metres, in BlazePose's order. In their coordinates, x points right, y down and z
forward.
"""

import numpy as np

from sonjit._util import FloatArray, InputError, RealArray
from sonjit.results import Body, Hand
from sonjit.results.measures.hands import palm_frame
from sonjit.results.measures.joints import angle_between_rad, check_body, distances, named, unit
from sonjit.results.skeletons import load_skeleton

__all__ = [
    "BODY_ANGLES", "BODY_ANGLES_2D", "LIMBS", "body_angles_2d_rad", "body_angles_rad", "limb_lengths_m", "measure_body",
    "neck_flexion_rad", "torso_lean_rad", "torso_side_lean_rad", "trunk_lean_rad", "wrist_angles_rad",
]  # fmt: skip
MIN_VISIBILITY = 0.5  # minimum visibility of keypoints; measures of less visible keypoints are NaN
ANGLE_BONES = {
    "elbow": (("elbow", "shoulder"), ("elbow", "wrist")),
    "shoulder": (("shoulder", "elbow"), ("shoulder", "hip")),
    "hip": (("hip", "shoulder"), ("hip", "knee")),
    "knee": (("knee", "hip"), ("knee", "ankle")),
    "ankle": (("ankle", "knee"), ("heel", "foot_index")),
}
"""Bones of the angle of each joint, as the names of begin and end. The sole from heel to toe is the bone of a foot."""
_LIMBS = {
    "upper_arm": ("shoulder", "elbow"),
    "forearm": ("elbow", "wrist"),
    "thigh": ("hip", "knee"),
    "shin": ("knee", "ankle"),
}
_SIDES = ("left", "right")
_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_UP = np.array([0.0, -1.0, 0.0])
BODY_ANGLES = tuple(f"{side}_{joint}_angle_rad" for joint in ANGLE_BONES for side in _SIDES)
"""Names of the angles of `body_angles_rad`, in order."""
BODY_ANGLES_2D = tuple(name.replace("_rad", "_2d_rad") for name in BODY_ANGLES)
"""Names of the angles of `body_angles_2d_rad`, in order."""
LIMBS = (*(f"{side}_{limb}_m" for limb in _LIMBS for side in _SIDES), "shoulder_width_m", "hip_width_m")
"""Names of the lengths of `limb_lengths_m`, in order."""
BODY_MEASURES = (
    *(*BODY_ANGLES, *LIMBS),
    *("torso_length_m", "torso_lean_rad", "torso_side_lean_rad"),
    *BODY_ANGLES_2D,
    *("trunk_lean_rad", "neck_flexion_rad"),
    *(f"symmetry_{joint}_rad" for joint in ANGLE_BONES),
    *(f"{side}_wrist_{angle}_rad" for side in _SIDES for angle in ("flexion", "deviation")),
)
"""Names of the columns that `measure_body` fills, in order."""
_INDEX = load_skeleton("body_blazepose33").index
_BONE_ENDS = np.array(
    [
        [[_INDEX(f"{side}_{name}") for name in bone] for bone in bones]
        for bones in ANGLE_BONES.values()
        for side in _SIDES
    ]
)
"""Indices (10, 2, 2) of the keypoints: angle, bone, begin and end."""
_PAIRS = (
    *(tuple(_INDEX(f"{side}_{name}") for name in names) for names in _LIMBS.values() for side in _SIDES),
    (_INDEX("left_shoulder"), _INDEX("right_shoulder")),
    (_INDEX("left_hip"), _INDEX("right_hip")),
)
_TORSO_POINTS = tuple(map(_INDEX, _TORSO))
_EARS = _INDEX("left_ear"), _INDEX("right_ear")
_FOREARMS = tuple((_INDEX(f"{side}_elbow"), _INDEX(f"{side}_wrist")) for side in _SIDES)


def body_angles_rad(points: RealArray) -> FloatArray:
    """Return the angles (..., 10) of `BODY_ANGLES` in radians. A straight joint has pi, an arm along the trunk 0.

    The ankle is the angle between shin and sole, pi/2 for a flat foot below an upright shin.
    """
    check_body(points)
    return _bone_angles_rad(points)


def body_angles_2d_rad(points: RealArray) -> FloatArray:
    """Return the angles (..., 10) of `BODY_ANGLES_2D` in the image plane, as a protractor on the image shows them.

    An angle in the image plane equals the angle of the joint if both bones are parallel to the image.

    Args:
        points: Image keypoints (..., 33, 2 or 3) in pixels; z is ignored.
    """
    if points.shape[-2] != 33 or points.shape[-1] not in (2, 3):
        raise InputError(f"a body's points in the image are (..., 33, 2 or 3), not {points.shape}")
    return _bone_angles_rad(points[..., :2])


def _bone_angles_rad(points: RealArray) -> FloatArray:
    """Return the angles (..., 10) in radians between the bones of points (..., 33, 2 or 3) in any unit."""
    ends = points[..., _BONE_ENDS, :].astype(np.float64)  # (..., 10, 2, 2, 2 or 3)
    bones = ends[..., 1, :] - ends[..., 0, :]
    return angle_between_rad(bones[..., 0, :], bones[..., 1, :])


def limb_lengths_m(points: RealArray) -> FloatArray:
    """Return the lengths (..., 10) of `LIMBS` in metres."""
    check_body(points)
    return distances(points, _PAIRS)  # pyright: ignore[reportArgumentType]  # two names each


def torso_vector_m(points: RealArray) -> FloatArray:
    """Return the vector (..., 3) in metres from the middle of the hips to the middle of the shoulders."""
    check_body(points)
    corners = points[..., _TORSO_POINTS, :].astype(np.float64)
    return corners[..., :2, :].mean(axis=-2) - corners[..., 2:, :].mean(axis=-2)


def torso_lean_rad(points: RealArray) -> FloatArray:
    """Return the angle (...) between the trunk and the image's up: 0 is upright, pi/2 is lying."""
    return angle_between_rad(torso_vector_m(points), _UP)


def torso_side_lean_rad(points: RealArray) -> FloatArray:
    """Return the trunk's lean (...) in the image plane, in (-pi, pi]; positive leans to the right of the image."""
    torso = torso_vector_m(points)
    return np.arctan2(torso[..., 0], -torso[..., 1])


def trunk_lean_rad(points: RealArray) -> FloatArray:
    """Return the trunk's lean (...) from the image's up towards the person's own front; negative is backward."""
    torso = torso_vector_m(points)
    return _angle_rad(torso, np.cross(_across(points), _UP), _UP)


def neck_flexion_rad(points: RealArray) -> FloatArray:
    """Return the angle (...) in radians from the trunk to the line from shoulders to ears; positive is forward."""
    torso = torso_vector_m(points)
    ears, shoulders = (points[..., pair, :].astype(np.float64).mean(axis=-2) for pair in (_EARS, _TORSO_POINTS[:2]))
    return _angle_rad(ears - shoulders, np.cross(_across(points), torso), torso)


def wrist_angles_rad(forearm: RealArray, hand: RealArray) -> FloatArray:
    """Return the flexion to the palm and the deviation to the little finger (..., 2) of a wrist in radians.

    Both are 0 for a straight wrist.

    Args:
        forearm: Vector (..., 3) from the elbow to the wrist, in the axes of the hand's points.
        hand: World keypoints (..., 21, 3) of a right hand; mirror both for a left one.
    """
    across, along, normal = np.moveaxis(palm_frame(hand), -1, 0)
    return np.stack([_angle_rad(forearm, -normal, along), _angle_rad(forearm, across, along)], axis=-1)


def _angle_rad(vector: RealArray, aside: RealArray, ahead: RealArray) -> FloatArray:
    """Return the signed angle (...) of a vector in a plane, from one axis of the plane to the other."""
    return np.arctan2((vector * unit(aside)).sum(axis=-1), (vector * unit(ahead)).sum(axis=-1))


def _across(points: RealArray) -> FloatArray:
    left, right = (points[..., k, :].astype(np.float64) for k in _TORSO_POINTS[:2])
    return left - right


def measure_body(body: Body, left_hand: Hand | None = None, right_hand: Hand | None = None) -> dict[str, float]:
    """Return every measure of `BODY_MEASURES`; NaN without a hand or with a keypoint below `MIN_VISIBILITY`."""
    is_visible = body.visibility[:, None] >= MIN_VISIBILITY
    points = np.where(is_visible, body.keypoints_3d, np.nan)
    angles_2d = body_angles_2d_rad(np.where(is_visible, body.keypoints, np.nan))
    torso = [np.linalg.norm(torso_vector_m(points)), torso_lean_rad(points), torso_side_lean_rad(points)]
    angles = body_angles_rad(points)
    more = [trunk_lean_rad(points), neck_flexion_rad(points), *(angles[::2] - angles[1::2])]
    for (elbow, wrist), hand, mirror in zip(_FOREARMS, (left_hand, right_hand), ([-1, 1, 1], [1, 1, 1]), strict=True):
        hand_points = np.full((21, 3), np.nan) if hand is None else hand.keypoints_3d
        more += [*wrist_angles_rad((points[wrist] - points[elbow]) * mirror, hand_points * mirror)]
    return named(BODY_MEASURES, np.concatenate([angles, limb_lengths_m(points), torso, angles_2d, more]))
