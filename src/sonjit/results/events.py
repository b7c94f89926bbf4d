"""Define gestures, and the events of gestures, motions and measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit._util.json_text import JsonObject

Handedness = Literal["Left", "Right"]
Phase: TypeAlias = Literal["begin", "progress", "end", "cancel"]
"""Of a motion."""


class Gesture(NamedTuple):
    """Gesture of a hand.

    Attributes:
        name: Name in `sonjit.gestures.GESTURES`, or of a custom gesture.
        score: Probability of the gesture, 0..1.
    """

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class MotionEvent:
    """One step of a motion of one hand.

    Attributes:
        name: Name in `sonjit.gestures.MOTIONS`, or of a custom motion, which is reported once at its end.
        phase: `begin`, then `progress` with every frame, then `end`; `cancel` in place of `end` where the hand was lost
            or what began as a swipe became another movement.
        id: ID of the hand; with two hands, the one that is tracked longest.
        handedness: Handedness of the hand.
        time: Time of the event in seconds.
        strength: Strength 0..1: speed of a swipe, push or clap, size of a wave or circle, how far a pinch or fist is
            closed; of a custom motion its score.
        moved: Movement since the begin of the motion, to the right and down in the image, in hand lengths.
        count: Turns of a circle, and of a rotation, clockwise positive; single swings of a wave; of a zoom the distance
            of the hands, of a push the size of the hand, both over that at the begin; else 0.
    """

    name: str
    phase: Phase
    id: int
    handedness: Handedness
    time: float
    strength: float
    moved: tuple[float, float]
    count: float

    def to_dict(self) -> JsonObject:
        """Return the event as JSON types."""
        record: JsonObject = asdict(self)
        record["time"] = round(self.time, 4)
        record["strength"] = round(self.strength, 3)
        record["moved"] = [round(item, 3) for item in self.moved]
        record["count"] = round(self.count, 2)
        return record

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Create an event from the rounded values that `to_dict` wrote."""
        x, y = data["moved"]
        values: dict[str, Any] = {**data, "moved": (x, y)}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Event:
    """The begin or end of a held gesture, of a motion, or of a measure beyond a limit; or a finished repetition.

    Attributes:
        name: Name of the gesture, motion or measure; of a repetition the angle.
        type: Subject of the event: "gesture", "motion", "measure" or "repetition". A repetition has only the phase
            `end`.
        phase: `begin` or `end`; `cancel` in place of `end` if the instance of a motion or measure was lost, or if the
            motion became another one.
        begin: Time of the begin in seconds.
        end: Time of the end in seconds; None at the begin.
        id: Track ID of the instance.
        handedness: Handedness of a hand; None for other instances.
        value: Highest score of a gesture, highest strength of a motion, the extreme of a measure so far, or the
            lowest angle of a repetition.
    """

    name: str
    type: Literal["gesture", "motion", "measure", "repetition"]
    phase: Literal["begin", "end", "cancel"]
    begin: float
    end: float | None
    id: int
    handedness: Handedness | None
    value: float

    def to_dict(self) -> JsonObject:
        """Return the event as JSON types, with times in tenths of a millisecond and the value in five digits."""
        record: JsonObject = asdict(self)
        record["begin"] = round(self.begin, 4)
        record["end"] = None if self.end is None else round(self.end, 4)
        record["value"] = float(f"{self.value:.5g}")
        return record

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Create an event from the rounded values that `to_dict` wrote."""
        return cls(**data)
