"""What tables and drawings say beyond keypoints: measures, gestures and repetitions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from sonjit.detectors.kinds import find_kind, find_model
from sonjit.errors import InputError
from sonjit.measures import MEASURE_NAMES, RepetitionCounter, measures
from sonjit.results import Face, Hand
from sonjit.skeletons.blendshapes import BLENDSHAPES

if TYPE_CHECKING:
    from sonjit.results import Frame

_BOX = ("x_min", "y_min", "x_max", "y_max")

Columns: TypeAlias = "dict[str, type[int] | type[float] | type[str]]"


_TRANSFORM = tuple(f"transform_{row}{column}" for row in range(4) for column in range(4))


def table_columns(
    model: str,
    *,
    measures: bool,
    gestures: bool = False,
    counts: bool = False,
    blendshapes: bool = False,
    transform: bool = False,
) -> Columns:
    """Names and types of a table's further columns for a model such as `hands-full`.

    Boxes always have theirs: the six keypoints of a face do not determine its box. Blendshapes have one each by their
    name, a transform one for each row and column of its matrix. Measures bring gestures with them.
    """
    entry, asked = find_model(model.partition("+")[0])
    columns: Columns = dict.fromkeys(_BOX, float) if asked.is_box else {}
    kinds = () if asked.is_box else entry.instances
    if (measures or gestures) and Hand.kind in kinds:
        columns |= {"gesture": str, "gesture_score": float}
    if measures:
        columns |= {name: float for one in kinds for name in MEASURE_NAMES.get(one, ())}
    if counts:
        columns["repetitions"] = int
    columns |= dict.fromkeys((*(BLENDSHAPES if blendshapes else ()), *(_TRANSFORM if transform else ())), float)
    return columns


@dataclass(frozen=True)
class Counting:
    """What `--count` asks for: repetitions of an angle between two limits.

    Attributes:
        measure: name of the angle's measure.
        low_rad: at or below it the joint is bent.
        high_rad: at or above it the joint is straight again.
    """

    measure: str
    low_rad: float = math.radians(110)
    high_rad: float = math.radians(150)

    @classmethod
    def from_text(cls, text: str, kind: str) -> Counting:
        """Read `NAME` or `NAME:LOW:HIGH`, the limits in degrees, for a kind of detector."""
        name, *limits = text.split(":")
        known = [
            measure
            for one in find_kind(kind).instances
            for measure in MEASURE_NAMES.get(one, ())
            if measure.endswith("_rad")
        ]
        if name not in known:
            raise InputError(f"--count {text}: no angle {name!r}; known: {', '.join(known)}")
        if not limits:
            return cls(name)
        try:
            low, high = (math.radians(float(limit)) for limit in limits)
        except ValueError:
            raise InputError(f"--count {text}: give NAME or NAME:LOW:HIGH with limits in degrees") from None
        if not low < high:
            raise InputError(f"--count {text}: the low limit must be below the high one")
        return cls(name, low, high)


class Annotations(NamedTuple):
    """Of one frame: its further columns' values per instance, what labels add, and lines for the top of the image."""

    extras: list[dict[str, float | str | None]] | None
    notes: list[str]
    captions: list[str]


class Annotator:
    """Annotates the frames of one stream: measures, the gestures that hands have, and counts of repetitions.

    Args:
        columns: the table's further columns; empty for none.
        counting: what to count, or None.
    """

    def __init__(self, columns: Columns, counting: Counting | None) -> None:
        self._columns, self._counting = columns, counting
        self._counters: dict[tuple[int, str | None], RepetitionCounter] = {}
        self._time = 0.0

    def annotate(self, frame: Frame) -> Annotations:
        """Measures of the next frame, its clear gestures as notes, and its counts as captions."""
        self._time = max(self._time, frame.time or 0.0)  # a damaged video's times may step back
        rows: list[dict[str, float | str | None]] = []
        notes: list[str] = []
        captions: list[str] = []
        for _, one in frame.instances():
            measured = measures(one) if self._columns or self._counting else {}
            row: dict[str, float | str | None] = dict(measured)
            notes.append("")
            if isinstance(one, Hand) and "gesture" in self._columns:
                row |= dict(zip(("gesture", "gesture_score"), one.gesture or (None, None), strict=True))
                if one.gesture is not None:
                    notes[-1] = f"{one.gesture.name.replace('_', ' ')} {one.gesture.score:.2f}"
            if self._counting and one.id is not None and self._counting.measure in measured:
                row["repetitions"] = count = self._count((one.id, one.handedness), measured[self._counting.measure])
                captions.append(f"#{one.id}: {count} repetition{'' if count == 1 else 's'}")
            row |= dict(zip(_BOX, one.box, strict=True))
            if isinstance(one, Face) and one.blendshapes is not None:
                row |= one.blendshapes
            if isinstance(one, Face) and one.transform is not None:
                row |= dict(zip(_TRANSFORM, one.transform.ravel().tolist(), strict=True))
            rows.append({name: row[name] for name in self._columns if name in row})
        return Annotations(rows if self._columns else None, notes, captions)

    def _count(self, key: tuple[int, str | None], angle_rad: float) -> int:
        assert self._counting is not None
        if key not in self._counters:
            self._counters[key] = RepetitionCounter(self._counting.low_rad, self._counting.high_rad)
        return self._counters[key].update(angle_rad, self._time)
