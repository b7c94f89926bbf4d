"""Losses by name: each takes predictions and the ground truth, and gives a scalar to minimise."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(scores: Tensor, truth: Tensor) -> Tensor:
    """Of scores (B, C, ...) and classes (B, ...) of integers; or of yes and no: scores and truth 0..1 of one shape."""
    if truth.is_floating_point():
        return F.binary_cross_entropy_with_logits(scores, truth)
    return F.cross_entropy(scores, truth)


def focal(scores: Tensor, truth: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Of scores and truth 0 or 1 of one shape (B, ...): easy ones count little; over the number of true ones.

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection, equation 5 and section 4.1.
    """
    return sigmoid_focal_loss(scores, truth, alpha, gamma, reduction="sum") / truth.sum().clamp(min=1)


def heatmap(predicted: Tensor, truth: Tensor, *, negative_power: float = 4.0, positive_power: float = 2.0) -> Tensor:
    """Focal loss of scores (B, K, H, W) and maps 0..1 whose peaks are exactly 1; over the number of peaks.

    What is near a peak counts less as a mistake. Source: Law and Deng 2018, CornerNet, equation 1.
    """
    chance = predicted.sigmoid()
    peak = truth.eq(1)
    at_peaks = (1 - chance).pow(positive_power) * F.logsigmoid(predicted)
    elsewhere = (1 - truth).pow(negative_power) * chance.pow(positive_power) * F.logsigmoid(-predicted)
    return -at_peaks.where(peak, elsewhere).sum() / peak.sum().clamp(min=1)


def maxmse_weights(predicted: Tensor, truth: Tensor) -> Tensor:
    """What each point of (..., N, 3) counts in `maxmse`: (..., N), of sum 1, as its share of all squared errors.

    All are 0 where there is no error.
    """
    squared = (predicted - truth).square().sum(-1)
    total = squared.sum(-1, keepdim=True)
    return squared / torch.where(total > 0, total, 1)


def maxmse(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean over leading dims of squared distances of points (..., N, 3), each weighed by its share of their sum.

    Points that are far off count most, so that finger tips are not left behind by the palm. Differentiated as it
    stands, weights too: squared errors below half of the loss have a gradient that lets them grow. It is 0 without
    errors, where the released code divides by 0. Source: Fu et al. 2023, Deformer, section 3.4.
    """
    return (maxmse_weights(predicted, truth) * (predicted - truth).square().sum(-1)).sum(-1).mean()


LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "focal": focal,
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "smooth-l1": F.smooth_l1_loss,
    "maxmse": maxmse,
    "heatmap": heatmap,
}
"""By name. Heatmaps of Gaussians can be trained with `mse` too; `maxmse` is of points (..., N, D)."""
