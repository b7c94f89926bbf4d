"""Boxes of class activation maps.

Source: Zhou et al. 2016, Learning Deep Features for Discriminative Localization, section 3.2.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from sonjit._util import InputError, RealArray
from sonjit._util.records import numbers
from sonjit.results import Box

LOOSE: Final = 0.2
"""Share of a map's maximum above which cells belong to the paper's single box."""
TIGHT: Final = 0.5
"""Share of a map's maximum above which cells belong to a second, smaller box."""


def box_from_map(values: RealArray, threshold: float = LOOSE, *, connectivity: Literal[4, 8] = 8) -> Box | None:
    """Return the box around the largest connected part of a map above a share of its maximum.

    Args:
        values: Map (H, W) at image size; NaN belongs to no part.
        threshold: Share of the maximum, 0 to 1.
        connectivity: Connectivity of cells: 8 joins cells that touch at a corner, 4 does not.

    Returns:
        Box as x_min, y_min, x_max, y_max in pixels, the outer edges of the cells; None where nothing is above zero.

    >>> import numpy as np
    >>> box_from_map(np.array([[0, 0, 0, 0], [0, 9, 5, 0], [0, 0, 0, 2]]))
    (1.0, 1.0, 4.0, 3.0)
    >>> box_from_map(np.array([[0, 0, 0, 0], [0, 9, 5, 0], [0, 0, 0, 2]]), threshold=0.5)
    (1.0, 1.0, 3.0, 2.0)
    """
    import cv2

    if not 0 <= threshold < 1:
        raise InputError(f"threshold={threshold}: give a share of the maximum, at least 0 and below 1")
    if connectivity not in (4, 8):
        raise InputError(f"connectivity={connectivity}: give 4 or 8")
    values = numbers(values, (-1, -1), "map")
    peak = float(np.where(np.isnan(values), -np.inf, values).max(initial=-np.inf))
    if not peak > 0:
        return None
    above = (values > threshold * peak).astype(np.uint8)
    _, _, regions, _ = cv2.connectedComponentsWithStats(above, connectivity=connectivity)
    x, y, width, height, _ = regions[1 + int(regions[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    return float(x), float(y), float(x + width), float(y + height)


def boxes_from_maps(maps: Sequence[RealArray]) -> list[tuple[int, Box]]:
    """Choose up to five boxes: tight and loose ones for the first two classes, a loose one for the third.

    Args:
        maps: Maps (H, W) at image size of the most probable classes, best first.

    Returns:
        Pairs of an index into `maps` and a box, best class first, without identical boxes of a class.
    """
    chosen: list[tuple[int, Box]] = []
    for index, values in enumerate(maps[:3]):
        for threshold in (TIGHT, LOOSE) if index < 2 else (LOOSE,):
            box = box_from_map(values, threshold)
            if box is not None and (index, box) not in chosen:
                chosen.append((index, box))
    return chosen
