"""Pictures of predictions for the report of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sonjit._util.arrays import BoolArray, Image, RealArray
from sonjit.media.drawing.strokes import Colour, draw_path, draw_ring

PICTURE = "predictions (orange) and labels (green)"
"""Name of the picture, which is its caption in the report."""
MAX_CROPS = 16
"""Maximum number of crops in a picture."""

_CELL_PX, _COLUMNS, _GAP_PX = 256, 4, 4
_PREDICTED: Colour = (255, 96, 32)
_LABELLED: Colour = (64, 255, 128)


def draw_predictions(
    crops: Sequence[Image], predicted: Sequence[RealArray], labelled: Sequence[RealArray], known: Sequence[BoolArray]
) -> Image:
    """Draw predicted and labelled keypoints into crops, side by side.

    Args:
        crops: Images (S, S, 3) uint8; the first `MAX_CROPS` are drawn.
        predicted: Keypoints (K, 2) in pixels of each crop.
        labelled: Labels (K, 2) in pixels of each crop.
        known: Flags (K,), True for labelled keypoints.

    Returns:
        RGB image (H, W, 3) uint8 with at most four crops in a row.
    """
    import cv2

    shown = range(min(len(crops), MAX_CROPS))
    columns = max(1, min(len(shown), _COLUMNS))
    step = _CELL_PX + _GAP_PX
    sheet = np.full((-(-len(shown) // columns) * step, columns * step, 3), 40, np.uint8)
    for index in shown:
        cell = np.array(cv2.resize(crops[index], (_CELL_PX, _CELL_PX), interpolation=cv2.INTER_CUBIC), np.uint8)
        scale = _CELL_PX / crops[index].shape[0]
        for found, label in zip(
            (predicted[index] * scale)[known[index]], (labelled[index] * scale)[known[index]], strict=True
        ):
            draw_path(cell, np.stack([found, label]).astype(np.float64), _PREDICTED, 1)
            draw_ring(cell, label, 4.0, _LABELLED, 1)
            draw_ring(cell, found, 1.5, _PREDICTED, 2)
        top, left = index // columns * step, index % columns * step
        sheet[top : top + _CELL_PX, left : left + _CELL_PX] = cell
    return sheet
