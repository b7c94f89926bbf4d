"""Define connections: pairs of landmark indices to draw as lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Connection:
    """A line from one landmark to another."""

    start: int
    end: int


def connections(pairs: Iterable[tuple[int, int]]) -> list[Connection]:
    """Return pairs of indices as connections, in the given order."""
    return [Connection(*pair) for pair in pairs]
