"""Sequences that make their items on access, so that a data set of any size takes no memory."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar, overload

import numpy as np

P = TypeVar("P")


class LazySequence(Sequence[P]):
    """Base class of sequences that define `__len__` and `item`; slices are lazy, too."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def item(self, index: int) -> P:
        """Return the item at 0 <= index < len(self)."""

    @overload
    def __getitem__(self, index: int) -> P: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[P]: ...
    def __getitem__(self, index: int | slice) -> P | Sequence[P]:
        """Return one item, or the subset of a slice; negative indices count from the end."""
        indices = range(len(self))[index]
        return self.item(indices) if isinstance(indices, int) else Subset(self, indices)


class Subset(LazySequence[P]):
    """The items of a sequence at the given indices, in their order."""

    def __init__(self, items: Sequence[P], indices: Sequence[int]) -> None:
        self._items, self._indices = items, np.array(indices, np.int64)

    def __len__(self) -> int:
        return len(self._indices)

    def item(self, index: int) -> P:
        """Return the item of the underlying sequence."""
        return self._items[int(self._indices[index])]


class Concat(LazySequence[P]):
    """Several sequences, one after the other."""

    def __init__(self, parts: Sequence[Sequence[P]]) -> None:
        self._parts, self._starts = parts, [0, *accumulate(map(len, parts))]

    def __len__(self) -> int:
        return self._starts[-1]

    def item(self, index: int) -> P:
        """Return the item of the part that contains the index."""
        part = bisect_right(self._starts, index) - 1
        return self._parts[part][index - self._starts[part]]


def evenly_spaced(items: Sequence[P], maximum: int) -> Sequence[P]:
    """Return at most `maximum` evenly spaced items; 0 returns all."""
    if not maximum or maximum >= len(items):
        return items
    return Subset(items, [i * len(items) // maximum for i in range(maximum)])
