"""Which hands are seen in one crop: a right and a left one that are near each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.networks.internet_steps import box_of_joints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.networks.hand_layouts import Side

_NEAR = 3.0
"""By how much the longer side of the box around two hands may exceed that of the larger hand: beyond, a hand would fill
so little of the crop that the network loses more than it gains by seeing both."""


def pairs_of_hands(hands_px: Sequence[NDArray[np.floating]], sides: Sequence[Side]) -> list[dict[Side, int]]:
    """Hands as pairs and single ones, the nearest first.

    Args:
        hands_px: (K, 2) joints of each hand in pixels.
        sides: which hand each is.

    Returns:
        One mapping from side to the hand's number for each crop; every hand stands in one.
    """
    near = sorted(
        (_spread([hands_px[right], hands_px[left]]), right, left)
        for right in range(len(sides))
        for left in range(len(sides))
        if (sides[right], sides[left]) == ("Right", "Left")
    )
    pairs: list[dict[Side, int]] = []
    free = set(range(len(sides)))
    for spread, right, left in near:
        if spread <= _NEAR and {right, left} <= free:
            pairs.append({"Right": right, "Left": left})
            free -= {right, left}
    return [*pairs, *({sides[index]: index} for index in sorted(free))]


def _spread(hands_px: Sequence[NDArray[np.floating]]) -> float:
    """Longer side of the box around hands, in those of the largest one."""
    alone = max(_side(hand) for hand in hands_px)
    return _side(np.concatenate(hands_px)) / max(alone, 1e-6)


def _side(joints_px: NDArray[np.floating]) -> float:
    box = box_of_joints(joints_px)
    return max(box.width, box.height)
