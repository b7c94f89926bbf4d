"""What every metric asks of its arrays, and means that bear having nothing to average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sonjit.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


_FAR = 1e100
"""A coordinate beyond is no measurement, and its square no number."""


class Points(NamedTuple):
    """Predicted and true points, and which of the true ones count.

    Attributes:
        predicted: (..., K, D); NaN where a point was not predicted.
        truth: (..., K, D) in the same unit and frame; NaN where a point does not count.
        valid: (..., K); False where a point does not count.
    """

    predicted: NDArray[np.float64]
    truth: NDArray[np.float64]
    valid: NDArray[np.bool_]


def checked_points(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> Points:
    """Points as float64; those whose truth is not finite do not count, those whose prediction is not are missing.

    Raises:
        InputError: shapes that do not fit one another.
    """
    guess, true = numbers("predicted", predicted), numbers("truth", truth)
    if guess.ndim < 2 or guess.shape != true.shape:
        raise InputError(f"predicted {guess.shape} and truth {true.shape}: give two arrays of one shape (..., K, D)")
    known = _measured(true)  # (..., K)
    if valid is not None:
        given = np.asarray(valid)
        if given.shape != known.shape:
            raise InputError(f"valid {given.shape}: give {known.shape}, one per point")
        known &= given.astype(np.bool_)
    return Points(_only(_measured(guess), guess), _only(known, true), known)


def numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Values as an array of float64, or a line that says which ones are none."""
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: give an array of numbers, all rows of one length") from None


def rows(values: ArrayLike) -> NDArray[np.float64]:
    """Values (..., K) as (N, K); (N,) counts as one column.

    >>> rows([1, 2]).shape, rows([[[1, 2, 3]]]).shape
    ((2, 1), (1, 3))
    """
    array = numbers("values", values)
    if array.ndim < 2:
        return array.reshape(-1, 1)
    return array.reshape(int(np.prod(array.shape[:-1])), array.shape[-1])


def ratio(sums: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.float64]:
    """Means from sums and counts; NaN where nothing was counted."""
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def known_mean(values: NDArray[np.floating]) -> float:
    """Mean of what is not NaN; NaN where nothing is.

    >>> known_mean(np.array([1.0, np.nan, 3.0])), known_mean(np.array([]))
    (2.0, nan)
    """
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _measured(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points (..., K, D) are numbers throughout: (..., K)."""
    if not points.size or (points.min() > -_FAR and points.max() < _FAR):  # the usual case, at once
        return np.ones(points.shape[:-1], np.bool_)
    return np.asarray((np.abs(points) < _FAR).all(-1), np.bool_)


def _only(there: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (..., K, D) with NaN for those (..., K) that are not there."""
    return points if there.all() else np.where(there[..., None], points, np.nan)
