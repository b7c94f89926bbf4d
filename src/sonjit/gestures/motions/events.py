"""What motions are reported as, and what the watchers of single motions are given and give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sonjit.json_text import JsonObject
    from sonjit.results import Hand, Handedness

Phase: TypeAlias = Literal["begin", "progress", "end", "cancel"]

SWIPES: Final = ("Swipe_Right", "Swipe_Down", "Swipe_Left", "Swipe_Up")  # by quarter turns from the x axis to y
CIRCLES: Final = ("Circle_Clockwise", "Circle_Counterclockwise")
MOTIONS: Final = (*SWIPES, "Wave", *CIRCLES, "Pinch", "Drag", "Rotate", "Push", "Zoom", "Clap")
"""Every name of a motion; directions are those in the image."""


@dataclass(frozen=True, slots=True)
class MotionEvent:
    """One step of a motion of one hand.

    Attributes:
        name: one of `MOTIONS`.
        phase: `begin`, then `progress` with every frame, then `end`; `cancel` in place of `end` where the hand was lost
            or what began as a swipe became another movement.
        id: of the hand; of two the one that is tracked longest.
        handedness: of the hand.
        time: seconds.
        strength: 0..1: speed of a swipe, push or clap, size of a wave or circle, how far a pinch or fist is closed.
        moved: hand lengths to the right and down in the image since the motion began.
        count: turns of a circle, and of a rotation, clockwise positive; single swings of a wave; of a zoom the distance
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
        """As plain JSON types."""
        return {
            "name": self.name,
            "phase": self.phase,
            "id": self.id,
            "handedness": self.handedness,
            "time": round(self.time, 4),
            "strength": round(self.strength, 3),
            "moved": [round(one, 3) for one in self.moved],
            "count": round(self.count, 2),
        }


class Step(NamedTuple):
    """What a motion has come to in a frame, before it is known whose it is."""

    name: str
    phase: Phase
    strength: float
    start: complex  # of the palm
    rounds: float = 0.0


class Seen(NamedTuple):
    """One hand in one frame; places are complex numbers, x + iy in hand lengths from where the hand was first seen."""

    time_s: float
    palm: complex
    velocity: complex  # of the palm, per second
    tip: complex  # of the index finger
    tips: complex  # middle of the four fingers' tips
    is_up: bool  # the fingers are out and point up in the image
    reach: float  # of that of the four fingers that is farthest out; 1 is stretched
    index_reach: float
    pinch: float  # between the tips of thumb and index finger
    size: float  # length in pixels
    angle_rad: float  # of the palm in the image, clockwise


class Watch(Protocol):
    """Follows one kind of motion of one hand."""

    def __call__(self, now: Seen) -> Iterator[Step]:
        """The steps of the next frame."""
        ...

    def stop(self) -> Iterator[Step]:
        """The steps that end what goes on, because the hand was lost."""
        ...


def time_of(hands: Sequence[Hand], time_s: float | None, last_s: float) -> float:
    """The time of a frame in which motions are looked for.

    Args:
        hands: of the frame.
        time_s: of the frame in seconds.
        last_s: of the frame before it.

    Raises:
        InputError: a still's hand, without an id or a time, or time that runs backwards.
    """
    if time_s is None or any(hand.id is None for hand in hands):
        raise InputError("motions are those of a video or camera: give hands with an id, and the frame's time")
    if time_s < last_s:
        raise InputError(f"time runs backwards: {time_s} s after {last_s} s; reset() before another video")
    return time_s
