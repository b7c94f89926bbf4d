"""From a map to boxes: all above a share of its greatest value, the largest connected part.

Source: Zhou et al. 2016, Learning Deep Features for Discriminative Localization, sections 3.2 and 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.results import Box

LOOSE, TIGHT = 0.2, 0.5
"""Shares of the greatest value; the paper gives 20 % for its one box, and none for the tight one: ours."""


def box_from_map(values: NDArray[np.floating], threshold: float = LOOSE) -> Box | None:
    """Box around the largest connected part of a map above a share of its maximum.

    Args:
        values: (H, W) map at picture size.
        threshold: share of the maximum, in 0..1.

    Returns:
        x_min, y_min, x_max, y_max in pixels, the outer edges of the cells; None where nothing is above zero.

    >>> import numpy as np
    >>> box_from_map(np.array([[0, 0, 0, 0], [0, 9, 5, 0], [0, 0, 0, 2]]))
    (1.0, 1.0, 4.0, 3.0)
    >>> box_from_map(np.array([[0, 0, 0, 0], [0, 9, 5, 0], [0, 0, 0, 2]]), threshold=0.5)
    (1.0, 1.0, 3.0, 2.0)
    """
    import cv2

    if not 0 <= threshold < 1:
        raise InputError(f"threshold={threshold}: give a share of the maximum, at least 0 and below 1")
    peak = float(values.max())
    if not peak > 0:
        return None
    above = (values > threshold * peak).astype(np.uint8)
    _, _, parts, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    x, y, width, height, _ = parts[1 + int(parts[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    return float(x), float(y), float(x + width), float(y + height)


def boxes_from_maps(maps: Sequence[NDArray[np.floating]]) -> list[tuple[int, Box]]:
    """The heuristic choice of several boxes: tight and loose for the first two classes, loose for the third.

    Args:
        maps: (H, W) at picture size, of the most probable classes, best first.

    Returns:
        (place in `maps`, box), at most five, best class first; identical boxes of a class once.
    """
    chosen: list[tuple[int, Box]] = []
    for place, values in enumerate(maps[:3]):
        for threshold in (TIGHT, LOOSE) if place < 2 else (LOOSE,):
            box = box_from_map(values, threshold)
            if box is not None and (place, box) not in chosen:
                chosen.append((place, box))
    return chosen
