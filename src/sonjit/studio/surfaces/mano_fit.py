"""Fit MANO's pose, shape and translation to the joints of a recording."""

from __future__ import annotations

from typing import Final

import numpy as np

from sonjit._util.arrays import FloatArray
from sonjit._util.extras import optional_import
from sonjit.geometry.rotations import align_rigidly
from sonjit.lab.hand_models.mano_files import JOINTS, TO_MEDIAPIPE21

with optional_import("MANO"):
    import torch

    from sonjit.lab.hand_models.mano import Mano
    from sonjit.lab.hand_models.rotations import axis_angle_from_matrix

_PALM_JOINTS: Final = [0, 1, 5, 9, 13, 17]
_POSE_SIZE: Final = 3 * JOINTS
_TRANSLATION: Final = slice(_POSE_SIZE, _POSE_SIZE + 3)
_SHAPE_SIZE: Final = 10
_JOINT_STD_M: Final = 0.002  # standard deviation of joints
_POSE_STD_RAD: Final = 0.8  # standard deviation of a joint's rotation from MANO's mean pose
_TWIST_STD_RAD: Final = 0.1  # standard deviation about its own bone, which joints do not determine
_SHAPE_FRAMES: Final = 32  # frame sets that determine the shape
_BATCH_SIZE: Final = 32
_GAUSS_NEWTON_STEPS: Final = 12
_MAX_STEP: Final = 0.5  # radians, metres, or units of shape
_DIFFERENCE: Final = 1e-6  # step of numerical derivatives


