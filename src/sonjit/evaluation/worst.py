"""Pictures of the worst cases: the truth and what was predicted, cut out around the instance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.evaluation.guesses import known_points
from sonjit.media.drawing.strokes import draw_path
from sonjit.media.drawn_pictures import encode_picture
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Sample
    from sonjit.evaluation.data import ProtocolData
    from sonjit.evaluation.journal import Line
    from sonjit.media.drawing.strokes import Colour

MOST = 8
_MISSED = 4
_SIDE_PX = 360
_MARGIN = 0.4
_TRUTH: Colour = (64, 200, 96)
_GUESS: Colour = (240, 80, 60)


def worst_of(run: dict[str, Any], *, higher_is_better: bool) -> list[int]:
    """Rows of a run's units: those with the greatest error, then a few that were not found."""
    units = run["units"]
    known = [(value, row) for row, value in enumerate(units["value"]) if value is not None and math.isfinite(value)]
    known.sort(reverse=not higher_is_better)
    missed = [row for row, found in enumerate(units["found"]) if not found]
    return [row for _, row in known[:MOST]] + missed[:_MISSED]


def draw_worst(data: ProtocolData, lines: Sequence[Line], rows: Sequence[int]) -> list[bytes]:
    """A JPEG per row: labels in green, what was predicted in red."""
    pairs = [(line, one) for line in lines for one in line.judged]
    pictures: list[bytes] = []
    for row in rows:
        line, one = pairs[row]
        sample = data[line.place]
        pictures.append(encode_picture(_drawn(sample, one.instance, one.points_px), ".jpg"))
    return pictures


def _drawn(sample: Sample, number: int, guess: NDArray[np.float64] | None) -> NDArray[np.uint8]:
    shown = sample.instances if number < 0 else (sample.instances[number],)
    labels = [(one, known_points(one.keypoints_px, one.valid_px)) for one in shown]
    clouds = [points for _, points in labels if points is not None] + ([] if guess is None else [guess])
    boxes = [np.reshape(one.box, (2, 2)) for one in shown if one.box is not None]
    around = np.concatenate([*clouds, *boxes]) if clouds or boxes else np.array([[0, 0], [sample.width, sample.height]])
    around = around[np.isfinite(around).all(1)]
    picture, scale, offset = _cut(sample.rgb(), around)
    first = 0
    for one, points in labels:
        if points is None:
            continue
        bones = load_skeleton(one.skeleton).connections if one.skeleton else ()
        _lines(picture, (points - offset) * scale, bones, _TRUTH)
        if guess is not None and first + len(points) <= len(guess):
            _lines(picture, (guess[first : first + len(points)] - offset) * scale, bones, _GUESS)
        first += len(points)
    return picture


def _cut(rgb: NDArray[np.uint8], around: NDArray[np.floating]) -> tuple[NDArray[np.uint8], float, NDArray[np.float64]]:
    """The part of a picture around points (N, 2), scaled; how much, and where it begins."""
    import cv2

    low, high = around.min(0), around.max(0)
    side = max(float((high - low).max()) * (1 + 2 * _MARGIN), 32.0)
    left, top = ((low + high) / 2 - side / 2).tolist()
    scale = _SIDE_PX / side
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    cut = cv2.warpAffine(rgb, matrix, (_SIDE_PX, _SIDE_PX), flags=cv2.INTER_AREA)
    return np.ascontiguousarray(cut, np.uint8), scale, np.array([left, top])


def _lines(
    canvas: NDArray[np.uint8], points: NDArray[np.float64], bones: Sequence[tuple[int, int]], colour: Colour
) -> None:
    for start, end in bones:
        pair = points[[start, end]]
        if np.isfinite(pair).all() and (np.abs(pair) < 4 * _SIDE_PX).all():
            draw_path(canvas, pair, colour, 2)
