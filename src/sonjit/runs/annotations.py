"""Measures, gestures, repetitions and events of the instances in a stream, for tables and drawings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import zip_longest
from typing import NamedTuple, TypeAlias

from sonjit._util import InputError, pluralize
from sonjit.detectors.kinds import KINDS, find_model
from sonjit.media.tables.base import Extras
from sonjit.media.tables.layout import BOX_COLUMNS
from sonjit.results import Frame, Hand
from sonjit.results import measures as measuring
from sonjit.results.skeletons.faces import BLENDSHAPES

Columns: TypeAlias = "dict[str, type[int] | type[float] | type[str]]"


def _find_measure(text: str, kind: str, problem: str, ending: str = "") -> str:
    """Return the measure of a kind with a name or, in degrees, its twin; or the only one that begins with the text."""
    names = [
        name for item in KINDS.find(kind).instances for name in measuring.measure_names(item) if name.endswith(ending)
    ]
    wanted = text.lower().replace("-", "_")
    wanted = f"{wanted.removesuffix('_deg')}_rad" if wanted.endswith("_deg") else wanted
    begin = [name for name in names if name.startswith(f"{wanted}_")]
    matching = [name for name in begin if "_2d_" not in name] or begin
    if wanted in names or len(matching) == 1:
        return wanted if wanted in names else matching[0]
    near = begin or [name for name in names if wanted in name] or get_close_matches(wanted, names) or names
    if ending:  # the ending that all have is left out, as users write angles
        near = [name.removesuffix(ending).removesuffix("_angle") for name in near]
    raise InputError(f"{problem} {text!r}. Choose from {', '.join(near)}")


@dataclass(frozen=True)
class EventLimits:
    """Limits of a measure in its unit: an event begins at the first and ends at the second.

    If `end` is larger than `begin`, the event begins when the measure falls to `begin`, otherwise when it rises to it.
    """

    measure: str
    begin: float
    end: float

    @classmethod
    def from_text(cls, text: str, kind: str) -> EventLimits:
        """Read `NAME:BEGIN:END`, with limits of angles in degrees. Raise InputError if it is invalid."""
        name, *limits = text.split(":")
        name = _find_measure(name, kind, f"events {text}: unknown measure")
        try:
            begin, end = (float(limit) for limit in limits)
        except ValueError:
            raise InputError(f"events {text}: write NAME:BEGIN:END, with limits of angles in degrees") from None
        if begin == end or not math.isfinite(begin - end):
            raise InputError(f"events {text}: give two different limits")
        return cls(name, *(map(math.radians, (begin, end)) if name.endswith("_rad") else (begin, end)))

    @property
    def text(self) -> str:
        """The limits as `from_text` reads them."""
        in_degrees = self.measure.endswith("_rad")
        begin, end = (math.degrees(limit) if in_degrees else limit for limit in (self.begin, self.end))
        return f"{self.measure}:{begin:g}:{end:g}"


def table_columns(
    model: str, *, measures: bool, gestures: bool = False, counts: Iterable[str] = (), options: object = None
) -> Columns:
    """Return names and types of the additional table columns of a model such as `hands-full`.

    Models that detect boxes always have columns for the box, because the six keypoints of a face do not determine it.
    With `measures`, hands also get their gesture. `counts` are columns of repetitions. Some `options` of the
    detector add columns.
    """
    entry, selected = find_model(model.partition("+")[0])
    columns: Columns = dict.fromkeys(BOX_COLUMNS, float) if selected.is_box else {}
    kinds = () if selected.is_box else entry.instances
    if (measures or gestures) and Hand.kind in kinds:
        columns |= {"gesture": str, "gesture_score": float}
    if measures:
        columns |= {name: float for kind in kinds for name in measuring.measure_names(kind)}
    columns |= dict.fromkeys(counts, int)
    more = {
        "blendshapes": BLENDSHAPES,
        "transform": measuring.TRANSFORM_COLUMNS,
        "distance": measuring.DISTANCE_COLUMNS,
    }
    return columns | {name: float for key, names in more.items() if getattr(options, key, False) for name in names}


@dataclass(frozen=True)
class AngleLimits:
    """Limits of an angle between which a movement counts as one repetition."""

    measure: str
    low_rad: float = math.radians(110)  # at or below which the joint is bent
    high_rad: float = math.radians(150)  # at or above which the joint is straight again

    @property
    def text(self) -> str:
        """The limits as `from_text` reads them."""
        return f"{self.measure}:{math.degrees(self.low_rad):g}:{math.degrees(self.high_rad):g}"

    @classmethod
    def from_text(cls, text: str, kind: str) -> AngleLimits:
        """Read `NAME` or `NAME:LOW:HIGH` with limits in degrees. Raise InputError if it is invalid."""
        name, *limits = text.split(":")
        name = _find_measure(name, kind, f"--count {text}: unknown angle", ending="_rad")
        if not limits:
            return cls(name)
        try:
            low, high = (math.radians(float(limit)) for limit in limits)
        except ValueError:
            raise InputError(f"--count {text}: write NAME or NAME:LOW:HIGH with limits in degrees") from None
        if not low < high:
            raise InputError(f"--count {text}: the low limit must be below the high limit")
        return cls(name, low, high)


def count_columns(limits: Sequence[AngleLimits]) -> dict[str, AngleLimits]:
    """Return the column of repetitions of each angle: `repetitions`, or of several `repetitions_left_knee_angle`."""
    columns = {f"repetitions_{item.measure.removesuffix('_rad')}": item for item in limits}
    if len(columns) < len(limits):
        raise InputError("--count: name each angle once")
    return columns if len(limits) > 1 else dict.fromkeys(["repetitions"] * len(limits), *limits)


class Annotations(NamedTuple):
    """Additional values of the instances of a frame."""

    extras: Extras | None  # values of the additional table columns, per instance; None without additional columns
    notes: list[str]  # text for the label of each instance; empty for none


def annotate(frame: Frame, columns: Columns, *, gestures: bool = True) -> Annotations:
    """Measure the instances of a frame. `columns` are those of `table_columns`; `frame.measures` has the counts."""
    rows: list[dict[str, float | str | None]] = []
    notes: list[str] = []
    for (instance, owner), counts in zip_longest(measuring.with_owners(frame), frame.measures):
        row: dict[str, float | str | None] = {}
        if columns:
            row |= measuring.instance_values(instance, owner)
        note: list[str] = []
        if gestures and isinstance(instance, Hand) and "gesture" in columns and instance.gesture is not None:
            note.append(f"{instance.gesture.name.replace('_', ' ')} {instance.gesture.score:.2f}")
        if isinstance(instance, Hand) and instance.distance_m is not None:
            note.append(f"{instance.distance_m:.2f} m")
        row |= counts or {}
        for column, count in (counts or {}).items():
            if isinstance(count, int):
                of = column.removeprefix("repetitions").removesuffix("_angle").replace("_", " ")
                note.append(f"{pluralize(count, 'repetition')}{of}")
        notes.append(", ".join(note))
        row |= dict(zip(BOX_COLUMNS, instance.box, strict=True))
        rows.append({name: row[name] for name in columns if name in row})
    return Annotations(rows if columns else None, notes)
