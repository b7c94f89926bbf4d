"""Plots as SVG, readable on light and dark pages: curves, bars, maps, heat maps, arrows over images and lines."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from sonjit._util.arrays import FloatArray, RealArray

COLOURS = ("#2f6fde", "#d9572b", "#2a9d5c", "#8a5bd1")
INK = "#7a7f87"  # between black and white
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 28, 44
_ROW_HEIGHT = 20
_LABEL_WIDTH = 170


_LINE_LEFT, _LINE_TOP, _LINE_BOTTOM = 64, 28, 44
_MAX_LINE_POINTS = 320
"""Maximum points of a line. Longer lines are drawn by the means of equal stretches."""
_MIN_LOG_DECADES = 1.5
"""Minimum range in powers of ten for a logarithmic axis."""


@dataclass(frozen=True)
class Curve:
    """Shares at thresholds.

    Attributes:
        title: Title of the curve.
        x: Thresholds.
        y: Shares, 0 to 1.
        unit: Unit of the thresholds.
    """

    title: str
    x: list[float]
    y: list[float]
    unit: str


def curves_svg(curves: Sequence[tuple[str, Curve]]) -> str:
    """Draw shares over thresholds, one labelled line per curve, in the unit of the first.

    Args:
        curves: Pairs of a label and a curve.
    """
    x_min, x_max = curves[0][1].x[0], curves[0][1].x[-1]
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def to_px(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (x - x_min) / (x_max - x_min) * wide, _TOP + (1 - y) * high

    marks: list[str] = []
    for step in range(5):
        share = step / 4
        _, y = to_px(x_min, share)
        marks.append(line_mark(_LEFT, y, _WIDTH - _RIGHT, y, colour=INK, width=0.4))
        marks.append(text_mark(_LEFT - 6, y + 4, f"{100 * share:.0f} %", "end"))
        x, _ = to_px(x_min + share * (x_max - x_min), 0)
        marks.append(text_mark(x, _HEIGHT - _BOTTOM + 18, f"{x_min + share * (x_max - x_min):g}"))
    marks.append(text_mark(_LEFT + wide / 2, _HEIGHT - 8, f"threshold, {curves[0][1].unit}"))
    for number, (name, curve) in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        points = [to_px(x, y) for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        marks.append(text_mark(_LEFT + number * wide / len(curves), 16, name, "start", colour))
    return svg_of(_WIDTH, _HEIGHT, marks, "share of keypoints within a threshold")


def bars_svg(rows: Sequence[tuple[str, float, float, float]], unit: str, title: str) -> str:
    """Draw a bar per row with its interval. A row without a number stays empty.

    Args:
        rows: Name, mean and the ends of its interval for each row; NaN where unknown.
        unit: Unit of the values.
        title: Alternative text.
    """
    ends = [end for _, *numbers in rows for end in numbers if math.isfinite(end)]
    maximum = max([*ends, 0.0]) or 1.0
    wide = _WIDTH - _LABEL_WIDTH - 80
    marks: list[str] = []
    for number, (name, mean, low, high) in enumerate(rows):
        y = 8 + number * _ROW_HEIGHT
        marks.append(text_mark(_LABEL_WIDTH - 8, y + 13, name, "end"))
        if not math.isfinite(mean):
            marks.append(text_mark(_LABEL_WIDTH + 4, y + 13, "no data", "start"))
            continue
        bar = max(0.0, mean) / maximum * wide
        marks.append(
            f'<rect x="{_LABEL_WIDTH}" y="{y + 3}" width="{bar:.1f}" height="{_ROW_HEIGHT - 6}" fill="{COLOURS[0]}" '
            'fill-opacity="0.75"/>'
        )
        end = bar
        if math.isfinite(low) and math.isfinite(high):
            left, end = _LABEL_WIDTH + max(0.0, low) / maximum * wide, max(bar, high / maximum * wide)
            marks.append(
                line_mark(
                    left,
                    y + _ROW_HEIGHT / 2,
                    _LABEL_WIDTH + high / maximum * wide,
                    y + _ROW_HEIGHT / 2,
                    colour=COLOURS[1],
                    width=2,
                )
            )
        marks.append(text_mark(_LABEL_WIDTH + end + 6, y + 13, f"{mean:.3g} {unit}", "start"))
    return svg_of(_WIDTH, 16 + len(rows) * _ROW_HEIGHT, marks, title)


def maps_svg(
    maps: Sequence[tuple[str, RealArray]], points: RealArray, bones: Sequence[tuple[int, int]], title: str
) -> str:
    """Draw maps in a row with a skeleton over each. Opacity shows a cell's magnitude and colour its sign.

    Args:
        maps: Pairs of a name and values (H, W).
        points: Points (K, 2) in fractions of the map.
        bones: Pairs of point indices to join.
        title: Alternative text.
    """
    side, gap = 140, 14
    marks: list[str] = []
    for number, (name, values) in enumerate(maps):
        left, rows, columns = gap + number * (side + gap), *values.shape
        maximum = float(abs(values).max()) or 1.0
        for (row, column), value in np.ndenumerate(values):
            marks.append(
                f'<rect x="{left + column * side / columns:.1f}" y="{_TOP + row * side / rows:.1f}" '
                f'width="{side / columns:.1f}" height="{side / rows:.1f}" fill="{COLOURS[int(value > 0)]}" '
                f'fill-opacity="{0.9 * abs(float(value)) / maximum:.2f}"/>'
            )
        placed = [(left + side * x, _TOP + side * y) for x, y in points.tolist()]
        marks += [line_mark(*placed[a], *placed[b], colour=INK, width=1.5) for a, b in bones]
        marks.append(text_mark(left + side / 2, 18, name))
    return svg_of(gap + len(maps) * (side + gap), _TOP + side + gap, marks, title)


def heat_map_svg(
    rows: Sequence[str], cells: Mapping[tuple[int, int], tuple[float, str]], columns: int, title: str
) -> str:
    """Draw a coloured cell per row and column: green for 0, yellow for 0.5, red for 1 and more.

    Args:
        rows: Names of the rows.
        cells: Value and tooltip by (row, column). Missing cells stay empty.
        columns: Number of columns.
        title: Alternative text.
    """
    wide, high, left = max(4, min(_ROW_HEIGHT - 2, 1000 // max(columns, 1))), _ROW_HEIGHT - 2, 120
    marks = [text_mark(0, row * high + 13, name[:16], "start") for row, name in enumerate(rows)]
    marks += [
        f'<rect x="{left + column * wide}" y="{row * high}" width="{wide - 1}" height="{high - 1}" '
        f'fill="hsl({120 * (1 - min(value, 1)):.0f} 70% 45%)"><title>{escape(text)}</title></rect>'
        for (row, column), (value, text) in cells.items()
    ]
    return svg_of(left + columns * wide, len(rows) * high, marks, title)


def arrows_svg(size: tuple[int, int], starts: RealArray, ends: RealArray, title: str, jpeg: bytes | None = None) -> str:
    """Draw lines between points of an image, over the image if there is one.

    Args:
        size: Width and height of the image in pixels; the drawing is 360 wide.
        starts: Points (N, 2) in pixels, drawn with a dot.
        ends: Points (N, 2) in pixels.
        title: Alternative text.
        jpeg: Encoded image of any size.
    """
    wide, high = size
    thick = wide / 360
    image = base64.b64encode(jpeg).decode() if jpeg else ""
    marks = [f'<image width="{wide}" height="{high}" href="data:image/jpeg;base64,{image}"/>'] if image else []
    marks.append(f'<rect width="{wide}" height="{high}" fill="none" stroke="{INK}" stroke-width="{2 * thick:.1f}"/>')
    for (x, y), (u, v) in zip(starts, ends, strict=True):
        marks.append(line_mark(x, y, u, v, colour=COLOURS[1], width=round(thick, 1)))
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{thick:.1f}" fill="{COLOURS[0]}"/>')
    return svg_of(360, round(360 * high / wide), marks, title, view=size)


def svg_of(width: int, height: int, marks: Sequence[str], title: str, *, view: tuple[int, int] | None = None) -> str:
    """Return an SVG of marks with alternative text. The marks are in pixels, or in units of `view`."""
    across, down = view or (width, height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {down}" width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="12"><title>{escape(title)}</title>'
        f"{''.join(marks)}</svg>"
    )


def line_mark(x1: float, y1: float, x2: float, y2: float, *, colour: str, width: float) -> str:
    """Return a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def text_mark(x: float, y: float, text: str, anchor: str = "middle", colour: str = INK) -> str:
    """Return a line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


class Line(NamedTuple):
    """One line of a plot.

    Attributes:
        name: Label; "" for a line without one.
        x: Coordinates along the horizontal axis.
        y: Values.
        faint: Draw the line thin, for the values behind a smoothed line.
        right: Draw the line on the axis at the right, which has a scale of its own.
        colour: Index of the colour; None for the next one.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    faint: bool = False
    right: bool = False
    colour: int | None = None


