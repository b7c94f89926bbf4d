"""`Landmark` and `NormalizedLandmark`."""

from dataclasses import dataclass


@dataclass(slots=True)
class Landmark:
    """A point in metres: x right, y down, z away from the camera; None for what a network does not give."""

    x: float | None = None
    y: float | None = None
    z: float | None = None
    visibility: float | None = None
    presence: float | None = None


@dataclass(slots=True)
class NormalizedLandmark:
    """A point in an image: x as a part of its width, y of its height, z of its width, nearer is smaller."""

    x: float | None = None
    y: float | None = None
    z: float | None = None
    visibility: float | None = None
    presence: float | None = None
