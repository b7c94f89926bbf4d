"""What each anchor of a palm detector shall say, and how far it is from saying it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torchvision.ops import box_iou

from sonjit.detectors.anchors import AnchorGrid
from sonjit.training.losses import cross_entropy, focal
from sonjit.training.palm_examples import palm_squares

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.training.palm_examples import PalmPicture

ScoreLoss = Literal["focal", "cross-entropy"]
_NEAR, _FAR = 0.4, 0.3
"""IoU from which an anchor is a palm's, and below which it is none's; those between are not judged."""
_PLACED = 0.2
"""IoU from which an anchor learns where its palm is, whether it is the palm's or not: all that overlap are blended."""
_BOXES, _KEYPOINTS = 4.0, 2.0
"""Weights beside the scores."""


class PalmTargets(NamedTuple):
    """What one step learns from; lengths in pixels of the pictures.

    Attributes:
        images: (B, 3, S, S) in 0..1.
        found: (B, N) 1 where an anchor is a palm's, 0 where it is none's, -1 where it is not judged.
        placed: (B, N) whether an anchor has a palm near, and shall say where.
        boxes: (B, N, 18) as the network gives them, for anchors that are placed.
        sizes: (B, N) of the palm.
    """

    images: Tensor
    found: Tensor
    placed: Tensor
    boxes: Tensor
    sizes: Tensor


def palm_anchors(size: int) -> NDArray[np.float64]:
    """(N, 4) centre x, y, width, height in pixels of a square input: the published detector's, with their sizes.

    Those matter for matching alone; what is predicted hangs on the centres.
    """
    grid = AnchorGrid(size, (8, 16, 16, 16), min_scale=0.1484375, max_scale=0.75, fixed_size=False)
    return grid.anchors().astype(np.float64) * size


def palm_targets(anchors: NDArray[np.float64], pictures: Sequence[PalmPicture], device: str = "cpu") -> PalmTargets:
    """What a network shall say of pictures.

    An anchor is a palm's where they overlap by `_NEAR` or more, and the palm's best one always is.
    """
    matched = [_matched(anchors, picture) for picture in pictures]
    found, placed, boxes, sizes = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*matched, strict=True))
    images = torch.from_numpy(np.stack([picture.image for picture in pictures])).to(device)  # (B, S, S, 3)
    return PalmTargets(images.permute(0, 3, 1, 2) / 255, found, placed, boxes, sizes)


def _matched(
    anchors: NDArray[np.float64], picture: PalmPicture
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """One picture's (N,), (N,), (N, 18) and (N,) of `PalmTargets`."""
    count = len(anchors)
    found, placed = np.zeros(count, np.float32), np.zeros(count, np.bool_)
    boxes, sizes = np.zeros((count, 18), np.float32), np.ones(count, np.float32)
    x, y = anchors[:, None, 0], anchors[:, None, 1]  # (N, 1)
    low_x, low_y, high_x, high_y = picture.unsure.T
    found[((x > low_x) & (x < high_x) & (y > low_y) & (y < high_y)).any(1)] = -1
    if not len(picture.palms):
        return found, placed, boxes, sizes
    squares = palm_squares(picture.palms)
    overlap = box_iou(torch.from_numpy(_corners(anchors)), torch.from_numpy(_corners(squares))).numpy()  # (N, P)
    nearest = overlap.argmax(1)
    best = overlap.max(1)
    found[(best >= _FAR) & (best < _NEAR)] = -1
    found[best >= _NEAR] = 1
    for palm, anchor in enumerate(overlap.argmax(0)):
        found[anchor], nearest[anchor] = 1, palm
    placed[:] = (best >= _PLACED) | (found > 0)
    centre = anchors[:, None, :2]
    points = np.concatenate([squares[nearest, None, :2], picture.palms[nearest]], 1) - centre  # (N, 8, 2)
    boxes[:, :2], boxes[:, 2:4], boxes[:, 4:] = points[:, 0], squares[nearest, 2:], points[:, 1:].reshape(count, 14)
    sizes[:] = squares[nearest, 2]
    return found, placed, boxes, sizes


def palm_losses(
    seen: Mapping[str, Tensor], wanted: PalmTargets, loss: ScoreLoss, gamma: float = 2.0
) -> dict[str, Tensor]:
    """Losses by name.

    Args:
        seen: "boxes" (B, N, 18) and "scores" (B, N, 1) of the network.
        wanted: what it shall say.
        loss: of the scores, summed over all anchors: focal (Lin et al. 2017, alpha 0.25), or cross entropy.
        gamma: of focal.

    Returns:
        "scores" for each anchor that is a palm's; "boxes" and "keypoints", in palm sizes, for each that is placed.
    """
    judged, is_palm = wanted.found >= 0, wanted.found > 0
    logits, truth = seen["scores"][..., 0][judged].float(), is_palm[judged].float()
    count = truth.sum().clamp(min=1)
    scores = focal(logits, truth, gamma=gamma) if loss == "focal" else cross_entropy(logits, truth) * len(truth) / count
    near = wanted.placed
    off = (seen["boxes"][near].float() - wanted.boxes[near]) / wanted.sizes[near][:, None]  # (n, 18)
    off = F.smooth_l1_loss(off, torch.zeros_like(off), reduction="none", beta=0.1).sum(0)  # (18,)
    off = off / near.sum().clamp(min=1)
    return {"scores": scores, "boxes": _BOXES * off[:4].mean(), "keypoints": _KEYPOINTS * off[4:].mean()}


def _corners(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 4) centre and size as x_min, y_min, x_max, y_max."""
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
