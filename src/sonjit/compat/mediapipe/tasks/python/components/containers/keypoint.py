"""`NormalizedKeypoint`."""

from dataclasses import dataclass


@dataclass
class NormalizedKeypoint:
    """A point of a detection: x as a part of the image's width, y of its height."""

    x: float | None = None
    y: float | None = None
    label: str | None = None
    score: float | None = None
