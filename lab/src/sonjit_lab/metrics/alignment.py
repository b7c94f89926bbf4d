"""Align predicted points with the truth before they are compared.

Alignments return predicted points, true points and a validity mask, so that calls can be chained:
`joint_errors(*root_relative(...))`. A sample in which a required keypoint was not predicted cannot be aligned and
counts as not predicted.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util import InputError
from sonjit_lab.metrics.statistics import Points, check_joint, checked_points

__all__ = ["bone_aligned", "root_relative", "scale_translation_aligned", "similarity_aligned"]

_RELATIVE_TOLERANCE = 64 * np.finfo(np.float64).eps  # share of the largest coordinate that counts as equal
_SERVER_EPSILON = 1e-8  # summand of norms in the released evaluation of FreiHAND, HO-3D and DexYCB


def root_relative(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, root: int = 0) -> Points:
    """Return points (..., K, D) relative to one keypoint. Samples whose true root is unknown are invalid."""
    points = checked_points(predicted, truth, valid)
    check_joint(root, points.truth.shape[-2])
    return Points(
        points.predicted - points.predicted[..., root : root + 1, :],
        points.truth - points.truth[..., root : root + 1, :],
        points.valid & points.valid[..., root : root + 1],
    )


def bone_aligned(
    predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, root: int = 0, end: int = 9
) -> Points:
    """Align points (..., K, D) by HO-3D's scale and translation: the bone from root to end gets its true length.

    A predicted bone of length zero counts as one unit long, as in the released code. The end is the middle finger's
    knuckle: 9 in MediaPipe's order, 4 in HO-3D's.

    Source: the evaluation of HO-3D v2, `align_sc_tr`.
    """
    points = checked_points(predicted, truth, valid)
    for joint in (root, end):
        check_joint(joint, points.truth.shape[-2])
    truth = points.truth
    spread = points.predicted - points.predicted[..., root : root + 1, :]
    predicted_length = np.linalg.norm(spread[..., end, :], axis=-1)[
        ..., None, None
    ]  # NaN where the bone was not predicted
    true = np.linalg.norm(truth[..., end, :] - truth[..., root, :], axis=-1)[..., None, None]
    scaled = points.predicted / np.where(predicted_length == 0, 1.0, predicted_length) * true
    aligned = scaled - scaled[..., root : root + 1, :] + truth[..., root : root + 1, :]
    return Points(aligned, truth, points.valid & (points.valid[..., root] & points.valid[..., end])[..., None])


def scale_translation_aligned(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> Points:
    """Align points (N, K, D), in any unit, by the scale and translation with the least squared error of each sample."""
    points = checked_points(predicted, truth, valid)
    prediction, true, weights, middle = _mean_free(points)
    spread, shared = np.square(prediction).sum((1, 2)), (prediction * true).sum((1, 2))
    scale = _scale(shared, spread, points)
    return Points(_scale_about_mean(points, weights, scale) + middle, points.truth, points.valid)


def similarity_aligned(
    predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, mirror: bool = False
) -> Points:
    """Align points by the similarity with the least squared error over each sample's valid keypoints.

    A prediction without extent, or with a single valid joint, is moved to the mean of its truth.

    Args:
        predicted: Points (N, K, D).
        truth: Points (N, K, D).
        valid: Mask (N, K); all keypoints by default. Invalid joints are moved along.
        mirror: Compute as the servers of FreiHAND, HO-3D and DexYCB: plain orthogonal Procrustes, which allows a
            reflection too, with 1e-8 added to the norm of the prediction, in metres.

    Source: Umeyama 1991, Least-squares estimation of transformation parameters between two point patterns.
    """
    points = checked_points(predicted, truth, valid)
    prediction, true, weights, middle = _mean_free(points)
    left, sizes, right = np.linalg.svd(prediction.swapaxes(1, 2) @ true)  # (N, D, D), (N, D), (N, D, D)
    if not mirror:
        turned = np.linalg.det(left @ right) < 0
        left[turned, :, -1] *= -1
        sizes[turned, -1] *= -1
    spread = np.square(prediction).sum((1, 2))
    scale = _scale(sizes.sum(-1), np.square(np.sqrt(spread) + _SERVER_EPSILON) if mirror else spread, points)
    return Points(_scale_about_mean(points, weights, scale) @ (left @ right) + middle, points.truth, points.valid)


def _mean_free(
    points: Points,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return predicted and true points (N, K, D) minus their means, 0 where invalid; the weights; and the true means.

    Where a valid joint was not predicted, the predicted points are 0 and the true mean is NaN, so that the aligned
    points become NaN.
    """
    if points.truth.ndim != 3:
        raise InputError(f"points {points.truth.shape}: give (N, K, D)")
    counts = points.valid.sum(1, keepdims=True)
    weights = (points.valid / np.maximum(counts, 1))[..., None]
    is_complete = ~np.asarray((np.isnan(points.predicted).any(-1) & points.valid).any(1))[:, None, None]  # (N, 1, 1)
    prediction = np.where(points.valid[..., None] & is_complete, points.predicted, 0.0)
    true = np.where(points.valid[..., None], points.truth, 0.0)
    true_middle = (true * weights).sum(1, keepdims=True)
    prediction = np.where(points.valid[..., None], prediction - (prediction * weights).sum(1, keepdims=True), 0.0)
    true = np.where(points.valid[..., None], true - true_middle, 0.0)
    return prediction, true, weights, np.where(is_complete, true_middle, np.nan)


def _scale(shared: NDArray[np.float64], spread: NDArray[np.float64], points: Points) -> NDArray[np.float64]:
    """Return `shared` divided by `spread` as (N, 1, 1), and 0 where the spread is a rounding error."""
    counted = points.valid[..., None] & ~np.isnan(points.predicted)
    greatest = np.abs(np.where(counted, points.predicted, 0.0)).max((1, 2), initial=0.0)
    rounding = np.square(greatest * _RELATIVE_TOLERANCE) * points.truth.shape[1]
    return np.divide(shared, spread, out=np.zeros_like(spread), where=spread > rounding)[:, None, None]


def _scale_about_mean(points: Points, weights: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return predicted points (N, K, D) minus the mean of the valid ones, times the scale."""
    middle = (np.where(points.valid[..., None], points.predicted, 0.0) * weights).sum(1, keepdims=True)
    return (points.predicted - middle) * scale
