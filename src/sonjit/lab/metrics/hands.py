"""Compute metrics of two hands as InterHand2.6M does, F-scores of meshes, and metrics of keypoints over time.

Joints of two hands are (N, 42, 3): 21 of the right hand, then 21 of the left hand, each relative to its own root.
`roots` contains the index of each root, which is the last joint of a hand in InterHand2.6M's order.

Source: Moon et al. 2020, InterHand2.6M, and its released evaluation.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonjit._util.errors import InputError
from sonjit.lab.metrics.keypoints import Average, joint_errors, mean_error, root_relative
from sonjit.lab.metrics.statistics import Points, checked_points, flags, known_mean, numbers

ROOTS = (20, 41)
"""Indices of the right and the left wrist in InterHand2.6M's order."""


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
    """Return the mean relative root position error over interacting hands (N,), in the unit of the points; NaN without
    any.
    """
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


def fused_poses(
    poses: ArrayLike, forward: ArrayLike, backward: ArrayLike, confidence: ArrayLike
) -> NDArray[np.float64]:
    """Return weighted means of a window's poses, for each of its frames.

    Args:
        poses: Poses (T, P) in a representation that can be added, such as 6D rotations.
        forward: Motion (T, P) from each frame to the next.
        backward: Motion (T, P) from each frame to the previous one.
        confidence: Confidence (T,) before softmax.

    Returns:
        Poses (T, P): in frame j the weighted mean over i of pose i plus the motions from i to j.

    Source: Fu et al. 2023, Deformer, with the index range of the released code: backward motions j + 1 to i.
    """
    arrays = [numbers("poses", item) for item in (poses, forward, backward)]
    scores = numbers("confidence", confidence)
    if any(item.ndim != 2 or item.shape != arrays[0].shape for item in arrays) or scores.shape != arrays[0].shape[:1]:
        shapes = ", ".join(str(item.shape) for item in (*arrays, scores))
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
