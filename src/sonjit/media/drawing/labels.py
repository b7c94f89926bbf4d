"""Labels of instances and captions of images: place them and draw them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sonjit._util import FloatArray, Image
from sonjit._util.lazy_names import LazyModule
from sonjit.media.drawing.strokes import INK, NEUTRAL, Colour
from sonjit.results import Box, Result

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

_TEXT = (245, 246, 250)
_OPACITY = 0.8
_MIN_SCALE = 0.36  # minimum scale of the letters of labels
_LABEL_SIZE = 420  # pixels of an instance whose label is in letters of scale 1
_STEPS = 4
_HIDING = 6.0  # cost of a label that covers something completely, in label heights of displacement


class Label(NamedTuple):
    """Text next to an instance."""

    text: str  # one line of ASCII
    anchor: FloatArray  # labelled point (2,) in pixels; it may lie outside the image
    directions: Sequence[FloatArray]  # unit vectors (2,) from the point to possible text positions, best first
    accent: Colour  # RGB of the bar at its left edge
    size: float  # size of the instance in pixels; a small instance has smaller text


def label_of(
    result: Result, title: str, anchor: FloatArray, directions: Sequence[FloatArray], accent: Colour = NEUTRAL
) -> Label:
    """Return the label of an instance with title, score and id, next to a point (2,) in pixels."""
    text = f"{title} {result.score:.2f}" + ("" if result.id is None else f" #{result.id}")
    x_min, y_min, x_max, y_max = result.box
    return Label(text, anchor, directions, accent, math.hypot(x_max - x_min, y_max - y_min))


def draw_labels(canvas: Image, labels: Sequence[Label]) -> None:
    """Write labels on an image (H, W, 3), in place, at the positions of `place_labels`."""
    for placed in place_labels(labels, canvas.shape[1], canvas.shape[0]):
        placed.draw(canvas)


def place_labels(labels: Sequence[Label], width: int, height: int, avoid: Sequence[Box] = ()) -> "list[Plate]":
    """Find positions of labels inside an image, where they hide neither each other nor boxes such as those of faces.

    Labels overlap as little as possible, the first ones least. Those with an unknown point, or larger than the image,
    are omitted.
    """
    placed: list[Plate] = []
    obstacles = [box for box in avoid if np.isfinite(box).all()]
    for label in labels:
        maximum = float(np.clip(min(height, width) / 1100, _MIN_SCALE, 2.4))
        scale = float(np.clip(np.nan_to_num(label.size / _LABEL_SIZE), _MIN_SCALE, maximum))
        plate = Plate(label.text, scale, label.accent)
        if np.isfinite(label.anchor).all() and plate.width <= width and plate.height <= height:
            plate.left, plate.top = _place(label, plate, width, height, obstacles)
            placed.append(plate)
            obstacles.append(plate.box)
    return placed


def draw_captions(canvas: Image, lines: Sequence[str]) -> None:
    """Write lines of ASCII into the upper left corner of an image (H, W, 3), in place, one below the other.

    A long one is in smaller letters, and is cut where they would be too small to read.
    """
    height, width = canvas.shape[:2]
    scale = float(np.clip(min(height, width) / 750, 0.45, 3.2))
    margin = top = round(14 * scale)
    for line in lines:
        plate = Plate(line, scale)
        if plate.width > width - 2 * margin:
            smaller = max(0.32, 0.97 * scale * (width - 2 * margin) / plate.width)
            plate = Plate(line, smaller)
            while plate.width > width - 2 * margin and len(line) > 4:
                line = line[: -max(4, len(line) // 20)] + "..."
                plate = Plate(line, smaller)
        if plate.width > width - 2 * margin or top + plate.height > height:
            break
        plate.left, plate.top = margin, top
        plate.draw(canvas)
        top += plate.height + max(2, margin // 3)


class Plate:
    """One line of text with a margin around it and a bar at its left edge; position and sizes in pixels."""

    def __init__(self, text: str, scale: float, accent: Colour = NEUTRAL) -> None:
        self._text = text
        self._scale = scale
        self._accent = accent
        self.left = self.top = 0
        self._font = cv2.FONT_HERSHEY_SIMPLEX
        self._stroke = max(1, round(scale * 1.4))
        (text_width, self._text_height), _ = cv2.getTextSize(text, self._font, scale, self._stroke)
        self.pad = max(3, round(self._text_height * 0.5))
        self._bar = max(2, round(self._text_height * 0.25))
        self.width, self.height = text_width + 2 * self.pad + self._bar, self._text_height + 2 * self.pad

    @property
    def box(self) -> Box:
        """Return the area that the plate covers."""
        return self.left, self.top, self.left + self.width, self.top + self.height

    def draw(self, canvas: Image) -> None:
        """Draw the plate over a canvas (H, W, 3) uint8, which must contain it."""
        label = canvas[self.top : self.top + self.height, self.left : self.left + self.width]
        label[:] = cv2.LUT(label, _plate_colours())
        label[:, : self._bar] = self._accent
        at = self.left + self._bar + self.pad, self.top + self.pad + self._text_height
        cv2.putText(canvas, self._text, at, self._font, self._scale, _TEXT, self._stroke, cv2.LINE_AA)


@cache
def _plate_colours() -> Image:
    """Return the colours (1, 256, 3) of a plate over each value of the image."""
    values = np.arange(256)[None, :, None]
    return (values * (1 - _OPACITY) + np.array(INK) * _OPACITY).astype(np.uint8)


def _place(label: Label, plate: Plate, width: int, height: int, obstacles: Sequence[Box]) -> tuple[int, int]:
    """Choose the top left corner near the point, preferring early directions and free space."""
    anchor_x, anchor_y = map(float, label.anchor)
    half_x, half_y = plate.width / 2, plate.height / 2
    best, least = (0.0, 0.0), math.inf
    for step in range(_STEPS):
        for rank, direction in enumerate(label.directions):
            x, y = map(float, direction)
            away = 2.0 * plate.pad + abs(x) * half_x + abs(y) * half_y + step * 1.1 * plate.height
            left_px, top_px = anchor_x + x * away - half_x, anchor_y + y * away - half_y
            left = min(max(left_px, 0.0), width - plate.width)
            top = min(max(top_px, 0.0), height - plate.height)
            moved = math.hypot(left - left_px, top - top_px) / plate.height
            cost = moved + 0.7 * step + 0.2 * rank + _HIDING * _hidden(left, top, plate, obstacles)
            if cost < least:
                best, least = (left, top), cost
    return int(best[0]), int(best[1])


def _hidden(left: float, top: float, plate: Plate, obstacles: Sequence[Box]) -> float:
    """Return the fraction of a plate that overlaps occupied boxes."""
    covered = 0.0
    for x_min, y_min, x_max, y_max in obstacles:
        wide = min(x_max, left + plate.width) - max(x_min, left)
        high = min(y_max, top + plate.height) - max(y_min, top)
        covered += max(wide, 0.0) * max(high, 0.0)
    return covered / (plate.width * plate.height)


@dataclass(frozen=True)
class Drawing:
    """How instances of a result type are drawn: the class attribute `drawing` of the type, or its import string.

    Attributes:
        draw: Function that draws an instance onto a canvas (H, W, 3) in place. The third argument is the person that
            the instance is a part of, or None.
        label: Function that returns the label of an instance, or None. Default: the kind, score and id.
        layer: Order of drawing; a higher layer covers a lower one.
        labels_parts: Label instances that are parts of a person.
        is_near_keypoints: Nothing is drawn outside `Strokes.extent` of the keypoints of an instance or person.
        head: Function that returns the box of an instance's face, which labels do not cover.
        has_box: Function that checks whether `draw` draws the box of an instance.
        errors: Function that draws the expected errors of an instance's keypoints onto a canvas.
    """

    draw: Callable[[Image, Any, Any], None]
    label: Callable[[Any], Label | None] | None = None
    layer: int = 0
    labels_parts: bool = False
    is_near_keypoints: bool = False
    head: Callable[[Any], Box] | None = None
    has_box: Callable[[Any], bool] | None = None
    errors: Callable[[Image, Any], None] | None = None
