"""Parts of a person whose keypoints are evaluated separately."""

from __future__ import annotations

from typing import NamedTuple


class PersonPart(NamedTuple):
    """Part of a person: kind and side of its instances, their skeleton, the selected keypoints and their sigmas."""

    kind: str
    side: str | None
    skeleton: str
    chosen: slice
    sigmas: tuple[float, ...]
