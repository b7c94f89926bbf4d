"""A metric's parts: by joint, by finger, by bin of occlusion, each with its interval.

Values are (N, K): errors as `joint_errors` gives them, or hits of 0 and 1. Parts give the mean of what was predicted
and, beside it, how much was not.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit.errors import InputError
from sonjit.metrics.arrays import numbers, ratio, rows
from sonjit.metrics.bootstrap import RESAMPLES, Interval, intervals, resampled_means

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

OCCLUSION_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Between bins of how much of a hand is hidden, as Deformer's tables have them."""


class Part(NamedTuple):
    """One row of a table.

    Attributes:
        name: of the joint, finger or bin.
        mean: of its finite values, in their unit; NaN without any.
        interval: of the mean.
        counted: how many values the mean is of.
        missing: how many keypoints were not predicted.
    """

    name: str
    mean: float
    interval: Interval
    counted: int
    missing: int


def by_joint(
    values: ArrayLike,
    names: Sequence[str],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> list[Part]:
    """Means of each joint of values (N, K), by K names."""
    parts = {name: (joint,) for joint, name in enumerate(names)}
    if len(parts) != rows(values).shape[1]:
        raise InputError(f"{len(parts)} different names for {rows(values).shape[1]} joints: give one for each")
    return by_joints(values, parts, level=level, resamples=resamples, seed=seed, clusters=clusters)


def by_joints(
    values: ArrayLike,
    groups: Mapping[str, Sequence[int]],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> list[Part]:
    """Means of sets of joints of values (N, K), such as fingers: `load_skeleton("hand_mediapipe21").groups`."""
    table = rows(values)
    wrong = [joint for joints in groups.values() for joint in joints if not 0 <= joint < table.shape[1]]
    if wrong:
        raise InputError(f"joint {wrong[0]}: the values have joints 0 to {table.shape[1] - 1}")
    chosen = np.zeros((table.shape[1], len(groups)))
    for column, joints in enumerate(groups.values()):
        chosen[list(joints), column] = 1
    return _parts(table, chosen, list(groups), None, (level, resamples, seed), clusters)


def by_bin(
    values: ArrayLike,
    levels: ArrayLike,
    edges: Sequence[float] = OCCLUSION_EDGES,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
) -> list[Part]:
    """Means of values (N, K) by bins of a level (N,) such as the hidden share; the last bin holds its upper edge too.

    Samples whose level is unknown or beyond the edges are in no bin. Bins of shares are named in per cent.
    """
    table, given = rows(values), numbers("levels", levels)
    if given.shape != (len(table),) or not all(low < high for low, high in pairwise(edges)):
        raise InputError(f"levels {given.shape} at edges {list(edges)}: give ({len(table)},) and ascending edges")
    inside = [(given >= low) & (given < high) for low, high in pairwise(edges)]
    inside[-1] |= given == edges[-1]
    names = [f"{100 * low:g}-{100 * high:g} %" for low, high in pairwise(edges)]
    everything = np.ones((table.shape[1], 1))
    return _parts(table, everything, names, np.stack(inside, 1), (level, resamples, seed), clusters)


def _parts(
    table: NDArray[np.float64],
    chosen: NDArray[np.float64],
    names: Sequence[str],
    inside: NDArray[np.bool_] | None,
    settings: tuple[float, int, int],
    clusters: Sequence[Hashable] | None,
) -> list[Part]:
    """Parts of joints `chosen` (K, M or 1) in samples `inside` (N, M); all samples by default."""
    level, resamples, seed = settings
    known = np.isfinite(table)
    shown = 1 if inside is None else inside
    sums = np.where(known, table, 0) @ chosen * shown  # (N, M)
    counts, missing = known @ chosen * shown, np.isposinf(table) @ chosen * shown
    drawn = resampled_means(sums, counts, resamples=resamples, seed=seed, clusters=clusters)
    rows_ = zip(
        names,
        ratio(sums.sum(0), counts.sum(0)).tolist(),
        intervals(drawn, level),
        counts.sum(0).astype(int).tolist(),
        missing.sum(0).astype(int).tolist(),
        strict=True,
    )
    return [Part(*row) for row in rows_]
