"""HandOccNet's losses, rate and augmentation as published: what a training on HO-3D or DexYCB is made of.

Source: Park et al. 2022, HandOccNet, section 3.5 and the authors' code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sonjit.hand_models.rotations import axis_angle_from_matrix, matrix_from_6d, matrix_from_axis_angle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.hand_models import Mano

RATE = 1e-4
"""Of Adam, for batches of 64."""


class HandOccTargets(NamedTuple):
    """The truth of a batch; metres."""

    vertices: Tensor  # (B, 778, 3)
    joints: Tensor  # (B, 21, 3)
    rotations: Tensor  # (B, 16, 3, 3), without MANO's mean pose, as the network gives them
    shape: Tensor  # (B, 10)
    joints_img: Tensor  # (B, 21, 2) in 0..1 of the crop


def targets_from_mano(mano: Mano, pose: Tensor, shape: Tensor, joints_img: Tensor) -> HandOccTargets:
    """The truth from MANO's parameters; joints that a data set gives otherwise are not used in 3D.

    Args:
        mano: the right hand.
        pose: (B, 48) axis-angles without the mean pose.
        shape: (B, 10).
        joints_img: (B, 21, 2) in 0..1 of the crop.
    """
    with torch.no_grad():
        vertices, joints = mano(pose, shape, flat_hand_mean=False, tips="handoccnet")
        rotations = matrix_from_axis_angle(pose.unflatten(1, (-1, 3)))
    return HandOccTargets(vertices, joints, rotations, shape, joints_img)


def handoccnet_losses(outputs: Mapping[str, Tensor], targets: HandOccTargets) -> dict[str, Tensor]:
    """Mean squared errors times the published weights, by name; their sum is to fall."""
    rotations = matrix_from_6d(outputs["pose6d"].unflatten(1, (-1, 6)))
    return {
        "vertices": 1e4 * F.mse_loss(outputs["mesh_coord_cam"], targets.vertices),
        "joints": 1e4 * F.mse_loss(outputs["joints_coord_cam"], targets.joints),
        "pose": 10 * F.mse_loss(rotations, targets.rotations),
        "shape": 0.1 * F.mse_loss(outputs["mano_shape"], targets.shape),
        "joints_img": 100 * F.mse_loss(outputs["joints_coord_img"], targets.joints_img),
    }


def rate_of_epoch(epoch: int, data: Literal["ho3d", "dexycb"]) -> float:
    """Learning rate of an epoch, from 0: of 70 on HO-3D, of 25 on DexYCB.

    >>> [f"{rate_of_epoch(epoch, 'ho3d'):.2e}" for epoch in (0, 9, 10, 69)]
    ['1.00e-04', '1.00e-04', '7.00e-05', '1.18e-05']
    """
    if data == "ho3d":
        return RATE * 0.7 ** (epoch // 10)
    return RATE * 0.9**epoch


@dataclass(frozen=True)
class Augmentation:
    """How one crop is changed.

    Attributes:
        scale: of the box.
        rotation_deg: of the crop.
        gains: of red, green and blue.
    """

    scale: float
    rotation_deg: float
    gains: tuple[float, float, float]


def draw_augmentation(rng: np.random.Generator) -> Augmentation:
    """As published: boxes a quarter larger or smaller at most, six of ten crops turned by 60 degrees at most."""
    scale = 1 + 0.25 * float(np.clip(rng.normal(), -1, 1))
    rotation = 30 * float(np.clip(rng.normal(), -2, 2)) if rng.random() <= 0.6 else 0.0
    red, green, blue = rng.uniform(0.8, 1.2, 3).tolist()
    return Augmentation(scale, rotation, (red, green, blue))


def turned(pose: Tensor, rotation_deg: float) -> Tensor:
    """Poses (B, 48) of hands whose crop was turned: the wrist turns the other way about the axis of view."""
    around = matrix_from_axis_angle(pose.new_tensor([0.0, 0.0, -math.radians(rotation_deg)]))
    root = axis_angle_from_matrix(around @ matrix_from_axis_angle(pose[:, :3]))
    return torch.cat([root, pose[:, 3:]], 1)


def mirrored(pose: Tensor) -> Tensor:
    """Poses (B, 48) of left hands as those of right ones in the mirrored picture, and back."""
    return pose * pose.new_tensor([1.0, -1.0, -1.0]).repeat(pose.shape[1] // 3)
