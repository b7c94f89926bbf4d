"""Pairs of landmark indices to draw as lines, as lists of `Connection`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Connection:
    """A line from one landmark to another."""

    start: int
    end: int


def connections(pairs: Iterable[tuple[int, int]]) -> list[Connection]:
    """Pairs of indices as lines, sorted."""
    return [Connection(*pair) for pair in sorted(pairs)]
