"""What Mask R-CNN computes on the way from pictures to instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from sonjit.networks.rpn import RpnSteps


@dataclass(frozen=True)
class Steps:
    """Each intermediate step of a forward pass over B pictures.

    Attributes:
        pictures: (B, 3, H, W) resized, normalised, padded with 0.
        sizes: height and width of each picture within that.
        pyramid: P2..P6, (B, C, H / 2^l, W / 2^l).
        rpn: anchors, objectness, deltas, proposals before and after NMS, and those left at the end.
        levels: (R,) level that each proposal is looked at on, all pictures one after the other.
        box_maps: (R, C, 7, 7) of each proposal.
        logits: (R, classes).
        deltas: (R, classes, 4).
        boxes: of each picture's instances, (N_b, 4) pixels of the resized picture.
        mask_maps: (N, C, 14, 14) of each instance; or 7x7.
        mask_logits: (N, classes, 28, 28); or 14x14.
    """

    pictures: Tensor
    sizes: list[tuple[int, int]]
    pyramid: list[Tensor]
    rpn: RpnSteps
    levels: Tensor
    box_maps: Tensor
    logits: Tensor
    deltas: Tensor
    boxes: list[Tensor]
    mask_maps: Tensor
    mask_logits: Tensor
