"""How well annotators agree: distances between their marks of the same joint in the same frame of the same view.

Which frame sets need attention most: few views that agree, residuals, bones of other lengths, jumps, lost joints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, NotRequired, TypedDict

import numpy as np

from sonjit.arrays import BoolArray, FloatArray, IntArray
from sonjit.multiview.annotation.marks import JOINTS, MACHINE, Mark, Need, joint_names
from sonjit.multiview.triangulation.bones import fitted_lengths

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

    px: FloatArray
    joints: IntArray
    states: BoolArray

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


def _statistics(px: FloatArray, thresholds_px: Sequence[float]) -> DistanceStatistics:
    if not len(px):
        return {"pairs": 0, "mean_px": None, "median_px": None, "p95_px": None, "within": {}}
    return {
        "pairs": len(px),
        "mean_px": float(px.mean()),
        "median_px": float(np.median(px)),
        "p95_px": float(np.percentile(px, 95)),
        "within": {f"{threshold:g}": float((px <= threshold).mean()) for threshold in thresholds_px},
    }


_ENOUGH_VIEWS: Final = 4

_FAST_M_S: Final = 3.0

_LINKED_S: Final = 0.5

_UNITS: Final = {"lost": 4.0, "few": 5.0, "spread": 3.0, "residual": 3.0, "bones": 3.0, "jump": 1.0, "mesh": 6.0}

"""How many joints, millimetres, pixels or times the usual speed count as 1."""

_REASONS: Final = {
    "lost": "{:.0f} joints without a label",
    "few": "{:.0f} joints in few views",
    "spread": "uncertain by {:.1f} mm",
    "residual": "{:.1f} px off in the views",
    "bones": "bones off by {:.1f} mm",
    "jump": "jumps at {:.1f} m/s",
    "mesh": "{:.1f} mm off a possible hand",
}


def rank(
    frames: IntArray,
    points_m: FloatArray,
    spread_m: FloatArray,
    views: IntArray,
    residual_px: FloatArray,
    lengths_m: FloatArray,
    times_s: FloatArray,
    mesh_m: FloatArray,
    expected: BoolArray,
) -> Mapping[int, Need]:
    """How much each frame set needs attention, and why.

    Args:
        frames: (N,) numbers of the frame sets.
        points_m: (N, 2, 21, 3) labels; NaN without.
        spread_m: (N, 2, 21) root of the summed variances.
        views: (N, 2, 21) how many agree.
        residual_px: (N, 2, 21) root mean square over them.
        lengths_m: (2, 20) usual bones.
        times_s: (N,) seconds.
        mesh_m: (N, 2) mean distance of the joints from the fitted mesh's.
        expected: (N, 2) a hand is expected there.

    Returns:
        The sum over reasons, each in its own unit, and the strongest reason in words; 0 where nothing needs attention.
    """
    labelled = np.isfinite(points_m).all(-1)
    measures = {
        "lost": (~labelled & expected[..., None]).sum((1, 2)).astype(np.float64),
        "few": (labelled & (views < _ENOUGH_VIEWS)).sum((1, 2)).astype(np.float64),
        "spread": 1000 * _worst(spread_m),
        "residual": _worst(residual_px),
        "bones": 1000 * _worst(np.abs(fitted_lengths(points_m) - lengths_m)),
        "jump": _speeds(points_m, times_s),
        "mesh": 1000 * _worst(mesh_m),
    }
    shares = np.stack(
        [np.maximum(measures[name] / unit - (name == "jump") * _FAST_M_S, 0) for name, unit in _UNITS.items()]
    )
    names, needs = list(_UNITS), dict[int, Need]()
    for row, frame in enumerate(frames.tolist()):
        top = names[int(shares[:, row].argmax())]
        score = float(shares[:, row].sum())
        needs[frame] = Need(round(score, 3), _REASONS[top].format(measures[top][row]) if score > 0 else "")
    return needs


def _worst(values: FloatArray) -> FloatArray:
    """(N,) the 95th percentile of each row of (N, ...); 0 for one that is unknown throughout."""
    flat = values.reshape(len(values), -1)
    known = np.isfinite(flat).any(1)
    worst = np.zeros(len(flat))
    if known.any():
        worst[known] = np.nanpercentile(flat[known], 95, axis=1)
    return worst


def _speeds(points_m: FloatArray, times_s: FloatArray) -> FloatArray:
    """(N,) metres per second of the fastest joint, to or from the neighbouring frame sets; 0 where those are far."""
    speeds = np.zeros(len(points_m))
    if len(points_m) < 2:
        return speeds
    step_s = np.maximum(np.diff(times_s), 1e-6)
    moved = np.linalg.norm(np.diff(points_m, axis=0), axis=-1).reshape(len(step_s), -1)
    fastest = np.where(step_s < _LINKED_S, np.nan_to_num(moved).max(1) / step_s, 0)
    return np.maximum(np.append(fastest, 0), np.append(0, fastest))
