"""Sequences whose items are made when they are asked for, so that a data set of any size takes no memory."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar, overload

import numpy as np

P = TypeVar("P")


class LazySequence(Sequence[P]):
    """A sequence by its length and its single items; a slice is lazy, too."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def item(self, index: int) -> P:
        """The one at 0 <= index < len(self)."""

    @overload
    def __getitem__(self, index: int) -> P: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[P]: ...
    def __getitem__(self, index: int | slice) -> P | Sequence[P]:
        """One item, or a part of them; negative places count from the end."""
        places = range(len(self))[index]
        return self.item(places) if isinstance(places, int) else Part(self, places)


class Part(LazySequence[P]):
    """The items at some places, in their order."""

    def __init__(self, whole: Sequence[P], places: Sequence[int]) -> None:
        self._whole, self._places = whole, np.array(places, np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def item(self, index: int) -> P:
        """As the whole has it."""
        return self._whole[int(self._places[index])]


class Joined(LazySequence[P]):
    """Sequences one after the other."""

    def __init__(self, parts: Sequence[Sequence[P]]) -> None:
        self._parts, self._starts = parts, [0, *accumulate(map(len, parts))]

    def __len__(self) -> int:
        return self._starts[-1]

    def item(self, index: int) -> P:
        """As its part has it."""
        part = bisect_right(self._starts, index) - 1
        return self._parts[part][index - self._starts[part]]


def spread(whole: Sequence[P], most: int) -> Sequence[P]:
    """At most so many, evenly spread; 0 for all."""
    if not most or most >= len(whole):
        return whole
    return Part(whole, [i * len(whole) // most for i in range(most)])
