"""Lines of text on small dark labels, kept inside the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sonjit.arrays import FloatArray, Image, IntArray
from sonjit.media.drawing.strokes import INK, NEUTRAL, Colour
from sonjit.results import Result

_TEXT = (245, 246, 250)
_OPACITY = 0.8


def label_text(what: str, one: Result) -> str:
    """What it is, its score and its id.

    >>> import numpy as np
    >>> from sonjit.results import Face
    >>> label_text("Face", Face(0.974, np.zeros((6, 3), np.float32), (0, 0, 1, 1), id=4))
    'Face 0.97 #4'
    """
    return f"{what} {one.score:.2f}" + ("" if one.id is None else f" #{one.id}")


def draw_label(canvas: Image, text: str, anchor: FloatArray, directions: Sequence[FloatArray], accent: Colour) -> None:
    """Write text beside a point, in place.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        text: one line of ASCII; it is left out where the image is too small for it.
        anchor: (2,) the point in pixels; it may lie outside the image; where it is unknown nothing is written.
        directions: (2,) unit vectors from the point to where the label may be, best first.
        accent: RGB of the bar at the label's left edge.
    """
    height, width = canvas.shape[:2]
    label = _Label(text, float(np.clip(min(height, width) / 1100, 0.36, 2.4)))
    if np.isfinite(anchor).all() and label.width <= width and label.height <= height:
        size, available = np.array([label.width, label.height]), np.array([width, height])
        label.draw(canvas, *_place(anchor, directions, size, available, 2.0 * label.pad), accent)


def draw_captions(canvas: Image, lines: Sequence[str]) -> None:
    """Write lines of ASCII one below the other in the upper left corner, in place.

    A long one is in smaller letters, and is cut where they would be too small to read.
    """
    height, width = canvas.shape[:2]
    scale = float(np.clip(min(height, width) / 750, 0.45, 3.2))
    margin = top = round(14 * scale)
    for line in lines:
        label = _Label(line, scale)
        if label.width > width - 2 * margin:
            smaller = max(0.32, 0.97 * scale * (width - 2 * margin) / label.width)
            label = _Label(line, smaller)
            while label.width > width - 2 * margin and len(line) > 4:
                line = line[: -max(4, len(line) // 20)] + "..."
                label = _Label(line, smaller)
        if label.width > width - 2 * margin or top + label.height > height:
            break
        label.draw(canvas, margin, top, NEUTRAL)
        top += label.height + max(2, margin // 3)


class _Label:
    """One line of text with a margin around it and a bar at its left edge; sizes in pixels."""

    def __init__(self, text: str, scale: float) -> None:
        import cv2

        self._text, self._scale = text, scale
        self._font = cv2.FONT_HERSHEY_SIMPLEX
        self._stroke = max(1, round(scale * 1.4))
        (text_width, self._text_height), _ = cv2.getTextSize(text, self._font, scale, self._stroke)
        self.pad = max(3, round(self._text_height * 0.5))
        self._bar = max(2, round(self._text_height * 0.25))
        self.width, self.height = text_width + 2 * self.pad + self._bar, self._text_height + 2 * self.pad

    def draw(self, canvas: Image, left: int, top: int, accent: Colour) -> None:
        """Lay it over the canvas, where it must fit."""
        import cv2

        label = canvas[top : top + self.height, left : left + self.width]
        label[:] = (label * (1 - _OPACITY) + np.array(INK) * _OPACITY).astype(np.uint8)
        label[:, : self._bar] = accent
        at = left + self._bar + self.pad, top + self.pad + self._text_height
        cv2.putText(canvas, self._text, at, self._font, self._scale, _TEXT, self._stroke, cv2.LINE_AA)


def _place(
    anchor: FloatArray, directions: Sequence[FloatArray], label: IntArray, available: IntArray, gap: float
) -> tuple[int, int]:
    """Top left corner of the label: in the first direction where it fits, else where it moves least."""
    best, best_moved = np.zeros(2), np.inf
    for direction in directions:
        wanted = anchor + direction * (gap + np.abs(direction) @ (label / 2)) - label / 2
        inside = np.clip(wanted, 0, available - label)
        moved = float(np.hypot(*(inside - wanted)))
        if moved < best_moved - 1:
            best, best_moved = inside, moved
    return int(best[0]), int(best[1])
