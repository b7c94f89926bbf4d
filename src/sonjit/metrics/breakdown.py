"""A metric's parts: by joint, by finger, by bin of occlusion, each with its interval.

Values are (N, K): errors as `joint_errors` gives them, or hits of 0 and 1. Parts give the mean of what was predicted
and, beside it, how much was not.

How evenly a model serves groups of people: means by group, their spread, and the worst group's distance.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit.errors import InputError
from sonjit.metrics.statistics import Interval, intervals, known_mean, numbers, ratio, resampled_means, rows

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


def by_joint(values: ArrayLike, names: Sequence[str], *, clusters: Sequence[Hashable] | None = None) -> list[Part]:
    """Means of each joint of values (N, K), by K names."""
    parts = {name: (joint,) for joint, name in enumerate(names)}
    if len(parts) != rows(values).shape[1]:
        raise InputError(f"{len(parts)} different names for {rows(values).shape[1]} joints: give one for each")
    return by_joints(values, parts, clusters=clusters)


def by_joints(
    values: ArrayLike, groups: Mapping[str, Sequence[int]], *, clusters: Sequence[Hashable] | None = None
) -> list[Part]:
    """Means of sets of joints of values (N, K), such as fingers: `load_skeleton("hand_mediapipe21").groups`."""
    table = rows(values)
    wrong = [joint for joints in groups.values() for joint in joints if not 0 <= joint < table.shape[1]]
    if wrong:
        raise InputError(f"joint {wrong[0]}: the values have joints 0 to {table.shape[1] - 1}")
    chosen = np.zeros((table.shape[1], len(groups)))
    for column, joints in enumerate(groups.values()):
        chosen[list(joints), column] = 1
    return _parts(table, chosen, list(groups), None, clusters)


def by_bin(
    values: ArrayLike,
    levels: ArrayLike,
    edges: Sequence[float] = OCCLUSION_EDGES,
    *,
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
    return _parts(table, everything, names, np.stack(inside, 1), clusters)


def by_class(
    values: ArrayLike,
    classes: Sequence[Collection[str]],
    names: Sequence[str],
    *,
    clusters: Sequence[Hashable] | None = None,
) -> list[Part]:
    """Means of values (N, K) by the classes that each of N samples is in: any number of `names`."""
    table = rows(values)
    if len(classes) != len(table):
        raise InputError(f"{len(classes)} samples' classes for {len(table)} samples: give one for each")
    inside = np.array([[name in own for name in names] for own in classes], np.bool_).reshape(len(table), len(names))
    return _parts(table, np.ones((table.shape[1], 1)), list(names), inside, clusters)


def _parts(
    table: NDArray[np.float64],
    chosen: NDArray[np.float64],
    names: Sequence[str],
    inside: NDArray[np.bool_] | None,
    clusters: Sequence[Hashable] | None,
) -> list[Part]:
    """Parts of joints `chosen` (K, M or 1) in samples `inside` (N, M); all samples by default."""
    known = np.isfinite(table)
    shown = 1 if inside is None else inside
    sums = np.where(known, table, 0) @ chosen * shown  # (N, M)
    counts, missing = known @ chosen * shown, np.isposinf(table) @ chosen * shown
    drawn = resampled_means(sums, counts, clusters=clusters)
    rows_ = zip(
        names,
        ratio(sums.sum(0), counts.sum(0)).tolist(),
        intervals(drawn),
        counts.sum(0).astype(int).tolist(),
        missing.sum(0).astype(int).tolist(),
        strict=True,
    )
    return [Part(*row) for row in rows_]


@dataclass(frozen=True)
class GroupReport:
    """Means of groups, and how far apart they are; NaN where no group has a value.

    Attributes:
        groups: labels, sorted.
        means: of each; NaN for a group without a value, which nothing below counts.
        counts: samples with a value of each.
        left_out: samples without a value of each: not evaluated, or not predicted.
        average: mean of the groups' means, each the same weight.
        stdev_population: of the groups' means, divided by their number.
        stdev_sample: divided by one less; NaN with one group.
        range: least and greatest mean.
    """

    groups: tuple[Hashable, ...]
    means: tuple[float, ...]
    counts: tuple[int, ...]
    left_out: tuple[int, ...]
    average: float
    stdev_population: float
    stdev_sample: float
    range: tuple[float, float]

    @property
    def max_minus_min(self) -> float:
        """Between the best and the worst group."""
        return self.range[1] - self.range[0]

    def worst_vs_average(self, *, higher_is_better: bool) -> float:
        """How much worse the worst group is than the average, 0 or more."""
        return self.average - self.range[0] if higher_is_better else self.range[1] - self.average


def group_report(values: ArrayLike, groups: Sequence[Hashable]) -> GroupReport:
    """Means by group.

    Args:
        values: (N,) one per sample; those that are not finite are left out and counted.
        groups: N labels that can be sorted; None for a sample of no known group, which is left out.

    >>> group_report([1, 2, 5], ["a", "a", "b"]).means
    (1.5, 5.0)
    """
    numbers_ = numbers("values", values)
    if numbers_.ndim != 1 or len(groups) != len(numbers_):
        raise InputError(f"values {numbers_.shape} for {len(groups)} labels: give one of each per sample")
    members: dict[Hashable, list[float]] = {}
    for value, group in zip(numbers_.tolist(), groups, strict=True):
        if group is not None:
            members.setdefault(group, []).append(value)
    try:
        labels = sorted(members)  # type: ignore[type-var]
    except TypeError:
        raise InputError("groups: give labels of one kind, text or numbers") from None
    known = [np.array([value for value in members[label] if np.isfinite(value)]) for label in labels]
    means = np.array([known_mean(one) for one in known], np.float64)
    sound = means[~np.isnan(means)]
    return GroupReport(
        groups=tuple(labels),
        means=tuple(means.tolist()),
        counts=tuple(len(one) for one in known),
        left_out=tuple(len(members[label]) - len(one) for label, one in zip(labels, known, strict=True)),
        average=known_mean(means),
        stdev_population=float(sound.std()) if sound.size else float("nan"),
        stdev_sample=float(sound.std(ddof=1)) if sound.size > 1 else float("nan"),
        range=(float(sound.min()), float(sound.max())) if sound.size else (float("nan"), float("nan")),
    )
