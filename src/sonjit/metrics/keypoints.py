"""Distances of predicted keypoints from true ones, and what is read off them: MPJPE, EPE, PCK, AUC.

Everything goes through one matrix of errors, in the unit of the points: **NaN where there is nothing to compare with**
(invalid, or truth not finite), **inf where nothing was predicted**. A keypoint that is missing then counts as a miss in
PCK and AUC, pushes medians up and makes means NaN; `found` leaves it out and `missing_count` says how often.

Sources: Zimmermann et al. 2019, FreiHAND, and the evaluation of HO-3D and DexYCB (means by joint first, PCK with <=).

maxMSE, which weighs each squared error with its own share: the worst keypoints count most.

Meshes: distances vertex by vertex, and F-scores, which need no correspondence.

The mesh error is `joint_errors` of vertices: `mean_error(joint_errors(*similarity_aligned(...)))` is the aligned one.

Over time: acceleration error, jitter, how often who is who changes; and a window's poses, each carried to every frame
by predicted motion and weighed by confidence, as Deformer does.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit.errors import InputError
from sonjit.metrics.alignment import root_relative, similarity_aligned
from sonjit.metrics.statistics import checked_points, known_mean, numbers, ratio, rows

Average = Literal["joint", "all"]
"""`joint`: a mean per joint, then over the joints that have data, as most servers do; `all`: over all that is valid."""


class EndPointError(NamedTuple):
    """Over joints, the mean of their means and the mean of their medians, in the unit of the points."""

    mean: float
    median: float


def joint_errors(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> NDArray[np.float64]:
    """Euclidean distance of each keypoint from its truth.

    Args:
        predicted: (..., K, D).
        truth: (..., K, D) in the same unit and frame.
        valid: (..., K); all by default.

    Returns:
        (..., K) in the unit of the points; NaN where truth is unknown, inf where nothing was predicted.

    >>> joint_errors([[[0, 0], [3, 4], [np.nan, 1]]], [[[np.nan, 0], [0, 0], [0, 0]]])
    array([[nan,  5., inf]])
    """
    points = checked_points(predicted, truth, valid)
    apart = points.predicted - points.truth
    errors = np.sqrt(np.einsum("...d,...d->...", apart, apart))
    errors[np.isnan(errors)] = np.inf
    errors[~points.valid] = np.nan
    return errors


def missing_count(errors: ArrayLike) -> int:
    """How many keypoints should have been predicted and were not."""
    return int(np.isposinf(numbers("errors", errors)).sum())


def found(errors: ArrayLike) -> NDArray[np.float64]:
    """Errors (..., K) of what was predicted alone; give `missing_count` beside any number made of them."""
    array = numbers("errors", errors)
    return np.where(np.isposinf(array), np.nan, array)


def joint_means(errors: ArrayLike) -> NDArray[np.float64]:
    """Mean error of each joint (K,) over errors (..., K); NaN without data or with a missing prediction."""
    means = _joint_means(errors)
    return np.where(np.isinf(means), np.nan, means)


def joint_medians(errors: ArrayLike) -> NDArray[np.float64]:
    """Median error of each joint (K,) over errors (..., K); NaN without data or where half was not predicted."""
    medians = [_median(column) for column in rows(errors).T]
    return np.array(medians, np.float64)


def mean_error(errors: ArrayLike, average: Average = "joint") -> float:
    """Mean over errors (..., K); NaN without data or with a missing prediction.

    >>> mean_error([[1.0, 5.0], [3.0, np.nan]]), mean_error([[1.0, 5.0], [3.0, np.nan]], "all")
    (3.5, 3.0)
    """
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
    """Mean per joint position error, in the unit of the points.

    Args:
        predicted: (..., K, D).
        truth: (..., K, D) in the same unit and frame.
        valid: (..., K); all by default.
        root: index of the joint to subtract from both first; a sample whose root is unknown does not count.
        average: by joint first, or over all.
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
    """MPJPE after the best similarity (scale, rotation, translation) of each sample, fitted on its valid joints.

    Args:
        predicted: (N, K, D).
        truth: (N, K, D).
        valid: (N, K); all by default.
        mirror: also allow a reflection, as the servers of FreiHAND, HO-3D and DexYCB do.
        average: by joint first, or over all.
    """
    return mean_error(joint_errors(*similarity_aligned(predicted, truth, valid, mirror=mirror)), average)


