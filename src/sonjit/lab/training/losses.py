"""Losses. Each takes predictions and the ground truth and returns a scalar to minimise."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss


def cross_entropy(scores: Tensor, truth: Tensor) -> Tensor:
    """Return the cross-entropy of scores (B, C, ...) and integer classes (B, ...), or of scores and truth 0..1."""
    if truth.is_floating_point():
        return F.binary_cross_entropy_with_logits(scores, truth)
    return F.cross_entropy(scores, truth)


def focal(scores: Tensor, truth: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Return the focal loss of binary scores and truth (B, ...), divided by the number of positives.

    Easy examples have little weight. Source: Lin et al. 2017, Focal Loss for Dense Object Detection, equation 5 and
    section 4.1.
    """
    return sigmoid_focal_loss(scores, truth, alpha, gamma, reduction="sum") / truth.sum().clamp(min=1)


def heatmap(predicted: Tensor, truth: Tensor, *, negative_power: float = 4.0, positive_power: float = 2.0) -> Tensor:
    """Return the focal loss of scores (B, K, H, W) and maps 0..1 with peaks of exactly 1, divided by their number.

    Mistakes near a peak have less weight. Source: Law and Deng 2018, CornerNet, equation 1.
    """
    chance = predicted.sigmoid()
    peak = truth.eq(1)
    at_peaks = (1 - chance).pow(positive_power) * F.logsigmoid(predicted)
    background = (1 - truth).pow(negative_power) * chance.pow(positive_power) * F.logsigmoid(-predicted)
    return -at_peaks.where(peak, background).sum() / peak.sum().clamp(min=1)


def maxmse_weights(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the weights (..., N) of points (..., N, 3) in `maxmse`: each point's share of all squared errors.

    They sum to 1, or are all 0 where there is no error.
    """
    squared = (predicted - truth).square().sum(-1)
    total = squared.sum(-1, keepdim=True)
    return squared / torch.where(total > 0, total, 1)


def maxmse(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over leading dimensions of squared distances of points (..., N, 3), weighted by their share.

    Points with large errors have the largest weight, so that finger tips are not neglected for the palm. The weights
    are differentiated as well: squared errors below half of the loss have a gradient that lets them grow. The loss is 0
    without errors, where the released code divides by 0. Source: Fu et al. 2023, Deformer, section 3.4.
    """
    return (maxmse_weights(predicted, truth) * (predicted - truth).square().sum(-1)).sum(-1).mean()
