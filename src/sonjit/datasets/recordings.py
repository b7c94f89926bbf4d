"""Frames of a recording around one, with the same hand in all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from sonjit.datasets.sample import Instance, Sample


class Samples(Protocol):
    """Samples by their places."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


HandOf = Callable[[Sample, Instance | None], Instance | None]
"""Gives a sample's hand that is the same as another; its first where that is None; None without one."""


def frames_around(
    samples: Samples, index: int, frames: int, gap: int, *, stops_at_gap: bool, hand_of: HandOf
) -> list[tuple[Sample, Instance]]:
    """A sample and those before and after it in its recording, oldest first, each with the same hand.

    A missing neighbour is replaced by the nearest frame found on its side; with `stops_at_gap` farther ones are then
    not searched.

    Args:
        samples: in which those of a recording follow each other in order, some of them left out.
        index: of the middle.
        frames: how many, an odd number.
        gap: from one to the next.
        stops_at_gap: see above.
        hand_of: which hand is meant.

    Returns:
        Nothing where the middle has no such hand.
    """
    middle = samples[index]
    hand = hand_of(middle, None)
    if hand is None:
        return []
    window: list[tuple[Sample, Instance]] = [(middle, hand)]
    for way in (-1, 1):
        nearest, ended = (middle, hand), False
        for step in range(1, frames // 2 + 1):
            found = None if ended else _beside(samples, index, way * step * gap, hand, hand_of)
            ended = ended or (found is None and stops_at_gap)
            nearest = found or nearest
            window.insert(len(window) if way > 0 else 0, nearest)
    return window


def _beside(
    samples: Samples, index: int, offset: int, hand: Instance, hand_of: HandOf
) -> tuple[Sample, Instance] | None:
    """The sample of the same recording and camera so many frames away, with the same hand; found by halving."""
    own, way = samples[index], 1 if offset > 0 else -1
    if own.frame is None:
        return None
    near, far = 1, min(abs(offset), (len(samples) - 1 - index) if way > 0 else index)
    place = far  # where no frame is left out
    while near <= far:
        other = samples[index + way * place]
        same = (other.sequence, other.view) == (own.sequence, own.view) and other.frame is not None
        away = way * (other.frame - own.frame) if same and other.frame is not None else math.inf
        if away == abs(offset):
            found = hand_of(other, hand)
            return None if found is None else (other, found)
        near, far = (place + 1, far) if away < abs(offset) else (near, place - 1)
        place = (near + far) // 2
    return None
