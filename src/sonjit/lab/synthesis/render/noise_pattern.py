"""Make the volume texture of noise and cells that skin and backgrounds are drawn with."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit._util.arrays import Image, RealArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATTERN_SIZE: Final = 48
"""Texels along each edge."""
_CELLS: Final = 12


@lru_cache(maxsize=1)
def solid_pattern() -> Image:
    """Return a texture (S, S, S, 4) with S = `PATTERN_SIZE`: fine noise, softer noise, distance to a cell's middle and
    to its border.
    """
    rng = np.random.default_rng(20240229)
    fine, soft = rng.random((2, PATTERN_SIZE, PATTERN_SIZE, PATTERN_SIZE), np.float32)
    for axis in range(3):
        for _ in range(2):
            soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    nearest, border = _cells(rng)
    return np.stack([_stretch_contrast(fine), _stretch_contrast(soft), nearest, border], -1)


def _cells(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return distances within cells around scattered points, one point in each box of a grid."""
    per = PATTERN_SIZE // _CELLS
    points = rng.random((_CELLS, _CELLS, _CELLS, 3), np.float32) * per
    inside = np.stack(
        np.meshgrid(*[np.arange(per, dtype=np.float32) + 0.5] * 3, indexing="ij"), -1
    )  # (per, per, per, 3)
    first = np.full((_CELLS,) * 3 + (per,) * 3, np.inf, np.float32)
    second = first.copy()
    for step in product((-1, 0, 1), repeat=3):
        neighbours = np.roll(points, step, (0, 1, 2)) - np.array(step, np.float32) * per
        distance = np.linalg.norm(inside - neighbours[:, :, :, None, None, None], axis=-1)
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    cubes = [cube.transpose(0, 3, 1, 4, 2, 5).reshape((PATTERN_SIZE,) * 3) / per for cube in (first, second - first)]
    return _stretch_contrast(cubes[0]), _stretch_contrast(cubes[1])


def _stretch_contrast(values: RealArray) -> Image:
    """Scale values from the 1st to the 99th percentile to 0 to 255."""
    low, high = np.percentile(values, (1, 99))
    return np.asarray(np.clip((values - low) / (high - low) * 255, 0, 255), np.uint8)
