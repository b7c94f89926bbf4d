"""Estimate the relative poses of cameras that see the same targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sonjit._util.errors import InputError
from sonjit.studio.calibration.board_observations import PoseKey
from sonjit.studio.calibration.target_poses import (
    TargetPose,
    Transform,
    angle_between,
    compose_transforms,
    invert_transform,
)

_SAME_ROTATION_RAD = np.radians(4)
_SAME_TRANSLATION = 0.06
"""Largest differences of agreeing relative poses: rotation, and translation as a fraction of its length."""
_MAX_FRAMES = 60
"""Number of frame sets that determine a relative pose."""
_RIVAL_ROTATION_RAD = np.radians(8)
"""Least rotation between a relative pose and its rival."""
_AMBIGUOUS_RATIO = 0.8
"""Ratio of frame sets that support the rival from which a pair is ambiguous."""
_MIN_AGREEMENT = 0.4
"""Least fraction of frame sets that must agree on a relative pose."""


@dataclass(frozen=True, eq=False)
class CameraPair:
    """Two cameras that saw a target simultaneously.

    Attributes:
        first: Index of the first camera in the rig's order.
        second: Index of the second camera.
        transform: Transform from the first camera's frame to the second's.
        frames: Number of frame sets that agree on it. A frame set counts once for each of its targets.
        common: Number of frame sets in which both saw a target, with the same weights.
        rival: Number of frame sets that agree on the next best, different transform.
    """

    first: int
    second: int
    transform: Transform
    frames: int
    common: int
    rival: int

    @property
    def is_ambiguous(self) -> bool:
        """Whether another transform explains almost as many frame sets: the two solutions of a flat board."""
        return self.rival >= _AMBIGUOUS_RATIO * self.frames


def camera_pairs(poses: Sequence[Mapping[PoseKey, list[TargetPose]]]) -> list[CameraPair]:
    """Return every pair of cameras that saw a target simultaneously.

    Each frame set proposes up to four transforms, two solutions of one camera by two of the other. Only the true ones
    agree over frame sets, because a false one depends on the target's pose.

    Args:
        poses: Poses of targets relative to each camera, in the order of frames.
    """
    pairs: list[CameraPair] = []
    for first, second in combinations(range(len(poses)), 2):
        if common := [key for key in poses[first] if key in poses[second]]:
            sample = common[:: -(-len(common) // _MAX_FRAMES)]
            pairs.append(_consensus(first, second, [(poses[first][key], poses[second][key]) for key in sample]))
    return pairs


def spanning_tree_poses(pairs: Sequence[CameraPair], names: Sequence[str]) -> tuple[list[Transform], list[CameraPair]]:
    """Return every camera's pose in the first one's frame, along the pairs that agree in most frame sets.

    Returns:
        Transform from world to each camera, and the pairs of the spanning tree.

    Raises:
        InputError: Cameras never saw the target together with the others, or contradict them. The message names them.
    """
    poses: dict[int, Transform] = {0: (np.eye(3), np.zeros(3))}
    tree: list[CameraPair] = []
    while len(poses) < len(names):
        edges = [pair for pair in pairs if (pair.first in poses) != (pair.second in poses)]
        if not edges:
            unreached = [name for index, name in enumerate(names) if index not in poses]
            raise InputError(
                f"camera{'s' * (len(unreached) > 1)} {', '.join(unreached)} saw the board in no frame set together "
                f"with {', '.join(names[index] for index in poses)}: carry it from one to the other, or check --sync"
            )
        best = max(edges, key=lambda pair: (not pair.is_ambiguous, pair.frames, pair.frames - pair.rival))
        if best.frames < _MIN_AGREEMENT * min(best.common, _MAX_FRAMES):
            raise InputError(
                f"cameras {names[best.first]} and {names[best.second]} agree on their relative pose in only "
                f"{best.frames} of {best.common} frame sets: their images are of other frame sets (--sync), a lens is "
                "wrong (--lenses), or the board is too small in the images to show its rotation: move it nearer"
            )
        tree.append(best)
        if best.first in poses:
            poses[best.second] = compose_transforms(best.transform, poses[best.first])
        else:
            poses[best.first] = compose_transforms(invert_transform(best.transform), poses[best.second])
    return [poses[index] for index in range(len(names))], tree


def _consensus(first: int, second: int, frame_poses: list[tuple[list[TargetPose], list[TargetPose]]]) -> CameraPair:
    """Return the transform that most frame sets agree on, averaged over them, and the support of its rival."""
    proposals = [
        (frame, compose_transforms((b.R, b.t), invert_transform((a.R, a.t))), a.rms_px + b.rms_px)
        for frame, (firsts, is_rival) in enumerate(frame_poses)
        for a in firsts
        for b in is_rival
    ]
    if not proposals:
        return CameraPair(
            first=first, second=second, transform=(np.eye(3), np.zeros(3)), frames=0, common=len(frame_poses), rival=0
        )
    R = np.stack([transform[0] for _, transform, _ in proposals])
    t = np.stack([transform[1] for _, transform, _ in proposals])
    frames, rms = np.array([frame for frame, *_ in proposals]), np.array([error for *_, error in proposals])
    angles = np.arccos(np.clip((np.einsum("aij,bij->ab", R, R) - 1) / 2, -1, 1))
    distances = np.linalg.norm(t[:, None] - t, axis=2) / np.maximum(np.linalg.norm(t, axis=1), 0.05)[:, None]
    is_near = (angles < _SAME_ROTATION_RAD) & (distances < _SAME_TRANSLATION)
    support = np.array([len(np.unique(frames[row])) for row in is_near])
    mean_rms = (is_near * rms).sum(1) / is_near.sum(1)
    best = int(np.lexsort((mean_rms, -support))[0])
    agreed = is_near[best]
    left, _, right = np.linalg.svd(R[agreed].sum(0))
    mean = left @ right
    is_rival = np.array([angle_between(mean, rotation) > _RIVAL_ROTATION_RAD for rotation in R])
    rival = int(support[is_rival].max()) if is_rival.any() else 0
    return CameraPair(
        first=first,
        second=second,
        transform=(mean, np.median(t[agreed], axis=0)),
        frames=int(support[best]),
        common=len(frame_poses),
        rival=rival,
    )
