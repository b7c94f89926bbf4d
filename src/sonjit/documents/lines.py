"""Lines over a number, such as losses over steps, as SVG; a logarithmic axis where the values ask for one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sonjit.documents.plots import COLOURS, INK, line_mark, svg_of, text_mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 28, 44
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
    wide, high_px = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        part = (math.log10(y) if logarithmic else y) - bottom
        return _LEFT + (x - x_min) / (x_max - x_min) * wide, _TOP + (1 - part / (top - bottom)) * high_px

    marks: list[str] = []
    for tick in ticks:
        _, y = place(x_min, tick)
        marks += [line_mark(_LEFT, y, _WIDTH - _RIGHT, y, INK, 0.4), text_mark(_LEFT - 6, y + 4, f"{tick:.3g}", "end")]
    for step in range(5):
        value = x_min + step / 4 * (x_max - x_min)
        value = round(value) if x_max - x_min > 4 else value  # most are counted
        marks.append(text_mark(place(value, high)[0], _HEIGHT - _BOTTOM + 18, f"{value:g}"))
    marks.append(text_mark(_LEFT + wide / 2, _HEIGHT - 8, x_title))
    for number, ((name, _, _), (x, y)) in enumerate(zip(lines, thin, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        placed = (place(*each) for each in zip(x.tolist(), y.tolist(), strict=True) if math.isfinite(each[1]))
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in placed)
        marks.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        marks.append(text_mark(_LEFT + number * wide / len(lines), 16, name, "start", colour))
    return svg_of(_WIDTH, _HEIGHT, marks, title)


def _thinned(line: Line) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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
