"""Where things are: boxes from maps, overlap, and classification and localization error as ILSVRC counts them.

Sources: Zhou et al. 2016, Learning Deep Features for Discriminative Localization, sections 3.2 and 3.3; Russakovsky et
al. 2015, ImageNet Large Scale Visual Recognition Challenge, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sonjit.arrays import RealArray
from sonjit.errors import InputError
from sonjit.results import Box

LOOSE, TIGHT = 0.2, 0.5
"""Shares of the greatest value; the paper gives 20 % for its one box, and none for the tight one: ours."""


def box_from_map(values: RealArray, threshold: float = LOOSE, *, connectivity: Literal[4, 8] = 8) -> Box | None:
    """Box around the largest connected part of a map above a share of its maximum.

    Args:
        values: (H, W) map at image size; what is NaN is in no part.
        threshold: share of the maximum, in 0..1.
        connectivity: 8 where cells that touch at a corner are one part, 4 where they are not.

    Returns:
        x_min, y_min, x_max, y_max in pixels, the outer edges of the cells; None where nothing is above zero.

    >>> import numpy as np
    >>> box_from_map(np.array([[0, 0, 0, 0], [0, 9, 5, 0], [0, 0, 0, 2]]))
    (1.0, 1.0, 4.0, 3.0)
    >>> box_from_map(np.array([[0, 0, 0, 0], [0, 9, 5, 0], [0, 0, 0, 2]]), threshold=0.5)
    (1.0, 1.0, 3.0, 2.0)
    """
    import cv2

    if not 0 <= threshold < 1:
        raise InputError(f"threshold={threshold}: give a share of the maximum, at least 0 and below 1")
    if values.ndim != 2:
        raise InputError(f"map {values.shape}: give (H, W)")
    peak = float(np.where(np.isnan(values), -np.inf, values).max(initial=-np.inf))
    if not peak > 0:
        return None
    above = (values > threshold * peak).astype(np.uint8)
    _, _, parts, _ = cv2.connectedComponentsWithStats(above, connectivity=connectivity)
    x, y, width, height, _ = parts[1 + int(parts[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    return float(x), float(y), float(x + width), float(y + height)


def boxes_from_maps(maps: Sequence[RealArray]) -> list[tuple[int, Box]]:
    """The heuristic choice of several boxes: tight and loose for the first two classes, loose for the third.

    Args:
        maps: (H, W) at image size, of the most probable classes, best first.

    Returns:
        (place in `maps`, box), at most five, best class first; identical boxes of a class once.
    """
    chosen: list[tuple[int, Box]] = []
    for place, values in enumerate(maps[:3]):
        for threshold in (TIGHT, LOOSE) if place < 2 else (LOOSE,):
            box = box_from_map(values, threshold)
            if box is not None and (place, box) not in chosen:
                chosen.append((place, box))
    return chosen


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two upright boxes, 0..1.

    >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / both if both > 0 else 0.0


def classification_error(scores: RealArray, labels: Sequence[int], top: int = 1) -> float:
    """Share of images whose class is not among the `top` with the greatest scores, 0..1.

    Args:
        scores: (N, C).
        labels: N classes.
        top: 1 or 5 in the literature; with no more classes than that the error is 0. NaN is not a prediction.

    Returns:
        The share; NaN without images.

    >>> import numpy as np
    >>> classification_error(np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]]), [1, 2])
    0.5
    """
    if scores.ndim != 2 or len(scores) != len(labels):
        raise InputError(f"scores {scores.shape} for {len(labels)} labels: give one per image")
    if not len(scores):
        return float("nan")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]  # (N, top); NaN comes last
    predicted = ~np.isnan(np.take_along_axis(scores, best, 1))
    return 1 - float((predicted & (best == np.asarray(labels)[:, None])).any(axis=1).mean())


def localization_error(
    predictions: Sequence[Sequence[tuple[int, Box | None]]],
    truth: Sequence[tuple[int, Sequence[Box]]],
    top: int = 1,
    *,
    overlap: float = 0.5,
) -> float:
    """Share of images without a prediction of the right class that overlaps a ground-truth box by a half or more, 0..1.

    Args:
        predictions: per image (class, box), best first; only the first `top` count. No box is a prediction, and wrong.
        truth: per image its class and the boxes of it.
        top: 1 or 5.
        overlap: intersection over union that is enough.

    Returns:
        The share; NaN without images.

    >>> localization_error([[(0, (0, 0, 4, 4)), (1, (0, 0, 2, 4))]], [(1, [(0, 0, 2, 3)])], top=5)
    0.0
    """
    if len(predictions) != len(truth):
        raise InputError(f"predictions of {len(predictions)} images for {len(truth)} of truth: give as many")
    if not truth:
        return float("nan")
    hits = [
        any(
            kind == label and box is not None and box_iou(box, true) >= overlap
            for kind, box in prediction[:top]
            for true in boxes
        )
        for prediction, (label, boxes) in zip(predictions, truth, strict=True)
    ]
    return 1 - sum(hits) / len(hits)
