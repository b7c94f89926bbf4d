"""Metrics of predicted probabilities: how well they rank, and how well they are calibrated."""

from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np

from sonjit._util import BoolArray, IndexArray, RealArray
from sonjit_lab.metrics.statistics import Interval, intervals

_BINS: Final = 15
_RESAMPLES: Final = 500


def auroc(scores: RealArray, truth: BoolArray) -> float:
    """Return the probability that a positive of scores and truth (N,) scores above a negative; ties count half.

    It is NaN if one class is empty. Source: Hanley and McNeil 1982, The meaning and use of the area under a ROC curve.

    >>> auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
    0.875
    """
    return _area(_ranks(scores), truth, np.ones(len(scores)))


def auroc_interval(scores: RealArray, truth: BoolArray, clusters: Sequence[Hashable]) -> Interval:
    """Return the 95 % interval of `auroc` for scores (N,), from 500 draws of the N clusters with replacement."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    cluster = np.array([numbers[label] for label in clusters])
    ranks, rng = _ranks(scores), np.random.default_rng(0)
    drawn = [rng.integers(len(numbers), size=len(numbers)) for _ in range(_RESAMPLES)]
    areas = [_area(ranks, truth, np.bincount(draw, minlength=len(numbers))[cluster]) for draw in drawn]
    return intervals(np.array(areas)[:, None])[0]


def calibration_error(probabilities: RealArray, truth: BoolArray) -> float:
    """Return the mean gap, 0..1, between probabilities (N,) and frequencies of the truth (N,) in 15 even bins.

    Source: Guo et al. 2017, On calibration of modern neural networks, section 2: the expected calibration error.
    """
    predicted = probabilities.astype(np.float64)
    bins = np.minimum((predicted * _BINS).astype(np.intp), _BINS - 1)
    gaps = np.bincount(bins, predicted - truth, _BINS)
    return float(np.abs(gaps).sum() / max(len(predicted), 1))


def _ranks(scores: RealArray) -> IndexArray:
    """Return the rank (N,) of each score (N,) among the different scores."""
    return np.unique(scores, return_inverse=True)[1].ravel()


def _area(ranks: IndexArray, truth: BoolArray, weights: RealArray | IndexArray) -> float:
    """Return the area under the ROC curve for ranks, truth and weights (N,): the statistic of Mann and Whitney."""
    positive, negative = (np.bincount(ranks, weights * mask) for mask in (truth, ~truth))
    pairs = positive.sum() * negative.sum()
    return float(positive @ (negative.cumsum() - negative / 2) / pairs) if pairs else float("nan")
