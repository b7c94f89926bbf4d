"""Anchors of single-shot detectors (Liu et al. 2016, SSD, section 2.2; the variant of MediaPipe's detectors)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class AnchorGrid:
    """How anchors are laid over a square input.

    Attributes:
        input_size: side of the network's input in pixels.
        strides: one per layer; neighbouring layers of one stride share a grid.
        aspect_ratios: width / height of each anchor of a layer.
        interpolated_aspect_ratio: of one more anchor per layer, at a scale between this layer's and the next; 0: none.
        min_scale: of the first layer, as a part of the input.
        max_scale: of the last layer.
        fixed_size: every anchor is 1 x 1; only the centres count.
        reduce_lowest_layer: the first layer has three fixed anchors instead.
        offset: of the centre within a cell.
    """

    input_size: int
    strides: tuple[int, ...]
    aspect_ratios: tuple[float, ...] = (1.0,)
    interpolated_aspect_ratio: float = 1.0
    min_scale: float = 0.2
    max_scale: float = 0.95
    fixed_size: bool = True
    reduce_lowest_layer: bool = False
    offset: float = 0.5

    def anchors(self) -> NDArray[np.float32]:
        """(N, 4) float32: centre x, y, width, height as parts of the input; rows first, then columns."""
        scales = [self._scale(layer) for layer in range(len(self.strides))]
        grids: list[NDArray[np.float32]] = []
        for stride, members in groupby(range(len(self.strides)), key=lambda layer: self.strides[layer]):
            sizes = [size for layer in members for size in self._sizes(layer, scales)]
            cells = math.ceil(self.input_size / stride)
            centre = (np.arange(cells, dtype=np.float32) + self.offset) / cells
            grid = np.empty((cells, cells, len(sizes), 4), np.float32)  # (y, x, anchor, 4)
            grid[..., 0], grid[..., 1] = centre[None, :, None], centre[:, None, None]
            grid[..., 2:] = 1.0 if self.fixed_size else np.array(sizes, np.float32)
            grids.append(grid.reshape(-1, 4))
        return np.concatenate(grids)

    def _scale(self, layer: int) -> float:
        if len(self.strides) == 1:
            return (self.min_scale + self.max_scale) / 2
        return self.min_scale + (self.max_scale - self.min_scale) * layer / (len(self.strides) - 1)

    def _sizes(self, layer: int, scales: list[float]) -> list[tuple[float, float]]:
        """(width, height) of one layer's anchors."""
        scale = scales[layer]
        if layer == 0 and self.reduce_lowest_layer:
            pairs = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        else:
            pairs = [(scale, ratio) for ratio in self.aspect_ratios]
            if self.interpolated_aspect_ratio > 0:
                following = scales[layer + 1] if layer + 1 < len(scales) else 1.0
                pairs.append((math.sqrt(scale * following), self.interpolated_aspect_ratio))
        return [(s * math.sqrt(r), s / math.sqrt(r)) for s, r in pairs]
