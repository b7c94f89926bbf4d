"""A line of text on a small dark plate, kept inside the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PLATE = (18, 20, 28)
_TEXT = (245, 246, 250)
_OPACITY = 0.78


def draw_label(
    canvas: NDArray[np.uint8],
    text: str,
    anchor: NDArray[np.float64],
    directions: Sequence[NDArray[np.float64]],
    accent: tuple[int, int, int],
) -> None:
    """Write text beside a point, in place.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        text: one line of ASCII; it is left out where the picture is too small for it.
        anchor: (2,) the point in pixels; it may lie outside the picture.
        directions: (2,) unit vectors from the point to where the plate may stand, best first.
        accent: RGB of the bar at the plate's left edge.
    """
    import cv2

    height, width = canvas.shape[:2]
    scale = float(np.clip(min(height, width) / 1100, 0.36, 2.4))
    stroke = max(1, round(scale * 1.4))
    font = cv2.FONT_HERSHEY_SIMPLEX
    (text_w, text_h), _ = cv2.getTextSize(text, font, scale, stroke)
    pad = max(3, round(text_h * 0.5))
    bar = max(2, round(text_h * 0.25))
    plate_w, plate_h = text_w + 2 * pad + bar, text_h + 2 * pad
    if plate_w > width or plate_h > height:
        return
    left, top = _place(anchor, directions, np.array([plate_w, plate_h]), np.array([width, height]), 2.0 * pad)
    plate = canvas[top : top + plate_h, left : left + plate_w]
    plate[:] = (plate * (1 - _OPACITY) + np.array(_PLATE) * _OPACITY).astype(np.uint8)
    plate[:, :bar] = accent
    cv2.putText(canvas, text, (left + bar + pad, top + pad + text_h), font, scale, _TEXT, stroke, cv2.LINE_AA)


def _place(
    anchor: NDArray[np.float64],
    directions: Sequence[NDArray[np.float64]],
    plate: NDArray[np.int64],
    room: NDArray[np.int64],
    gap: float,
) -> tuple[int, int]:
    """Top left corner of the plate: in the first direction where there is room, else where it moves least."""
    best, best_moved = np.zeros(2), np.inf
    for direction in directions:
        wanted = anchor + direction * (gap + np.abs(direction) @ (plate / 2)) - plate / 2
        inside = np.clip(wanted, 0, room - plate)
        moved = float(np.hypot(*(inside - wanted)))
        if moved < best_moved - 1:
            best, best_moved = inside, moved
    return int(best[0]), int(best[1])
