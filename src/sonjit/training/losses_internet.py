"""What InterNet is held to: Gaussian volumes around joints, the roots' distance, which hands there are.

Source: Moon et al. 2020, InterHand2.6M, section 5.3; the numbers are those of the released code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

PEAK, SIGMA_BINS = 255.0, 2.5


class InterNetTargets(NamedTuple):
    """What is right for a batch of crops, in the layout's order of joints.

    Attributes:
        joints: (B, 42, 3) x, y, z in bins.
        valid: (B, 42) 1 where a joint is known and in the volume; all 0 for a hand that is absent.
        rel_root: (B, 1) bins from the right root to the left one.
        rel_valid: (B, 1) 1 where both are known and in range.
        hand_type: (B, 2) 1 for a right and a left hand that is there.
        hand_type_valid: (B,) 1 where that is known.
    """

    joints: Tensor
    valid: Tensor
    rel_root: Tensor
    rel_valid: Tensor
    hand_type: Tensor
    hand_type_valid: Tensor


def heatmap_from_joints(joints: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Volumes (B, J, z, y, x) of a shape with a Gaussian around joints (B, J, 3) as x, y, z in bins."""
    axes: list[Tensor] = []
    for axis, count in zip((2, 1, 0), shape, strict=True):
        off = torch.arange(count, dtype=joints.dtype, device=joints.device) - joints[..., axis, None]  # (B, J, count)
        axes.append((-(off**2) / (2 * SIGMA_BINS**2)).exp())
    z, y, x = axes  # a Gaussian of three axes is the product of three
    return PEAK * z[..., :, None, None] * (y[..., :, None] * x[..., None, :])[..., None, :, :]


def internet_losses(outputs: Mapping[str, Tensor], targets: InterNetTargets) -> dict[str, Tensor]:
    """The three losses, whose sum is minimised.

    Returns:
        `joints`: squared difference of volumes, nothing for joints that are not valid, over all of them; `rel_root`:
        distance in bins; `hand_type`: cross entropy. Each is a mean over the batch.
    """
    heatmap = outputs["heatmap"]
    off = heatmap - heatmap_from_joints(targets.joints, (heatmap.shape[2], heatmap.shape[3], heatmap.shape[4]))
    joints = (off.square().mean((2, 3, 4)) * targets.valid).mean()
    rel_root = ((outputs["rel_root_depth"] - targets.rel_root).abs() * targets.rel_valid).mean()
    hand = F.binary_cross_entropy_with_logits(outputs["hand_type_logits"], targets.hand_type, reduction="none")
    return {"joints": joints, "rel_root": rel_root, "hand_type": (hand.mean(1) * targets.hand_type_valid).mean()}
