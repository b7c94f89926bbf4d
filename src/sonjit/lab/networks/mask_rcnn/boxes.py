"""Encode boxes as deltas, match them with the ground truth, and sample them for a loss.

Boxes are (x_min, y_min, x_max, y_max) in pixels. Source: Ren et al., Faster R-CNN (2015), sections 3.1.2 and 3.1.3;
Girshick, Fast R-CNN (2015), section 2.3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import box_iou

Weights = tuple[float, float, float, float]
_MAX_LOG_SCALE = math.log(1000 / 16)  # limit of the logarithm of a side's growth, which keeps exp() finite
IGNORED, BACKGROUND = -2, -1


def encode_boxes(boxes: Tensor, anchors: Tensor, weights: Weights = (1, 1, 1, 1)) -> Tensor:
    """Return the deltas that move and scale anchors to boxes.

    Args:
        boxes: (N, 4) pixels.
        anchors: (N, 4) pixels.
        weights: Factors of dx, dy, dw, dh.

    Returns:
        (N, 4): dx, dy in sides of the anchor, dw, dh as logarithms.

    >>> encode_boxes(torch.tensor([[10.0, 0, 30, 20]]), torch.tensor([[0.0, 0, 20, 20]]))
    tensor([[0.5000, 0.0000, 0.0000, 0.0000]])
    """
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    from_centre, from_size = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    deltas = torch.cat([(centre - from_centre) / from_size, torch.log(size / from_size)], 1)
    return deltas * deltas.new_tensor(weights)


def decode_boxes(deltas: Tensor, anchors: Tensor, weights: Weights = (1, 1, 1, 1)) -> Tensor:
    """Apply deltas (..., 4) to anchors (..., 4): the inverse of `encode_boxes`.

    >>> decode_boxes(torch.tensor([[0.5, 0, 0, 0]]), torch.tensor([[0.0, 0, 20, 20]]))
    tensor([[10.,  0., 30., 20.]])
    """
    deltas = deltas / deltas.new_tensor(weights)
    size = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + size / 2 + deltas[..., :2] * size
    half = size * deltas[..., 2:].clamp(max=_MAX_LOG_SCALE).exp() / 2
    return torch.cat([centre - half, centre + half], -1)


def match_boxes(truth: Tensor, boxes: Tensor, *, low: float, high: float, keep_best: bool = False) -> Tensor:
    """Match boxes to true boxes.

    Args:
        truth: (M, 4) true boxes.
        boxes: (N, 4) boxes.
        low: IoU below which a box is background.
        high: IoU from which it matches the true box; between the two it is ignored.
        keep_best: True to match every true box with those that overlap it most, however little (the RPN's second rule).

    Returns:
        (N,) int64: Index into truth, `BACKGROUND` or `IGNORED`.

    >>> truth = torch.tensor([[0.0, 0, 10, 10]])
    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [5, 5, 15, 15]])
    >>> match_boxes(truth, boxes, low=0.3, high=0.7)
    tensor([ 0, -2, -1])
    """
    if not len(truth) or not len(boxes):
        return torch.full((len(boxes),), BACKGROUND, device=boxes.device)
    overlaps = box_iou(truth, boxes)  # (M, N)
    best, matches = overlaps.max(0)
    nearest = matches.clone()
    matches[best < high] = IGNORED
    matches[best < low] = BACKGROUND
    if keep_best:
        chosen = (overlaps == overlaps.max(1, keepdim=True).values).any(0)
        matches[chosen] = nearest[chosen]
    return matches


def sample_matches(matches: Tensor, count: int, share: float) -> tuple[Tensor, Tensor]:
    """Sample boxes for a loss: at most a share of them objects, the rest background.

    Args:
        matches: (N,) from `match_boxes`.
        count: Number of samples.
        share: Maximum share of objects.

    Returns:
        Indices of objects and of background, in ascending order.
    """
    objects, background = (matches >= 0).nonzero()[:, 0], (matches == BACKGROUND).nonzero()[:, 0]
    first = min(len(objects), int(count * share))
    second = min(len(background), count - first)
    return _sample(objects, first), _sample(background, second)


def _sample(indices: Tensor, count: int) -> Tensor:
    order = torch.randperm(len(indices), device=indices.device)[:count]
    return indices[order].sort().values
