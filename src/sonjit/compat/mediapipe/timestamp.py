"""Define `Timestamp`, the time of an image in microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, order=True)
class Timestamp:
    """A time in microseconds.

    Attributes:
        value: Microseconds.

    >>> Timestamp.from_seconds(1.5).value
    1500000
    """

    value: int

    @classmethod
    def from_seconds(cls, seconds: float) -> Self:
        """Return the time of a number of seconds, rounded to microseconds."""
        return cls(round(seconds * 1e6))

    def seconds(self) -> float:
        """Return the time in seconds."""
        return self.value / 1e6

    def microseconds(self) -> int:
        """Return the time in microseconds."""
        return self.value