def end_point_error(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> EndPointError:
    """EPE: mean over joints of their mean and of their median errors."""
    errors = joint_errors(predicted, truth, valid)
    return EndPointError(mean_error(errors), known_mean(joint_medians(errors)))


def pck(errors: ArrayLike, threshold: float, *, average: Average = "joint", strict: bool = False) -> float:
    """Share of keypoints within a threshold, 0..1; NaN without data.

    Args:
        errors: (..., K).
        threshold: in the unit of the errors.
        average: by joint first, or over all.
        strict: below the threshold instead of at most at it.

    >>> pck([[5.0, np.inf]], 5.0), pck([[5.0, np.inf]], 5.0, strict=True)
    (0.5, 0.0)
    """
    return float(pck_curve(errors, [threshold], average=average, strict=strict)[0])


def pck_curve(
    errors: ArrayLike, thresholds: ArrayLike, *, average: Average = "joint", strict: bool = False
) -> NDArray[np.float64]:
    """`pck` at each of T ascending thresholds: (T,)."""
    return pck_from_hits(*hits_within(errors, thresholds, strict=strict), average=average)


def pck_auc(
    errors: ArrayLike,
    low: float,
    high: float,
    *,
    steps: int = 100,
    average: Average = "joint",
    strict: bool = False,
) -> float:
    """Area under the curve of PCK over its thresholds from low to high, as a share of the whole: 0..1.

    Servers take 0 to 50 mm; STB and RHD are habitually evaluated from 20 to 50 mm.

    Args:
        errors: (..., K).
        low: least threshold, in the unit of the errors.
        high: greatest threshold.
        steps: how many thresholds, ends included.
        average: by joint first, or over all.
        strict: below the threshold instead of at most at it.
    """
    thresholds = thresholds_between(low, high, steps)
    return area_under(thresholds, pck_curve(errors, thresholds, average=average, strict=strict))


def thresholds_between(low: float, high: float, steps: int) -> NDArray[np.float64]:
    """Evenly spaced thresholds, ends included: (steps,)."""
    if not low < high or steps < 2:
        raise InputError(f"thresholds from {low} to {high} in {steps} steps: give low below high and two or more steps")
    return np.linspace(low, high, steps)


def area_under(thresholds: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """Trapezoids under shares (T,) at thresholds (T,), over the thresholds' range."""
    heights = (shares[1:] + shares[:-1]) / 2
    return float((heights * np.diff(thresholds)).sum() / (thresholds[-1] - thresholds[0]))


def hits_within(
    errors: ArrayLike, thresholds: ArrayLike, *, strict: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many errors (..., K) of each joint are within each threshold (T, K), and how many there are (K,)."""
    table, limits = rows(errors), np.asarray(thresholds, np.float64)
    if limits.ndim != 1 or not (np.diff(limits) > 0).all() or not np.isfinite(limits).all():
        raise InputError(f"thresholds {limits.tolist()}: give finite ones, ascending")
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
    """PCK (T,) of counts that `hits_within` gave."""
    if average == "all":
        return ratio(hits.sum(1), counts.sum())
    return np.array([known_mean(shares) for shares in ratio(hits, counts)])


def _joint_means(errors: ArrayLike) -> NDArray[np.float64]:
    """(K,) NaN without data, inf with a missing prediction."""
    table = rows(errors)
    known = ~np.isnan(table)
    return ratio(np.where(known, table, 0).sum(0), known.sum(0))


def _median(errors: NDArray[np.float64]) -> float:
    known = errors[~np.isnan(errors)]
    # The median of two middles, one of them inf, is inf too; numpy would take inf - inf on its way there.
    middle = np.sort(known)[[(known.size - 1) // 2, known.size // 2]] if known.size else np.array([np.nan])
    return float(middle.mean()) if np.isfinite(middle).all() else float("nan")


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


_PAIRS = 1 << 20  # processed at once, to keep memory flat


class FScore(NamedTuple):
    """Harmonic mean of precision and recall, 0..1; NaN where there is no true vertex.

    Attributes:
        f_score: of both.
        precision: share of predicted vertices near a true one.
        recall: share of true vertices near a predicted one.
    """

    f_score: float
    precision: float
    recall: float


def nearest_distances(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """From each of (V, 3) to the nearest of (W, 3): (V,); inf where W is 0."""
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
    """F-score at each threshold: how many vertices of each mesh are nearer than it to some vertex of the other.

    Papers give F@5 mm and F@15 mm. Vertices of the truth that are not finite do not count; those of the prediction are
    near nothing.

    Args:
        predicted: (W, 3) vertices of one mesh.
        truth: (V, 3), in the same unit; the numbers may differ.
        thresholds: in that unit; strict.

    Source: Knapitsch et al. 2017, Tanks and Temples; Zimmermann et al. 2019, FreiHAND.
    """
    prediction, true = (_vertices(name, array) for name, array in (("predicted", predicted), ("truth", truth)))
    there = prediction[np.isfinite(prediction).all(1)]
    true = true[np.isfinite(true).all(1)]
    to_truth, to_predicted = nearest_distances(there, true), nearest_distances(true, there)
    return [_f_score(to_truth < threshold, to_predicted < threshold, len(prediction)) for threshold in thresholds]


def f_score(predicted: ArrayLike, truth: ArrayLike, threshold: float) -> FScore:
    """`f_scores` at one threshold.

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
    """Distances of second differences: (T - 2, K), in the unit of the points per frame squared.

    Args:
        predicted: (T, K, D) of one sequence, frame by frame.
        truth: (T, K, D).
        valid: (T, K), or (T,) for whole frames; only three valid frames in a row count.
    """
    true = numbers("truth", truth)
    if valid is not None and np.ndim(valid) == 1 and true.ndim == 3:
        valid = np.repeat(np.asarray(valid)[:, None], true.shape[1], axis=1)
    points = checked_points(predicted, true, valid)
    triples = points.valid[:-2] & points.valid[1:-1] & points.valid[2:]
    return joint_errors(np.diff(points.predicted, 2, axis=0), np.diff(points.truth, 2, axis=0), triples)


def acceleration_error(predicted: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Mean of `acceleration_errors` over all that is valid; NaN with fewer than three frames."""
    return mean_error(acceleration_errors(predicted, truth, valid), "all")


def jitter(predicted: ArrayLike) -> float:
    """Mean length of third differences of points (T, K, D), in their unit per frame cubed: unsteadiness without truth.

    Four frames in a row count where the point was predicted in all of them; NaN without any.
    """
    points = checked_points(predicted, predicted).predicted
    return known_mean(np.linalg.norm(np.diff(points, 3, axis=0), axis=-1))


def id_switches(frames: Iterable[Mapping[Hashable, Hashable]]) -> int:
    """How often a true instance is followed under another id than the last one it had; gaps do not matter.

    Args:
        frames: per frame the id that was given to each true instance that was found.

    >>> id_switches([{"left": 1, "right": 2}, {"left": 1}, {"left": 2, "right": 1}])
    2
    """
    last: dict[Hashable, Hashable] = {}
    switches = 0
    for frame in frames:
        switches += sum(1 for true, given in frame.items() if last.get(true, given) != given)
        last.update(frame)
    return switches


def fused_poses(
    poses: ArrayLike, forward: ArrayLike, backward: ArrayLike, confidence: ArrayLike
) -> NDArray[np.float64]:
    """Weighted means of a window's poses, for each of its frames.

    Args:
        poses: (T, P) in a form that can be added, such as 6D rotations.
        forward: (T, P) motion from each frame to the next.
        backward: (T, P) motion from each frame to the one before.
        confidence: (T,) before softmax.

    Returns:
        (T, P): frame j's mean over i of pose i plus the motions on the way from i to j.

    Source: Fu et al. 2023, Deformer, with the index range of the released code: backward motions j + 1 to i.
    """
    arrays = [numbers("poses", one) for one in (poses, forward, backward)]
    scores = numbers("confidence", confidence)
    if any(one.ndim != 2 or one.shape != arrays[0].shape for one in arrays) or scores.shape != arrays[0].shape[:1]:
        shapes = ", ".join(str(one.shape) for one in (*arrays, scores))
        raise InputError(f"poses, motions, confidence {shapes}: give three arrays (T, P) and one (T,)")
    own, ahead, back = arrays
    ahead = np.cumsum(ahead, 0) - ahead  # sum of the motions before each frame
    back = np.cumsum(back, 0)
    frames = np.arange(len(own))
    later = (frames[:, None] < frames)[..., None]  # (i, j): j comes after i
    moved = np.where(later, ahead[None] - ahead[:, None], back[:, None] - back[None])  # (i, j, P)
    weights = np.exp(scores - scores.max(initial=-np.inf))
    weights /= weights.sum()
    return np.einsum("i,ijp->jp", weights, own[:, None] + moved)
