"""Compute metrics of keypoints: in images, as shares of a body size, of two hands, of meshes and over time.

* Alignments return predicted points, true points and a validity mask, so that calls can be chained:
  `joint_errors(*root_relative(...))`. A sample in which a required keypoint was not predicted cannot be aligned and
  counts as not predicted.
* All metrics use one matrix of errors in the unit of the points: **NaN where there is nothing to compare with**
  (invalid, or truth not finite), **inf where nothing was predicted**. A missing keypoint then counts as a miss in PCK
  and AUC, raises medians and makes means NaN. `found` ignores missing keypoints and `missing_count` counts them.
  `ErrorStream` and `Kept` collect samples in batches; `ErrorStream` stores a few numbers per joint, `Kept` all
  arrays.
* Sources: Zimmermann et al. 2019, FreiHAND, and the evaluation of HO-3D and DexYCB (means by joint first, PCK with
  <=).
* 2D errors of hands, bodies and faces are divided by a size of the part. A sample whose size is 0 or unknown cannot
  be evaluated: its errors are NaN, and `left_out` counts it.
* Sources: the model cards of MediaPipe's hands (MNAE), BlazePose (PDJ) and face mesh (IOD MAE); 300W (NME).
* Joints of two hands are (N, 42, 3): 21 of the right hand, then 21 of the left hand, each relative to its own root.
  `roots` contains the index of each root, which is the last joint of a hand in InterHand2.6M's order.
* Source: Moon et al. 2020, InterHand2.6M, and its released evaluation.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final, Generic, Literal, NamedTuple, Self, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util import InputError, unknown_name
from sonjit_lab.metrics.statistics import Points, check_joint, checked_points, flags, known_mean, numbers, ratio, rows

__all__ = [
    "ErrorStream", "Kept", "acceleration_error", "acceleration_errors", "average_precision", "bone_aligned",
    "end_point_error", "eye_distances", "f_score", "f_scores", "found", "handedness_accuracy",
    "handedness_hits", "id_switches", "iod_mae", "jitter", "joint_errors", "joint_means", "joint_medians",
    "mean_error", "missing_count", "mnae", "mpjpe", "mrrpe", "nme_300w", "normalised_error",
    "normalised_errors", "outer_corner_distances", "pa_mpjpe", "palm_sizes", "pck", "pck_auc", "pck_curve", "pdj",
    "pdj_hits", "pupil_distances", "root_offset_errors", "root_relative", "scale_translation_aligned",
    "similarity_aligned", "torso_sizes", "two_hand_errors", "two_hand_mpjpe",
]  # fmt: skip

_RELATIVE_TOLERANCE = 64 * np.finfo(np.float64).eps  # share of the largest coordinate that counts as equal

_SERVER_EPSILON = 1e-8  # summand of norms in the released evaluation of FreiHAND, HO-3D and DexYCB
Average = Literal["joint", "all"]
"""How to average: `joint` takes a mean per joint, then the mean over joints with data, as most servers do; `all` takes
the mean over all valid values.
"""
T = TypeVar("T")
_SHOULDERS: Final = (11, 12)  # BlazePose: left, right
_HIPS: Final = (23, 24)
_EYE_CORNERS: Final = {
    68: ((36, 39), (45, 42)),
    98: ((60, 64), (72, 68)),
    468: ((33, 133), (263, 362)),
    478: ((33, 133), (263, 362)),
}
"""Outer and inner corner of the right and the left eye, by number of face points (300W, WFLW, MediaPipe)."""
_EYE_RIMS: Final = (tuple(range(36, 42)), tuple(range(42, 48)))  # among 300W's 68 points
Torso = Literal["diagonal", "middle"]  # definition of a torso's size, see `torso_sizes`
PDJ_SHARE: Final = 0.2  # maximum error of a detected landmark, as a share of the torso
ROOTS = (20, 41)  # indices of the right and the left wrist in InterHand2.6M's order
_PAIRS = 1 << 20  # processed at once, to keep memory flat


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
    own = np.linalg.norm(spread[..., end, :], axis=-1)[..., None, None]  # NaN where the bone was not predicted
    true = np.linalg.norm(truth[..., end, :] - truth[..., root, :], axis=-1)[..., None, None]
    scaled = points.predicted / np.where(own == 0, 1.0, own) * true
    aligned = scaled - scaled[..., root : root + 1, :] + truth[..., root : root + 1, :]
    return Points(aligned, truth, points.valid & (points.valid[..., root] & points.valid[..., end])[..., None])


def scale_translation_aligned(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> Points:
    """Align points (N, K, D) by the scale and translation with the least squared error of each sample."""
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
    known = points.valid[..., None] & ~np.isnan(points.predicted)
    greatest = np.abs(np.where(known, points.predicted, 0.0)).max((1, 2), initial=0.0)
    rounding = np.square(greatest * _RELATIVE_TOLERANCE) * points.truth.shape[1]
    return np.divide(shared, spread, out=np.zeros_like(spread), where=spread > rounding)[:, None, None]


def _scale_about_mean(points: Points, weights: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return predicted points (N, K, D) minus the mean of the valid ones, times the scale."""
    middle = (np.where(points.valid[..., None], points.predicted, 0.0) * weights).sum(1, keepdims=True)
    return (points.predicted - middle) * scale


