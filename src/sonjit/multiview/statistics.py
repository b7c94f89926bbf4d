"""Counts of a release, gathered as it is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.multiview.auto_labels import SOURCES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.multiview.data_card import Capture


@dataclass
class Statistics:
    """What was counted so far."""

    instants: int = 0
    pictures: Counter[str] = field(default_factory=Counter[str])
    people: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    hands: Counter[str] = field(default_factory=Counter[str])
    joints: Counter[str] = field(default_factory=Counter[str])
    sequences: dict[str, set[tuple[str, str]]] = field(default_factory=dict[str, set[tuple[str, str]]])
    spread_m: float = 0.0

    def add(
        self,
        split: str,
        capture: Capture,
        frame: int,
        source: NDArray[np.int64],
        spread_m: NDArray[np.float64],
        pictures: int,
    ) -> None:
        """One instant: by whom (2, 21) its joints are, how unsure (2, 21), and in how many pictures."""
        labelled = source > 0
        right, left = bool(labelled[0].any()), bool(labelled[1].any())
        performed = capture.sequence_of(frame)
        self.instants += 1
        self.pictures[split] += pictures
        self.people.setdefault(split, set()).add(capture.subject)
        self.hands["interacting" if right and left else "right" if right else "left"] += 1
        self.joints.update(SOURCES[code] for code in source[labelled].tolist())
        self.sequences.setdefault(performed.kind, set()).add((capture.subject, performed.name))
        self.spread_m += float(np.nansum(spread_m[labelled]))

    def figures(self) -> dict[str, Any]:
        """All counts as plain numbers."""
        joints = sum(self.joints.values())
        return {
            "people": sum(len(names) for names in self.people.values()),
            "instants": self.instants,
            "pictures": sum(self.pictures.values()),
            "pictures_by_split": dict(self.pictures),
            "people_by_split": {split: len(names) for split, names in self.people.items()},
            "instants_by_hands": dict(self.hands),
            "joints": joints,
            "joints_by_source": dict(self.joints),
            "sequences_by_type": {kind or "other": len(names) for kind, names in self.sequences.items()},
            "mean_spread_mm": round(1000 * self.spread_m / max(joints, 1), 3),
            "splits": {split: sorted(names) for split, names in self.people.items()},
        }
