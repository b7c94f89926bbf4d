"""Fit the rigged hand's pose to joints, with a person's bone lengths."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sonjit._util.arrays import FloatArray, IndexArray
from sonjit.lab.hand_models.rig import Rig, RigPose
from sonjit.lab.hand_models.rig_files import load_rig
from sonjit.lab.hand_models.rig_ik import fit_pose


def rig_with_lengths(side: Literal["Right", "Left"], lengths_m: FloatArray) -> Rig:
    """Load the rigged hand with a person's bones (20,). Unknown bones keep their proportion.

    Raises:
        InputError: The rig's file is missing. The message names the command that fetches it.
    """
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
