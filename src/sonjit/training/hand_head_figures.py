"""How good heads are: how well they part seen keypoints from hidden ones, and how honest their probabilities are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.metrics.bootstrap import mean_interval
from sonjit.training.hand_head_views import CAUSES, HandViews

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.hand_heads import HandHeads

_BINS = 15
_FEWEST = 20
"""Keypoints hidden by a cause that a figure of it needs."""


def auroc(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Probability that a true one scores above a false one, ties counting half; NaN where there are not both.

    Source: Hanley and McNeil 1982: the area under the ROC curve is Mann and Whitney's statistic.
    """
    scores, truth = scores.ravel(), truth.ravel()
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[place]
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def calibration_error(probabilities: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Expected calibration error, 0..1: how far probabilities are from how often they come true, in 15 even bins.

    Source: Guo et al. 2017, On calibration of modern neural networks, section 2.
    """
    said, true = probabilities.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    bins = np.minimum((said * _BINS).astype(np.intp), _BINS - 1)
    gaps = np.bincount(bins, said - true, _BINS)
    return float(np.abs(gaps).sum() / max(len(said), 1))


def head_figures(heads: HandHeads, raw: HandHeads, views: HandViews) -> dict[str, float]:
    """Figures of heads on hands that they have not learned from.

    Args:
        heads: as they are shipped.
        raw: the same before their probabilities were set right.
        views: the hands.
    """
    seen, side = heads.probabilities(*views.inputs())
    raw_seen, raw_side = raw.probabilities(*views.inputs())
    told: dict[str, float] = {"hands": len(views), "auroc": auroc(seen, views.seen)}
    for number, cause in enumerate(CAUSES[1:], 1):
        some = views.seen | (views.cause == number)
        if (views.cause == number).sum() >= _FEWEST:
            told[f"auroc_{cause}"] = auroc(seen[some], views.seen[some])
    told |= {
        "hidden_said": float((seen[~views.seen] < 0.5).mean()) if (~views.seen).any() else float("nan"),
        "seen_said": float((seen[views.seen] >= 0.5).mean()),
        "ece": calibration_error(seen, views.seen),
        "ece_before": calibration_error(raw_seen, views.seen),
    }
    right = (side > 0.5) == views.right
    low, high = mean_interval(right, clusters=views.picture.tolist())
    told |= {
        "side": float(right.mean()),
        "side_low": low,
        "side_high": high,
        "side_ece": calibration_error(side, views.right),
        "side_ece_before": calibration_error(raw_side, views.right),
        "published_side": float(((views.label > 0.5) == views.right).mean()),
        "published_side_ece": calibration_error(views.label, views.right),
    }
    return told
