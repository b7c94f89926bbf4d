"""Frames around a frame of a recording, with the same hand in all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sonjit.lab.datasets.sample import Instance, Sample

HandOf = Callable[[Sample, Instance | None], Instance | None]
"""Function that returns the same hand in another sample; the first hand if the argument is None; None without one."""


def frames_around(
    samples: Sequence[Sample], index: int, frames: int, gap: int, *, stops_at_gap: bool, hand_of: HandOf
) -> list[tuple[Sample, Instance]]:
    """Return a sample and those before and after it in its recording, oldest first, each with the same hand.

    A missing neighbour is replaced by the nearest frame found on its side. With `stops_at_gap`, frames beyond it are
    not searched.

    Args:
        samples: Sequence[Sample], in which those of a recording are in order, possibly with gaps.
        index: Index of the middle frame.
        frames: Number of frames, odd.
        gap: Distance between frames.
        stops_at_gap: Stop the search at the first missing neighbour.
        hand_of: Function that finds the hand in a sample.

    Returns:
        Samples with their hands; empty if the middle frame has no such hand.
    """
    middle = samples[index]
    hand = hand_of(middle, None)
    if hand is None:
        return []
    window: list[tuple[Sample, Instance]] = [(middle, hand)]
    for way in (-1, 1):
        nearest, ended = (middle, hand), False
        for step in range(1, frames // 2 + 1):
            found = None if ended else _neighbour(samples, index, way * step * gap, hand, hand_of)
            ended = ended or (found is None and stops_at_gap)
            nearest = found or nearest
            window.insert(len(window) if way > 0 else 0, nearest)
    return window


def _neighbour(
    samples: Sequence[Sample], index: int, offset: int, hand: Instance, hand_of: HandOf
) -> tuple[Sample, Instance] | None:
    """Return the sample of the same recording and camera at a frame offset, with the same hand, by binary search."""
    own, way = samples[index], 1 if offset > 0 else -1
    if own.frame is None:
        return None
    near, far = 1, min(abs(offset), (len(samples) - 1 - index) if way > 0 else index)
    step = far  # where no frame is left out
    while near <= far:
        other = samples[index + way * step]
        same = (other.sequence, other.view) == (own.sequence, own.view) and other.frame is not None
        away = way * (other.frame - own.frame) if same and other.frame is not None else math.inf
        if away == abs(offset):
            found = hand_of(other, hand)
            return None if found is None else (other, found)
        near, far = (step + 1, far) if away < abs(offset) else (near, step - 1)
        step = (near + far) // 2
    return None