class _Axis(NamedTuple):
    """Vertical axis, whose ends are powers of ten if it is logarithmic."""

    logarithmic: bool
    bottom: float
    top: float
    ticks: list[float]

    def share(self, value: float) -> float:
        """Return the position of a value, 0 at the bottom and 1 at the top."""
        return ((math.log10(value) if self.logarithmic else value) - self.bottom) / (self.top - self.bottom)


def lines_svg(
    lines: Sequence[Line], x_title: str, title: str, *, straight: bool = False, logarithmic: bool = False
) -> str:
    """Draw labelled lines in one plot.

    An axis is logarithmic if its values span more than one and a half powers of ten.

    Args:
        lines: Lines of the plot, at least one. Values that are not finite are skipped.
        x_title: Title of the x axis.
        title: Alternative text.
        straight: Always use linear axes.
        logarithmic: Use a logarithmic axis at the left wherever all values are above 0.
    """
    thin = [_downsample(line) for line in lines]
    axes = {
        right: _axis([y for line, (_, y) in zip(lines, thin, strict=True) if line.right == right], straight, force)
        for right, force in ((False, logarithmic), (True, False))
        if any(line.right == right for line in lines)
    }
    xs = np.concatenate([x for x, _ in thin])
    x_min, x_max = float(xs.min()), max(float(xs.max()), float(xs.min()) + 1e-9)
    margin = _LINE_LEFT if True in axes else _RIGHT
    wide, high_px = _WIDTH - _LINE_LEFT - margin, _HEIGHT - _LINE_TOP - _LINE_BOTTOM

    def across(x: float) -> float:
        return _LINE_LEFT + (x - x_min) / (x_max - x_min) * wide

    marks = [mark for right, axis in axes.items() for mark in _axis_marks(axis, wide, high_px, right=right)]
    for step in range(5):
        value = x_min + step / 4 * (x_max - x_min)
        value = round(value) if x_max - x_min > 4 else value  # most are counted
        marks.append(text_mark(across(value), _HEIGHT - _LINE_BOTTOM + 18, f"{value:g}"))
    marks.append(text_mark(_LINE_LEFT + wide / 2, _HEIGHT - 8, x_title))
    labels = iter(np.linspace(_LINE_LEFT, _LINE_LEFT + wide, 1 + sum(bool(line.name) for line in lines)).tolist())
    for number, (line, (x, y)) in enumerate(zip(lines, thin, strict=True)):
        colour = COLOURS[(number if line.colour is None else line.colour) % len(COLOURS)]
        path = " ".join(
            f"{across(at):.1f},{_LINE_TOP + (1 - axes[line.right].share(value)) * high_px:.1f}"
            for at, value in zip(x.tolist(), y.tolist(), strict=True)
            if math.isfinite(value)
        )
        style = 'stroke-width="1" stroke-opacity="0.3"' if line.faint else 'stroke-width="2"'
        marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" {style}/>')
        if line.name:
            marks.append(text_mark(next(labels), 16, line.name, "start", colour))
    return svg_of(_WIDTH, _HEIGHT, marks, title)


