"""Observations of instances in one frame, and how two observations relate."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np

from sonjit._util import Float32Array, FloatArray
from sonjit.geometry.boxes import overlap_over_smaller, size_of

_SAME_DISTANCE = 0.12  # maximum mean keypoint distance, in instance sizes, of two observations of one object
_NESTED_OVERLAP, _MAX_SIDE_DIFFERENCE = 0.7, 0.5
"""Minimum share of the smaller box in the larger one, and maximum difference of the sides, of two readings of one
object."""
_BOX_MARGIN = 0.1  # margin around a box, in instance sizes, within which another box is near

O = TypeVar("O", bound="Observation")  # noqa: E741


class Observation(Protocol):
    """Output of the landmark network in one box.

    Attributes:
        score: Presence, 0..1.
        keypoints: Keypoints (K, 3) float32 in pixels of the image.
        keypoints_3d: Keypoints (K, 3) float32 in metres, or None if the network has none.
        left: Probability of the person's left side, or None for instances without sides.
        colours: Grey levels (C,) float32 that distinguish the instance from others, or None.
    """

    @property
    def score(self) -> float: ...
    @property
    def keypoints(self) -> Float32Array: ...
    @property
    def keypoints_3d(self) -> Float32Array | None: ...
    @property
    def left(self) -> float | None: ...
    @property
    def colours(self) -> Float32Array | None: ...


def suppress_duplicates(new: Sequence[O], tracked: Sequence[O] = (), *, merge_nested: bool = False) -> list[O]:
    """Return the new observations without objects that are tracked already or occur earlier in the list."""
    if not new:
        return []
    accepted, discs = list(tracked), [Disc.around(item) for item in tracked]
    for observation in new:
        disc = Disc.around(observation)
        near = (other for other, its in zip(accepted, discs, strict=True) if disc.may_touch(its))
        if not any(is_same_object(observation, other, merge_nested=merge_nested) for other in near):
            accepted.append(observation)
            discs.append(disc)
    return accepted[len(tracked) :]


def is_same_object(a: Observation, b: Observation, *, merge_nested: bool = False) -> bool:
    """Check whether the keypoints of two observations coincide, which then show one object.

    With `merge_nested`, they may also be of one side and nested: a network can read a thumb as a forefinger in the same
    box.
    """
    if mean_distance(a, b) < _SAME_DISTANCE:
        return True
    if not merge_nested or a.left is None or b.left is None or abs(a.left - b.left) > _MAX_SIDE_DIFFERENCE:
        return False
    return overlap_over_smaller(a.keypoints, b.keypoints) > _NESTED_OVERLAP


class Disc(NamedTuple):
    """Centre of an observation and its size, the long side of its box, in pixels."""

    centre: list[float]
    size: float

    @classmethod
    def around(cls, observation: Observation) -> Self:
        """Return the disc of an observation's keypoints."""
        return cls(centre_of(observation).tolist(), _size(observation))

    def may_touch(self, other: "Disc") -> bool:
        """Check whether two observations could overlap, a fast test that excludes most pairs of a crowd."""
        return math.dist(self.centre, other.centre) < 1.5 * (self.size + other.size)


def mean_distance(a: Observation, b: Observation, chosen: slice | list[int] = slice(None)) -> float:
    """Return the mean keypoint distance of two observations, in sizes of the larger one."""
    first, second = a.keypoints[chosen, :2], b.keypoints[chosen, :2]
    return float(np.linalg.norm(first - second, axis=1).mean()) / max(size_of(first), size_of(second))


def colour_difference(a: Float32Array, b: Float32Array) -> float:
    """Return the mean difference of two colours (C,) in grey levels, 0 to 255."""
    return float(np.linalg.norm(a - b)) / math.sqrt(len(a))


def are_near(a: Observation, b: Observation) -> bool:
    """Check whether two boxes overlap with a margin: a hand is wider than its keypoints, and moves between frames."""
    (low_a, high_a), (low_b, high_b) = ((item.keypoints[:, :2].min(0), item.keypoints[:, :2].max(0)) for item in (a, b))
    margin = _BOX_MARGIN * (_size(a) + _size(b))
    return bool((low_a < high_b + margin).all() and (low_b < high_a + margin).all())


def clamp_to_occluder(
    occluded: Observation, shift: FloatArray, covers: Sequence[Observation], max_offset: float
) -> FloatArray:
    """Limit the step (2,) of an occluded instance in pixels, so that it ends near the nearest of its `covers`.

    `max_offset`: maximum distance from the centre of the occluder, in its sizes.
    """
    cover = min(covers, key=lambda item: float(np.linalg.norm(centre_of(item) - centre_of(occluded))))
    before = centre_of(occluded) - centre_of(cover)
    after = before + shift
    return after * min(max_offset * _size(cover) / max(float(np.linalg.norm(after)), 1e-6), 1.0) - before


def centre_of(observation: Observation) -> FloatArray:
    """Return the mean (2,) of the keypoints."""
    rows = observation.keypoints.T[:2].copy()  # in rows: five times as fast for faces
    return np.add.reduce(rows, axis=1, dtype=np.float64) / rows.shape[1]  # `mean` takes twice the time for hands


def _size(observation: Observation) -> float:
    return size_of(observation.keypoints[:, :2])
