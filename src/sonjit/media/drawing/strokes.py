"""Lines, dots and small dark labels at sub-pixel places, safe for points that are unknown or far away; colours."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

import numpy as np

from sonjit.arrays import Float32Array, FloatArray, Image, IntArray
from sonjit.results import Box, Result

Colour: TypeAlias = tuple[int, int, int]

LEFT: Colour = (255, 170, 51)
RIGHT: Colour = (56, 189, 255)
NEUTRAL: Colour = (236, 236, 242)
"""RGB of the person's own left, their right, and what belongs to neither."""

INK: Colour = (18, 20, 28)
"""The dark edge that keeps lines readable on skin and on white."""


def linear_light(colour: Colour) -> tuple[float, float, float]:
    """How much red, green and blue light a colour of sRGB is, 0 to 1 each: what glTF and renderers compute with.

    Source: IEC 61966-2-1.

    >>> [round(light, 4) for light in linear_light((255, 128, 0))]
    [1.0, 0.2159, 0.0]
    """
    srgb = np.array(colour) / 255
    red, green, blue = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).tolist()
    return red, green, blue


_FAR_PX = 1e5  # points further out than this are not drawn: OpenCV's fixed-point coordinates would overflow
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


class Strokes:
    """A pen over a canvas for the keypoints of one instance; lines to points that cannot be drawn are left out.

    Args:
        canvas: (H, W, 3) uint8 RGB, drawn on in place.
        keypoints: (K, 2 or 3): x, y in its pixels, and z in the same scale.

    Attributes:
        points: (K, 2) x, y.
        drawable: (K,) whether a point is known and not far outside.
        size: diagonal in pixels of the box around the drawable points; 0 without any.
        near: (K,) 0 far .. 1 near within this instance, 0.5 where the depth is unknown; what is flat stays near 0.5.
    """

    def __init__(self, canvas: Image, keypoints: Float32Array) -> None:
        self.canvas = canvas
        self.points = np.asarray(keypoints, np.float64)[:, :2]
        self.drawable = np.all(np.abs(self.points) < _FAR_PX, axis=1)  # (K,), False for NaN too
        known = self.points[self.drawable]
        self.size = float(np.hypot(*np.ptp(known, axis=0))) if len(known) else 0.0
        self.near = _nearness(np.asarray(keypoints, np.float64)[:, 2], self.size)
        self._fixed = np.zeros(self.points.shape, np.int64)
        self._fixed[self.drawable] = _fixed(known)

    def width(self, share: float) -> float:
        """A line's width: a share of the instance's size, at least a pixel, not too bold for the image."""
        return min(max(self.size * share, 1.0), max(self.canvas.shape[:2]) * 0.008 + 1)

    @staticmethod
    def edge(width: float) -> float:
        """How far the dark edge of a line of this width stands out; fine lines keep a fine one."""
        return max(0.5, width * 0.27)

    def region(self, margin: float) -> Box:
        """Box around the drawable points, wider by a margin in pixels."""
        known = self.points[self.drawable]
        if not len(known):
            return 0.0, 0.0, 0.0, 0.0
        (x_min, y_min), (x_max, y_max) = (known.min(axis=0) - margin).tolist(), (known.max(axis=0) + margin).tolist()
        return x_min, y_min, x_max, y_max

    def line(self, a: int, b: int, colour: Colour, width: float) -> None:
        """A line between two keypoints."""
        import cv2

        if self.drawable[a] and self.drawable[b]:
            start, end = self._fixed[a].tolist(), self._fixed[b].tolist()
            cv2.line(self.canvas, start, end, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)

    def dot(self, k: int, colour: Colour, radius: float) -> None:
        """A disc at a keypoint."""
        import cv2

        if self.drawable[k]:
            centre = self._fixed[k].tolist()
            cv2.circle(self.canvas, centre, round(radius * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)


def draw_ring(canvas: Image, centre: FloatArray, radius: float, colour: Colour, width: float) -> None:
    """A circle around any point, if it is known and the circle not larger than the image."""
    import cv2

    if np.all(np.abs(centre) < _FAR_PX) and radius <= max(canvas.shape[:2]):
        at, fixed_radius = _fixed(centre).tolist(), round(radius * (1 << _SHIFT))
        cv2.circle(canvas, at, fixed_radius, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def draw_path(canvas: Image, points: FloatArray, colour: Colour, width: float) -> None:
    """A closed line through points (N, 2), if they all are known."""
    import cv2

    if np.all(np.abs(points) < _FAR_PX):
        path = _fixed(points).astype(np.int32)
        cv2.polylines(canvas, [path], True, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


@contextmanager
def translucent(canvas: Image, region: Box, opacity: float) -> Generator[None]:
    """What is drawn inside the block shows by `opacity`, 0..1, within a region in pixels."""
    import cv2

    height, width = canvas.shape[:2]
    left, top, right, bottom = (round(min(max(edge, 0), end)) for edge, end in zip(region, (width, height) * 2))  # noqa: B905
    part = canvas[top:bottom, left:right]
    before = part.copy()
    yield
    if part.size:
        part[:] = cv2.addWeighted(part, opacity, before, 1 - opacity, 0)


def shade(colour: Colour, near: float) -> Colour:
    """Darker when far (0), the colour itself in the middle, towards white when near (1)."""
    near = min(max(near, 0.0), 1.0)
    if near < 0.5:
        red, green, blue = (int(part * (0.5 + near)) for part in colour)
    else:
        red, green, blue = (int(part + (255 - part) * (near - 0.5) * 0.9) for part in colour)
    return red, green, blue


def _fixed(points: FloatArray) -> IntArray:
    """OpenCV's fixed-point coordinates; its pixel centres lie at whole numbers, ours at halves."""
    return np.round((points - 0.5) * (1 << _SHIFT)).astype(np.int64)


def _nearness(z: FloatArray, size: float) -> FloatArray:
    near = np.full(len(z), 0.5)
    known = np.isfinite(z)
    if known.any() and size > 0:
        middle = (z[known].max() + z[known].min()) / 2
        near[known] = np.clip(0.5 - (z[known] - middle) / (0.38 * size), 0, 1)
    return near


_TEXT = (245, 246, 250)
_OPACITY = 0.8
_LEAST_SCALE = 0.36
_LABEL_SIZE = 420
"""Pixels of an instance whose label is in letters of scale 1."""
_STEPS = 4
_HIDING = 6.0
"""What a plate that lies wholly over something costs, in heights of plates that it is moved away."""


class Label(NamedTuple):
    """Text beside an instance.

    Attributes:
        text: one line of ASCII.
        anchor: (2,) the point that it belongs to, in pixels; it may lie outside the image.
        directions: (2,) unit vectors from the point to where the text may be, best first.
        accent: RGB of the bar at its left edge.
        size: of the instance in pixels; the text of a small one is smaller.
    """

    text: str
    anchor: FloatArray
    directions: Sequence[FloatArray]
    accent: Colour
    size: float


def label_of(
    one: Result, what: str, anchor: FloatArray, directions: Sequence[FloatArray], accent: Colour = NEUTRAL
) -> Label:
    """The label of an instance: what it is, its score and its id, beside a point."""
    text = f"{what} {one.score:.2f}" + ("" if one.id is None else f" #{one.id}")
    x_min, y_min, x_max, y_max = one.box
    return Label(text, anchor, directions, accent, math.hypot(x_max - x_min, y_max - y_min))


def draw_labels(canvas: Image, labels: Sequence[Label], avoid: Sequence[Box] = ()) -> None:
    """Write labels inside the image, in place, so that they hide neither each other nor what is to be seen.

    Where there is too little room they overlap as little as can be. One whose point is unknown is left out, and one
    that is larger than the image.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        labels: the first has the best place.
        avoid: boxes, such as those of faces: x_min, y_min, x_max, y_max in pixels.
    """
    height, width = canvas.shape[:2]
    taken = [np.array(box, np.float64) for box in avoid if np.isfinite(box).all()]
    for label in labels:
        most = float(np.clip(min(height, width) / 1100, _LEAST_SCALE, 2.4))
        plate = _Plate(label.text, float(np.clip(np.nan_to_num(label.size / _LABEL_SIZE), _LEAST_SCALE, most)))
        if np.isfinite(label.anchor).all() and plate.width <= width and plate.height <= height:
            left, top = _place(label, plate, np.array([width, height]), taken)
            plate.draw(canvas, left, top, label.accent)
            taken.append(np.array([left, top, left + plate.width, top + plate.height], np.float64))


def draw_captions(canvas: Image, lines: Sequence[str]) -> None:
    """Write lines of ASCII one below the other in the upper left corner, in place.

    A long one is in smaller letters, and is cut where they would be too small to read.
    """
    height, width = canvas.shape[:2]
    scale = float(np.clip(min(height, width) / 750, 0.45, 3.2))
    margin = top = round(14 * scale)
    for line in lines:
        plate = _Plate(line, scale)
        if plate.width > width - 2 * margin:
            smaller = max(0.32, 0.97 * scale * (width - 2 * margin) / plate.width)
            plate = _Plate(line, smaller)
            while plate.width > width - 2 * margin and len(line) > 4:
                line = line[: -max(4, len(line) // 20)] + "..."
                plate = _Plate(line, smaller)
        if plate.width > width - 2 * margin or top + plate.height > height:
            break
        plate.draw(canvas, margin, top, NEUTRAL)
        top += plate.height + max(2, margin // 3)


class _Plate:
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


def _place(label: Label, plate: _Plate, available: IntArray, taken: Sequence[FloatArray]) -> tuple[int, int]:
    """Top left corner: near the point, in an early direction, where little else is."""
    size = np.array([plate.width, plate.height])
    best, least = np.zeros(2), np.inf
    for step in range(_STEPS):
        for rank, direction in enumerate(label.directions):
            away = 2.0 * plate.pad + np.abs(direction) @ (size / 2) + step * 1.1 * plate.height
            wanted = label.anchor + direction * away - size / 2
            corner = np.clip(wanted, 0, available - size)
            moved = float(np.hypot(*(corner - wanted))) / plate.height
            cost = moved + 0.7 * step + 0.2 * rank + _HIDING * _hidden(corner, size, taken)
            if cost < least:
                best, least = corner, cost
    return int(best[0]), int(best[1])


def _hidden(corner: FloatArray, size: IntArray, taken: Sequence[FloatArray]) -> float:
    """How much of a plate lies over what is taken, in parts of it."""
    if not taken:
        return 0.0
    boxes = np.stack(taken)
    overlap = np.minimum(boxes[:, 2:], corner + size) - np.maximum(boxes[:, :2], corner)
    return float(overlap.clip(0).prod(axis=1).sum() / size.prod())
