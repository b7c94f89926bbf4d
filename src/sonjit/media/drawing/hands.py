"""Hands: a colour per finger, depth as size and shade, a small label at the wrist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.media.drawing.labels import draw_label, label_text
from sonjit.media.drawing.strokes import INK, LEFT, NEUTRAL, RIGHT, Strokes, shade

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.media.drawing.strokes import Colour
    from sonjit.results import Hand

FINGERS: dict[str, Colour] = {
    "thumb": (255, 170, 51),
    "indexFinger": (118, 219, 92),
    "middleFinger": (56, 189, 255),
    "ringFinger": (158, 127, 255),
    "pinky": (255, 99, 152),
}
"""RGB of each finger, far enough apart for colour-blind eyes to follow by lightness."""


def draw_hand(canvas: NDArray[np.uint8], hand: Hand) -> None:
    """Bones and joints, in place; far ones first, near ones over them."""
    strokes = Strokes(canvas, hand.keypoints)
    near, width = strokes.near.tolist(), strokes.width(0.017)
    edge = strokes.edge(width)
    colours = _keypoint_colours(hand)
    lines = sorted(hand.skeleton.connections, key=lambda pair: near[pair[0]] + near[pair[1]])
    for a, b in lines:
        strokes.line(a, b, INK, width + 2 * edge)
    for a, b in lines:
        colour = colours[a] if colours[a] == colours[b] else NEUTRAL  # from finger to finger or wrist is palm
        strokes.line(a, b, shade(colour, (near[a] + near[b]) / 2), width)
    for k in sorted(range(len(near)), key=near.__getitem__):
        radius = width * (0.7 + 1.2 * near[k])
        strokes.dot(k, INK, radius + edge)
        strokes.dot(k, shade(colours[k], near[k] + 0.15), radius)
        if radius >= 3:
            strokes.dot(k, shade(colours[k], near[k] + 0.6), radius * 0.42)


def draw_hand_label(canvas: NDArray[np.uint8], hand: Hand) -> None:
    """Whose hand, score and id, beyond the wrist, in place."""
    wrist, thumb, knuckle = np.asarray(hand.keypoints, np.float64)[[0, 1, 9], :2]
    away = wrist - knuckle  # from the fingers
    length = float(np.hypot(*away))
    away = away / length if np.isfinite(length) and length > 0 else np.array([0.0, 1.0])
    aside = np.array([-away[1], away[0]])
    if aside @ (thumb - wrist) > 0:
        aside = -aside  # rather beside the little finger than over the thumb
    accent = RIGHT if hand.handedness == "Right" else LEFT
    draw_label(canvas, label_text(hand.handedness, hand), wrist, (away, aside, -aside), accent)


def _keypoint_colours(hand: Hand) -> list[Colour]:
    groups = hand.skeleton.groups
    of_point = {k: FINGERS.get(name, NEUTRAL) for name, members in groups.items() for k in members}
    return [of_point.get(k, NEUTRAL) for k in range(len(hand.keypoints))]
