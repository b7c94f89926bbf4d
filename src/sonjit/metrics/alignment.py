"""Predictions brought to their truth before they are compared: by the root, by one bone, by the best similarity.

Each function gives predicted and true points and which of them count, to pass on: `joint_errors(*root_relative(...))`.
Part of a prediction cannot be aligned by what is missing: such a sample counts as not predicted at all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit.errors import InputError
from sonjit.metrics.statistics import Points, checked_points

_ROUNDING = 64 * np.finfo(np.float64).eps
"""Of the greatest coordinate: points that differ by no more lie in one place."""


def root_relative(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, root: int = 0) -> Points:
    """Points (..., K, D) relative to one of them; where the true root is unknown, nothing of the sample counts."""
    points = checked_points(predicted, truth, valid)
    _check_joint(points, root)
    return Points(
        points.predicted - points.predicted[..., root : root + 1, :],
        points.truth - points.truth[..., root : root + 1, :],
        points.valid & points.valid[..., root : root + 1],
    )


def bone_aligned(
    predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, root: int = 0, end: int = 9
) -> Points:
    """HO-3D's scale and translation: as long from root to end as the truth, and the root where it truly is.

    A predicted bone without length keeps the prediction's scale. The end is the middle finger's knuckle: 9 in
    MediaPipe's order, 4 in HO-3D's. Points are (..., K, D).

    Source: the evaluation of HO-3D v2, `align_sc_tr`.
    """
    points = checked_points(predicted, truth, valid)
    _check_joint(points, root)
    _check_joint(points, end)
    truth = points.truth
    spread = points.predicted - points.predicted[..., root : root + 1, :]
    own = np.linalg.norm(spread[..., end, :], axis=-1)[..., None, None]  # NaN where the bone was not predicted
    true = np.linalg.norm(truth[..., end, :] - truth[..., root, :], axis=-1)[..., None, None]
    scale = np.divide(true, own, out=np.where(np.isnan(own), np.nan, 1.0), where=own > 0)
    aligned = spread * scale + truth[..., root : root + 1, :]
    return Points(aligned, truth, points.valid & (points.valid[..., root] & points.valid[..., end])[..., None])


def scale_translation_aligned(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> Points:
    """Points (N, K, D) after the scale and translation of least squared error over the valid ones of each sample."""
    points = checked_points(predicted, truth, valid)
    prediction, true, weights, middle = _centred(points)
    spread, shared = np.square(prediction).sum((1, 2)), (prediction * true).sum((1, 2))
    scale = _scale(shared, spread, points)
    return Points(_moved(points, weights, scale) + middle, points.truth, points.valid)


def similarity_aligned(
    predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, mirror: bool = False
) -> Points:
    """Points after the similarity of least squared error over the valid ones of each sample.

    A prediction without any extent goes to the middle of its truth, and so does a single valid joint.

    Args:
        predicted: (N, K, D).
        truth: (N, K, D).
        valid: (N, K); all by default. Joints that do not count are moved along.
        mirror: also allow a reflection: plain orthogonal Procrustes, as FreiHAND's, HO-3D's and DexYCB's servers do.

    Source: Umeyama 1991, Least-squares estimation of transformation parameters between two point patterns.
    """
    points = checked_points(predicted, truth, valid)
    prediction, true, weights, middle = _centred(points)
    left, sizes, right = np.linalg.svd(prediction.swapaxes(1, 2) @ true)  # (N, D, D), (N, D), (N, D, D)
    if not mirror:
        turned = np.linalg.det(left @ right) < 0
        left[turned, :, -1] *= -1
        sizes[turned, -1] *= -1
    scale = _scale(sizes.sum(-1), np.square(prediction).sum((1, 2)), points)
    return Points(_moved(points, weights, scale) @ (left @ right) + middle, points.truth, points.valid)


def _check_joint(points: Points, joint: int) -> None:
    if not 0 <= joint < points.truth.shape[-2]:
        raise InputError(f"joint {joint}: the points have joints 0 to {points.truth.shape[-2] - 1}")


def _weights(points: Points) -> NDArray[np.float64]:
    """(N, K, 1): one over how many count, and 0 for those that do not."""
    counts = points.valid.sum(1, keepdims=True)
    return (points.valid / np.maximum(counts, 1))[..., None]


def _centred(
    points: Points,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Predicted and true points (N, K, D) about their middles, 0 where they do not count; weights; the true middles.

    Where a valid joint was not predicted, the predicted ones are 0 and the true middle is NaN, and so is all that is
    aligned to it.
    """
    if points.truth.ndim != 3:
        raise InputError(f"points {points.truth.shape}: give (N, K, D)")
    weights = _weights(points)
    whole = ~np.asarray((np.isnan(points.predicted).any(-1) & points.valid).any(1))[:, None, None]  # (N, 1, 1)
    prediction = np.where(points.valid[..., None] & whole, points.predicted, 0.0)
    true = np.where(points.valid[..., None], points.truth, 0.0)
    true_middle = (true * weights).sum(1, keepdims=True)
    prediction = np.where(points.valid[..., None], prediction - (prediction * weights).sum(1, keepdims=True), 0.0)
    true = np.where(points.valid[..., None], true - true_middle, 0.0)
    return prediction, true, weights, np.where(whole, true_middle, np.nan)


def _scale(shared: NDArray[np.float64], spread: NDArray[np.float64], points: Points) -> NDArray[np.float64]:
    """(N, 1, 1) shared over spread, 0 where there is no spread but rounding."""
    known = points.valid[..., None] & ~np.isnan(points.predicted)
    greatest = np.abs(np.where(known, points.predicted, 0.0)).max((1, 2), initial=0.0)
    rounding = np.square(greatest * _ROUNDING) * points.truth.shape[1]
    return np.divide(shared, spread, out=np.zeros_like(spread), where=spread > rounding)[:, None, None]


def _moved(points: Points, weights: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """All predicted points (N, K, D), those that do not count too, about the middle of those that do, scaled."""
    middle = (np.where(points.valid[..., None], points.predicted, 0.0) * weights).sum(1, keepdims=True)
    return (points.predicted - middle) * scale
