"""Measure agreement between annotators by the distances of their marks of the same joint in the same image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NotRequired, TypedDict

import numpy as np

from sonjit._util.arrays import BoolArray, FloatArray, IntArray
from sonjit.studio.annotation.marks import JOINTS, MACHINE, Mark, joint_names

THRESHOLDS_PX = (1.0, 2.0, 5.0, 10.0)
"""Distances for which the fraction of pairs below them is reported."""
CONFLICT_PX = 10.0
"""Distance of two marks above which they conflict."""


class DistanceStatistics(TypedDict):
    """Distances of pairs of marks in pixels, None without pairs; `within` has the fraction below each threshold."""

    pairs: int
    mean_px: float | None
    median_px: float | None
    p95_px: float | None
    within: dict[str, float]
    same_state: NotRequired[float | None]
    states: NotRequired[int]


class Agreement(TypedDict):
    """Agreement of all pairs, by joint, and by pair of annotators ("Ann | Ben")."""

    thresholds_px: list[float]
    all: DistanceStatistics
    joints: dict[str, DistanceStatistics]
    annotators: dict[str, DistanceStatistics]


@dataclass(frozen=True, eq=False)
class Distances:
    """Distances of pairs of marks.

    Attributes:
        px: (N,) distances between the marks of two annotators, pixels.
        joints: (N,) joint of each pair.
        states: (S,) whether both marks have the same state, for pairs of any state, S >= N.
    """

    px: FloatArray
    joints: IntArray
    states: BoolArray

    def to_dict(self, thresholds_px: Sequence[float] = THRESHOLDS_PX) -> DistanceStatistics:
        """Return the statistics of all pairs."""
        found = _statistics(self.px, thresholds_px)
        found["same_state"] = float(self.states.mean()) if len(self.states) else None
        found["states"] = len(self.states)
        return found


@dataclass(frozen=True)
class Conflict:
    """A disagreement on one joint in one view, on its position or on its visibility."""

    view: str
    joint: int
    marks: tuple[Mark, ...]
    apart_px: float | None


def agreement(marks: Iterable[Mark], thresholds_px: Sequence[float] = THRESHOLDS_PX) -> Agreement:
    """Measure the agreement between human annotators. Machine and cleared marks are ignored.

    Args:
        marks: Marks of any frames.
        thresholds_px: Distances for which the fraction of pairs below them is reported.

    Returns:
        Statistics of all pairs, by joint, and by pair of annotators. `same_state` is the fraction of equal states.
    """
    by_pair: dict[tuple[str, str], list[tuple[Mark, Mark]]] = {}
    for group in _groups(marks):
        for first, second in combinations(group, 2):
            by_pair.setdefault((first.annotator, second.annotator), []).append((first, second))
    all_pairs = _distances([pair for pairs in by_pair.values() for pair in pairs])
    names = joint_names()
    return {
        "thresholds_px": list(thresholds_px),
        "all": all_pairs.to_dict(thresholds_px),
        "joints": {
            names[joint]: _statistics(all_pairs.px[all_pairs.joints == joint], thresholds_px)
            for joint in range(JOINTS)
            if (all_pairs.joints == joint).any()
        },
        "annotators": {
            " | ".join(pair): _distances(found).to_dict(thresholds_px) for pair, found in sorted(by_pair.items())
        },
    }


def conflicts(marks: Iterable[Mark]) -> list[Conflict]:
    """Return the disagreements of people in one frame set, the largest distance first."""
    found: list[Conflict] = []
    for group in _groups(marks):
        positions = np.array([mark.position_px for mark in group if mark.has_position])
        distance = (
            float(np.linalg.norm(positions[:, None] - positions[None], axis=-1).max()) if len(positions) > 1 else None
        )
        if (distance is not None and distance > CONFLICT_PX) or 0 < len(positions) < len(group):
            found.append(Conflict(group[0].view, group[0].joint, tuple(group), distance))
    return sorted(found, key=lambda conflict: -(conflict.apart_px or 0))


def _groups(marks: Iterable[Mark]) -> list[list[Mark]]:
    """Group people's marks of the same joint and image if there are several, ordered by annotator."""
    groups: dict[tuple[int, str, int], list[Mark]] = {}
    for mark in marks:
        if mark.annotator != MACHINE and mark.state != "cleared":
            groups.setdefault((mark.frame, mark.view, mark.joint), []).append(mark)
    return [sorted(group, key=lambda mark: mark.annotator) for group in groups.values() if len(group) > 1]


def _distances(pairs: Sequence[tuple[Mark, Mark]]) -> Distances:
    """Return the distances of pairs of marks."""
    located = [(a, b) for a, b in pairs if a.has_position and b.has_position]
    ends = np.array([(a.position_px, b.position_px) for a, b in located], np.float64).reshape(-1, 2, 2)
    return Distances(
        np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1),
        np.array([a.joint for a, _ in located], np.int64),
        np.array([a.state == b.state for a, b in pairs], np.bool_),
    )


def _statistics(px: FloatArray, thresholds_px: Sequence[float]) -> DistanceStatistics:
    """Return statistics of distances (N,)."""
    if not len(px):
        return {"pairs": 0, "mean_px": None, "median_px": None, "p95_px": None, "within": {}}
    return {
        "pairs": len(px),
        "mean_px": float(px.mean()),
        "median_px": float(np.median(px)),
        "p95_px": float(np.percentile(px, 95)),
        "within": {f"{threshold:g}": float((px <= threshold).mean()) for threshold in thresholds_px},
    }
