"""Compute errors over time: acceleration, jitter and changes of identity."""

from collections.abc import Hashable, Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util import InputError
from sonjit_lab.metrics.keypoints import joint_errors, mean_error
from sonjit_lab.metrics.statistics import checked_points, mean_without_nan, numbers

__all__ = ["acceleration_error", "acceleration_errors", "id_switches", "jitter"]


def acceleration_errors(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return the distances of second differences (T - 2, K), in the unit of the points per frame squared.

    Args:
        predicted: Points (T, K, D) of one sequence, frame by frame.
        truth: Points (T, K, D).
        valid: Mask (T, K), or (T,) for frames. Only three valid frames in a row count.
    """
    true = numbers("truth", truth)
    if valid is not None and np.ndim(valid) == 1 and true.ndim == 3:
        valid = np.repeat(np.asarray(valid)[:, None], true.shape[1], axis=1)
    points = checked_points(predicted, true, valid)
    _check_sequence(points.truth)
    triples = points.valid[:-2] & points.valid[1:-1] & points.valid[2:]
    return joint_errors(np.diff(points.predicted, 2, axis=0), np.diff(points.truth, 2, axis=0), triples)


def _check_sequence(points: NDArray[np.float64]) -> None:
    if points.ndim != 3:
        raise InputError(f"points {points.shape}: give one sequence (T, K, D)")


def acceleration_error(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Return the mean of `acceleration_errors` of points (T, K, D) over all valid values, in their unit.

    It is NaN with fewer than three frames.
    """
    return mean_error(acceleration_errors(predicted, truth, valid), "all")


def jitter(predicted: ArrayLike) -> float:
    """Return the mean length of third differences of points (T, K, D), in their unit per frame cubed, without truth.

    Four frames in a row count if the point was predicted in all of them; NaN without any.
    """
    points = checked_points(predicted, predicted).predicted
    _check_sequence(points)
    return mean_without_nan(np.linalg.norm(np.diff(points, 3, axis=0), axis=-1))


def id_switches(frames: Iterable[Mapping[Hashable, Hashable]]) -> int:
    """Count how often a true instance gets another id than its last one; gaps do not matter.

    Args:
        frames: Predicted id of each true instance that was found, by frame.

    >>> id_switches([{"left": 1, "right": 2}, {"left": 1}, {"left": 2, "right": 1}])
    2
    """
    last: dict[Hashable, Hashable] = {}
    switches = 0
    for frame in frames:
        switches += sum(1 for true, predicted_id in frame.items() if last.get(true, predicted_id) != predicted_id)
        last.update(frame)
    return switches
