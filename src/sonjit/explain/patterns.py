"""Pattern discovery: what the images of one class have in common where their class activation maps are high.

Source: Zhou et al. 2016, section 4.2 (informative objects in scenes): regions of all images of a class
by its map, the strongest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.explain.overlay import enlarge
from sonjit.metrics.localization import box_from_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.results import Box


@dataclass(frozen=True, eq=False)
class Region:
    """The most informative part of one image.

    Attributes:
        index: of the image.
        box: x_min, y_min, x_max, y_max in pixels.
        strength: mean of the class's map in the box.
        crop: (h, w, 3) uint8, the image in the box.
    """

    index: int
    box: Box
    strength: float
    crop: NDArray[np.uint8]


def informative_regions(
    images: Sequence[NDArray[np.uint8]], maps: Sequence[NDArray[np.float32]], threshold: float = 0.5
) -> list[Region]:
    """One region per image of a class, that of the strongest evidence first.

    Args:
        images: (H, W, 3) uint8 each.
        maps: (h, w), the class's map of each; images without evidence for the class are left out.
        threshold: of the box, as a share of the map's maximum.
    """
    if len(images) != len(maps):
        raise InputError(f"{len(maps)} maps for {len(images)} images: give one per image")
    found: list[Region] = []
    for index, (rgb, values) in enumerate(zip(images, maps, strict=True)):
        large = enlarge(values, rgb.shape[1], rgb.shape[0])
        box = box_from_map(large, threshold)
        if box is not None:
            x_min, y_min, x_max, y_max = (round(edge) for edge in box)
            part = slice(y_min, y_max), slice(x_min, x_max)
            found.append(Region(index, box, float(large[part].mean()), rgb[part]))
    return sorted(found, key=lambda one: -one.strength)


def mean_map(maps: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of a class's maps, (h, w), each scaled to a maximum of 1."""
    if not maps:
        raise InputError("no maps to take the mean of: give at least one")
    return np.stack([values / max(float(values.max()), 1e-12) for values in maps]).mean(0).astype(np.float32)
