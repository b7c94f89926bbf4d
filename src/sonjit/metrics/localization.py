"""Classification and localization error as ILSVRC counts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.results import Box


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two upright boxes, 0..1.

    >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / both if both > 0 else 0.0


def classification_error(scores: NDArray[np.floating], labels: Sequence[int], top: int = 1) -> float:
    """Share of pictures whose class is not among the `top` with the greatest scores, 0..1.

    Args:
        scores: (N, C).
        labels: N classes.
        top: 1 or 5 in the literature; with no more classes than that the error is 0.

    >>> import numpy as np
    >>> classification_error(np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]]), [1, 2])
    0.5
    """
    if len(scores) != len(labels) or not len(scores):
        raise InputError(f"{len(scores)} rows of scores for {len(labels)} labels: give one per picture, at least one")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]  # (N, top)
    return 1 - float((best == np.asarray(labels)[:, None]).any(axis=1).mean())


def localization_error(
    guesses: Sequence[Sequence[tuple[int, Box]]], truth: Sequence[tuple[int, Sequence[Box]]], top: int = 1
) -> float:
    """Share of pictures without a guess of the right class that overlaps a true box by at least one half, 0..1.

    Args:
        guesses: per picture (class, box), best first; only the first `top` count.
        truth: per picture its class and the boxes of it.
        top: 1 or 5.

    >>> localization_error([[(0, (0, 0, 4, 4)), (1, (0, 0, 2, 4))]], [(1, [(0, 0, 2, 3)])], top=5)
    0.0
    """
    if len(guesses) != len(truth) or not truth:
        raise InputError(f"guesses of {len(guesses)} pictures for {len(truth)} of truth: give as many, at least one")
    hits = [
        any(kind == label and box_iou(box, true) >= 0.5 for kind, box in guess[:top] for true in boxes)
        for guess, (label, boxes) in zip(guesses, truth, strict=True)
    ]
    return 1 - sum(hits) / len(hits)
