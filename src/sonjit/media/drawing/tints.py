"""People's masks as translucent tints with a fine outline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.media.drawing.strokes import Colour

PERSON_COLOURS: tuple[Colour, ...] = (
    (96, 132, 255),
    (46, 204, 160),
    (255, 138, 92),
    (214, 112, 240),
    (244, 202, 62),
    (90, 200, 250),
)
_OPACITY = 0.42


def draw_tint(canvas: NDArray[np.uint8], mask: NDArray[np.float32], colour: Colour) -> None:
    """Colour a person, in place.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        mask: (h, w) float32 probability, stretched over the picture; unknown (NaN) is none.
        colour: RGB.
    """
    import cv2

    height, width = canvas.shape[:2]
    alpha = np.clip(np.nan_to_num(mask), 0, 1).astype(np.float32)
    if alpha.shape != (height, width):
        alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
    left, top, wide, high = cv2.boundingRect((alpha > 0.02).view(np.uint8))
    if not wide:
        return
    part, weight = canvas[top : top + high, left : left + wide], alpha[top : top + high, left : left + wide]
    full = np.full_like(part, colour)
    part[:] = cv2.blendLinear(full, part, weight * _OPACITY, 1 - weight * _OPACITY)
    inside = (weight >= 0.5).view(np.uint8)
    edges, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left, top))
    cv2.drawContours(canvas, edges, -1, colour, max(1, round(min(height, width) / 480)), cv2.LINE_AA)
