"""Regions of an image that a drawing needs."""

import math
from collections.abc import Iterable
from typing import NamedTuple, Self

from sonjit.results import Box

TILE_PX = 32  # side of the tiles to which regions are aligned, in pixels


class Region(NamedTuple):
    """Rectangle of whole pixels with exclusive right and bottom edges, which are multiples of `TILE_PX` or the ends."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def around(cls, box: Box, width: int, height: int) -> Self:
        """Return the smallest region that contains a box, inside an image of a size in pixels; empty if outside."""
        left, top = (max(math.floor(edge / TILE_PX), 0) * TILE_PX for edge in box[:2])
        right, bottom = (math.ceil(edge / TILE_PX) * TILE_PX for edge in box[2:])
        return cls(min(left, width), min(top, height), min(max(right, 0), width), min(max(bottom, 0), height))

    def touches(self, other: "Region") -> bool:
        """Check whether two regions overlap, or have a common edge or corner."""
        is_apart = self.right < other.left or other.right < self.left
        return not (is_apart or self.bottom < other.top or other.bottom < self.top)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Return the rows and columns of the region."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def merge_regions(regions: Iterable[Region]) -> list[Region]:
    """Replace regions that overlap or touch, also at a corner, by the region that contains both."""
    merged: list[Region] = []
    for region in regions:
        touching = [region]
        while touching:
            lefts, tops, rights, bottoms = zip(region, *touching, strict=True)
            region = Region(min(lefts), min(tops), max(rights), max(bottoms))
            touching = [other for other in merged if region.touches(other)]
            merged = [other for other in merged if other not in touching]
        merged.append(region)
    return merged
