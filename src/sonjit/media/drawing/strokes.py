"""Draw lines, dots and labels at sub-pixel positions, and find the regions that a drawing needs.

Points that are unknown or far outside are skipped.
"""

import math
import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, TypeAlias, get_args

import numpy as np

from sonjit._util import Float32Array, FloatArray, Image, InputError, IntArray
from sonjit._util.data_files import load_spec, rgb_from_hex
from sonjit._util.lazy_names import LazyModule
from sonjit.results import Box, Result

if TYPE_CHECKING:
    import cv2
else:
    cv2 = LazyModule("cv2")

Anonymise: TypeAlias = Literal["none", "black", "blur", "persons"]


@dataclass(frozen=True)
class DrawingStyle:
    """Settings of drawings, as in the live app.

    Attributes:
        colour: Colour of everything such as `"#ff8800"`; `"instance"` for one per instance; empty for the usual ones.
        thickness: Factor of line widths, 0.5 to 3.
        points: Draw keypoints.
        boxes: Draw the box of each instance.
        labels: Write a label such as "Right 0.98 #1" (title, score, id) next to each instance.
        gestures: Write gestures into the labels.
        errors: Draw a ring around each refined keypoint of a hand, with its expected error as radius.
        background: `"image"` or `"black"`.
        anonymise: `"black"` draws on black, `"blur"` blurs faces and heads, `"persons"` also bodies, `"none"` keeps
            them. Runs and the command line search for everybody; `sonjit.draw` hides only those in the results.
    """

    colour: str = ""
    thickness: float = 1.0
    points: bool = True
    boxes: bool = False
    labels: bool = True
    gestures: bool = True
    errors: bool = False
    background: Literal["image", "black"] = "image"
    anonymise: Anonymise = "none"

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.colour not in ("", "instance") and not re.fullmatch("#[0-9a-fA-F]{6}", self.colour):
            raise InputError(f"colour {self.colour!r}: give #rrggbb or instance")
        if not 0.5 <= self.thickness <= 3:
            raise InputError(f"thickness {self.thickness}: must be 0.5 to 3")
        if self.background not in ("image", "black") or self.anonymise not in get_args(Anonymise):
            raise InputError("background is image or black, and anonymise none, black, blur or persons")

    @property
    def is_black(self) -> bool:
        """Whether the image is not shown."""
        return "black" in (self.background, self.anonymise)


USUAL = DrawingStyle()
STYLE = ContextVar("STYLE", default=USUAL)  # style of the instance that is being drawn, which `Strokes` and `own` read
TILE_PX = 32  # side of the tiles to which regions are aligned, in pixels


class Region(NamedTuple):
    """Rectangle of whole pixels with exclusive right and bottom edges, which are multiples of `TILE_PX` or the ends."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def around(cls, box: Box, width: int, height: int) -> Self:
        """Return the smallest region that contains a box, inside an image of a size in pixels; empty if outside."""
        left, top = (max(math.floor(edge / TILE_PX), 0) * TILE_PX for edge in box[:2])
        right, bottom = (math.ceil(edge / TILE_PX) * TILE_PX for edge in box[2:])
        return cls(min(left, width), min(top, height), min(max(right, 0), width), min(max(bottom, 0), height))

    def touches(self, other: "Region") -> bool:
        """Check whether two regions overlap, or have a common edge or corner."""
        is_apart = self.right < other.left or other.right < self.left
        return not (is_apart or self.bottom < other.top or other.bottom < self.top)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Return the rows and columns of the region."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def merge_regions(regions: Iterable[Region]) -> list[Region]:
    """Replace regions that overlap or touch, also at a corner, by the region that contains both."""
    merged: list[Region] = []
    for region in regions:
        touching = [region]
        while touching:
            lefts, tops, rights, bottoms = zip(region, *touching, strict=True)
            region = Region(min(lefts), min(tops), max(rights), max(bottoms))
            touching = [other for other in merged if region.touches(other)]
            merged = [other for other in merged if other not in touching]
        merged.append(region)
    return merged


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
_TEXT = (245, 246, 250)
_OPACITY = 0.8
_MIN_SCALE = 0.36  # minimum scale of the letters of labels
_LABEL_SIZE = 420  # pixels of an instance whose label is in letters of scale 1
_STEPS = 4
_HIDING = 6.0  # cost of a label that covers something completely, in label heights of displacement


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
    """Draw a circle around a known point, unless it is larger than the image."""
    if np.all(np.abs(centre) < _FAR_PX) and radius <= max(canvas.shape[:2]):
        at, fixed_radius = _fixed(centre).tolist(), round(radius * (1 << _SHIFT))
        cv2.circle(canvas, at, fixed_radius, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def draw_path(canvas: Image, points: FloatArray, colour: Colour, width: float) -> None:
    """Draw a closed line through points (N, 2) if all are known."""
    if np.all(np.abs(points) < _FAR_PX):
        path = _fixed(points).astype(np.int32)
        cv2.polylines(canvas, [path], True, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


@contextmanager
def translucent(canvas: Image, region: Box, opacity: float) -> Generator[None]:
    """Blend what the block draws within a region in pixels, by `opacity` 0..1."""
    height, width = canvas.shape[:2]
    left, top, right, bottom = (round(min(max(edge, 0), end)) for edge, end in zip(region, (width, height) * 2))  # noqa: B905
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
    """Return the label of an instance with title, score and id, placed next to a point."""
    text = f"{title} {result.score:.2f}" + ("" if result.id is None else f" #{result.id}")
    x_min, y_min, x_max, y_max = result.box
    return Label(text, anchor, directions, accent, math.hypot(x_max - x_min, y_max - y_min))


def draw_labels(canvas: Image, labels: Sequence[Label]) -> None:
    """Write labels inside the image, in place, at the positions of `place_labels`."""
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
    """Write lines of ASCII one below the other in the upper left corner, in place.

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
        self._text, self._scale, self._accent = text, scale, accent
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
        """Draw the plate over the canvas, which must contain it."""
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
        wide, high = min(x_max, left + plate.width) - max(x_min, left), min(y_max, top + plate.height) - max(y_min, top)
        covered += max(wide, 0.0) * max(high, 0.0)
    return covered / (plate.width * plate.height)