def _axis_marks(axis: _Axis, wide: float, high_px: float, *, right: bool) -> list[str]:
    """Return the labels of a vertical axis, and the grid lines of the left one."""
    marks: list[str] = []
    x, anchor = (_LINE_LEFT + wide + 6, "start") if right else (_LINE_LEFT - 6, "end")
    for tick in axis.ticks:
        y = _LINE_TOP + (1 - axis.share(tick)) * high_px
        if not right:
            marks.append(line_mark(_LINE_LEFT, y, _LINE_LEFT + wide, y, colour=INK, width=0.4))
        marks.append(text_mark(x, y + 4, f"{tick:.3g}", anchor))
    return marks


def smooth_values(values: Sequence[float]) -> list[float]:
    """Return the means of each value and its neighbours, over a twentieth of the values; NaN is left out.

    >>> smooth_values([0.0, 2.0])
    [0.0, 2.0]
    """
    half = len(values) // 40
    array = np.asarray(values, np.float64)
    known = np.isfinite(array)
    total = np.cumsum(np.concatenate([[0.0], np.where(known, array, 0.0)]))
    count = np.cumsum(np.concatenate([[0], known]))
    index = np.arange(len(array))
    first, last = np.maximum(index - half, 0), np.minimum(index + half + 1, len(array))
    with np.errstate(invalid="ignore"):
        means = (total[last] - total[first]) / (count[last] - count[first])
    return means.tolist()


def _axis(lines: Sequence[FloatArray], straight: bool, force: bool) -> _Axis:
    values = np.concatenate([y[np.isfinite(y)] for y in lines])
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    logarithmic = not straight and low > 0 and (force or math.log10(high / low) > _MIN_LOG_DECADES)
    return _Axis(logarithmic, *(_logarithmic_ticks(low, high) if logarithmic else _linear_ticks(low, high)))


def _downsample(line: Line) -> tuple[FloatArray, FloatArray]:
    """Return the means of equal stretches of a long line, or a short line unchanged."""
    x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
    if len(x) <= _MAX_LINE_POINTS:
        return x, y
    starts = np.arange(_MAX_LINE_POINTS) * len(x) // _MAX_LINE_POINTS
    counts = np.diff(starts, append=len(x))
    return np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts


def _logarithmic_ticks(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return the ends of a logarithmic axis, as powers of ten, and its ticks: 1, 2 and 5 of each power if few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    if len(powers) <= 3:
        steps = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        first = max(index for index, step in enumerate(steps) if step <= low * (1 + 1e-9))
        last = min(index for index, step in enumerate(steps) if step >= high * (1 - 1e-9))
        ticks = steps[first : max(last, first + 1) + 1]
        return math.log10(ticks[0]), math.log10(ticks[-1]), ticks
    return powers[0], powers[-1], [10.0**power for power in powers[:: max(1, (len(powers) - 1) // 5)]]


def _linear_ticks(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return the ends and ticks of a linear axis, which starts at 0 if that is near."""
    if 0 < low < high:
        low = 0.0
    if high <= low:
        low, high = low - abs(low) / 2 - 1e-9, high + abs(high) / 2 + 1e-9
    return low, high, [low + (high - low) * part / 4 for part in range(5)]
