"""Colours for hands: red knuckles, grey palm, one colour per finger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonjit.compat.mediapipe.not_covered import not_covered
from sonjit.compat.mediapipe.solutions import hands_connections as lines
from sonjit.compat.mediapipe.solutions.drawing_utils import DrawingSpec
from sonjit.compat.mediapipe.solutions.hands import HandLandmark

if TYPE_CHECKING:
    from sonjit.compat.mediapipe.solutions.drawing_utils import Color
    from sonjit.compat.mediapipe.solutions.hands_connections import Connection

__all__ = ["get_default_hand_connections_style", "get_default_hand_landmarks_style"]

_KNUCKLES: Color = (48, 48, 255)
_PALM: Color = (128, 128, 128)
_FINGERS: list[tuple[Color, tuple[Connection, ...]]] = [
    ((180, 229, 255), lines.HAND_THUMB_CONNECTIONS),
    ((128, 64, 128), lines.HAND_INDEX_FINGER_CONNECTIONS),
    ((0, 204, 255), lines.HAND_MIDDLE_FINGER_CONNECTIONS),
    ((48, 255, 48), lines.HAND_RING_FINGER_CONNECTIONS),
    ((192, 101, 21), lines.HAND_PINKY_FINGER_CONNECTIONS),
]
_DOT_RADIUS = 5
_FILLED = -1


def get_default_hand_landmarks_style() -> dict[HandLandmark, DrawingSpec]:
    """A filled dot per landmark: in its finger's colour, where a finger meets the palm and at the wrist red."""
    colors = dict.fromkeys(HandLandmark, _KNUCKLES)
    for color, pairs in _FINGERS:
        colors.update({HandLandmark(outer): color for _, outer in pairs})
    return {landmark: DrawingSpec(color, _FILLED, _DOT_RADIUS) for landmark, color in colors.items()}


def get_default_hand_connections_style() -> dict[Connection, DrawingSpec]:
    """A line per connection: in its finger's colour, the palm's grey and thicker."""
    style = {pair: DrawingSpec(_PALM, thickness=3) for pair in lines.HAND_PALM_CONNECTIONS}
    return style | {pair: DrawingSpec(color, thickness=2) for color, pairs in _FINGERS for pair in pairs}


if not TYPE_CHECKING:  # a type checker shall keep complaining about unknown names

    def __getattr__(name: str) -> object:
        """Say what is covered."""
        raise not_covered(__name__, name, __all__)
