"""Measures, gestures and repetitions of the instances in a frame, for tables and drawings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from sonjit._util.errors import InputError
from sonjit._util.text import pluralize
from sonjit.detectors.kinds import find_kind, find_model
from sonjit.media.tables.rows import BOX_COLUMNS
from sonjit.results import Event, Hand
from sonjit.results.measures import (
    DISTANCE_COLUMNS,
    TRANSFORM_COLUMNS,
    RepetitionCounter,
    instance_values,
    measure_names,
    measures,
)
from sonjit.results.skeletons.blendshapes import BLENDSHAPES

if TYPE_CHECKING:
    from sonjit.media.tables.base import Extras
    from sonjit.results import Frame, Instance

Columns: TypeAlias = "dict[str, type[int] | type[float] | type[str]]"


def table_columns(
    model: str,
    *,
    measures: bool,
    gestures: bool = False,
    counts: bool = False,
    blendshapes: bool = False,
    transform: bool = False,
    distance: bool = False,
) -> Columns:
    """Return names and types of the additional table columns of a model.

    Args:
        model: Kind and model, such as `hands-full`. Models that detect boxes always have columns for the box, because
            the six keypoints of a face do not determine it.
        measures: Add a column per measure. Hands also get their gesture.
        gestures: Add the gesture of each hand and its score.
        counts: Add the number of repetitions.
        blendshapes: Add a column per blendshape of a face.
        transform: Add a column per entry of a face's 4 x 4 transform.
        distance: Add the distance of each hand and its error.
    """
    entry, selected = find_model(model.partition("+")[0])
    columns: Columns = dict.fromkeys(BOX_COLUMNS, float) if selected.is_box else {}
    kinds = () if selected.is_box else entry.instances
    if (measures or gestures) and Hand.kind in kinds:
        columns |= {"gesture": str, "gesture_score": float}
    if measures:
        columns |= {name: float for kind in kinds for name in measure_names(kind)}
    if counts:
        columns["repetitions"] = int
    optional = {BLENDSHAPES: blendshapes, TRANSFORM_COLUMNS: transform, DISTANCE_COLUMNS: distance}
    return columns | {name: float for names, is_wanted in optional.items() if is_wanted for name in names}


@dataclass(frozen=True)
class AngleLimits:
    """Limits of an angle between which a movement counts as one repetition.

    Attributes:
        measure: Name of the angle's measure.
        low_rad: Angle at or below which the joint is bent.
        high_rad: Angle at or above which the joint is straight again.
    """

    measure: str
    low_rad: float = math.radians(110)
    high_rad: float = math.radians(150)

    @property
    def text(self) -> str:
        """The limits as `from_text` reads them."""
        return f"{self.measure}:{math.degrees(self.low_rad):g}:{math.degrees(self.high_rad):g}"

    @classmethod
    def from_text(cls, text: str, kind: str) -> AngleLimits:
        """Read `NAME` or `NAME:LOW:HIGH`.

        Args:
            text: Name of the measure, then optionally both limits in degrees.
            kind: Kind of the detector whose instances have the measure.

        Raises:
            InputError: The instances have no such angle, or the limits are invalid.
        """
        name, *limits = text.split(":")
        angles = [
            measure
            for instance in find_kind(kind).instances
            for measure in measure_names(instance)
            if measure.endswith("_rad")
        ]
        if name not in angles:
            raise InputError(f"--count {text}: unknown angle {name!r}. Choose from {', '.join(angles)}")
        if not limits:
            return cls(name)
        try:
            low, high = (math.radians(float(limit)) for limit in limits)
        except ValueError:
            raise InputError(f"--count {text}: write NAME or NAME:LOW:HIGH with limits in degrees") from None
        if not low < high:
            raise InputError(f"--count {text}: the low limit must be below the high limit")
        return cls(name, low, high)


class RepetitionCounts:
    """Repetitions of an angle for each instance of a stream.

    Args:
        limits: Angle and its limits.
    """

    def __init__(self, limits: AngleLimits) -> None:
        self.limits = limits
        self._counters: dict[tuple[str, int, str | None], RepetitionCounter] = {}
        self._range_rad = math.inf, -math.inf
        self._time_s = 0.0

    def update(self, frame: Frame) -> list[Event]:
        """Return an event for each repetition that ends in a frame. Photographs have none."""
        self._time_s = max(self._time_s, frame.time or 0.0)  # a damaged video may step back in time
        events: list[Event] = []
        for _, instance in frame.instances():
            angle_rad = measures(instance).get(self.limits.measure)
            if instance.id is None or angle_rad is None:
                continue
            self._range_rad = min(self._range_rad[0], angle_rad), max(self._range_rad[1], angle_rad)
            key = instance.kind, instance.id, instance.handedness
            if key not in self._counters:
                self._counters[key] = RepetitionCounter(self.limits.low_rad, self.limits.high_rad)
            counter = self._counters[key]
            before = counter.count
            if counter.update(angle_rad, self._time_s) == before or counter.last is None:
                continue
            last = counter.last
            times = last.begin_s, last.end_s
            name = self.limits.measure
            events.append(Event(name, "repetition", "end", *times, *key[1:], last.lowest_rad))
        return events

    def count(self, instance: Instance) -> int | None:
        """Return the number of repetitions of an instance so far; None without the angle or a track ID."""
        counter = self._counters.get((instance.kind, instance.id or 0, instance.handedness))
        return None if counter is None or instance.id is None else counter.count

    def summary(self) -> list[str]:
        """Return a line for each instance with repetitions, or one with the range of the angle if there are none."""
        name = self.limits.measure
        lines = [
            f"{pluralize(counter.count, 'repetition')} of {name} by {' '.join(filter(None, (side, kind)))} #{id}"
            for (kind, id, side), counter in self._counters.items()
            if counter.count
        ]
        if lines or not self._counters:
            return lines or [f"0 repetitions of {name}"]
        if self._range_rad[0] > self._range_rad[1]:
            return [f"0 repetitions of {name}. Its keypoints were never visible"]
        low, high = (math.degrees(angle) for angle in self._range_rad)
        limits = f"{math.degrees(self.limits.low_rad):.0f} and {math.degrees(self.limits.high_rad):.0f}"
        return [f"0 repetitions of {name}. It was {low:.0f} to {high:.0f} degrees, the limits are {limits}"]


class Annotations(NamedTuple):
    """Additional values of the instances of a frame.

    Attributes:
        extras: Values of the additional table columns, per instance; None without additional columns.
        notes: Text for the label of each instance; empty for none.
    """

    extras: Extras | None
    notes: list[str]


def annotate(frame: Frame, columns: Columns, repetitions: RepetitionCounts | None = None) -> Annotations:
    """Measure the instances of a frame.

    Args:
        frame: Detected instances.
        columns: Additional columns as `table_columns` returns them.
        repetitions: Counts of the stream up to this frame; None for no counts.
    """
    rows: list[dict[str, float | str | None]] = []
    notes: list[str] = []
    for _, instance in frame.instances():
        row: dict[str, float | str | None] = {}
        if columns:
            row |= instance_values(instance)
        note: list[str] = []
        if isinstance(instance, Hand) and "gesture" in columns and instance.gesture is not None:
            note.append(f"{instance.gesture.name.replace('_', ' ')} {instance.gesture.score:.2f}")
        if isinstance(instance, Hand) and instance.distance_m is not None:
            note.append(f"{instance.distance_m:.2f} m")
        count = None if repetitions is None else repetitions.count(instance)
        if count is not None:
            row["repetitions"] = count
            note.append(pluralize(count, "repetition"))
        notes.append(", ".join(note))
        row |= dict(zip(BOX_COLUMNS, instance.box, strict=True))
        rows.append({name: row[name] for name in columns if name in row})
    return Annotations(rows if columns else None, notes)
