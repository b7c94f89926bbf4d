"""MANO's pose, shape and place by which its joints come nearest to those of a recording."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from sonjit.arrays import FloatArray
from sonjit.extras import needed_for
from sonjit.geometry.rotations import align_rigidly
from sonjit.hand_models.mano_files import JOINTS, TO_MEDIAPIPE21

with needed_for("MANO"):
    import torch

    from sonjit.hand_models.mano import Mano
    from sonjit.hand_models.rotations import axis_angle_from_matrix

_PALM: Final = [0, 1, 5, 9, 13, 17]
_POSE: Final = 3 * JOINTS
_PLACE: Final = slice(_POSE, _POSE + 3)
_SHAPE: Final = 10
_JOINT_M: Final = 0.002  # how far joints are trusted to lie off
_POSE_RAD: Final = 0.8  # how far a joint turns from MANO's mean pose, as people bend fingers
_TWIST_RAD: Final = 0.1  # and about its own bone, which joints alone do not show
_SHAPED: Final = 32  # frame sets that the shape is taken from
_AT_ONCE: Final = 32
_ROUNDS: Final = 12
_LARGEST_STEP: Final = 0.5  # radians; of places and shapes likewise
_NEAR: Final = 1e-6  # for slopes by differences


class ManoFit(NamedTuple):
    """MANO in N frame sets.

    Attributes:
        pose: (N, 48) axis-angles in radians, the fingers' counted from the mean pose.
        shape: (10,).
        trans_m: (N, 3).
    """

    pose: FloatArray
    shape: FloatArray
    trans_m: FloatArray


def fit_mano(mano: Mano, points_m: FloatArray) -> ManoFit:
    """Fit MANO to joints, each frame for itself, with one shape.

    Gauss-Newton steps for the least squares of joints' distances, of turns away from the mean pose, most of all about a
    bone, and of shapes away from the mean hand.

    Args:
        mano: of the hand's side, in double precision.
        points_m: (N, 21, 3) in MediaPipe's order.
    """
    rows = np.unique(np.linspace(0, len(points_m) - 1, min(_SHAPED, len(points_m))).round().astype(int))
    values, shape = _start(mano, points_m), np.zeros(_SHAPE)
    _, shape = _improved(mano, points_m[rows], values[rows], shape, shaping=True)
    for first in range(0, len(values), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        values[part] = _improved(mano, points_m[part], values[part], shape, shaping=False)[0]
    return ManoFit(values[:, :_POSE], shape, values[:, _PLACE])


def mano_points(mano: Mano, pose: FloatArray, shape: FloatArray, trans_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Vertices (N, 778, 3) and joints (N, 21, 3), metres, of poses (N, 48), shapes (N, 10) or one, places (N, 3)."""
    shapes = np.broadcast_to(shape, (len(pose), _SHAPE))
    with torch.no_grad():
        made = mano(*(torch.tensor(np.ascontiguousarray(one)) for one in (pose, shapes, trans_m)), flat_hand_mean=False)
    return made[0].numpy(), made[1].numpy()


def _start(mano: Mano, points_m: FloatArray) -> FloatArray:
    """(N, 51) the mean hand, its palm laid over the joints'."""
    count = len(points_m)
    (rest,) = mano_points(mano, np.zeros((1, _POSE)), np.zeros(_SHAPE), np.zeros((1, 3)))[1]
    rotation, _ = align_rigidly(np.broadcast_to(rest[_PALM], (count, len(_PALM), 3)), points_m[:, _PALM])
    values = np.zeros((count, _PLACE.stop))
    values[:, :3] = axis_angle_from_matrix(torch.tensor(np.ascontiguousarray(rotation))).numpy()
    values[:, _PLACE] = points_m[:, 0] - rest[0]
    return values


def _improved(
    mano: Mano, points_m: FloatArray, values: FloatArray, shape: FloatArray, *, shaping: bool
) -> tuple[FloatArray, FloatArray]:
    """Pose and place (N, 51), and the shape (10,) that all have, after some steps; the shape moves where `shaping`."""
    prior = np.zeros((_PLACE.stop, _PLACE.stop))
    for joint, bone in enumerate(_bones(mano), 1):
        own = slice(3 * joint, 3 * joint + 3)
        prior[own, own] = np.eye(3) / _POSE_RAD**2 + np.outer(bone, bone) / _TWIST_RAD**2
    for _ in range(_ROUNDS):
        joints, slopes = _joints_and_slopes(mano, values, shape, shaping)
        gap = (points_m - joints).reshape(len(points_m), -1, 1) / _JOINT_M  # (N, 63, 1)
        back = np.swapaxes(slopes, 1, 2) / _JOINT_M  # (N, 51 or 61, 63)
        normal, down = back @ np.swapaxes(back, 1, 2), (back @ gap)[..., 0]
        pose, own_down = normal[:, : _PLACE.stop, : _PLACE.stop] + prior, down[:, : _PLACE.stop] - values @ prior
        pose += 1e-6 * np.eye(_PLACE.stop)
        of_shape = np.zeros(_SHAPE)
        if shaping:  # first the shape, with the poses eliminated
            across = normal[:, : _PLACE.stop, _PLACE.stop :]  # (N, 51, 10)
            solved = np.linalg.solve(pose, np.concatenate([across, own_down[..., None]], 2))
            left = np.swapaxes(across, 1, 2) @ solved
            reduced = normal[:, _PLACE.stop :, _PLACE.stop :].sum(0) + np.eye(_SHAPE) - left[..., :-1].sum(0)
            of_shape = np.linalg.solve(reduced, down[:, _PLACE.stop :].sum(0) - shape - left[..., -1].sum(0))
            of_shape = np.clip(of_shape, -_LARGEST_STEP, _LARGEST_STEP)
            own_down = own_down - across @ of_shape
        step = np.linalg.solve(pose, own_down[..., None])[..., 0]
        values, shape = values + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP), shape + of_shape
    return values, shape


def _joints_and_slopes(
    mano: Mano, values: FloatArray, shape: FloatArray, shaping: bool
) -> tuple[FloatArray, FloatArray]:
    """Joints (N, 21, 3), and how they move (N, 63, 51 or 61) with pose and place, and with the shape."""
    every = np.concatenate([values, np.broadcast_to(shape, (len(values), _SHAPE))], 1)
    moved = every[:, None] + np.concatenate([np.zeros((1, every.shape[1])), _NEAR * np.eye(every.shape[1])])
    moved = moved[:, : 1 + (every.shape[1] if shaping else _PLACE.stop)]  # (N, 1 + P, 61)
    flat = moved.reshape(-1, every.shape[1])
    joints = mano_points(mano, flat[:, :_POSE], flat[:, _PLACE.stop :], flat[:, _PLACE])[1]
    joints = joints.reshape(len(values), moved.shape[1], -1)
    slopes = np.swapaxes(joints[:, 1:] - joints[:, :1], 1, 2) / _NEAR
    return joints[:, 0].reshape(-1, 21, 3), slopes


def _bones(mano: Mano) -> FloatArray:
    """(15, 3) unit vectors along the bones that MANO's joints but the wrist turn, in the flat hand."""
    with torch.no_grad():
        (flat,) = mano(torch.zeros(1, _POSE, dtype=torch.float64))[1].numpy()
    place = np.array([TO_MEDIAPIPE21.index(joint) for joint in range(1, JOINTS)])
    bones = flat[place + 1] - flat[place]
    return bones / np.linalg.norm(bones, axis=-1, keepdims=True)
