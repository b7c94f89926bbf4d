"""Hands drawn over a picture: a colour per finger, depth as size and shade, a small label at the wrist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.media.images import rgb_from
from sonjit.media.labels import draw_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from sonjit.media.images import ImageLike
    from sonjit.results import Hand

PALM = (236, 236, 242)
FINGERS = {
    "thumb": (255, 170, 51),
    "indexFinger": (118, 219, 92),
    "middleFinger": (56, 189, 255),
    "ringFinger": (158, 127, 255),
    "pinky": (255, 99, 152),
}
"""RGB of the palm and of each finger, far enough apart for colour-blind eyes to follow by lightness."""

_INK = (18, 20, 28)  # the dark edge that keeps lines readable on skin and on white
_FAR_PX = 1e5  # points further out than this are not drawn: OpenCV's fixed-point coordinates would overflow
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def draw_hands(rgb: ImageLike, hands: Iterable[Hand], *, labels: bool = True) -> NDArray[np.uint8]:
    """A new picture with the skeletons of the hands drawn over it.

    The lighter and larger a point, the nearer it is to the camera. Widths follow the size of the hand and of the
    picture. Points that are unknown (NaN) or far outside are left out.

    Args:
        rgb: the picture, anything that `rgb_from` takes; it stays as it is.
        hands: keypoints in its pixels.
        labels: write "Right 0.98 #1" (whose hand, score, id) near each wrist.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = rgb_from(rgb).copy()
    hands = list(hands)
    for hand in hands:
        _draw_skeleton(canvas, hand)
    if labels:
        for hand in hands:  # after all skeletons, so that no line crosses a label
            _draw_hand_label(canvas, hand)
    return canvas


def _draw_skeleton(canvas: NDArray[np.uint8], hand: Hand) -> None:
    import cv2

    points = np.asarray(hand.keypoints, np.float64)  # (21, 3)
    drawable = np.all(np.abs(points[:, :2]) < _FAR_PX, axis=1)  # (21,), False for NaN too
    if not drawable.any():
        return
    size = _hand_size_px(points[drawable, :2])
    near = _nearness(points[:, 2], size)  # (21,)
    width = float(np.clip(size * 0.017, 1.0, max(canvas.shape[:2]) * 0.008 + 1))
    edge = max(0.7, width * 0.3)
    colours = _keypoint_colours(hand)
    fixed = np.zeros((len(points), 2), np.int64)
    fixed[drawable] = np.round((points[drawable, :2] - 0.5) * (1 << _SHIFT))  # pixel centres lie at halves

    def line(a: int, b: int, colour: tuple[int, ...], thickness: float) -> None:
        start, end = fixed[a].tolist(), fixed[b].tolist()
        cv2.line(canvas, start, end, colour, max(1, round(thickness)), cv2.LINE_AA, _SHIFT)

    def dot(k: int, colour: tuple[int, ...], radius: float) -> None:
        cv2.circle(canvas, fixed[k].tolist(), round(radius * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)

    shown = np.flatnonzero(drawable).tolist()
    lines = [(a, b) for a, b in hand.skeleton.connections if a in shown and b in shown]
    lines.sort(key=lambda pair: near[pair[0]] + near[pair[1]])  # far ones first, near ones over them
    for a, b in lines:
        line(a, b, _INK, width + 2 * edge)
    for a, b in lines:
        colour = colours[a] if colours[a] == colours[b] else PALM  # from finger to finger or wrist is palm
        line(a, b, _shade(colour, (near[a] + near[b]) / 2), width)
    for k in sorted(shown, key=near.__getitem__):
        radius = width * (0.7 + 1.2 * near[k])
        dot(k, _INK, radius + edge)
        dot(k, _shade(colours[k], near[k] + 0.15), radius)
        if radius >= 3:
            dot(k, _shade(colours[k], near[k] + 0.6), radius * 0.42)


def _hand_size_px(points: NDArray[np.float64]) -> float:
    return float(np.hypot(*(points.max(axis=0) - points.min(axis=0))))


def _nearness(z: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """(K,) 0 far .. 1 near within one hand, 0.5 where the depth is unknown; a flat hand stays near 0.5."""
    near = np.full(len(z), 0.5)
    known = np.isfinite(z)
    if known.any() and size > 0:
        middle = (z[known].max() + z[known].min()) / 2
        near[known] = np.clip(0.5 - (z[known] - middle) / (0.38 * size), 0, 1)
    return near


def _keypoint_colours(hand: Hand) -> list[tuple[int, int, int]]:
    groups = hand.skeleton.groups
    of_point = {k: FINGERS.get(name, PALM) for name, members in groups.items() for k in members}
    return [of_point.get(k, PALM) for k in range(len(hand.keypoints))]


def _shade(colour: tuple[int, int, int], near: float) -> tuple[int, ...]:
    """Darker when far (0), the colour itself in the middle, towards white when near (1)."""
    near = min(max(float(near), 0.0), 1.0)
    base = np.asarray(colour, np.float64)
    mixed = base * (0.5 + near) if near < 0.5 else base + (255 - base) * (near - 0.5) * 0.9
    return tuple(np.clip(mixed, 0, 255).astype(int).tolist())


def _draw_hand_label(canvas: NDArray[np.uint8], hand: Hand) -> None:
    wrist, thumb, knuckle = np.asarray(hand.keypoints, np.float64)[[0, 1, 9], :2]
    if not np.isfinite(wrist).all():
        return
    away = wrist - knuckle  # from the fingers
    length = float(np.hypot(*away))
    away = away / length if np.isfinite(length) and length > 0 else np.array([0.0, 1.0])
    aside = np.array([-away[1], away[0]])
    if aside @ (thumb - wrist) > 0:
        aside = -aside  # rather beside the little finger than over the thumb
    parts = [hand.handedness, f"{hand.score:.2f}"]
    if hand.id is not None:
        parts.append(f"#{hand.id}")
    accent = FINGERS["middleFinger"] if hand.handedness == "Right" else FINGERS["thumb"]
    draw_label(canvas, " ".join(parts), wrist, (away, aside, -aside), accent)
