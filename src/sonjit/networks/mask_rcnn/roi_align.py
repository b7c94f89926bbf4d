"""Boxes as networks regress them: deltas against other boxes, matching with the truth, sampling for a loss.

Boxes are (x_min, y_min, x_max, y_max) in pixels. Source: Ren et al., Faster R-CNN (2015), sections 3.1.2 and 3.1.3;
Girshick, Fast R-CNN (2015), section 2.3.

From boxes on an image to maps of one size: RoIAlign, and RoIPool for comparison.

The functions ending in `_reference` compute in plain steps what torchvision's operators in `pool_levels` give.
Sources: He et al., Mask R-CNN (2017), section 3; Girshick, Fast R-CNN (2015), section 2.1; Lin et al., Feature Pyramid
Networks (2017), equation 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import box_iou, roi_align, roi_pool

Weights = tuple[float, float, float, float]

_LARGEST = math.log(1000 / 16)  # log of the most that a side may grow: keeps exp() finite

IGNORED, BACKGROUND = -2, -1


def encode_boxes(boxes: Tensor, anchors: Tensor, weights: Weights = (1, 1, 1, 1)) -> Tensor:
    """How to move and scale anchors into boxes.

    Args:
        boxes: (N, 4) pixels.
        anchors: (N, 4) pixels.
        weights: by which dx, dy, dw, dh are multiplied.

    Returns:
        (N, 4): dx, dy in sides of the anchor, dw, dh logarithms.

    >>> encode_boxes(torch.tensor([[10.0, 0, 30, 20]]), torch.tensor([[0.0, 0, 20, 20]]))
    tensor([[0.5000, 0.0000, 0.0000, 0.0000]])
    """
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    from_centre, from_size = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    deltas = torch.cat([(centre - from_centre) / from_size, torch.log(size / from_size)], 1)
    return deltas * deltas.new_tensor(weights)


def decode_boxes(deltas: Tensor, anchors: Tensor, weights: Weights = (1, 1, 1, 1)) -> Tensor:
    """The boxes that deltas (..., 4) make of anchors (..., 4): the inverse of `encode_boxes`.

    >>> decode_boxes(torch.tensor([[0.5, 0, 0, 0]]), torch.tensor([[0.0, 0, 20, 20]]))
    tensor([[10.,  0., 30., 20.]])
    """
    deltas = deltas / deltas.new_tensor(weights)
    size = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + size / 2 + deltas[..., :2] * size
    half = size * deltas[..., 2:].clamp(max=_LARGEST).exp() / 2
    return torch.cat([centre - half, centre + half], -1)


def match_boxes(truth: Tensor, boxes: Tensor, *, low: float, high: float, keep_best: bool = False) -> Tensor:
    """Which true box each box stands for.

    Args:
        truth: (M, 4) true boxes.
        boxes: (N, 4).
        low: IoU below which a box is background.
        high: IoU from which it is the true box; between the two it is ignored.
        keep_best: give every true box those that overlap it most, however little (the RPN's second rule).

    Returns:
        (N,) int64: index into truth, `BACKGROUND` or `IGNORED`.

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
    """A random few of the boxes for a loss: at most a share of them objects, the rest background.

    Args:
        matches: (N,) from `match_boxes`.
        count: how many in all.
        share: of objects among them, at most.

    Returns:
        Indices of objects and of background, in ascending order.
    """
    objects, background = (matches >= 0).nonzero()[:, 0], (matches == BACKGROUND).nonzero()[:, 0]
    first = min(len(objects), int(count * share))
    second = min(len(background), count - first)
    return _few(objects, first), _few(background, second)


def _few(indices: Tensor, count: int) -> Tensor:
    order = torch.randperm(len(indices), device=indices.device)[:count]
    return indices[order].sort().values


Pooling = Literal["align", "pool"]


def bilinear(grid: Tensor, x: float, y: float) -> float:
    """The value of a grid between its points, which lie at whole numbers.

    With Q11, Q21, Q12, Q22 at the corners (x1, y1), (x2, y1), (x1, y2), (x2, y2) around the place:
    P = (y2-y)/(y2-y1) * ((x2-x)/(x2-x1) * Q11 + (x-x1)/(x2-x1) * Q21)
    + (y-y1)/(y2-y1) * ((x2-x)/(x2-x1) * Q12 + (x-x1)/(x2-x1) * Q22).

    Args:
        grid: (H, W).
        x: the place from the left; up to a point outside the edge's value holds, and further out 0.
        y: the place from above, likewise.

    >>> quad = torch.tensor([[0.1, 0.2], [1.0, 0.7]])
    >>> round(bilinear(quad, 0.25, 0.5), 4)  # 0.5 * (0.75 * 0.1 + 0.25 * 0.2) + 0.5 * (0.75 * 1.0 + 0.25 * 0.7)
    0.525
    >>> round(bilinear(quad, 1, 0), 4)
    0.2
    """
    height, width = grid.shape
    if not (-1 <= x <= width and -1 <= y <= height):
        return 0.0
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    x1, y1 = min(int(x), max(width - 2, 0)), min(int(y), max(height - 2, 0))
    x2, y2 = min(x1 + 1, width - 1), min(y1 + 1, height - 1)
    right, down = x - x1, y - y1
    above = (1 - right) * grid[y1, x1] + right * grid[y1, x2]
    below = (1 - right) * grid[y2, x1] + right * grid[y2, x2]
    return float((1 - down) * above + down * below)


def roi_align_reference(grid: Tensor, box: Sequence[float], size: int, points: int = 2) -> Tensor:
    """RoIAlign of one box on one channel: each bin is the mean of points^2 values, and nothing is rounded.

    Args:
        grid: (H, W).
        box: x_min, y_min, x_max, y_max on the grid.
        size: bins along each side.
        points: sampling points along each side of a bin.

    Returns:
        (size, size).

    2x2 bins with four sampling points each; the box's edges lie between the grid's points:

    >>> grid = torch.tensor(
    ...     [
    ...         [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    ...         [1.0, 0.7, 0.2, 0.6, 0.1, 0.9],
    ...         [0.9, 0.8, 0.7, 0.3, 0.5, 0.2],
    ...         [0.2, 0.5, 1.0, 0.7, 0.1, 0.1],
    ...     ]
    ... )
    >>> roi_align_reference(grid, (0.4, 0.6, 4.8, 2.8), 2)
    tensor([[0.5123, 0.4087],
            [0.7371, 0.3720]])

    3x3 bins over the whole grid; the last row, which `roi_pool_reference` drops, takes part:

    >>> roi_align_reference(grid, (0, 0, 6, 4), 3)
    tensor([[0.5000, 0.3833, 0.6583],
            [0.7333, 0.4667, 0.3167],
            [0.5500, 0.6250, 0.1000]])
    """
    x_min, y_min, x_max, y_max = box
    # The operators of the first Mask R-CNN let no side be shorter than one grid point, and so do checkpoints of it.
    wide, high = max(x_max - x_min, 1.0) / size, max(y_max - y_min, 1.0) / size
    offsets = [(point + 0.5) / points for point in range(points)]
    bins = [
        [
            sum(bilinear(grid, x_min + (i + dx) * wide, y_min + (j + dy) * high) for dy in offsets for dx in offsets)
            / points**2
            for i in range(size)
        ]
        for j in range(size)
    ]
    return torch.tensor(bins)


def roi_pool_reference(grid: Tensor, box: Sequence[float], size: int) -> Tensor:
    """RoIPool of one box on one channel: edges and bins are rounded down to whole points, and each bin's largest kept.

    Args:
        grid: (H, W).
        box: x_min, y_min, x_max, y_max on the grid, at least `size` points wide and high.
        size: bins along each side.

    Returns:
        (size, size).

    A box of 4x6 points in 3x3 bins: a bin is 4 // 3 = 1 high and 6 // 3 = 2 wide, so that the last row, with a 1.0 in
    it, is lost.

    >>> grid = torch.tensor(
    ...     [
    ...         [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    ...         [1.0, 0.7, 0.2, 0.6, 0.1, 0.9],
    ...         [0.9, 0.8, 0.7, 0.3, 0.5, 0.2],
    ...         [0.2, 0.5, 1.0, 0.7, 0.1, 0.1],
    ...     ]
    ... )
    >>> roi_pool_reference(grid, (0, 0, 6.25, 4.53), 3)
    tensor([[0.2000, 0.4000, 0.6000],
            [1.0000, 0.6000, 0.9000],
            [0.9000, 0.7000, 0.5000]])
    """
    left, top, right, bottom = (int(edge) for edge in box)
    wide, high = (right - left) // size, (bottom - top) // size
    part = grid[top : top + high * size, left : left + wide * size]
    return part.reshape(size, high, size, wide).amax((1, 3))


def pyramid_levels(boxes: Tensor, lowest: int = 2, highest: int = 5, k0: int = 4) -> Tensor:
    """The level of the pyramid that a box is pooled from: k = floor(k0 + log2(sqrt(w * h) / 224)).

    Args:
        boxes: (N, 4) pixels.
        lowest: level that there is.
        highest: level that there is.
        k0: level of a box of 224 x 224, the size of ImageNet's images.

    Returns:
        (N,) int64.

    >>> sizes = [(56, 56), (112, 112), (224, 224), (111, 111), (448, 448), (900, 900), (448, 112)]
    >>> pyramid_levels(torch.tensor([[0.0, 0, w, h] for w, h in sizes]))
    tensor([2, 3, 4, 2, 5, 5, 4])
    """
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    # A little more than the formula, lest 224 itself fall by a rounding error.
    levels = torch.floor(k0 + torch.log2(torch.sqrt(width * height) / 224) + 1e-6)
    return levels.clamp(lowest, highest).long()


def pool_levels(
    pyramid: Sequence[Tensor], boxes: Sequence[Tensor], size: int, *, kind: Pooling = "align", points: int = 2
) -> tuple[Tensor, Tensor]:
    """The map of each box, from its own level of the pyramid.

    Args:
        pyramid: P2, P3, ... (B, C, H / 2^l, W / 2^l).
        boxes: of each image (N_b, 4), pixels of the image.
        size: of the maps.
        kind: RoIAlign or RoIPool.
        points: sampling points along each side of a bin.

    Returns:
        (N, C, size, size) for all images one after the other, and (N,) the level of each.
    """
    every = torch.cat(list(boxes))
    owners = torch.cat([torch.full_like(one[:, :1], i) for i, one in enumerate(boxes)])
    rois = torch.cat([owners, every], 1)  # (N, 5)
    levels = pyramid_levels(every, highest=len(pyramid) + 1)
    maps = pyramid[0].new_zeros(every.shape[0], pyramid[0].shape[1], size, size)
    for level, grid in enumerate(pyramid, 2):
        at = (levels == level).nonzero()[:, 0]
        scale = 2.0**-level
        if kind == "align":
            part = roi_align(grid, rois[at], size, scale, points)
        else:
            part = roi_pool(grid, rois[at], size, scale)
        maps[at] = part.to(maps.dtype)
    return maps, levels
