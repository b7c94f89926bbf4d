"""Scale 16-bit values of images and videos to 8 bits."""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Image

_NARROW: Final = 1 << 14  # difference of 16-bit values that are stretched: fewer than 64 of 256 levels would be used
_MAX_VALUES: Final = 1 << 17  # number of values of an image by which its range is known


class Levels(NamedTuple):
    """16-bit values that become black and white in 8 bits.

    >>> Levels(0, 4095).eight_bits(np.array([0, 2048, 4095], np.uint16)).tolist()
    [0, 128, 255]
    """

    black: int = 0
    white: int = 65535

    def eight_bits(self, values: NDArray[np.uint16]) -> Image:
        """Return 16-bit values as uint8; those outside of the levels are black or white."""
        span = max(1, self.white - self.black + 1)
        table = np.clip((np.arange(1 << 16) - self.black) * 256 // span, 0, 255).astype(np.uint8)
        return table[values]


def used_levels(images: Iterable[NDArray[np.uint16]]) -> Levels | None:
    """Return the levels of 16-bit images that use so narrow a range that they need a stretch, or None.

    0, which stands for missing values, and 1 of 1000 values at either end do not count.
    """
    ends = list[tuple[float, float]]()
    for values in images:
        some = values.ravel()[:: 1 + values.size // _MAX_VALUES]
        if (some := some[some > 0]).size:
            low, high = np.percentile(some, (0.1, 99.9)).tolist()
            ends.append((low, high))
    if not ends:
        return None
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    return Levels(math.floor(low), math.ceil(high)) if 0 < high - low < _NARROW else None


def stretch_note(levels: Levels) -> str:
    """Return the line about images whose values are stretched."""
    return f"16-bit values are stretched from {levels.black} (black) to {levels.white} (white)"
