"""What an instance is seen as in one frame, and how two such observations lie to each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, TypeVar

import numpy as np

from sonjit.detectors.smoothing import size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SAME_DISTANCE = 0.12
"""Mean keypoint distance, in instance sizes, under which two observations are one object."""
_INSIDE, _SAME_SIDE = 0.7, 0.5
"""Share of the smaller one's box inside the other's, from which on two whose sides differ by less are one object."""
_MARGIN = 0.1
"""Of its size, by which an instance's box is grown to see whether another one's touches it."""

O = TypeVar("O", bound="Observation")  # noqa: E741


class Observation(Protocol):
    """What the landmark network saw in one box.

    Attributes:
        score: presence, 0..1.
        keypoints: (K, 3) float32 in pixels of the image.
        keypoints_3d: (K, 3) float32 metres, or None where the network gives none.
        left: probability that it is the person's left one, or None where there are no sides.
        colours: (C,) float32 grey levels by which it can be told from others, or None where there are none.
    """

    @property
    def score(self) -> float: ...
    @property
    def keypoints(self) -> NDArray[np.float32]: ...
    @property
    def keypoints_3d(self) -> NDArray[np.float32] | None: ...
    @property
    def left(self) -> float | None: ...
    @property
    def colours(self) -> NDArray[np.float32] | None: ...


def without_duplicates(new: Sequence[O], held: Sequence[O] = (), *, one_reading: bool = False) -> list[O]:
    """Observations without those of an object that is held already or seen earlier in the list."""
    kept, discs = list(held), [Disc.around(one) for one in held]
    for observation in new:
        disc = Disc.around(observation)
        near = (other for other, its in zip(kept, discs, strict=True) if disc.may_touch(its))
        if not any(is_same_object(observation, other, one_reading=one_reading) for other in near):
            kept.append(observation)
            discs.append(disc)
    return kept[len(held) :]


def is_same_object(a: Observation, b: Observation, *, one_reading: bool = False) -> bool:
    """Whether two observations lie on one object.

    Their keypoints coincide; or, with `one_reading`, they are of one side and one lies inside the other: a network can
    read a hand in two ways (a thumb as a forefinger) that share little but the place.
    """
    if mean_distance(a, b) < _SAME_DISTANCE:
        return True
    if not one_reading or a.left is None or b.left is None or abs(a.left - b.left) > _SAME_SIDE:
        return False
    return share_inside(a.keypoints, b.keypoints) > _INSIDE


def share_inside(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Share of the smaller box around keypoints (K, 2 or more) that lies in the other's."""
    low_a, high_a, low_b, high_b = (edge[:2] for edge in (a.min(0), a.max(0), b.min(0), b.max(0)))
    shared = np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None).prod()
    return float(shared / max(min((high_a - low_a).prod(), (high_b - low_b).prod()), 1e-6))


class Disc(NamedTuple):
    """Where an observation is: its centre and its size, the long side of the box around it, in pixels."""

    centre: list[float]
    size: float

    @classmethod
    def around(cls, observation: Observation) -> Self:
        """That of an observation's keypoints."""
        return cls(centre_of(observation).tolist(), _size(observation))

    def may_touch(self, other: Disc) -> bool:
        """Whether two observations could overlap at all, which spares the closer look at most pairs of a crowd."""
        return math.dist(self.centre, other.centre) < 1.5 * (self.size + other.size)


def mean_distance(a: Observation, b: Observation, chosen: slice | list[int] = slice(None)) -> float:
    """Mean distance of their keypoints, all or those chosen, in sizes of the larger one."""
    first, second = a.keypoints[chosen, :2], b.keypoints[chosen, :2]
    return float(np.linalg.norm(first - second, axis=1).mean()) / max(size_of(first), size_of(second))


def difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Of two colours (C,), on average, in grey levels."""
    return float(np.linalg.norm(a - b)) / math.sqrt(len(a))


def are_near(a: Observation, b: Observation) -> bool:
    """Whether their boxes, grown by a margin, overlap: a hand is wider than its keypoints, and moves between frames."""
    (low_a, high_a), (low_b, high_b) = ((one.keypoints[:, :2].min(0), one.keypoints[:, :2].max(0)) for one in (a, b))
    margin = _MARGIN * (_size(a) + _size(b))
    return bool((low_a < high_b + margin).all() and (low_b < high_a + margin).all())


def kept_behind(
    hidden: Observation, shift: NDArray[np.float64], covers: Sequence[Observation], off: float
) -> NDArray[np.float64]:
    """A step (2,) of a hidden instance that ends near the middle of what covers it: no more than `off` of its sizes."""
    cover = min(covers, key=lambda one: float(np.linalg.norm(centre_of(one) - centre_of(hidden))))
    before = centre_of(hidden) - centre_of(cover)
    after = before + shift
    return after * min(off * _size(cover) / max(float(np.linalg.norm(after)), 1e-6), 1.0) - before


def centre_of(observation: Observation) -> NDArray[np.float64]:
    """(2,) mean of the keypoints."""
    return observation.keypoints.T[:2].copy().mean(axis=1, dtype=np.float64)  # in rows: five times as fast for faces


def _size(observation: Observation) -> float:
    return size_of(observation.keypoints[:, :2])
