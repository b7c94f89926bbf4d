"""Boxes from maps, and classification and localization errors as ILSVRC defines them.

Sources: Zhou et al. 2016, Learning Deep Features for Discriminative Localization, sections 3.2 and 3.3; Russakovsky et
al. 2015, ImageNet Large Scale Visual Recognition Challenge, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sonjit._util.arrays import RealArray
from sonjit._util.errors import InputError
from sonjit.geometry.boxes import Box, box_iou
from sonjit.lab.metrics.statistics import numbers

LOOSE, TIGHT = 0.2, 0.5
"""Thresholds as shares of the maximum. The paper uses 20 % for its single box and does not state the tight one."""


def box_from_map(values: RealArray, threshold: float = LOOSE, *, connectivity: Literal[4, 8] = 8) -> Box | None:
    """Return the box around the largest connected part of a map above a share of its maximum.

    Args:
        values: Map (H, W) at image size; NaN belongs to no part.
        threshold: Share of the maximum, 0 to 1.
        connectivity: Connectivity of cells: 8 joins cells that touch at a corner, 4 does not.

    Returns:
        Box as x_min, y_min, x_max, y_max in pixels, the outer edges of the cells; None where nothing is above zero.

    >>> import numpy as np
    >>> box_from_map(np.array([[0, 0, 0, 0], [0, 9, 5, 0], [0, 0, 0, 2]]))
    (1.0, 1.0, 4.0, 3.0)
    >>> box_from_map(np.array([[0, 0, 0, 0], [0, 9, 5, 0], [0, 0, 0, 2]]), threshold=0.5)
    (1.0, 1.0, 3.0, 2.0)
    """
    import cv2

    if not 0 <= threshold < 1:
        raise InputError(f"threshold={threshold}: give a share of the maximum, at least 0 and below 1")
    if connectivity not in (4, 8):
        raise InputError(f"connectivity={connectivity}: give 4 or 8")
    values = numbers("map", values)
    if values.ndim != 2 or np.isinf(values).any():
        raise InputError(f"map {values.shape}: give (H, W) without infinity")
    peak = float(np.where(np.isnan(values), -np.inf, values).max(initial=-np.inf))
    if not peak > 0:
        return None
    above = (values > threshold * peak).astype(np.uint8)
    _, _, parts, _ = cv2.connectedComponentsWithStats(above, connectivity=connectivity)
    x, y, width, height, _ = parts[1 + int(parts[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    return float(x), float(y), float(x + width), float(y + height)


def boxes_from_maps(maps: Sequence[RealArray]) -> list[tuple[int, Box]]:
    """Choose up to five boxes: tight and loose ones for the first two classes, a loose one for the third.

    Args:
        maps: Maps (H, W) at image size of the most probable classes, best first.

    Returns:
        Pairs of an index into `maps` and a box, best class first, without identical boxes of a class.
    """
    chosen: list[tuple[int, Box]] = []
    for index, values in enumerate(maps[:3]):
        for threshold in (TIGHT, LOOSE) if index < 2 else (LOOSE,):
            box = box_from_map(values, threshold)
            if box is not None and (index, box) not in chosen:
                chosen.append((index, box))
    return chosen


def classification_error(scores: RealArray, labels: Sequence[int], top: int = 1) -> float:
    """Return the share of images whose class is not among the `top` highest scores, 0 to 1.

    Args:
        scores: Scores (N, C).
        labels: Class indices of N images.
        top: Number of classes that count, 1 or 5 in the literature. With no more classes than that the error is 0. NaN
            is no prediction.

    Returns:
        Share of images; NaN without images.

    >>> import numpy as np
    >>> classification_error(np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]]), [1, 2])
    0.5
    """
    _check_top(top)
    scores, classes = numbers("scores", scores), numbers("labels", labels)
    if scores.ndim != 2 or classes.shape != scores.shape[:1]:
        raise InputError(f"scores {scores.shape} for labels {classes.shape}: give (N, C) and (N,), one per image")
    if not ((classes >= 0) & (classes < scores.shape[1]) & (classes == np.floor(classes))).all():
        raise InputError(f"labels: give class indices from 0 to {scores.shape[1] - 1}")
    if not len(scores):
        return float("nan")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]  # (N, top); NaN comes last
    predicted = ~np.isnan(np.take_along_axis(scores, best, 1))
    return 1 - float((predicted & (best == classes[:, None])).any(axis=1).mean())


def localization_error(
    predictions: Sequence[Sequence[tuple[int, Box | None]]],
    truth: Sequence[tuple[int, Sequence[Box]]],
    top: int = 1,
    *,
    overlap: float = 0.5,
) -> float:
    """Return the share of images without a prediction of the right class that overlaps a true box enough, 0 to 1.

    Args:
        predictions: Pairs of a class and a box for each image, best first. Only the first `top` count, and a prediction
            without box is wrong.
        truth: Class and boxes of each image.
        top: Number of predictions that count, 1 or 5.
        overlap: Minimum intersection over union.

    Returns:
        Share of images; NaN without images.

    >>> localization_error([[(0, (0, 0, 4, 4)), (1, (0, 0, 2, 4))]], [(1, [(0, 0, 2, 3)])], top=5)
    0.0
    """
    _check_top(top)
    if not 0 < overlap <= 1:
        raise InputError(f"overlap={overlap}: give a share above 0, at most 1")
    if len(predictions) != len(truth):
        raise InputError(f"predictions of {len(predictions)} images for {len(truth)} of truth: give as many")
    if not truth:
        return float("nan")
    for number, (_, boxes) in enumerate(truth):
        if not boxes:
            raise InputError(f"image {number}: the truth has no box; leave the image out")
        for box in boxes:
            _check_box(number, box)
    hits = [
        any(
            kind == label and box is not None and box_iou(box, true) >= overlap
            for kind, box in prediction[:top]
            for true in boxes
        )
        for prediction, (label, boxes) in zip(predictions, truth, strict=True)
    ]
    return 1 - sum(hits) / len(hits)


def _check_top(top: int) -> None:
    if top < 1:
        raise InputError(f"top={top}: give 1 or more")


def _check_box(image: int, box: Box) -> None:
    corners = numbers("box", box)
    if corners.shape != (4,) or not (corners[2:] >= corners[:2]).all():
        raise InputError(f"image {image}: box {list(box)} is not x_min, y_min, x_max, y_max")
