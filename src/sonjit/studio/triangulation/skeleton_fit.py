"""Fit joints that keep their bones' lengths and move smoothly, and the rigged hand's pose to them.

The joints are fitted by damped Gauss-Newton steps over all frames together: bones keep their lengths and joints have
limited acceleration. In each frame's equations the neighbouring frames are fixed within a step. The weight of an
observation decreases with its error (Geman and McClure), so that a joint that all views have wrong yields to its bones.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray, IndexArray
from sonjit.lab.hand_models.rig import Rig, RigPose
from sonjit.lab.hand_models.rig_files import load_rig
from sonjit.lab.hand_models.rig_ik import fit_pose
from sonjit.studio.triangulation.bones import HAND_BONES

_LENGTH_STD_M: Final = 0.001  # of a bone's length, because detectors' joints slide
_ACCELERATION: Final = 8.0  # m/s², root mean square of hands' joints in quick gestures
_MAX_LINK_S: Final = 0.25  # time between frames from which they do not constrain each other
_MIN_STD_M: Final = 0.001  # least standard deviation of a triangulated joint
_ROBUST_SCALE: Final = 3.0  # deviations at which an observation has a quarter of its weight
_GAUSS_NEWTON_STEPS: Final = 12  # fixed number of steps, so that equal inputs give equal results
_MAX_GAP_S: Final = 0.5  # longest gap that is interpolated


class Skeletons(NamedTuple):
    """The K joints of a hand or a body over N frames.

    Attributes:
        points_m: (N, K, 3) positions in metres, NaN where unknown.
        covariance_m2: (N, K, 3, 3) covariances, NaN where unknown.
    """

    points_m: FloatArray
    covariance_m2: FloatArray


def fit_skeletons(
    points_m: FloatArray,
    covariance_m2: FloatArray,
    lengths_m: FloatArray,
    times_s: FloatArray,
    *,
    bones: IndexArray = HAND_BONES,
    acceleration: float = _ACCELERATION,
    redescending: bool = True,
) -> Skeletons:
    """Fit joints that agree with the observations, keep their bones' lengths, and have limited acceleration.

    Args:
        points_m: (N, K, 3) triangulated joints, NaN where unknown.
        covariance_m2: (N, K, 3, 3) covariances of the joints.
        lengths_m: (B,) lengths of the bones, NaN for a free bone.
        times_s: (N,) ascending times. Frames more than a quarter of a second apart do not constrain each other.
        bones: (B, 2) parent and child. By default those of a hand of 21 joints.
        acceleration: Root mean square acceleration of joints, m/s².
        redescending: True if a joint far from its bones has no influence, which suits many views. Otherwise it keeps
            its pull (Cauchy's loss), which suits few views.
    """
    finite = np.asarray(np.isfinite(points_m).all(-1) & np.isfinite(covariance_m2).all((-1, -2)), np.bool_)
    min_covariance = _MIN_STD_M**2 * np.eye(3)
    covariance = np.where(finite[..., None, None], covariance_m2, 0) + min_covariance
    information = np.where(finite[..., None, None], np.linalg.inv(covariance), 0)
    target = np.where(finite[..., None], points_m, 0)
    x = _interpolate(points_m, finite, times_s)
    is_known = np.asarray(np.isfinite(x).all(-1), np.bool_)
    x = np.where(is_known[..., None], x, 0)
    step_s = np.diff(times_s)
    links = np.zeros(len(x) + 1)
    is_linked = step_s < _MAX_LINK_S
    links[1:-1][is_linked] = 1 / (acceleration * np.maximum(step_s[is_linked], 1e-3) ** 2 / 2) ** 2
    joints = x.shape[1]
    normal = np.zeros((0, 3 * joints, 3 * joints))
    for _ in range(_GAUSS_NEWTON_STEPS):
        normal, gradient = _normal_system(
            x,
            target,
            information,
            is_known,
            bones=bones,
            lengths_m=lengths_m,
            links=links,
            power=2 if redescending else 1,
        )
        x += np.linalg.solve(normal, gradient[..., None])[..., 0].reshape(x.shape)
    if not len(x):
        return Skeletons(points_m, covariance_m2)
    posterior = np.linalg.inv(normal).reshape(-1, joints, 3, joints, 3)
    posterior = np.moveaxis(np.diagonal(posterior, axis1=1, axis2=3), -1, 1)  # (N, K, 3, 3)
    return Skeletons(np.where(is_known[..., None], x, np.nan), np.where(is_known[..., None, None], posterior, np.nan))


def enforce_lengths(points_m: FloatArray, lengths_m: FloatArray, bones: IndexArray) -> FloatArray:
    """Move joints (N, K, 3) along their bones (B, 2), parents first, until these have their lengths (B,).

    Bones of unknown length keep theirs, and so does a joint whose parent is unknown.
    """
    moved = points_m.copy()
    for (parent, child), length in zip(bones, lengths_m, strict=True):
        vector = points_m[:, child] - points_m[:, parent]
        factor = (
            length / np.maximum(np.linalg.norm(vector, axis=1), 1e-9) if np.isfinite(length) else np.ones(len(vector))
        )
        position = moved[:, parent] + vector * factor[:, None]
        moved[:, child] = np.where(np.isfinite(position), position, moved[:, child])
    return moved


def _link_weights(is_known: BoolArray, links: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the weights (N, K, 1) of a joint's previous and next position, 0 unless it is known in all three."""
    is_inside = is_known & np.roll(is_known, 1, 0) & np.roll(is_known, -1, 0)
    is_inside &= ((links[:-1] > 0) & (links[1:] > 0))[:, None]
    before, after = (np.where(is_inside, link[:, None], 0)[..., None] for link in (links[:-1], links[1:]))
    return before, after


def _neighbour_means(x: FloatArray, before: FloatArray, after: FloatArray) -> FloatArray:
    """Return the weighted means (N, K, 3) of the previous and next positions."""
    return (before * np.roll(x, 1, 0) + after * np.roll(x, -1, 0)) / np.maximum(before + after, 1e-30)


def _normal_system(
    x: FloatArray,
    target: FloatArray,
    information: FloatArray,
    is_known: BoolArray,
    *,
    bones: IndexArray,
    lengths_m: FloatArray,
    links: FloatArray,
    power: int,
) -> tuple[FloatArray, FloatArray]:
    """Return the normal matrices (N, 3 K, 3 K) and gradients (N, 3 K) of one step."""
    count, size = len(x), x.shape[1]
    normal, gradient = np.zeros((count, size, 3, size, 3)), np.zeros((count, size, 3))
    residual = target - x
    distance2 = np.einsum("nki,nkij,nkj->nk", residual, information, residual)
    weighted = information * (1 / (1 + distance2 / _ROBUST_SCALE**2) ** power)[..., None, None]
    joints = np.arange(size)
    normal[:, joints, :, joints] += np.swapaxes(weighted, 0, 1)
    gradient += (weighted @ residual[..., None])[..., 0]
    for (parent, child), length in zip(bones, lengths_m, strict=True):
        both_known = is_known[:, parent] & is_known[:, child] & bool(np.isfinite(length))
        vector = x[:, child] - x[:, parent]
        current = np.maximum(np.linalg.norm(vector, axis=1), 1e-6)
        direction = np.where(both_known[:, None], vector / current[:, None], 0) / _LENGTH_STD_M
        pull = direction * ((np.nan_to_num(length) - current) / _LENGTH_STD_M)[:, None]
        square = direction[:, :, None] * direction[:, None, :]
        normal[:, child, :, child] += square
        normal[:, parent, :, parent] += square
        normal[:, child, :, parent] -= square
        normal[:, parent, :, child] -= square
        gradient[:, child] += pull
        gradient[:, parent] -= pull
    before, after = _link_weights(is_known, links)
    weight = (before + after) / 2
    gradient += weight * (_neighbour_means(x, before, after) - x)
    regularization = weight + np.where(is_known, 1e-3, 1.0)[..., None]
    flat, diagonal = normal.reshape(count, 3 * size, 3 * size), np.arange(3 * size)
    flat[:, diagonal, diagonal] += np.repeat(regularization, 3, -1).reshape(count, 3 * size)
    return flat, gradient.reshape(count, 3 * size)


def _interpolate(points_m: FloatArray, finite: BoolArray, times_s: FloatArray) -> FloatArray:
    """Interpolate joints that are unknown for a short time. Longer gaps stay NaN."""
    filled = np.where(finite[..., None], points_m, np.nan)
    for joint in range(points_m.shape[1]):
        measured = np.flatnonzero(finite[:, joint])
        lost = np.flatnonzero(~finite[:, joint])
        if not len(measured) or not len(lost):
            continue
        after = np.searchsorted(measured, lost)
        inside = (after > 0) & (after < len(measured))
        lost, after = lost[inside], after[inside]
        first, last = measured[after - 1], measured[after]
        lost, first, last = (indices[times_s[last] - times_s[first] <= _MAX_GAP_S] for indices in (lost, first, last))
        fraction = ((times_s[lost] - times_s[first]) / (times_s[last] - times_s[first]))[:, None]
        filled[lost, joint] = (1 - fraction) * points_m[first, joint] + fraction * points_m[last, joint]
    return filled


def rig_with_lengths(side: Literal["Right", "Left"], lengths_m: FloatArray) -> Rig:
    """Load the rigged hand with a person's bones (20,). Unknown bones keep their proportion."""
    rig = load_rig(side)
    finite = np.isfinite(lengths_m)
    growth = float(np.median(lengths_m[finite] / rig.lengths[finite])) if finite.any() else 1.0
    return rig.resized(np.where(finite, lengths_m, growth * rig.lengths))


def fit_mesh(rig: Rig, points_m: FloatArray) -> tuple[RigPose | None, IndexArray, FloatArray]:
    """Fit the rig's pose in each frame whose joints are all known.

    Args:
        rig: Rig with the person's bones.
        points_m: (N, 21, 3) joints, metres.

    Returns:
        Pose of M frames or None, indices (M,) of these frames, and mean distance (N,) of the rig's joints from the
        labels in metres, NaN for the others.
    """
    complete = np.flatnonzero(np.isfinite(points_m).all((1, 2)))
    distance = np.full(len(points_m), np.nan)
    if not len(complete):
        return None, complete, distance
    pose = fit_pose(rig, points_m[complete])
    distance[complete] = np.linalg.norm(rig.keypoints(pose) - points_m[complete], axis=-1).mean(-1)
    return pose, complete, distance
