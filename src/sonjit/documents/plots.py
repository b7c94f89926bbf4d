"""Plots as SVG, readable on light and dark pages: curves, bars, maps, heat maps, arrows over images, lines."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from sonjit.arrays import FloatArray, RealArray

COLOURS = ("#2f6fde", "#d9572b", "#2a9d5c", "#8a5bd1")
INK = "#7a7f87"  # between black and white
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 28, 44
_ROW = 20
_NAMES = 170


@dataclass(frozen=True)
class Curve:
    """Shares at thresholds.

    Attributes:
        title: for people.
        x: thresholds.
        y: shares, 0..1.
        unit: of the thresholds.
    """

    title: str
    x: list[float]
    y: list[float]
    unit: str


def curves_svg(curves: Sequence[tuple[str, Curve]]) -> str:
    """Shares over thresholds, one line each, with its name above; all in the unit of the first.

    Args:
        curves: names and what they are of.
    """
    x_min, x_max = curves[0][1].x[0], curves[0][1].x[-1]
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (x - x_min) / (x_max - x_min) * wide, _TOP + (1 - y) * high

    marks: list[str] = []
    for step in range(5):
        share = step / 4
        _, y = place(x_min, share)
        marks.append(line_mark(_LEFT, y, _WIDTH - _RIGHT, y, INK, 0.4))
        marks.append(text_mark(_LEFT - 6, y + 4, f"{100 * share:.0f} %", "end"))
        x, _ = place(x_min + share * (x_max - x_min), 0)
        marks.append(text_mark(x, _HEIGHT - _BOTTOM + 18, f"{x_min + share * (x_max - x_min):g}"))
    marks.append(text_mark(_LEFT + wide / 2, _HEIGHT - 8, f"threshold, {curves[0][1].unit}"))
    for number, (name, curve) in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        points = [place(x, y) for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        marks.append(text_mark(_LEFT + number * wide / len(curves), 16, name, "start", colour))
    return svg_of(_WIDTH, _HEIGHT, marks, "share of keypoints within a threshold")


def bars_svg(rows: Sequence[tuple[str, float, float, float]], unit: str, title: str) -> str:
    """A bar per row with its interval as a line over its end; a row without a number is left empty.

    Args:
        rows: name, mean, and ends of its interval, NaN where unknown.
        unit: of them.
        title: for those who do not see it.
    """
    ends = [end for _, *numbers in rows for end in numbers if math.isfinite(end)]
    most = max([*ends, 0.0]) or 1.0
    wide = _WIDTH - _NAMES - 80
    marks: list[str] = []
    for number, (name, mean, low, high) in enumerate(rows):
        y = 8 + number * _ROW
        marks.append(text_mark(_NAMES - 8, y + 13, name, "end"))
        if not math.isfinite(mean):
            marks.append(text_mark(_NAMES + 4, y + 13, "no data", "start"))
            continue
        bar = max(0.0, mean) / most * wide
        marks.append(
            f'<rect x="{_NAMES}" y="{y + 3}" width="{bar:.1f}" height="{_ROW - 6}" fill="{COLOURS[0]}" '
            'fill-opacity="0.75"/>'
        )
        end = bar
        if math.isfinite(low) and math.isfinite(high):
            left, end = _NAMES + max(0.0, low) / most * wide, max(bar, high / most * wide)
            marks.append(line_mark(left, y + _ROW / 2, _NAMES + high / most * wide, y + _ROW / 2, COLOURS[1], 2))
        marks.append(text_mark(_NAMES + end + 6, y + 13, f"{mean:.3g} {unit}", "start"))
    return svg_of(_WIDTH, 16 + len(rows) * _ROW, marks, title)


def maps_svg(
    maps: Sequence[tuple[str, RealArray]], points: RealArray, bones: Sequence[tuple[int, int]], title: str
) -> str:
    """Maps side by side, each cell as strong as its value and in the colour of its sign, with a skeleton over them.

    Args:
        maps: names and values (H, W).
        points: (K, 2) in fractions of the map.
        bones: pairs of points to join.
        title: for those who do not see it.
    """
    side, gap = 140, 14
    marks: list[str] = []
    for number, (name, values) in enumerate(maps):
        left, rows, columns = gap + number * (side + gap), *values.shape
        most = float(abs(values).max()) or 1.0
        for (row, column), value in np.ndenumerate(values):
            marks.append(
                f'<rect x="{left + column * side / columns:.1f}" y="{_TOP + row * side / rows:.1f}" '
                f'width="{side / columns:.1f}" height="{side / rows:.1f}" fill="{COLOURS[int(value > 0)]}" '
                f'fill-opacity="{0.9 * abs(float(value)) / most:.2f}"/>'
            )
        placed = [(left + side * x, _TOP + side * y) for x, y in points.tolist()]
        marks += [line_mark(*placed[a], *placed[b], INK, 1.5) for a, b in bones]
        marks.append(text_mark(left + side / 2, 18, name))
    return svg_of(gap + len(maps) * (side + gap), _TOP + side + gap, marks, title)


def heat_map_svg(
    rows: Sequence[str], cells: Mapping[tuple[int, int], tuple[float, str]], columns: int, title: str
) -> str:
    """A coloured cell per row and column: green for 0, yellow for a half, red for one and more.

    Args:
        rows: their names.
        cells: (row, column) -> value, and a text for its tooltip; a place without is left empty.
        columns: how many.
        title: for those who do not see it.
    """
    wide, high, left = max(4, min(_ROW - 2, 1000 // max(columns, 1))), _ROW - 2, 120
    marks = [text_mark(0, row * high + 13, name[:16], "start") for row, name in enumerate(rows)]
    marks += [
        f'<rect x="{left + column * wide}" y="{row * high}" width="{wide - 1}" height="{high - 1}" '
        f'fill="hsl({120 * (1 - min(value, 1)):.0f} 70% 45%)"><title>{escape(text)}</title></rect>'
        for (row, column), (value, text) in cells.items()
    ]
    return svg_of(left + columns * wide, len(rows) * high, marks, title)


def arrows_svg(size: tuple[int, int], starts: RealArray, ends: RealArray, title: str, jpeg: bytes | None = None) -> str:
    """Lines from points to points in the frame of an image, over it where there is one.

    Args:
        size: width and height of the image in pixels; the drawing is 360 wide.
        starts: (N, 2) pixels, with a dot each.
        ends: (N, 2).
        title: for those who do not see it.
        jpeg: the image, encoded, at any size.
    """
    wide, high = size
    thick = wide / 360
    image = base64.b64encode(jpeg).decode() if jpeg else ""
    marks = [f'<image width="{wide}" height="{high}" href="data:image/jpeg;base64,{image}"/>'] if image else []
    marks.append(f'<rect width="{wide}" height="{high}" fill="none" stroke="{INK}" stroke-width="{2 * thick:.1f}"/>')
    for (x, y), (u, v) in zip(starts, ends, strict=True):
        marks.append(line_mark(x, y, u, v, COLOURS[1], round(thick, 1)))
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{thick:.1f}" fill="{COLOURS[0]}"/>')
    return svg_of(360, round(360 * high / wide), marks, title, view=size)


def svg_of(width: int, height: int, marks: Sequence[str], title: str, *, view: tuple[int, int] | None = None) -> str:
    """A drawing of marks, in units of `view` where they are not pixels, with a title for those who do not see it."""
    across, down = view or (width, height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {down}" width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="12"><title>{escape(title)}</title>'
        f"{''.join(marks)}</svg>"
    )


def line_mark(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def text_mark(x: float, y: float, text: str, anchor: str = "middle", colour: str = INK) -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


_LINE_LEFT, _LINE_RIGHT, _LINE_TOP, _LINE_BOTTOM = 64, 16, 28, 44
_POINTS = 320
"""Longer lines are drawn by the means of as many stretches."""

_DECADES = 1.5
"""From so many powers of ten on, the axis is logarithmic."""


class Line(NamedTuple):
    """One line of a plot."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def lines_svg(lines: Sequence[Line], x_title: str, title: str, *, straight: bool = False) -> str:
    """Lines in one plot, each with its name above.

    Args:
        lines: at least one; what is not finite is left out.
        x_title: below the axis.
        title: for those who do not see it.
        straight: keep the axis from being logarithmic.
    """
    thin = [_thinned(one) for one in lines]
    values = np.concatenate([y[np.isfinite(y)] for _, y in thin])
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    logarithmic = not straight and low > 0 and math.log10(high / low) > _DECADES
    bottom, top, ticks = _decades(low, high) if logarithmic else _steps(low, high)
    xs = np.concatenate([x for x, _ in thin])
    x_min, x_max = float(xs.min()), max(float(xs.max()), float(xs.min()) + 1e-9)
    wide, high_px = _WIDTH - _LINE_LEFT - _LINE_RIGHT, _HEIGHT - _LINE_TOP - _LINE_BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        part = (math.log10(y) if logarithmic else y) - bottom
        return _LINE_LEFT + (x - x_min) / (x_max - x_min) * wide, _LINE_TOP + (1 - part / (top - bottom)) * high_px

    marks: list[str] = []
    for tick in ticks:
        _, y = place(x_min, tick)
        marks += [
            line_mark(_LINE_LEFT, y, _WIDTH - _LINE_RIGHT, y, INK, 0.4),
            text_mark(_LINE_LEFT - 6, y + 4, f"{tick:.3g}", "end"),
        ]
    for step in range(5):
        value = x_min + step / 4 * (x_max - x_min)
        value = round(value) if x_max - x_min > 4 else value  # most are counted
        marks.append(text_mark(place(value, high)[0], _HEIGHT - _LINE_BOTTOM + 18, f"{value:g}"))
    marks.append(text_mark(_LINE_LEFT + wide / 2, _HEIGHT - 8, x_title))
    for number, ((name, _, _), (x, y)) in enumerate(zip(lines, thin, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        placed = (place(*each) for each in zip(x.tolist(), y.tolist(), strict=True) if math.isfinite(each[1]))
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in placed)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        marks.append(text_mark(_LINE_LEFT + number * wide / len(lines), 16, name, "start", colour))
    return svg_of(_WIDTH, _HEIGHT, marks, title)


def _thinned(line: Line) -> tuple[FloatArray, FloatArray]:
    """Means of stretches of a long line; a short one as it is."""
    x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
    if len(x) <= _POINTS:
        return x, y
    starts = np.arange(_POINTS) * len(x) // _POINTS
    counts = np.diff(starts, append=len(x))
    return np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts


def _decades(low: float, high: float) -> tuple[float, float, list[float]]:
    """Ends of a logarithmic axis, as powers of ten, and its ticks."""
    bottom, top = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, (top - bottom) // 5)
    return bottom, top, [10.0**power for power in range(bottom, top + 1, every)]


def _steps(low: float, high: float) -> tuple[float, float, list[float]]:
    """Ends and ticks of a straight axis; it begins at 0 where that is not far."""
    if 0 < low < high:
        low = 0.0
    if high <= low:
        low, high = low - abs(low) / 2 - 1e-9, high + abs(high) / 2 + 1e-9
    return low, high, [low + (high - low) * part / 4 for part in range(5)]
