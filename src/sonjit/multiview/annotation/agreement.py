"""How well annotators agree: distances between their marks of the same joint in the same frame of the same view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NotRequired, TypedDict

import numpy as np

from sonjit.multiview.annotation.marks import JOINTS, MACHINE, Mark, joint_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLDS_PX = (1.0, 2.0, 5.0, 10.0)
CONFLICT_PX = 10.0
"""Marks farther apart are shown as a conflict."""


class DistanceStatistics(TypedDict):
    """Distances of pairs of marks, pixels, None without pairs; `within` holds shares by threshold."""

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
        px: (N,) between the marks of two annotators.
        joints: (N,) of which joint.
        states: (S,) whether both gave the same state, for pairs of any state; S >= N.
    """

    px: NDArray[np.float64]
    joints: NDArray[np.int64]
    states: NDArray[np.bool_]

    def to_dict(self, thresholds_px: Sequence[float] = THRESHOLDS_PX) -> DistanceStatistics:
        """Statistics of all pairs."""
        found = _statistics(self.px, thresholds_px)
        found["same_state"] = float(self.states.mean()) if len(self.states) else None
        found["states"] = len(self.states)
        return found


@dataclass(frozen=True)
class Conflict:
    """Annotators who disagree on one joint in one view: on its place, or on whether it is there."""

    view: str
    joint: int
    marks: tuple[Mark, ...]
    apart_px: float | None


def agreement(marks: Iterable[Mark], thresholds_px: Sequence[float] = THRESHOLDS_PX) -> Agreement:
    """Agreement between the people who annotated; machine and cleared marks are left out.

    Args:
        marks: of any frames.
        thresholds_px: for the share of pairs that lie no farther apart.

    Returns:
        Statistics of all pairs and by pair of annotators, with `same_state`, the share of equal states; and by joint.
    """
    by_pair: dict[tuple[str, str], list[tuple[Mark, Mark]]] = {}
    for group in _groups(marks):
        for first, second in combinations(group, 2):
            by_pair.setdefault((first.annotator, second.annotator), []).append((first, second))
    everything = _distances([pair for pairs in by_pair.values() for pair in pairs])
    names = joint_names()
    return {
        "thresholds_px": list(thresholds_px),
        "all": everything.to_dict(thresholds_px),
        "joints": {
            names[joint]: _statistics(everything.px[everything.joints == joint], thresholds_px)
            for joint in range(JOINTS)
            if (everything.joints == joint).any()
        },
        "annotators": {
            " | ".join(pair): _distances(found).to_dict(thresholds_px) for pair, found in sorted(by_pair.items())
        },
    }


def conflicts(marks: Iterable[Mark], apart_px: float = CONFLICT_PX) -> list[Conflict]:
    """Where people disagree in one frame set, the farthest apart first.

    Args:
        marks: of one frame.
        apart_px: how far marks may be apart.
    """
    found: list[Conflict] = []
    for group in _groups(marks):
        placed = np.array([mark.xy_px for mark in group if mark.has_place])
        apart = float(np.linalg.norm(placed[:, None] - placed[None], axis=-1).max()) if len(placed) > 1 else None
        if (apart is not None and apart > apart_px) or 0 < len(placed) < len(group):
            found.append(Conflict(group[0].view, group[0].joint, tuple(group), apart))
    return sorted(found, key=lambda one: -(one.apart_px or 0))


def _groups(marks: Iterable[Mark]) -> list[list[Mark]]:
    """People's marks of the same place, where there are several, in order of their names."""
    places: dict[tuple[int, str, int], list[Mark]] = {}
    for mark in marks:
        if mark.annotator != MACHINE and mark.state != "cleared":
            places.setdefault((mark.frame, mark.view, mark.joint), []).append(mark)
    return [sorted(group, key=lambda mark: mark.annotator) for group in places.values() if len(group) > 1]


def _distances(pairs: Sequence[tuple[Mark, Mark]]) -> Distances:
    placed = [(a, b) for a, b in pairs if a.has_place and b.has_place]
    ends = np.array([(a.xy_px, b.xy_px) for a, b in placed], np.float64).reshape(-1, 2, 2)
    return Distances(
        np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1),
        np.array([a.joint for a, _ in placed], np.int64),
        np.array([a.state == b.state for a, b in pairs], np.bool_),
    )


def _statistics(px: NDArray[np.float64], thresholds_px: Sequence[float]) -> DistanceStatistics:
    if not len(px):
        return {"pairs": 0, "mean_px": None, "median_px": None, "p95_px": None, "within": {}}
    return {
        "pairs": len(px),
        "mean_px": float(px.mean()),
        "median_px": float(np.median(px)),
        "p95_px": float(np.percentile(px, 95)),
        "within": {f"{threshold:g}": float((px <= threshold).mean()) for threshold in thresholds_px},
    }
