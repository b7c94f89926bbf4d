"""The rigged hand laid into labelled joints: a mesh in every instant, and how far its joints are from the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from sonjit.hand_models.rig_files import load_rig
from sonjit.hand_models.rig_ik import fit_pose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Rig, RigPose


def rig_of_lengths(side: Literal["Right", "Left"], lengths_m: NDArray[np.float64]) -> Rig:
    """The rigged hand with a person's bones (20,); bones that are unknown keep their share of the hand.

    Raises:
        InputError: the rig's file is not there; the line says how to fetch it.
    """
    rig = load_rig(side)
    known = np.isfinite(lengths_m)
    growth = float(np.median(lengths_m[known] / rig.lengths[known])) if known.any() else 1.0
    return rig.resized(np.where(known, lengths_m, growth * rig.lengths))


def fit_mesh(rig: Rig, points_m: NDArray[np.float64]) -> tuple[RigPose | None, NDArray[np.intp], NDArray[np.float64]]:
    """The rig's pose in each instant whose joints are all known.

    Args:
        rig: with the person's bones.
        points_m: (N, 21, 3).

    Returns:
        The pose of M instants, or None without any; which (M,) they are; (N,) mean distance of the rig's joints from
        the labels, metres, NaN for the others.
    """
    whole = np.flatnonzero(np.isfinite(points_m).all((1, 2)))
    off = np.full(len(points_m), np.nan)
    if not len(whole):
        return None, whole, off
    pose = fit_pose(rig, points_m[whole])
    off[whole] = np.linalg.norm(rig.keypoints(pose) - points_m[whole], axis=-1).mean(-1)
    return pose, whole, off
