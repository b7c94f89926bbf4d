"""How cameras stand to each other: from pairs that saw the target at once, along the best tree of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.multiview.planar import angle_between

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.multiview.planar import TargetPose

Place = tuple["NDArray[np.float64]", "NDArray[np.float64]"]
"""R (3, 3) and t (3,) metres of one frame of axes in another."""

_NEAR_RAD = np.radians(4)
_NEAR_SHARE = 0.06
_MOST_FRAMES = 60
_OTHER_RAD = np.radians(8)
_CLOSE_CALL = 0.8
_AGREED = 0.4


@dataclass(frozen=True, eq=False)
class Pair:
    """Two cameras that saw the target at once.

    Attributes:
        first: place of a camera in the rig's order.
        second: likewise.
        place: from the first camera's frame to the second's.
        frames: instants that agree on it.
        common: instants that both saw the target in.
        rival: instants that agree on the next best place, which is not this one.
    """

    first: int
    second: int
    place: Place
    frames: int
    common: int
    rival: int

    @property
    def is_unsure(self) -> bool:
        """Another place explains almost as many instants: the two solutions of a flat board."""
        return self.rival >= _CLOSE_CALL * self.frames


def pairs_of(poses: Sequence[Mapping[int, list[TargetPose]]]) -> list[Pair]:
    """Every pair of cameras that saw the target at once.

    Each instant proposes up to four places, two solutions of one camera by two of the other; only the true ones agree
    over instants, because a false one depends on how the target was held.

    Args:
        poses: of the target before each camera, by frame.
    """
    found: list[Pair] = []
    for first, second in combinations(range(len(poses)), 2):
        common = sorted(set(poses[first]) & set(poses[second]))
        if common:
            asked = common[:: -(-len(common) // _MOST_FRAMES)]
            found.append(_agreed(first, second, [(poses[first][frame], poses[second][frame]) for frame in asked]))
    return found


def tree_places(pairs: Sequence[Pair], names: Sequence[str]) -> tuple[list[Place], list[Pair]]:
    """Where every camera stands in the first one's frame, along the tree of the pairs that agree in most instants.

    Returns:
        World to camera for each, and the pairs of the tree.

    Raises:
        InputError: cameras that never saw the target together with the others, or that contradict them; names them.
    """
    places: dict[int, Place] = {0: (np.eye(3), np.zeros(3))}
    tree: list[Pair] = []
    while len(places) < len(names):
        edges = [pair for pair in pairs if (pair.first in places) != (pair.second in places)]
        if not edges:
            apart = [name for place, name in enumerate(names) if place not in places]
            raise InputError(
                f"cameras {', '.join(apart)} never saw the board at the same instant as "
                f"{', '.join(names[place] for place in places)}: carry it from one to the other, or check the sync"
            )
        best = max(edges, key=lambda pair: (not pair.is_unsure, pair.frames, pair.frames - pair.rival))
        if best.frames < _AGREED * min(best.common, _MOST_FRAMES):
            raise InputError(
                f"cameras {names[best.first]} and {names[best.second]} agree on how they stand in only {best.frames} "
                f"of {best.common} instants: their pictures are not of the same instants, or a lens is wrong"
            )
        tree.append(best)
        if best.first in places:
            places[best.second] = joined(best.place, places[best.first])
        else:
            places[best.first] = joined(inverse(best.place), places[best.second])
    return [places[place] for place in range(len(names))], tree


def joined(second: Place, first: Place) -> Place:
    """The place that does `first`, then `second`."""
    return second[0] @ first[0], second[0] @ first[1] + second[1]


def inverse(place: Place) -> Place:
    """The way back."""
    return place[0].T, -place[0].T @ place[1]


def _agreed(first: int, second: int, seen: list[tuple[list[TargetPose], list[TargetPose]]]) -> Pair:
    """The place that most instants agree on, averaged over them, and how many agree on its rival."""
    proposals = [
        (frame, joined((b.R, b.t), inverse((a.R, a.t))), a.rms_px + b.rms_px)
        for frame, (ones, others) in enumerate(seen)
        for a in ones
        for b in others
    ]
    if not proposals:
        return Pair(first, second, (np.eye(3), np.zeros(3)), 0, len(seen), 0)
    R = np.stack([place[0] for _, place, _ in proposals])
    t = np.stack([place[1] for _, place, _ in proposals])
    frames, rms = np.array([frame for frame, *_ in proposals]), np.array([error for *_, error in proposals])
    turned = np.arccos(np.clip((np.einsum("aij,bij->ab", R, R) - 1) / 2, -1, 1))
    shifted = np.linalg.norm(t[:, None] - t, axis=2) / np.maximum(np.linalg.norm(t, axis=1), 0.05)[:, None]
    near = (turned < _NEAR_RAD) & (shifted < _NEAR_SHARE)
    support = np.array([len(np.unique(frames[row])) for row in near])
    mean_rms = (near * rms).sum(1) / near.sum(1)
    best = int(np.lexsort((mean_rms, -support))[0])
    agreed = near[best]
    left, _, right = np.linalg.svd(R[agreed].sum(0))
    middle = left @ right
    others = np.array([angle_between(middle, one) > _OTHER_RAD for one in R])
    rival = int(support[others].max()) if others.any() else 0
    return Pair(first, second, (middle, np.median(t[agreed], axis=0)), int(support[best]), len(seen), rival)
