"""How evenly a model serves groups of people: means by group, their spread, and the worst group's distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.metrics.arrays import known_mean, numbers

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class GroupReport:
    """Means of groups, and how far apart they are; NaN where no group has a value.

    Attributes:
        groups: labels, sorted.
        means: of each; NaN for a group without a value, which nothing below counts.
        counts: samples with a value of each.
        left_out: samples without a value of each: not judged, or not predicted.
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
