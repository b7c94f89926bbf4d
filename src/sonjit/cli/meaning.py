"""What tables and drawings say beyond keypoints: measures and gestures."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sonjit.measures import MEASURE_NAMES, GestureSmoother, gesture_of, measures
from sonjit.results import Hand

if TYPE_CHECKING:
    from sonjit.measures import Gesture
    from sonjit.results import Frame

_KINDS = {"hands": ("hand",), "face": ("face",), "body": ("body",), "holistic": ("body", "hand", "face")}
"""For each kind of detector the kinds of instances that it gives."""
_BOX = ("x_min", "y_min", "x_max", "y_max")

Columns: TypeAlias = "dict[str, type[float] | type[str]]"


def table_columns(model: str, *, measures: bool) -> Columns:
    """Names and types of a table's further columns for a model such as `hands-full`.

    Boxes always have theirs: the six keypoints of a face do not tell where its box is.
    """
    kind, _, name = model.partition("-")
    columns: Columns = dict.fromkeys(_BOX, float) if name.startswith("box") else {}
    if measures and not columns:
        kinds = _KINDS[kind]
        if "hand" in kinds:
            columns |= {"gesture": str, "gesture_score": float}
        columns |= {name: float for one in kinds for name in MEASURE_NAMES[one]}
    return columns


class Meaning:
    """Follows the gestures of one stream."""

    def __init__(self) -> None:
        self._smoother = GestureSmoother()
        self._time = 0.0

    def gestures(self, frame: Frame) -> dict[int, Gesture]:
        """The steady gesture of each hand of a frame, by the hand's place in `frame.instances()`."""
        found: dict[int, Gesture] = {}
        self._time = max(self._time, frame.time or 0.0)  # a damaged video's times may step back
        for place, (_, one) in enumerate(frame.instances()):
            if isinstance(one, Hand):
                seen = gesture_of(one)
                # A person's two hands share an id.
                key = None if one.id is None else 2 * one.id + (one.handedness == "Left")
                found[place] = seen if key is None else self._smoother.update(key, seen, self._time)
        return found


def extras_of(frame: Frame, gestures: dict[int, Gesture], columns: Columns) -> list[dict[str, float | str | None]]:
    """The further columns' values for each instance of a frame."""
    rows: list[dict[str, float | str | None]] = []
    for place, (_, one) in enumerate(frame.instances()):
        if _BOX[0] in columns:
            rows.append(dict(zip(_BOX, one.box, strict=True)))
            continue
        row: dict[str, float | str | None] = dict(measures(one))
        if place in gestures:
            row |= {"gesture": gestures[place].name, "gesture_score": gestures[place].score}
        rows.append(row)
    return rows


def captions_of(frame: Frame, gestures: dict[int, Gesture]) -> list[str]:
    """A line per hand that makes a gesture, for the top of the picture."""
    instances = [one for _, one in frame.instances()]
    return [
        f"{instances[place].handedness}: {gesture.name.replace('_', ' ')} {gesture.score:.2f}"
        for place, gesture in gestures.items()
        if gesture.name != "none"
    ]
