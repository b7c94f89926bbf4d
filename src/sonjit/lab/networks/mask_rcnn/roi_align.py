"""Pool boxes of an image to maps of one size: RoIAlign, and RoIPool for a comparison.

The functions ending in `_reference` compute in plain steps what torchvision's operators compute.
Sources: He et al., Mask R-CNN (2017), section 3; Girshick, Fast R-CNN (2015), section 2.1; Lin et al., Feature Pyramid
Networks (2017), equation 1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def bilinear(grid: Tensor, x: float, y: float) -> float:
    """Return the value of a grid between its points, which are at integers.

    With Q11, Q21, Q12, Q22 at the corners (x1, y1), (x2, y1), (x1, y2), (x2, y2) around the position:
    P = (y2-y)/(y2-y1) * ((x2-x)/(x2-x1) * Q11 + (x-x1)/(x2-x1) * Q21)
    + (y-y1)/(y2-y1) * ((x2-x)/(x2-x1) * Q12 + (x-x1)/(x2-x1) * Q22).

    Args:
        grid: (H, W).
        x: Position from the left; up to one point outside, the edge's value is used, further out 0.
        y: Position from the top, with the same rule outside.

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
    """Compute RoIAlign of one box on one channel: each bin is the mean of points^2 values, without rounding.

    Args:
        grid: (H, W).
        box: x_min, y_min, x_max, y_max on the grid.
        size: Number of bins along each side.
        points: Number of sampling points along each side of a bin.

    Returns:
        (size, size).

    2x2 bins with four sampling points each; the box's edges are between the grid's points:

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

    3x3 bins over the full grid; the last row, which `roi_pool_reference` drops, is included:

    >>> roi_align_reference(grid, (0, 0, 6, 4), 3)
    tensor([[0.5000, 0.3833, 0.6583],
            [0.7333, 0.4667, 0.3167],
            [0.5500, 0.6250, 0.1000]])
    """
    x_min, y_min, x_max, y_max = box
    # The operators of the first Mask R-CNN use sides of at least one grid point, and so do its checkpoints.
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
    """Compute RoIPool of one box on one channel: edges and bins are rounded down, and each bin's maximum is used.

    `grid`: (H, W); `box`: x_min, y_min, x_max, y_max on the grid, at least `size` points wide and high; `size`: number
    of bins along each side.

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
    """Return the pyramid level of each box: k = floor(k0 + log2(sqrt(w * h) / 224)).

    Args:
        boxes: (N, 4) pixels.
        lowest: Lowest level.
        highest: Highest level.
        k0: Level of a box of 224 x 224, the size of ImageNet's images.

    Returns:
        (N,) int64.

    >>> sizes = [(56, 56), (112, 112), (224, 224), (111, 111), (448, 448), (900, 900), (448, 112)]
    >>> pyramid_levels(torch.tensor([[0.0, 0, w, h] for w, h in sizes]))
    tensor([2, 3, 4, 2, 5, 5, 4])
    """
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    # A little more than the formula, because a rounding error must not lower the level of 224 itself.
    levels = torch.floor(k0 + torch.log2(torch.sqrt(width * height) / 224) + 1e-6)
    return levels.clamp(lowest, highest).long()