class EndPointError(NamedTuple):
    """Mean over joints of their mean and of their median errors, in the unit of the points."""

    mean: float
    median: float


def joint_errors(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return the Euclidean distance of each keypoint from its truth.

    Args:
        predicted: Points (..., K, D).
        truth: Points (..., K, D) in the same unit and frame.
        valid: Mask (..., K); all keypoints by default.

    Returns:
        Errors (..., K) in the unit of the points; NaN where the truth is unknown, inf where nothing was predicted.

    >>> joint_errors([[[0, 0], [3, 4], [np.nan, 1]]], [[[np.nan, 0], [0, 0], [0, 0]]])
    array([[nan,  5., inf]])
    """
    points = checked_points(predicted, truth, valid)
    apart = points.predicted - points.truth
    errors = np.sqrt(np.einsum("...d,...d->...", apart, apart))
    errors[np.isnan(errors)] = np.inf
    errors[~points.valid] = np.nan
    return errors


def check_average(average: str) -> None:
    """Raise InputError for an unknown way to average."""
    if average not in get_args(Average):
        raise InputError(unknown_name("average", average, get_args(Average)))


def missing_count(errors: ArrayLike) -> int:
    """Count the keypoints that should have been predicted and were not."""
    return int(np.isposinf(numbers("errors", errors)).sum())


def found(errors: ArrayLike) -> NDArray[np.float64]:
    """Return the errors (..., K) of predicted keypoints only. Report `missing_count` next to any metric of them."""
    array = numbers("errors", errors)
    return np.where(np.isposinf(array), np.nan, array)


def joint_means(errors: ArrayLike) -> NDArray[np.float64]:
    """Return the mean error of each joint (K,) over errors (..., K); NaN without data or with a missing prediction."""
    means = _joint_means(errors)
    return np.where(np.isinf(means), np.nan, means)


def joint_medians(errors: ArrayLike) -> NDArray[np.float64]:
    """Return the median error of each joint (K,) over errors (..., K); NaN without data or if half is missing."""
    medians = [_median(column) for column in rows(errors).T]
    return np.array(medians, np.float64)


def mean_error(errors: ArrayLike, average: Average = "joint") -> float:
    """Return the mean over errors (..., K); NaN without data or with a missing prediction.

    >>> mean_error([[1.0, 5.0], [3.0, np.nan]]), mean_error([[1.0, 5.0], [3.0, np.nan]], "all")
    (3.5, 3.0)
    """
    check_average(average)
    mean = known_mean(_joint_means(errors) if average == "joint" else numbers("errors", errors))
    return mean if np.isfinite(mean) else float("nan")


def mpjpe(
    predicted: ArrayLike,
    truth: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    root: int | None = None,
    average: Average = "joint",
) -> float:
    """Return the mean per joint position error, in the unit of the points.

    Args:
        predicted: Points (..., K, D).
        truth: Points (..., K, D) in the same unit and frame.
        valid: Mask (..., K); all keypoints by default.
        root: Index of the joint to subtract from both first. A sample with an unknown root does not count.
        average: Averaging by joint first, or over all values.
    """
    points = checked_points(predicted, truth, valid)
    return mean_error(joint_errors(*(points if root is None else root_relative(*points, root=root))), average)


def pa_mpjpe(
    predicted: ArrayLike,
    truth: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    mirror: bool = False,
    average: Average = "joint",
) -> float:
    """Return the MPJPE after the best similarity (scale, rotation, translation) of each sample, fitted on its valid
    joints.

    Args:
        predicted: Points (N, K, D).
        truth: Points (N, K, D).
        valid: Mask (N, K); all keypoints by default.
        mirror: Also allow a reflection, as the servers of FreiHAND, HO-3D and DexYCB do.
        average: Averaging by joint first, or over all values.
    """
    return mean_error(joint_errors(*similarity_aligned(predicted, truth, valid, mirror=mirror)), average)


def end_point_error(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> EndPointError:
    """Return the end-point error: the mean over joints of their mean and of their median errors."""
    errors = joint_errors(predicted, truth, valid)
    return EndPointError(mean_error(errors), known_mean(joint_medians(errors)))


def pck(errors: ArrayLike, threshold: float, *, average: Average = "joint", strict: bool = False) -> float:
    """Return the share of keypoints within a threshold, 0 to 1; NaN without data.

    Args:
        errors: Errors (..., K).
        threshold: Maximum error, in the unit of the errors.
        average: Averaging by joint first, or over all values.
        strict: Count errors below the threshold only, not those equal to it.

    >>> pck([[5.0, np.inf]], 5.0), pck([[5.0, np.inf]], 5.0, strict=True)
    (0.5, 0.0)
    """
    return float(pck_curve(errors, [threshold], average=average, strict=strict)[0])


def pck_curve(
    errors: ArrayLike, thresholds: ArrayLike, *, average: Average = "joint", strict: bool = False
) -> NDArray[np.float64]:
    """Return `pck` at each of T ascending thresholds as (T,)."""
    return pck_from_hits(*hits_within(errors, thresholds, strict=strict), average=average)


def pck_auc(
    errors: ArrayLike, low: float, high: float, *, steps: int = 100, average: Average = "joint", strict: bool = False
) -> float:
    """Return the area under the PCK curve between two thresholds, as a share of the maximum: 0 to 1.

    Servers use 0 to 50 mm. STB and RHD are usually evaluated from 20 to 50 mm.

    Args:
        errors: Errors (..., K).
        low: Minimum threshold, in the unit of the errors.
        high: Maximum threshold.
        steps: Number of thresholds, ends included.
        average: Averaging by joint first, or over all values.
        strict: Count errors below each threshold only, not those equal to it.
    """
    thresholds = thresholds_between(low, high, steps)
    return area_under(thresholds, pck_curve(errors, thresholds, average=average, strict=strict))


def thresholds_between(low: float, high: float, steps: int) -> NDArray[np.float64]:
    """Return evenly spaced thresholds (steps,), ends included."""
    if not (np.isfinite([low, high]).all() and low < high and steps >= 2 and steps == int(steps)):
        raise InputError(f"thresholds from {low} to {high} in {steps} steps: give low below high and two or more steps")
    return np.linspace(low, high, int(steps))


def area_under(thresholds: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """Return the trapezoidal area under shares (T,) at thresholds (T,), divided by the range of the thresholds."""
    heights = (shares[1:] + shares[:-1]) / 2
    return float((heights * np.diff(thresholds)).sum() / (thresholds[-1] - thresholds[0]))


def hits_within(
    errors: ArrayLike, thresholds: ArrayLike, *, strict: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the errors (..., K) of each joint within each threshold (T, K), and all errors of each joint (K,)."""
    table, limits = rows(errors), numbers("thresholds", thresholds)
    if (table < 0).any():
        raise InputError("errors: give distances, 0 or more")
    if limits.ndim != 1 or not (np.diff(limits) > 0).all() or not (np.isfinite(limits) & (limits >= 0)).all():
        raise InputError(f"thresholds {limits.tolist()}: give finite ones, 0 or more, ascending")
    joints, bins = table.shape[1], len(limits) + 1
    # The first threshold that each error is within; NaN and inf are within none, and come last.
    first = np.searchsorted(limits, table, side="right" if strict else "left")  # (N, K)
    first += np.arange(joints) * bins
    histogram = np.bincount(first.ravel(), minlength=joints * bins).reshape(joints, bins)
    hits = histogram[:, :-1].cumsum(1).T.astype(np.int64)  # (T, K)
    return hits, (~np.isnan(table)).sum(0).astype(np.int64)


def pck_from_hits(
    hits: NDArray[np.integer], counts: NDArray[np.integer], *, average: Average = "joint"
) -> NDArray[np.float64]:
    """Return the PCK (T,) of counts from `hits_within`."""
    check_average(average)
    if average == "all":
        return ratio(hits.sum(1), counts.sum())
    return np.array([known_mean(shares) for shares in ratio(hits, counts)])


def _joint_means(errors: ArrayLike) -> NDArray[np.float64]:
    """Return means (K,): NaN without data, inf with a missing prediction."""
    table = rows(errors)
    known = ~np.isnan(table)
    return ratio(np.where(known, table, 0).sum(0), known.sum(0))


def _median(errors: NDArray[np.float64]) -> float:
    known = errors[~np.isnan(errors)]
    # The median of two middles, one of them inf, is inf too; numpy would take inf - inf on its way there.
    middle = np.sort(known)[[(known.size - 1) // 2, known.size // 2]] if known.size else np.array([np.nan])
    return float(middle.mean()) if np.isfinite(middle).all() else float("nan")


class StreamedErrors(NamedTuple):
    """Summary of an `ErrorStream`; NaN without data.

    Attributes:
        mean: Mean as `mean_error` returns it; NaN with a missing prediction.
        per_joint: Means (K,) as `joint_means` returns them.
        pck: PCK (T,) at each threshold.
        auc: Area under the PCK curve.
        counted: Number of evaluated keypoints, missing ones included.
        missing: Number of keypoints that were not predicted.
    """

    mean: float
    per_joint: NDArray[np.float64]
    pck: NDArray[np.float64]
    auc: float
    counted: int
    missing: int


class ErrorStream:
    """Mean, PCK and AUC of errors that arrive in batches.

    Args:
        low: Minimum threshold of PCK, in the unit of the errors.
        high: Maximum threshold.
        steps: Number of thresholds, ends included.
        average: Averaging by joint first, or over all values.
        strict: Count errors below a threshold only, not those equal to it.
    """

    def __init__(
        self, low: float, high: float, *, steps: int = 100, average: Average = "joint", strict: bool = False
    ) -> None:
        check_average(average)
        self._thresholds = thresholds_between(low, high, steps)
        self._average: Average = average
        self._strict = strict
        self._sums: NDArray[np.float64] | None = None  # of found errors: (K,)
        self._counts = self._missing = np.zeros(0, np.int64)  # (K,)
        self._hits = np.zeros((steps, 0), np.int64)  # (T, K)

    def update(self, errors: ArrayLike) -> None:
        """Add errors (..., K) as `joint_errors` returns them."""
        table = rows(errors)
        hits, counts = hits_within(table, self._thresholds, strict=self._strict)
        sums = np.where(np.isfinite(table), table, 0).sum(0)
        self._add(sums, counts, np.isposinf(table).sum(0), hits)

    def merge(self, other: Self) -> None:
        """Add the errors of another stream with the same thresholds."""
        if not np.array_equal(self._thresholds, other._thresholds) or self._strict != other._strict:
            raise InputError("merge: the streams' thresholds differ; make both with the same ones")
        if other._sums is not None:
            self._add(other._sums, other._counts, other._missing, other._hits)

    def compute(self) -> StreamedErrors:
        """Return the summary of all errors so far."""
        sums = np.zeros(0) if self._sums is None else self._sums
        per_joint = np.where(self._missing > 0, np.nan, ratio(sums, self._counts))
        if self._missing.any():
            mean = float("nan")
        elif self._average == "joint":
            mean = known_mean(per_joint)
        else:
            mean = float(ratio(sums.sum(), self._counts.sum()))
        shares = pck_from_hits(self._hits, self._counts, average=self._average)
        area = area_under(self._thresholds, shares)
        return StreamedErrors(
            mean=mean,
            per_joint=per_joint,
            pck=shares,
            auc=area,
            counted=int(self._counts.sum()),
            missing=int(self._missing.sum()),
        )

    def _add(
        self, sums: NDArray[np.float64], counts: NDArray[np.int64], missing: NDArray[np.int64], hits: NDArray[np.int64]
    ) -> None:
        if self._sums is None:
            self._sums, self._counts, self._missing, self._hits = sums, counts, missing, hits
            return
        if sums.shape != self._sums.shape:
            raise InputError(f"errors of {len(sums)} joints after errors of {len(self._sums)}: give as many each time")
        self._sums = self._sums + sums
        self._counts = self._counts + counts
        self._missing = self._missing + missing
        self._hits = self._hits + hits


class Kept(Generic[T]):
    """Metric that needs all data at once: stores batches and joins them at the end.

    Args:
        metric: Function of arrays whose first axis concatenates the batches.

    >>> from sonjit_lab.metrics import average_precision
    >>> precision = Kept(average_precision)
    >>> precision.update([0.9, 0.8], [1, 0])
    >>> precision.update([0.7], [1])
    >>> round(precision.compute(), 4)
    0.8333
    """

    def __init__(self, metric: Callable[..., T]) -> None:
        self._metric = metric
        self._batches: list[tuple[NDArray[Any], ...]] = []

    def update(self, *arrays: ArrayLike) -> None:
        """Store one batch of each array."""
        batch = tuple(np.asarray(array) for array in arrays)
        if len({len(array) for array in batch}) > 1:
            raise InputError(f"a batch of {', '.join(str(len(array)) for array in batch)}: give as many of each")
        self._batches.append(batch)

    def merge(self, other: Self) -> None:
        """Add the batches of another object."""
        self._batches += other._batches

    def compute(self) -> T:
        """Return the metric of all batches."""
        if not self._batches:
            raise InputError("nothing to compute: update with at least one batch, which may be empty")
        return self._metric(*(np.concatenate(arrays) for arrays in zip(*self._batches, strict=True)))


class NormalisedError(NamedTuple):
    """Mean errors as shares of a size; multiply by 100 for per cent.

    Attributes:
        mean: Mean over all valid values; NaN with a missing prediction.
        per_joint: Mean of each joint (K,).
        per_sample: Mean of each sample (N,).
        left_out: Number of samples without a usable size.
    """

    mean: float
    per_joint: NDArray[np.float64]
    per_sample: NDArray[np.float64]
    left_out: int


def normalised_errors(
    predicted: ArrayLike, truth: ArrayLike, sizes: ArrayLike, valid: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the distances (N, K) in x and y of points (N, K, 2 or more), as shares of each sample's size (N,).

    The result is NaN where truth or size is unknown or the size is 0, and inf where nothing was predicted.
    """
    prediction, true, lengths = numbers("predicted", predicted), numbers("truth", truth), numbers("sizes", sizes)
    if prediction.ndim != 3 or true.ndim != 3 or min(prediction.shape[2], true.shape[2]) < 2:
        raise InputError(f"predicted {prediction.shape} and truth {true.shape}: give points (N, K, 2 or more)")
    if lengths.shape != true.shape[:1]:
        raise InputError(f"sizes {lengths.shape}: give one per sample, {true.shape[:1]}")
    usable = usable_sizes(lengths)
    return joint_errors(prediction[..., :2], true[..., :2], valid) / np.where(usable, lengths, np.nan)[:, None]


def usable_sizes(sizes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return a mask of the sizes (N,) that can be divided by."""
    return np.isfinite(sizes) & (sizes > 0)


def palm_sizes(truth: ArrayLike, *, wrist: int = 0, knuckle: int = 9) -> NDArray[np.float64]:
    """Return the distance (N,) in x and y from wrist to middle knuckle of true hands (N, K, 2 or more)."""
    points = _samples(truth, max(wrist, knuckle))[..., :2]
    for joint in (wrist, knuckle):
        check_joint(joint, points.shape[1])
    return np.linalg.norm(points[:, knuckle] - points[:, wrist], axis=-1)


def eye_distances(truth: ArrayLike) -> NDArray[np.float64]:
    """Return the distance (N,) between the eyes' centres, which lie between their corners.

    Args:
        truth: True faces (N, K, 2 or 3): K is 68 (300W), 98 (WFLW), 468 or 478 (MediaPipe). Distances are in 3D if the
            faces are.
    """
    points, (right, left) = _faces(truth)
    return np.linalg.norm(points[:, left].mean(1) - points[:, right].mean(1), axis=-1)


def outer_corner_distances(truth: ArrayLike) -> NDArray[np.float64]:
    """Return the distance (N,) in x and y between the outer eye corners of true faces, see `eye_distances`."""
    points, (right, left) = _faces(truth)
    return np.linalg.norm(points[:, left[0], :2] - points[:, right[0], :2], axis=-1)


def pupil_distances(truth: ArrayLike) -> NDArray[np.float64]:
    """Return the distance (N,) between the means of each eye's six points of true faces (N, 68, 2) in 300W's order."""
    points = _samples(truth, 67)
    right, left = (points[:, rim, :2].mean(1) for rim in _EYE_RIMS)
    return np.linalg.norm(left - right, axis=-1)


def torso_sizes(truth: ArrayLike, kind: Torso = "diagonal") -> NDArray[np.float64]:
    """Return the torso's size (N,) in x and y of true bodies (N, 33, 2 or more). The model card does not define it.

    `diagonal`: Left shoulder to right hip. `middle`: Centre of the shoulders to centre of the hips.
    """
    if kind not in get_args(Torso):
        raise InputError(unknown_name("torso", kind, get_args(Torso)))
    points = _samples(truth, max(_HIPS))[..., :2]
    if kind == "diagonal":
        return np.linalg.norm(points[:, _HIPS[1]] - points[:, _SHOULDERS[0]], axis=-1)
    return np.linalg.norm(points[:, _HIPS].mean(1) - points[:, _SHOULDERS].mean(1), axis=-1)


def normalised_error(
    predicted: ArrayLike, truth: ArrayLike, sizes: ArrayLike, valid: ArrayLike | None = None
) -> NormalisedError:
    """Return the means of `normalised_errors`."""
    errors = normalised_errors(predicted, truth, sizes, valid)
    left_out = int((~usable_sizes(numbers("sizes", sizes))).sum())
    return NormalisedError(mean_error(errors, "all"), joint_means(errors), joint_means(errors.T), left_out)


def mnae(
    predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, wrist: int = 0, knuckle: int = 9
) -> NormalisedError:
    """Return the mean 2D error of hands (N, 21, 2) in palm sizes: the card's mean normalised absolute error."""
    return normalised_error(predicted, truth, palm_sizes(truth, wrist=wrist, knuckle=knuckle), valid)


def iod_mae(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> NormalisedError:
    """Return the mean 2D error of face meshes (N, 468, 2 or 3) in 3D interocular distances of truth (N, 468, 3)."""
    return normalised_error(predicted, numbers("truth", truth), eye_distances(truth), valid)


def nme_300w(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> NormalisedError:
    """Return the mean error of faces (N, 68, 2), or WFLW's (N, 98, 2), in distances of the outer eye corners."""
    return normalised_error(predicted, truth, outer_corner_distances(truth), valid)


def pdj_hits(
    predicted: ArrayLike,
    truth: ArrayLike,
    *,
    predicted_visible: ArrayLike,
    true_visible: ArrayLike,
    sizes: ArrayLike,
    share: float = PDJ_SHARE,
) -> NDArray[np.float64]:
    """Return 1 for landmarks with the right visibility and an error below a share of the torso, otherwise 0.

    Args:
        predicted: Landmarks (N, K, 2 or more).
        truth: Landmarks (N, K, 2 or more).
        predicted_visible: Mask (N, K).
        true_visible: Mask (N, K).
        sizes: Torso sizes (N,), see `torso_sizes`.
        share: Maximum error as a share of the size. Equal errors do not count.

    Returns:
        Hits (N, K); NaN where truth or size is unknown.
    """
    if not 0 < share < np.inf:
        raise InputError(f"share={share}: give a number above 0")
    errors = normalised_errors(predicted, truth, sizes)
    predicted = flags("predicted_visible", predicted_visible, errors.shape, "landmark")
    true = flags("true_visible", true_visible, errors.shape, "landmark")
    return np.where(np.isnan(errors), np.nan, (predicted == true) & (errors < share))


def pdj(
    predicted: ArrayLike,
    truth: ArrayLike,
    *,
    predicted_visible: ArrayLike,
    true_visible: ArrayLike,
    torso: Torso = "diagonal",
) -> float:
    """Return the percentage of detected joints as a share, 0 to 1, of bodies (N, 33, 2) in BlazePose's order."""
    sizes = torso_sizes(truth, torso)
    hits = pdj_hits(predicted, truth, predicted_visible=predicted_visible, true_visible=true_visible, sizes=sizes)
    return known_mean(hits)


def _faces(truth: ArrayLike) -> tuple[NDArray[np.float64], tuple[tuple[int, int], tuple[int, int]]]:
    """Return true faces and the corners of their eyes."""
    points = numbers("truth", truth)
    if points.ndim != 3 or points.shape[1] not in _EYE_CORNERS:
        raise InputError(f"truth {points.shape}: give faces (N, K, D) of {', '.join(map(str, _EYE_CORNERS))} points")
    return points, _EYE_CORNERS[points.shape[1]]


def _samples(truth: ArrayLike, last: int) -> NDArray[np.float64]:
    """Return true points (N, K, D) that include a point of index `last`."""
    points = numbers("truth", truth)
    if points.ndim != 3 or points.shape[1] <= last or points.shape[2] < 2:
        raise InputError(f"truth {points.shape}: give (N, K, 2 or more) with more than {last} points")
    return points


class TwoHandError(NamedTuple):
    """Mean errors over all samples, single hands and interacting hands; NaN without any."""

    all: float
    single: float
    interacting: float


def two_hand_errors(
    predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None, *, roots: tuple[int, int] = ROOTS
) -> NDArray[np.float64]:
    """Return errors (N, 42) of joints relative to the root of their hand. Hands without a valid root do not count."""
    points = checked_points(predicted, truth, valid)
    half = _half(points, roots)
    hands = (
        Points(points.predicted[..., of, :], points.truth[..., of, :], points.valid[..., of])
        for of in (slice(0, half), slice(half, 2 * half))
    )
    own = (roots[0], roots[1] - half)
    return np.concatenate(
        [joint_errors(*root_relative(*hand, root=root)) for hand, root in zip(hands, own, strict=True)], axis=-1
    )


def two_hand_mpjpe(errors: ArrayLike, interacting: ArrayLike, *, average: Average = "joint") -> TwoHandError:
    """Return the MPJPE of errors (N, 42) for single hands, interacting hands (N,) and both together.

    The roots' own errors, always 0, count as in the released evaluation.
    """
    table = numbers("errors", errors)
    if table.ndim != 2:
        raise InputError(f"errors {table.shape}: give (N, K)")
    two = flags("interacting", interacting, table.shape[:1])
    return TwoHandError(mean_error(table, average), mean_error(table[~two], average), mean_error(table[two], average))


def root_offset_errors(
    predicted: ArrayLike,
    truth: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    interacting: ArrayLike,
    roots: tuple[int, int] = ROOTS,
) -> NDArray[np.float64]:
    """Return the error (N,) of the left root relative to the right one; NaN without two hands with valid roots."""
    points = checked_points(predicted, truth, valid)
    if points.truth.ndim != 3:
        raise InputError(f"points {points.truth.shape}: give (N, K, D)")
    _half(points, roots)
    offsets = root_relative(*(array[:, list(roots)] for array in points), root=0)  # (N, 2, 3)
    errors = joint_errors(*offsets)[:, 1]
    return np.where(flags("interacting", interacting, errors.shape), errors, np.nan)


def mrrpe(
    predicted: ArrayLike,
    truth: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    interacting: ArrayLike,
    roots: tuple[int, int] = ROOTS,
) -> float:
    """Return the mean relative root position error over interacting hands (N,); NaN without any."""
    return mean_error(root_offset_errors(predicted, truth, valid, interacting=interacting, roots=roots))


def _half(points: Points, roots: tuple[int, int]) -> int:
    """Return the number of joints of one hand. Raise InputError if a root is not a joint of its hand."""
    half = points.truth.shape[-2] // 2
    if not 0 <= roots[0] < half <= roots[1] < points.truth.shape[-2]:
        raise InputError(f"roots {roots}: give one among joints 0 to {half - 1} and one among those after")
    return half


def handedness_hits(
    probabilities: ArrayLike, present: ArrayLike, valid: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return 1 where every hand is on the right side of 0.5, else 0. Exactly 0.5 is always wrong.

    Args:
        probabilities: Probability (N, H) of each hand, such as right and left.
        present: Truth (N, H): whether each hand is present.
        valid: Mask (N,); all samples by default.

    Returns:
        Hits (N,); NaN where the sample is invalid.

    Source: the released evaluation of InterHand2.6M; its paper calls the mean AP_h.
    """
    scores, truth_flags = _pair(probabilities, present)
    if scores.ndim != 2 or (scores < 0).any() or (scores > 1).any():
        raise InputError(f"probabilities {scores.shape}: give (N, H), each from 0 to 1")
    right = np.where(truth_flags, scores > 0.5, scores < 0.5)  # (N, H)
    hits = np.asarray(right.all(-1), np.float64)
    return hits if valid is None else np.where(flags("valid", valid, hits.shape), hits, np.nan)


def handedness_accuracy(probabilities: ArrayLike, present: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Return the mean of `handedness_hits`, 0 to 1; NaN without a valid sample.

    >>> handedness_accuracy([[0.9, 0.1], [0.9, 0.5]], [[1, 0], [1, 0]])
    0.5
    """
    return known_mean(handedness_hits(probabilities, present, valid))


def average_precision(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the area under the precision-recall steps. Equal scores form one step, and NaN is the lowest score.

    Args:
        scores: Scores (N,).
        positive: Mask (N,) of positive samples.

    Returns:
        Area, 0 to 1; NaN without positive samples.

    >>> average_precision([0.9, 0.8, 0.7], [True, False, True])
    0.8333333333333333
    """
    values, positives = _pair(scores, positive)
    if values.ndim != 1:
        raise InputError(f"scores {values.shape}: give (N,)")
    if not positives.any():
        return float("nan")
    # A positive without a score is never retrieved; a negative without a score ranks first.
    values, hits = np.where(np.isnan(values), np.inf, values), positives & ~np.isnan(values)
    ranked = hits | ~positives
    order = np.argsort(-values[ranked], kind="stable")
    values, hits = values[ranked][order], hits[ranked][order].cumsum()
    last = np.append(values[1:] != values[:-1], True)[: len(values)]  # of equal scores
    hits, ranks = hits[last], np.flatnonzero(last) + 1
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / ranks).sum() / positives.sum())


def _pair(scores: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values = numbers("scores", scores)
    return values, flags("truth", truth, values.shape)


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
    """Return the distance (V,) from each point (V, 3) to the nearest of (W, 3); inf where W is 0."""
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
    """Return the F-score at one threshold, see `f_scores`.

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
    """Return the mean of `acceleration_errors` over all valid values; NaN with fewer than three frames."""
    return mean_error(acceleration_errors(predicted, truth, valid), "all")


def jitter(predicted: ArrayLike) -> float:
    """Return the mean length of third differences of points (T, K, D), in their unit per frame cubed, without truth.

    Four frames in a row count if the point was predicted in all of them; NaN without any.
    """
    points = checked_points(predicted, predicted).predicted
    _check_sequence(points)
    return known_mean(np.linalg.norm(np.diff(points, 3, axis=0), axis=-1))


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
