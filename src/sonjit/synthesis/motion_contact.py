"""Contact over time: hands in motion that do not pass into each other, and do not jump where they would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.geometry.rotations import matrix_from_rotation_vector, quaternion_from_matrix
from sonjit.hand_models.rig import RigPose
from sonjit.synthesis.contact import settle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Rig, Side

_EVENINGS: Final = 2
_EVEN_S: Final = 0.07


def kept_apart(
    poses: Mapping[Side, RigPose], rigs: Mapping[Side, Rig], times: NDArray[np.float64]
) -> Mapping[Side, RigPose]:
    """Every frame without skin inside skin: what that takes is spread over the frames before and after.

    Args:
        poses: of each hand that takes part, N frames.
        rigs: the person's hands, of `rig_from_shape`.
        times: (N,) seconds, evenly spaced.
    """
    fps = 1 / float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    settled = _settled(poses, rigs)
    for _ in range(_EVENINGS):
        evened: Mapping[Side, RigPose] = {side: _evened(poses[side], settled[side], _EVEN_S * fps) for side in poses}
        settled = _settled(evened, rigs)
        poses = evened
    return settled


def _settled(poses: Mapping[Side, RigPose], rigs: Mapping[Side, Rig]) -> Mapping[Side, RigPose]:
    """Each frame by itself."""
    sides = list(poses)
    frames = [settle([(rigs[side], poses[side][frame]) for side in sides]) for frame in range(len(poses[sides[0]]))]
    return {side: _joined([frame[index] for frame in frames]) for index, side in enumerate(sides)}


def _evened(pose: RigPose, settled: RigPose, frames: float) -> RigPose:
    """A motion with what another adds to it, smooth over some frames."""
    steps = np.arange(-int(3 * frames) - 1, int(3 * frames) + 2)
    bell = np.exp(-((steps / max(frames, 1e-3)) ** 2) / 2)
    bell /= bell.sum()

    def smooth(added: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = np.pad(added.reshape(len(added), -1), ((len(bell) // 2, len(bell) // 2), (0, 0)), "edge")
        return np.stack([np.convolve(each, bell, "valid") for each in flat.T], 1).reshape(added.shape)

    turns = rotation_vectors(settled.rotation @ np.swapaxes(pose.rotation, 1, 2))
    return RigPose(
        matrix_from_rotation_vector(smooth(turns)) @ pose.rotation,
        pose.translation + smooth(settled.translation - pose.translation),
        pose.angles + smooth(settled.angles - pose.angles),
    )


def _joined(frames: list[RigPose]) -> RigPose:
    return RigPose(
        np.concatenate([frame.rotation for frame in frames]),
        np.concatenate([frame.translation for frame in frames]),
        np.concatenate([frame.angles for frame in frames]),
    )


def rotation_vectors(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3) axis times angle, at most half a turn, of (..., 3, 3)."""
    quaternions = quaternion_from_matrix(matrices)
    quaternions = quaternions * np.where(quaternions[..., 3:] < 0, -1, 1)
    sine = np.linalg.norm(quaternions[..., :3], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternions[..., 3:])
    return quaternions[..., :3] * angle / np.maximum(sine, 1e-12)
