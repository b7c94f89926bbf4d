"""What motions are reported as, and what the watchers of single motions are given and give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sonjit.results import Phase

SWIPES: Final = ("Swipe_Right", "Swipe_Down", "Swipe_Left", "Swipe_Up")  # by quarter turns from the x axis to y
CIRCLES: Final = ("Circle_Clockwise", "Circle_Counterclockwise")
MOTIONS: Final = (*SWIPES, "Wave", *CIRCLES, "Pinch", "Drag", "Rotate", "Push", "Zoom", "Clap")
"""Every name of a motion; directions are those in the image."""


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
    reach: tuple[float, float, float]  # of the four fingers: least, mean and greatest; 1 is stretched
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