def fit_mano(mano: Mano, points_m: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit MANO to joints, each frame independently, with one shape.

    Gauss-Newton steps minimise the distances of joints, rotations from the mean pose, particularly about a bone, and
    the shape's distance from the mean hand.

    Args:
        mano: Model of the hand's side in double precision.
        points_m: (N, 21, 3) joints in MediaPipe's order, metres.

    Returns:
        Pose (N, 48), axis-angles in radians relative to the mean pose; shape (10,); and translation (N, 3) in metres.
    """
    rows = np.unique(np.linspace(0, len(points_m) - 1, min(_SHAPE_FRAMES, len(points_m))).round().astype(int))
    values, shape = _initial_values(mano, points_m), np.zeros(_SHAPE_SIZE)
    _, shape = _optimize(mano, points_m[rows], values[rows], shape, shaping=True)
    for first in range(0, len(values), _BATCH_SIZE):
        part = slice(first, first + _BATCH_SIZE)
        values[part] = _optimize(mano, points_m[part], values[part], shape, shaping=False)[0]
    return values[:, :_POSE_SIZE], shape, values[:, _TRANSLATION]


def mano_points(mano: Mano, pose: FloatArray, shape: FloatArray, trans_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return vertices (N, 778, 3) and joints (N, 21, 3) of poses (N, 48), shapes (10,) and translations (N, 3)."""
    shapes = np.broadcast_to(shape, (len(pose), _SHAPE_SIZE))
    with torch.no_grad():
        result = mano(
            *(torch.tensor(np.ascontiguousarray(array)) for array in (pose, shapes, trans_m)), flat_hand_mean=False
        )
    return result[0].numpy(), result[1].numpy()


def _initial_values(mano: Mano, points_m: FloatArray) -> FloatArray:
    """Return pose and translation (N, 51) of the mean hand, its palm aligned to the joints'."""
    count = len(points_m)
    (rest_joints,) = mano_points(mano, np.zeros((1, _POSE_SIZE)), np.zeros(_SHAPE_SIZE), np.zeros((1, 3)))[1]
    rotation, _ = align_rigidly(
        np.broadcast_to(rest_joints[_PALM_JOINTS], (count, len(_PALM_JOINTS), 3)), points_m[:, _PALM_JOINTS]
    )
    values = np.zeros((count, _TRANSLATION.stop))
    values[:, :3] = axis_angle_from_matrix(torch.tensor(np.ascontiguousarray(rotation))).numpy()
    values[:, _TRANSLATION] = points_m[:, 0] - rest_joints[0]
    return values


def _optimize(
    mano: Mano, points_m: FloatArray, values: FloatArray, shape: FloatArray, *, shaping: bool
) -> tuple[FloatArray, FloatArray]:
    """Improve pose and translation (N, 51), and the common shape (10,).

    Args:
        mano: Model of the hand's side.
        points_m: (N, 21, 3) joints.
        values: (N, 51) initial poses and translations.
        shape: (10,) initial shape.
        shaping: True if the shape changes.
    """
    prior = np.zeros((_TRANSLATION.stop, _TRANSLATION.stop))
    for joint, bone in enumerate(_bone_directions(mano), 1):
        rows = slice(3 * joint, 3 * joint + 3)
        prior[rows, rows] = np.eye(3) / _POSE_STD_RAD**2 + np.outer(bone, bone) / _TWIST_STD_RAD**2
    for _ in range(_GAUSS_NEWTON_STEPS):
        joints, slopes = _joints_and_jacobian(mano, values, shape, shaping)
        residual = (points_m - joints).reshape(len(points_m), -1, 1) / _JOINT_STD_M  # (N, 63, 1)
        transposed = np.swapaxes(slopes, 1, 2) / _JOINT_STD_M  # (N, 51 or 61, 63)
        normal_matrix, gradient = transposed @ np.swapaxes(transposed, 1, 2), (transposed @ residual)[..., 0]
        pose, pose_gradient = (
            normal_matrix[:, : _TRANSLATION.stop, : _TRANSLATION.stop] + prior,
            gradient[:, : _TRANSLATION.stop] - values @ prior,
        )
        pose += 1e-6 * np.eye(_TRANSLATION.stop)
        shape_step = np.zeros(_SHAPE_SIZE)
        if shaping:  # solve the shape first, with the poses eliminated
            coupling = normal_matrix[:, : _TRANSLATION.stop, _TRANSLATION.stop :]  # (N, 51, 10)
            solved = np.linalg.solve(pose, np.concatenate([coupling, pose_gradient[..., None]], 2))
            eliminated = np.swapaxes(coupling, 1, 2) @ solved
            reduced = (
                normal_matrix[:, _TRANSLATION.stop :, _TRANSLATION.stop :].sum(0)
                + np.eye(_SHAPE_SIZE)
                - eliminated[..., :-1].sum(0)
            )
            shape_step = np.linalg.solve(
                reduced, gradient[:, _TRANSLATION.stop :].sum(0) - shape - eliminated[..., -1].sum(0)
            )
            shape_step = np.clip(shape_step, -_MAX_STEP, _MAX_STEP)
            pose_gradient = pose_gradient - coupling @ shape_step
        step = np.linalg.solve(pose, pose_gradient[..., None])[..., 0]
        values, shape = values + np.clip(step, -_MAX_STEP, _MAX_STEP), shape + shape_step
    return values, shape


def _joints_and_jacobian(
    mano: Mano, values: FloatArray, shape: FloatArray, shaping: bool
) -> tuple[FloatArray, FloatArray]:
    """Return joints (N, 21, 3) and their derivatives (N, 63, 51 or 61) by pose, translation and shape."""
    parameters = np.concatenate([values, np.broadcast_to(shape, (len(values), _SHAPE_SIZE))], 1)
    perturbed = parameters[:, None] + np.concatenate(
        [np.zeros((1, parameters.shape[1])), _DIFFERENCE * np.eye(parameters.shape[1])]
    )
    perturbed = perturbed[:, : 1 + (parameters.shape[1] if shaping else _TRANSLATION.stop)]  # (N, 1 + P, 61)
    flat = perturbed.reshape(-1, parameters.shape[1])
    joints = mano_points(mano, flat[:, :_POSE_SIZE], flat[:, _TRANSLATION.stop :], flat[:, _TRANSLATION])[1]
    joints = joints.reshape(len(values), perturbed.shape[1], -1)
    jacobian = np.swapaxes(joints[:, 1:] - joints[:, :1], 1, 2) / _DIFFERENCE
    return joints[:, 0].reshape(-1, 21, 3), jacobian


def _bone_directions(mano: Mano) -> FloatArray:
    """Return unit vectors (15, 3) along the bones that MANO's joints except the wrist rotate, in the flat hand."""
    with torch.no_grad():
        (flat,) = mano(torch.zeros(1, _POSE_SIZE, dtype=torch.float64))[1].numpy()
    mediapipe_index = np.array([TO_MEDIAPIPE21.index(joint) for joint in range(1, JOINTS)])
    bones = flat[mediapipe_index + 1] - flat[mediapipe_index]
    return bones / np.linalg.norm(bones, axis=-1, keepdims=True)
