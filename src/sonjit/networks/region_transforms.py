"""Look again at a region of a map, where points found in it say: what the attention mesh turns on.

Matrices (B, 2, 3) take x, y of a region, in its own pixels, to pixels of the map; pixel centres are at half-integers.
All is differentiable, in the points as in the map.

Source: Jaderberg et al. 2015, Spatial Transformer Networks, sections 3.2 and 3.3; Grishchenko et al. 2020, Attention
Mesh, section 2.1; what mediapipe's operators compute was found by comparing tensors with version 0.10.21.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

_TINY = 1e-6


def region_matrix(points: Tensor, left: int, right: int, size: int, scale: float) -> Tensor:
    """The way into a square region around points: turned to have two of them level, then made larger.

    Args:
        points: (B, K, 2) in pixels of the map.
        left: which of them lies level with the right one, and to its left, in the region.
        right: which of them that is.
        size: of the region, in its own pixels.
        scale: how much larger it is than the box around the points.
    """
    cos, sin = F.normalize(points[:, right] - points[:, left], dim=-1, eps=_TINY).unbind(-1)
    turn = torch.stack([cos, -sin, sin, cos], -1).unflatten(-1, (2, 2))  # (B, 2, 2) from level to the map
    level = points @ turn
    low, high = level.amin(1), level.amax(1)  # (B, 2)
    linear = turn * ((high - low) * (scale / size)).unsqueeze(1)
    centre = (turn @ ((low + high) / 2).unsqueeze(2)).squeeze(2)  # (B, 2)
    shift = centre - linear.sum(2) * (size / 2)
    return torch.cat([linear, shift.unsqueeze(2)], 2)


def sample_region(values: Tensor, matrix: Tensor, size: int) -> Tensor:
    """A region (B, C, size, size) of a map (B, C, H, W), bilinearly; a pixel whose centre lies outside is 0."""
    centres = torch.arange(size, dtype=values.dtype, device=values.device) + 0.5
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    where = transform_points(torch.stack([columns, rows], -1).flatten(0, 1), matrix) - 0.5  # (B, size * size, 2)
    last = where.new_tensor([values.shape[3] - 1, values.shape[2] - 1])
    inside = ((where >= 0) & (where <= last)).all(-1)
    grid = (where * 2 / last - 1).unflatten(1, (size, size))
    sampled = F.grid_sample(values, grid, padding_mode="border", align_corners=True)
    return sampled * inside.unflatten(1, (1, size, size))


def transform_points(points: Tensor, matrix: Tensor) -> Tensor:
    """Points (B, K, 2) or (K, 2) by matrices (B, 2, 3): (B, K, 2)."""
    return points @ matrix[..., :2].transpose(1, 2) + matrix[..., 2].unsqueeze(1)
