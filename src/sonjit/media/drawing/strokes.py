"""Draw lines, rings and dots with a dark edge, in colours that depth shades. Widths follow the size of an instance."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sonjit._util import Float32Array, FloatArray, Image, IntArray
from sonjit._util.data_files import load_spec, rgb_from_hex
from sonjit._util.lazy_names import LazyModule
from sonjit.media.drawing.style import STYLE
from sonjit.results import Box

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

Colour: TypeAlias = tuple[int, int, int]
_SPEC = load_spec("drawing")
LEFT: Colour = rgb_from_hex(_SPEC["colours"]["left"])
RIGHT: Colour = rgb_from_hex(_SPEC["colours"]["right"])
NEUTRAL: Colour = rgb_from_hex(_SPEC["colours"]["neutral"])  # RGB of the person's left side, right side, and middle
INK: Colour = rgb_from_hex(_SPEC["colours"]["ink"])  # the dark edge that keeps lines readable on skin and on white
HAND_WIDTH: float = _SPEC["hand_width"]
BODY_WIDTH: float = _SPEC["body_width"]  # line width as a share of the instance's size
_MAX_WIDTH_SHARE: float = _SPEC["max_width_share"]
_EDGE_SHARE: float = _SPEC["edge_share"]
_MIN_EDGE_PX: float = _SPEC["min_edge_px"]
_DEPTH_RANGE: float = _SPEC["depth_range"]
_FAR_PX = 1e5  # points further out than this are not drawn: OpenCV's fixed-point coordinates would overflow
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


class Strokes:
    """A pen over a canvas (H, W, 3) for the keypoints (K, 2 or 3) of one instance.

    Lines to points that cannot be drawn are left out.

    Attributes:
        points: Points (K, 2) as x, y in pixels.
        drawable: Mask (K,) of points that are known and not far outside.
        size: Diagonal of the box around the drawable points in pixels; 0 without points.
        near: Relative depth (K,) from 0 (far) to 1 (near); 0.5 if unknown, close to 0.5 for flat instances.
    """

    def __init__(self, canvas: Image, keypoints: Float32Array) -> None:
        self.canvas, self.style = canvas, STYLE.get()
        self.points = np.asarray(keypoints, np.float64)[:, :2]
        self.drawable = np.all(np.abs(self.points) < _FAR_PX, axis=1)  # (K,), False for NaN too
        drawn = self.points[self.drawable]
        self.size = float(np.hypot(*np.ptp(drawn, axis=0))) if len(drawn) else 0.0
        self.near = _nearness(np.asarray(keypoints, np.float64)[:, 2], self.size)
        self._places: list[list[int] | None] = [None] * len(self.points)
        for k, place in zip(np.flatnonzero(self.drawable).tolist(), _fixed(drawn).tolist(), strict=True):
            self._places[k] = place  # OpenCV takes lists, which are faster than rows of an array

    def width(self, share: float) -> float:
        """Return a line width in proportion to the instance, of at least one pixel and limited by the image."""
        width = min(max(self.size * share, 1.0), max(self.canvas.shape[:2]) * _MAX_WIDTH_SHARE + 1)
        return width * self.style.thickness

    @staticmethod
    def edge(width: float) -> float:
        """Return the width of the dark edge of a line; fine lines have a fine edge."""
        return max(_MIN_EDGE_PX, width * _EDGE_SHARE)

    def region(self, margin: float) -> Box:
        """Return the box around the drawable points, extended by a margin in pixels."""
        drawn = self.points[self.drawable]
        if not len(drawn):
            return 0.0, 0.0, 0.0, 0.0
        (x_min, y_min), (x_max, y_max) = (drawn.min(axis=0) - margin).tolist(), (drawn.max(axis=0) + margin).tolist()
        return x_min, y_min, x_max, y_max

    @property
    def extent(self) -> Box:
        """Return the box that contains all lines and dots of a hand or body with these keypoints."""
        width = self.width(max(HAND_WIDTH, BODY_WIDTH))
        return self.region(2 * width + self.edge(width) + 3)

    def line(self, a: int, b: int, colour: Colour, width: float) -> None:
        """Draw a line between two keypoints."""
        start, end = self._places[a], self._places[b]
        if start is not None and end is not None:
            cv2.line(self.canvas, start, end, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)

    def dot(self, k: int, colour: Colour, radius: float) -> None:
        """Draw a disc at a keypoint."""
        centre = self._places[k] if self.style.points else None
        if centre is not None:
            cv2.circle(self.canvas, centre, round(radius * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)


def draw_ring(canvas: Image, centre: FloatArray, radius: float, colour: Colour, width: float) -> None:
    """Draw a circle around a known point (2,) in pixels, unless it is larger than the image (H, W, 3)."""
    if np.all(np.abs(centre) < _FAR_PX) and radius <= max(canvas.shape[:2]):
        at, fixed_radius = _fixed(centre).tolist(), round(radius * (1 << _SHIFT))
        cv2.circle(canvas, at, fixed_radius, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def draw_path(canvas: Image, points: FloatArray, colour: Colour, width: float) -> None:
    """Draw a closed line through points (N, 2) in pixels if all are known."""
    if np.all(np.abs(points) < _FAR_PX):
        path = _fixed(points).astype(np.int32)
        cv2.polylines(canvas, [path], True, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


@contextmanager
def translucent(canvas: Image, region: Box, opacity: float) -> Generator[None]:
    """Blend what the block draws on a canvas (H, W, 3) within a region in pixels, by `opacity` 0..1."""
    height, width = canvas.shape[:2]
    left, top, right, bottom = (
        round(min(max(edge, 0), end)) for edge, end in zip(region, (width, height) * 2, strict=True)
    )
    part = canvas[top:bottom, left:right]
    before = part.copy()
    yield
    if part.size:
        part[:] = cv2.addWeighted(part, opacity, before, 1 - opacity, 0)


def own(colour: Colour) -> Colour:
    """Return the colour of the style, or the usual one."""
    chosen = STYLE.get().colour
    return rgb_from_hex(chosen) if chosen.startswith("#") else colour


def shade(colour: Colour, near: float) -> Colour:
    """Shade a colour by depth: darker when far (0), unchanged in the middle, lighter when near (1)."""
    near = min(max(near, 0.0), 1.0)
    if near < 0.5:
        red, green, blue = (int(part * (0.5 + near)) for part in colour)
    else:
        red, green, blue = (int(part + (255 - part) * (near - 0.5) * 0.9) for part in colour)
    return red, green, blue


def _fixed(points: FloatArray) -> IntArray:
    """Convert points to OpenCV's fixed-point coordinates, whose pixel centres are integers instead of halves."""
    return np.round((points - 0.5) * (1 << _SHIFT)).astype(np.int64)


def _nearness(z: FloatArray, size: float) -> FloatArray:
    near = np.full(len(z), 0.5)
    drawn = np.isfinite(z)
    if drawn.any() and size > 0:
        middle = (z[drawn].max() + z[drawn].min()) / 2
        near[drawn] = np.clip(0.5 - (z[drawn] - middle) / (_DEPTH_RANGE * size), 0, 1)
    return near
