"""maxMSE, which weighs each squared error with its own share: the worst keypoints count most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.metrics.arrays import checked_points

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def max_mse(
    predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None
) -> tuple[float, NDArray[np.float64]]:
    """maxMSE: squared distances, each weighted with its own share of their sum; the mean over samples.

    Args:
        predicted: (N, K, D).
        truth: (N, K, D).
        valid: (N, K); all by default.

    Returns:
        The loss, 0 for samples without error, NaN where nothing counts or a prediction is missing; and its gradient
        with respect to what was predicted (N, K, D), through both sums.

    Source: Fu et al. 2023, Deformer, section 3.4.
    """
    points = checked_points(predicted, truth, valid)
    apart = np.where(points.valid[..., None], points.predicted - points.truth, 0.0)
    squares = np.square(apart).sum(-1)  # (N, K)
    total, fourth = squares.sum(-1), np.square(squares).sum(-1)  # (N,)
    counts = points.valid.any(-1)
    loss = np.divide(fourth, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0)
    safe = np.where(total > 0, total, 1.0)[:, None, None]
    gradient = (4 * squares[..., None] - 2 * loss[:, None, None]) * apart / safe / max(1, counts.sum())
    return (float(loss[counts].mean()) if counts.any() else float("nan")), gradient
