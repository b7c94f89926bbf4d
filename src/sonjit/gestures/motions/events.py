"""Names of motions, and the types of the functions that find them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from sonjit.results import Phase

SWIPES: Final = ("Swipe_Right", "Swipe_Down", "Swipe_Left", "Swipe_Up")  # by quarter turns from the x axis to y
CIRCLES: Final = ("Circle_Clockwise", "Circle_Counterclockwise")
MOTIONS: Final = (*SWIPES, "Wave", *CIRCLES, "Pinch", "Drag", "Rotate", "Push", "Zoom", "Clap")
"""Every name of a motion; directions are those in the image."""


class Step(NamedTuple):
    """Step of a motion in a frame, without its hand."""

    name: str
    phase: Phase
    strength: float
    start: complex  # of the palm
    rounds: float = 0.0


class Seen(NamedTuple):
    """Hand in a frame. Positions are complex numbers x + iy in hand lengths from the first position of the hand."""

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
