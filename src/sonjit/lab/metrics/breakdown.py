"""Break a metric down by joint, finger, occlusion or group of people, each part with its interval.

Values are (N, K): errors as `joint_errors` returns them, or hits of 0 and 1. Each part reports the mean of what was
predicted and the number of missing predictions. Group reports show how evenly a model serves groups of people.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util.errors import InputError
from sonjit.lab.metrics.statistics import (
    Interval,
    check_joint,
    intervals,
    known_mean,
    numbers,
    ratio,
    resampled_means,
    rows,
)

OCCLUSION_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Edges of the bins of the hidden share of a hand, as in Deformer's tables."""


class Part(NamedTuple):
    """One row of a table.

    Attributes:
        name: Name of the joint, finger or bin.
        mean: Mean of the finite values, in their unit; NaN without any.
        interval: Confidence interval of the mean.
        counted: Number of values in the mean.
        missing: Number of keypoints that were not predicted.
    """

    name: str
    mean: float
    interval: Interval
    counted: int
    missing: int


def by_joint(values: ArrayLike, names: Sequence[str], *, clusters: Sequence[Hashable] | None = None) -> list[Part]:
    """Return the mean of each joint of values (N, K), by K names."""
    parts = {name: (joint,) for joint, name in enumerate(names)}
    if len(parts) != rows(values).shape[1]:
        raise InputError(f"{len(parts)} different names for {rows(values).shape[1]} joints: give one for each")
    return by_joints(values, parts, clusters=clusters)


def by_joints(
    values: ArrayLike, groups: Mapping[str, Sequence[int]], *, clusters: Sequence[Hashable] | None = None
) -> list[Part]:
    """Return the means of sets of joints of values (N, K), such as fingers:
    `load_skeleton("hand_mediapipe21").groups`.
    """
    table = rows(values)
    for joint in (joint for joints in groups.values() for joint in joints):
        check_joint(joint, table.shape[1])
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
    """Return the means of values (N, K) by bins of a level (N,) such as the hidden share. The last bin includes its
    upper edge.

    Samples with an unknown level, or one beyond the edges, are in no bin. Bins of shares are named in per cent.
    """
    table, binned = rows(values), numbers("levels", levels)
    if binned.shape != (len(table),) or len(edges) < 2 or not all(low < high for low, high in pairwise(edges)):
        raise InputError(f"levels {binned.shape} at edges {list(edges)}: give ({len(table)},) and ascending edges")
    inside = [(binned >= low) & (binned < high) for low, high in pairwise(edges)]
    inside[-1] |= binned == edges[-1]
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
    """Return the means of values (N, K) by class. Each of N samples has any number of the classes `names`."""
    table = rows(values)
    if any(isinstance(own, str) for own in classes):
        raise InputError("classes: give a collection of names per sample, not a text")
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
    """Return the parts of joints `chosen` (K, M or 1) in samples `inside` (N, M), or in all samples."""
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
    """Means of groups and the differences between them; NaN where no group has a value.

    Attributes:
        groups: Group labels, sorted.
        means: Mean of each group; NaN for a group without values, which the other attributes ignore.
        counts: Number of samples with a value, by group.
        left_out: Number of samples without a value, by group: not evaluated or not predicted.
        average: Mean of the groups' means with equal weights.
        stdev_population: Population standard deviation of the groups' means.
        stdev_sample: Sample standard deviation of the groups' means; NaN with one group.
        range: Minimum and maximum mean.
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
        """Return the difference between the largest and the smallest mean."""
        return self.range[1] - self.range[0]

    def worst_vs_average(self, *, higher_is_better: bool) -> float:
        """Return the difference between the worst group and the average, 0 or more."""
        return self.average - self.range[0] if higher_is_better else self.range[1] - self.average


def group_report(values: ArrayLike, groups: Sequence[Hashable]) -> GroupReport:
    """Return the means by group.

    Args:
        values: Values (N,), one per sample. Values that are not finite are ignored and counted.
        groups: Sortable labels of the N samples; None for a sample without a known group, which is ignored.

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
    means = np.array([known_mean(known_field) for known_field in known], np.float64)
    sound = means[~np.isnan(means)]
    return GroupReport(
        groups=tuple(labels),
        means=tuple(means.tolist()),
        counts=tuple(len(known_field) for known_field in known),
        left_out=tuple(len(members[label]) - len(item) for label, item in zip(labels, known, strict=True)),
        average=known_mean(means),
        stdev_population=float(sound.std()) if sound.size else float("nan"),
        stdev_sample=float(sound.std(ddof=1)) if sound.size > 1 else float("nan"),
        range=(float(sound.min()), float(sound.max())) if sound.size else (float("nan"), float("nan")),
    )
