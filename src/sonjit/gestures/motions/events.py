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
    start: complex  # position of the palm at the begin
    rounds: float = 0.0


class HandState(NamedTuple):
    """Hand in a frame. Positions are complex numbers x + iy in hand lengths from the first position of the hand."""

    time_s: float
    palm: complex
    velocity: complex  # velocity of the palm per second
    tip: complex  # tip of the index finger
    tips: complex  # centre of the tips of the four fingers
    is_up: bool  # the fingers are extended and point up in the image
    reach: tuple[float, float, float]  # minimum, mean and maximum reach of the four fingers; 1 is extended
    index_reach: float
    pinch: float  # distance between the tips of thumb and index finger
    size: float  # length of the hand in pixels
    angle_rad: float  # clockwise angle of the palm in the image
