"""Compute F-scores of vertices."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util import InputError
from sonjit_lab.metrics.statistics import numbers

__all__ = ["f_score", "f_scores"]

_PAIRS = 1 << 20  # processed at once, to keep memory flat


class FScore(NamedTuple):
    """Harmonic mean of precision and recall, 0 to 1; NaN without true vertices.

    Attributes:
        f_score: Harmonic mean of both.
        precision: Share of predicted vertices near a true vertex.
        recall: Share of true vertices near a predicted vertex.
    """

    f_score: float
    precision: float
    recall: float


def nearest_distances(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance (V,) from each point (V, 3) to the nearest of (W, 3), in their unit; inf where W is 0."""
    nearest = np.full(len(points), np.inf)
    step = max(1, _PAIRS // max(1, len(others)))
    for start in range(0, len(points), step):
        part = points[start : start + step]
        squares = np.zeros((len(part), len(others)))
        for axis in range(points.shape[1]):
            squares += np.square(part[:, axis, None] - others[None, :, axis])
        nearest[start : start + step] = np.sqrt(squares.min(1, initial=np.inf))
    return nearest


def f_scores(predicted: ArrayLike, truth: ArrayLike, thresholds: tuple[float, ...]) -> list[FScore]:
    """Return the F-score at each threshold: the share of vertices of each mesh that are nearer to some vertex of the
    other.

    Papers report F@5 mm and F@15 mm. True vertices that are not finite do not count; predicted ones are near nothing.

    Args:
        predicted: Vertices (W, 3) of one mesh.
        truth: Vertices (V, 3) in the same unit; V and W may differ.
        thresholds: Distances in that unit. A vertex counts below the threshold.

    Source: Knapitsch et al. 2017, Tanks and Temples; Zimmermann et al. 2019, FreiHAND.
    """
    if not all(0 < threshold < np.inf for threshold in thresholds):
        raise InputError(f"thresholds {list(thresholds)}: give finite distances above 0")
    prediction, true = (_vertices(name, array) for name, array in (("predicted", predicted), ("truth", truth)))
    finite = prediction[np.isfinite(prediction).all(1)]
    true = true[np.isfinite(true).all(1)]
    to_truth, to_predicted = nearest_distances(finite, true), nearest_distances(true, finite)
    return [_f_score(to_truth < threshold, to_predicted < threshold, len(prediction)) for threshold in thresholds]


def f_score(predicted: ArrayLike, truth: ArrayLike, threshold: float) -> FScore:
    """Return the F-score, 0 to 1, of vertices (W, 3) and true ones (V, 3) at one threshold, see `f_scores`.

    >>> f_score([[0, 0, 0], [9, 0, 0]], [[1, 0, 0]], 2)
    FScore(f_score=0.6666666666666666, precision=0.5, recall=1.0)
    """
    return f_scores(predicted, truth, (threshold,))[0]


def _vertices(name: str, array: ArrayLike) -> NDArray[np.float64]:
    points = numbers(name, array)
    if points.size == 0:
        return np.zeros((0, 3))
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"{name} {points.shape}: give the vertices of one mesh, (V, 3)")
    return points


def _f_score(near_truth: NDArray[np.bool_], near_predicted: NDArray[np.bool_], predicted: int) -> FScore:
    if not near_predicted.size:
        return FScore(float("nan"), float("nan"), float("nan"))
    precision, recall = float(near_truth.sum() / max(1, predicted)), float(near_predicted.mean())
    both = precision + recall
    return FScore(2 * precision * recall / both if both else 0.0, precision, recall)
