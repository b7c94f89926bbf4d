"""Losses. Each takes predictions and the ground truth and returns a scalar to minimise.

Those of `PointLoss` and `MapLoss` are chosen by name in recipes. They return a value for each point or cell, so that a
recipe can exclude unlabelled points.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

PointLoss = Literal["l1", "l2", "smooth-l1", "wing", "distance"]  # names of the losses of `point_loss`
MapLoss = Literal["kl", "mse", "adaptive-wing"]  # names of the losses of `heatmap_cells`


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


def heatmap(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the focal loss of scores (B, K, H, W) and maps 0..1 with peaks of 1.

    Source: Law and Deng 2018, CornerNet, equation 1, with alpha 2 and beta 4.
    """
    chance = predicted.sigmoid()
    peak = truth.eq(1)
    at_peaks = (1 - chance).pow(2) * F.logsigmoid(predicted)
    background = (1 - truth).pow(4) * chance.pow(2) * F.logsigmoid(-predicted)
    return -at_peaks.where(peak, background).sum() / peak.sum().clamp(min=1)


def maxmse_weights(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the weights (..., N) of points (..., N, 3) in `maxmse`: each point's share of all squared errors, or 0."""
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


def l1(offsets: Tensor) -> Tensor:
    """Return the mean absolute coordinate (...) of offsets (..., D), in their unit."""
    return offsets.abs().mean(-1)


def l2(offsets: Tensor) -> Tensor:
    """Return the mean squared coordinate (...) of offsets (..., D), in their unit squared."""
    return offsets.square().mean(-1)


def distance(offsets: Tensor) -> Tensor:
    """Return the length (...) of offsets (..., D), in their unit."""
    return offsets.norm(dim=-1)


def smooth_l1(offsets: Tensor, *, width: float = 0.1) -> Tensor:
    """Return the mean (...) over offsets (..., D): squared below `width`, in their unit, and linear above it.

    Source: Girshick 2015, Fast R-CNN, equation 3.
    """
    return F.smooth_l1_loss(offsets, torch.zeros_like(offsets), beta=width, reduction="none").mean(-1)


def wing(offsets: Tensor, *, width: float = 0.2, curvature: float = 0.04) -> Tensor:
    """Return the Wing loss, the mean (...) over coordinates of offsets (..., D).

    It is logarithmic below `width` and linear above, so that small errors keep a large gradient.

    Args:
        offsets: Predictions minus ground truth.
        width: Offset from which the loss is linear. The paper's 10 pixels are 0.2 of a length of 50 pixels.
        curvature: Curvature of the logarithmic part, 2 pixels in the paper.

    Source: Feng et al. 2018, Wing Loss for Robust Facial Landmark Localisation, equation 5.
    """
    size = offsets.abs()
    constant = width - width * math.log(1 + width / curvature)
    return torch.where(size < width, width * torch.log1p(size / curvature), size - constant).mean(-1)


def adaptive_wing(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the adaptive Wing loss of each cell of maps (B, K, H, W) in 0..1; the true ones have peaks of 1.

    Cells near a peak of the ground truth have a gradient like that of the Wing loss; background has that of a square.
    Source: Wang et al. 2019, Adaptive Wing Loss for Robust Face Alignment via Heatmap Regression, equation 3.
    """
    alpha, omega, epsilon, theta = 2.1, 14.0, 1.0, 0.5  # the values of the paper
    power = alpha - truth
    size = (predicted - truth).abs()
    ratio = theta / epsilon
    slope = omega * power * ratio ** (power - 1) / (1 + ratio**power) / epsilon
    constant = theta * slope - omega * torch.log1p(ratio**power)
    # The gradient of a power is infinite at 0, where its other factor is 0.
    near = omega * torch.log1p((size.clamp(min=1e-12) / epsilon) ** power)
    return torch.where(size < theta, near, slope * size - constant)


def kl(logits: Tensor, truth: Tensor) -> Tensor:
    """Return each cell's part (B, K, N) of the divergence of distributions (B, K, N) from the softmax of logits."""
    return F.kl_div(logits.log_softmax(-1), truth, reduction="none")


def point_loss(name: PointLoss) -> Callable[[Tensor], Tensor]:
    """Return a loss (...) of the offsets (..., D) of points from the ground truth."""
    return {"l1": l1, "l2": l2, "smooth-l1": smooth_l1, "wing": wing, "distance": distance}[name]


def heatmap_cells(logits: Tensor, truth: Tensor, name: MapLoss) -> Tensor:
    """Return losses (B, K) of maps (B, K, N) of N cells against distributions, which sum to 1, summed over the cells.

    `kl` compares distributions; `mse` and `adaptive-wing` compare the sigmoid of the logits with the ground truth
    scaled to peaks of 1.
    """
    if name == "kl":
        return kl(logits, truth).sum(-1)
    predicted, peaks = logits.sigmoid(), truth / truth.amax(-1, keepdim=True)
    cells = adaptive_wing(predicted, peaks) if name == "adaptive-wing" else (predicted - peaks).square()
    return cells.sum(-1)
