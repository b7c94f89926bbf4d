"""Fit a rigged hand to 21 keypoints by inverse kinematics, with fixed bone lengths, joint limits and smooth motion.

The two keypoints of a bone determine its direction, but not its twist. Only the first joint of each finger may twist, a
little and against a prior, so that the hinge joints beyond it agree with their keypoints. Hinges never twist.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from sonjit._util.arrays import FloatArray, IndexArray, RealArray
from sonjit._util.errors import InputError
from sonjit.geometry.rotations import align_rigidly, matrix_from_rotation_vector
from sonjit.lab.hand_models.rig import FINGERS, KEYPOINTS, Rig, RigPose

_PALM: Final = [0, 1, 5, 9, 13, 17]  # keypoints that no finger joint moves
_MAX_LINK_S: Final = 0.25  # frames further apart in time are independent
_KEYPOINT_M: Final = 0.003  # standard deviation of the keypoints
_STEP_RAD: Final = 0.15  # standard deviation of an angle from the mean of its neighbours in time
_ITERATIONS: Final = 10
_FIXED: Final = (0.0, 0.0, 0.0)
_LIMITS: Final = (  # per finger and joint: (minimum, maximum, spread) of turn, bend and twist; degrees
    (
        ((-45, 45, 40), (-40, 60, 40), (-35, 35, 20)),
        ((-15, 15, 8), (-25, 75, 40), _FIXED),
        (_FIXED, (-30, 95, 50), _FIXED),
    ),
    *[
        (
            ((-28, 28, 15), (-40, 115, 60), (-15, 15, 6)),
            (_FIXED, (-15, 125, 60), _FIXED),
            (_FIXED, (-25, 95, 50), _FIXED),
        )
    ]
    * 4,
)
"""Bends are relative to the straight joint, all other angles to the rig's rest pose. Sources: the ranges of motion of
the American Academy of Orthopaedic Surgeons, widened by what pressing a finger adds, and by the keypoints of fists;
the thumb's saddle joint in the rig's axes."""
_KNUCKLE_SHARE: Final = 0.5
"""Share of the median offset of the first finger joints by which the rig follows its keypoints."""
_MAX_KNUCKLE_SHIFT: Final = 0.15
"""Maximum shift of a first finger joint, as a fraction of the distance from wrist to middle knuckle."""


class FreeJoints(NamedTuple):
    """The P free angles and their limits."""

    which: tuple[IndexArray, ...]  # finger, joint, angle
    low: FloatArray  # (P,) rad
    high: FloatArray
    spread: FloatArray


def fit_lengths(rig: Rig, keypoints: RealArray) -> FloatArray:
    """Return the bone lengths (20,) in metres: medians over the frames, within 0.6 to 1.6 times the mean growth.

    The last bone of a finger may have 0.5 to 3 times the rig's length, because the tip keypoint may differ.

    Args:
        rig: Hand at rest.
        keypoints: (N, 21, 3) metres in MediaPipe's order.
    """
    keypoints = _check_keypoints(keypoints)
    chains = keypoints[:, np.array([[0, *range(1 + 4 * f, 5 + 4 * f)] for f in range(5)])]
    seen = np.median(np.linalg.norm(np.diff(chains, axis=2), axis=-1), axis=0)  # (5, 4)
    rest = rig.lengths.reshape(5, 4)
    mean = seen[:, :3].sum() / rest[:, :3].sum()
    low, high = np.array([0.6, 0.6, 0.6, 0.5]), np.array([1.6, 1.6, 1.6, 3.0])
    return np.clip(seen, mean * low * rest, mean * high * rest).reshape(-1)


def fit_knuckles(rig: Rig, keypoints: RealArray) -> Rig:
    """Return a rig with its fingers halfway to the median places of (N, 21, 3) keypoints in the palm."""
    keypoints = _check_keypoints(keypoints)
    rest = rig.joints[[0, *(finger[0] for finger in FINGERS)]]
    rotation, shift = align_rigidly(rest, keypoints[:, _PALM])
    places = np.median((keypoints[:, _PALM] - shift[:, None]) @ rotation, axis=0) - rest
    offsets = _KNUCKLE_SHARE * (places[1:] - places[0])
    longest = _MAX_KNUCKLE_SHIFT * np.linalg.norm(rest[3] - rest[0])
    return rig.with_shifted_fingers(
        offsets * np.minimum(1, longest / np.linalg.norm(offsets, axis=1).clip(1e-9))[:, None]
    )


def fit_pose(rig: Rig, keypoints: RealArray, times: RealArray | None = None) -> RigPose:
    """Return the pose with the nearest keypoints in each frame.

    The directions of the bones give an initial pose. Damped Gauss-Newton steps over all frames refine it.

    Args:
        rig: Hand with the correct bone lengths, see `fit_lengths`.
        keypoints: (N, 21, 3) metres in MediaPipe's order.
        times: (N,) increasing seconds; frames that are close in time are smoothed. None fits each frame independently.

    Raises:
        InputError: Keypoints have another shape or are not finite.
    """
    keypoints = _check_keypoints(keypoints)
    joints = free_joints(rig)
    pose = _initial_pose(rig, keypoints, joints)
    links = np.zeros(len(keypoints) + 1)  # between each frame and the previous one
    if times is not None:
        links[1:-1] = np.diff(times) < _MAX_LINK_S
    for _ in range(_ITERATIONS):
        pose = _refine(rig, keypoints, pose, joints, links)
    return pose


def _initial_pose(rig: Rig, keypoints: FloatArray, joints: FreeJoints) -> RigPose:
    """Align the palm to its keypoints, then rotate each joint so that its bone has the right direction."""
    rest = rig.joints[[0, *(finger[0] for finger in FINGERS)]]
    rotation, shift = align_rigidly(rest, keypoints[:, _PALM])
    translation = shift + rotation @ rig.joints[0]
    pose = RigPose(rotation, translation, np.zeros((len(keypoints), 5, 3, 3)))
    chains = keypoints[:, 1:].reshape(-1, 5, 4, 3)
    side = rig.axes[0, 1]
    bounds = joint_limits(joints)
    for step in range(3):
        frames = rig.joint_frames(pose)[0][:, [finger[step] for finger in FINGERS]]
        x, y, z = np.moveaxis((chains[:, :, step + 1] - chains[:, :, step])[..., None, :] @ frames, -1, 0)[..., 0]
        over = np.where(z > 0, -1.0, 1.0)  # bent by more than a right angle
        if step == 0:
            pose.angles[:, :, 0, 0] = side * np.arctan2(-x * over, -z * over)
            pose.angles[:, :, 0, 1] = np.arctan2(-y, over * np.hypot(x, z))
        else:
            pose.angles[:, :, step, 1] = np.arctan2(-y, -z)
        np.clip(pose.angles, *bounds, out=pose.angles)
    return pose


def _refine(rig: Rig, keypoints: FloatArray, pose: RigPose, joints: FreeJoints, links: FloatArray) -> RigPose:
    """Take one damped Gauss-Newton step on all frames and clip the angles to their limits."""
    slopes, errors = _slopes(rig, keypoints, pose, joints)
    count = len(joints.low)
    values = pose.angles[:, *joints.which]
    before, after = links[:-1, None], links[1:, None]
    near = before * np.roll(values, 1, 0) + after * np.roll(values, -1, 0)
    near = np.where(before + after > 0, near / np.maximum(before + after, 1), values)
    calm = (_KEYPOINT_M / _STEP_RAD) ** 2 * (before + after) / 2
    prior = (_KEYPOINT_M / joints.spread) ** 2
    weight, pull = np.full((len(pose), 6 + count), 1e-9), np.zeros((len(pose), 6 + count))
    weight[:, 6:] += prior + calm
    pull[:, 6:] = calm * (near - values) - prior * values
    transposed = np.swapaxes(slopes, 1, 2)
    normal = transposed @ slopes
    normal[:, range(6 + count), range(6 + count)] += weight
    step = np.linalg.solve(normal, transposed @ errors[..., None] + pull[..., None])[..., 0]
    angles = pose.angles.copy()
    angles[:, *joints.which] = np.clip(values + step[:, 6:], joints.low, joints.high)
    return RigPose(matrix_from_rotation_vector(step[:, :3]) @ pose.rotation, pose.translation + step[:, 3:6], angles)


def _slopes(rig: Rig, keypoints: FloatArray, pose: RigPose, joints: FreeJoints) -> tuple[FloatArray, FloatArray]:
    """Return the derivatives (N, 63, 6 + P) of the keypoints, and their errors (N, 63)."""
    frames, positions = rig.joint_frames(pose)
    chains, count = positions[:, FINGERS], len(pose)  # (N, 5, 4, 3)
    own = positions[:, KEYPOINTS]
    slopes = np.zeros((count, 21, 3, 6 + len(joints.low)))
    slopes[..., :3] = -_cross_matrices(own - pose.translation[:, None])
    slopes[..., 3:6] = np.eye(3)
    axes = turn_axes(rig, frames[:, FINGERS][:, :, :3], pose.angles)  # (N, 5, 3, 3 angles, 3)
    arms = chains[:, :, None] - chains[:, :, :3, None]  # (N, 5, from joint, to keypoint, 3)
    finger, joint, angle = joints.which
    moves = np.cross(axes[:, finger, joint, angle][:, :, None], arms[:, finger, joint])  # (N, P, 4, 3)
    moves *= (np.arange(4) > joint[:, None])[..., None]
    for number, chain in enumerate(finger):
        slopes[:, 1 + 4 * chain : 5 + 4 * chain, :, 6 + number] = moves[:, number]
    return slopes.reshape(count, 63, -1), (keypoints - own).reshape(count, 63)


def turn_axes(rig: Rig, frames: FloatArray, angles: FloatArray) -> FloatArray:
    """Return the world axes (N, 5, 3, 3, 3) of all angles: the twist axis moves with the bend, both with the turn.

    Frames (N, 5, 3, 3, 3) are those after all three rotations.
    """
    turn, bend, twist = rig.axes
    untwist = matrix_from_rotation_vector(-angles[..., 2, None] * twist)
    unbend = matrix_from_rotation_vector(-angles[..., 1, None] * bend)
    local = np.stack([untwist @ unbend @ turn, untwist @ bend, np.broadcast_to(twist, angles.shape)], -2)
    return local @ np.swapaxes(frames, -1, -2)


@lru_cache(maxsize=8)
def free_joints(rig: Rig) -> FreeJoints:
    """Return the free angles, with bends relative to the rig's rest pose."""
    low, high, spread = np.deg2rad(np.moveaxis(np.array(_LIMITS, np.float64), -1, 0))  # each (5, 3, 3)
    for finger, chain in enumerate(FINGERS):
        for step in range(1 if finger == 0 else 0, 3):  # the thumb's first joint has no straight pose
            parent = chain[step] - 1  # in the fingers, the metacarpal precedes the first joint
            _, y, z = rig.frames[chain[step]][:, 2] @ rig.frames[parent]
            rest = np.arctan2(y, z)
            low[finger, step, 1] -= rest
            high[finger, step, 1] -= rest
    index = np.nonzero(spread)
    return FreeJoints(index, low[index], high[index], spread[index])


def joint_limits(joints: FreeJoints) -> tuple[FloatArray, FloatArray]:
    """Return the minimum and maximum of all angles (5, 3, 3); those that are not free stay zero."""
    low, high = np.zeros((5, 3, 3)), np.zeros((5, 3, 3))
    low[joints.which], high[joints.which] = joints.low, joints.high
    return low, high


def _cross_matrices(vectors: FloatArray) -> FloatArray:
    """Return the matrices (..., 3, 3) M with M w = v × w."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)


def _check_keypoints(keypoints: RealArray) -> FloatArray:
    keypoints = np.asarray(keypoints, np.float64)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (21, 3) or not len(keypoints):
        raise InputError(f"keypoints have shape {keypoints.shape}; expected (N, 21, 3) metres, at least one frame")
    if not np.isfinite(keypoints).all():
        raise InputError("keypoints contain NaN or infinity; remove the frames without a hand")
    return keypoints
