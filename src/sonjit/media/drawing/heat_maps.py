"""Draw maps over images: enlarged, coloured, framed, side by side, or one panel per named map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sonjit._util import Float32Array, FloatArray, Image, InputError, RealArray
from sonjit.geometry.boxes import RotatedBox, crop_matrix
from sonjit.media.drawing.labels import Label, draw_captions, draw_labels
from sonjit.media.drawing.strokes import NEUTRAL, draw_path
from sonjit.results import Box

TRUE_COLOUR: Final = (40, 200, 80)
PREDICTED_COLOUR: Final = (235, 50, 50)
"""RGB of the true box, green, and of the predicted one, red, as in figure 6 of Zhou et al. 2016."""

_OPACITY = 0.5
_FINE = 224  # side in pixels at which a map is laid into a rotated box

_COLUMNS = 4
_BLANK = 24


def enlarge(values: Float32Array, width: int, height: int) -> Float32Array:
    """Enlarge a map (h, w) to (H, W) bilinearly. Each cell keeps its position in the image."""
    import cv2

    return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)


def place(values: Float32Array, box: RotatedBox, width: int, height: int) -> Float32Array:
    """Map values (h, w) of a rotated box in pixels to an image (H, W), NaN outside the box."""
    import cv2

    fine = enlarge(values, _FINE, _FINE)
    # A margin with the border's values keeps interpolation from mixing them with the outside.
    fine = cv2.copyMakeBorder(fine, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    matrix = crop_matrix(box, _FINE, _FINE)
    shifted = matrix.copy()
    shifted[:, 2] -= matrix[:, 0] + matrix[:, 1]
    inside = cv2.warpAffine(np.ones((_FINE, _FINE), np.float32), matrix, (width, height), flags=cv2.INTER_NEAREST)
    placed = cv2.warpAffine(fine, shifted, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32)
    placed[inside < 0.5] = np.nan
    return placed


def overlay(rgb: Image, values: Float32Array, opacity: float = _OPACITY) -> Image:
    """Return an image (H, W, 3) under a heat map (H, W), from blue (minimum) to red (maximum); NaN is unchanged."""
    import cv2

    finite = np.isfinite(values)
    canvas = rgb.copy()
    if not finite.any():
        return canvas
    low, high = float(values[finite].min()), float(values[finite].max())
    colours = _colours((np.where(finite, values, low) - low) / max(high - low, 1e-12))
    mixed = cv2.addWeighted(canvas, 1 - opacity, colours, opacity, 0)
    canvas[finite] = mixed[finite]
    return canvas


def draw_colour_bar(canvas: Image, values: Float32Array, area: Box) -> list[Label]:
    """Draw the colours of a map (H, W) on an image (H, W, 3) in place, and return labels of its ends.

    The bar lies at the lower edge of the map's area, x_min, y_min, x_max, y_max in pixels.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return []
    height, width = canvas.shape[:2]
    thick = max(3, min(height, width) // 60)
    long = min(max(8, int((area[2] - area[0]) / 2)), width)
    left = int(np.clip((area[0] + area[2] - long) / 2, 0, width - long))
    top = int(np.clip(area[3] + thick, 0, height - 2 * thick))
    canvas[top : top + thick, left : left + long] = _colours(np.linspace(0, 1, long)[None])
    middle = top + thick / 2
    ends = (float(finite.min()), left, -1.0), (float(finite.max()), left + long, 1.0)
    return [
        Label(f"{value:.3g}", np.array([x, middle]), [np.array([side, 0.0])], NEUTRAL, long) for value, x, side in ends
    ]


def _colours(shares: RealArray) -> Image:
    """Return the colours (h, w, 3) of shares (h, w) in 0..1, from blue to red."""
    import cv2

    bgr = cv2.applyColorMap((shares * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    return np.ascontiguousarray(bgr[..., ::-1], np.uint8)


def draw_boxes(canvas: Image, *, true: Iterable[Box] = (), predicted: Iterable[Box] = ()) -> None:
    """Draw true boxes in green and predicted ones in red on a canvas (H, W, 3), in place.

    Boxes are x_min, y_min, x_max, y_max in pixels.
    """
    width = max(2, round(max(canvas.shape[:2]) / 200))
    for boxes, colour in ((true, TRUE_COLOUR), (predicted, PREDICTED_COLOUR)):
        for x_min, y_min, x_max, y_max in boxes:
            corners = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]], np.float64)
            draw_path(canvas, corners, colour, width)


def draw_outline(canvas: Image, box: RotatedBox) -> None:
    """Draw the outline of a rotated box in pixels on a canvas (H, W, 3) in place."""
    draw_path(canvas, corners_of(box), NEUTRAL, 1)


def corners_of(box: RotatedBox) -> FloatArray:
    """Return the corners (4, 2) of a rotated box in pixels."""
    return np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]) @ crop_matrix(box, 1, 1).T


def panel(rgb: Image, values: Float32Array, title: str) -> Image:
    """Return an image (H, W, 3) with its map (H, W), an ASCII title, and the colours from minimum to maximum."""
    canvas = overlay(rgb, values)
    draw_captions(canvas, [title])
    height, width = canvas.shape[:2]
    draw_labels(canvas, draw_colour_bar(canvas, values, (0, 0, width, height)))
    return canvas


def side_by_side(panels: Sequence[NDArray[np.uint8]]) -> Image:
    """Join panels (H, W, 3) of one size in a row, for example several classes of one image."""
    return np.concatenate(list(panels), axis=1)


def grid(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> Image:
    """Join panels (H, W, 3) of one size in a grid, for example a row per image and a column per network."""
    return np.concatenate([side_by_side(row) for row in rows], axis=0)


def draw_feature_maps(maps: Mapping[str, RealArray], rgb: Image, columns: int = _COLUMNS) -> Image:
    """Draw the network's input and each map over it with its name, from blue (minimum) to red (maximum).

    `maps`: (h, w) by name, or (C, h, w) of which the mean size of the channels is shown; `rgb`: (H, W, 3) uint8 input.
    """
    height, width = rgb.shape[:2]
    panels = [draw_title(rgb, "input")]
    for name, values in maps.items():
        if values.ndim not in (2, 3) or not values.size or not np.isfinite(values).all():
            raise InputError(f"map {name} of shape {values.shape}: give finite numbers, (h, w) or (C, h, w)")
        flat = values if values.ndim == 2 else np.abs(values).mean(0)
        shown = overlay(rgb, enlarge(np.ascontiguousarray(flat, np.float32), width, height))
        panels.append(draw_title(shown, name))
    panels += [np.full_like(rgb, _BLANK)] * (-len(panels) % columns)
    return grid([panels[start : start + columns] for start in range(0, len(panels), columns)])


def draw_title(canvas: Image, title: str) -> Image:
    """Return a copy of an image (H, W, 3) with a title."""
    titled = np.array(canvas, order="C")
    draw_captions(titled, [title])
    return titled
