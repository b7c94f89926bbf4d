"""How good heads are: how well they part seen keypoints from hidden ones, and how honest their probabilities are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sonjit.metrics.bootstrap import mean_interval
from sonjit.training.hand_head_views import CAUSES, HandViews

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.detectors.hand_heads import HandHeads

_BINS = 15
_DRAWS = 500
_FEWEST = 20
"""Keypoints hidden by a cause that a figure of it needs."""
_WELL_FOUND = 0.05
"""Mean distance of a hand's keypoints from the truth, in its extent, up to which the network has read it well."""


def auroc(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Probability that a true one scores above a false one, ties counting half; NaN where there are not both.

    Source: Hanley and McNeil 1982: the area under the ROC curve is Mann and Whitney's statistic.
    """
    _, place = np.unique(scores, return_inverse=True)
    return _area(place.ravel(), truth.ravel(), np.ones(truth.size))


def auroc_interval(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], clusters: NDArray[np.int64]
) -> tuple[float, float]:
    """Where `auroc` lies in 95 % of draws, with replacement, of whole clusters (N,) of scores (N,)."""
    _, place = np.unique(scores, return_inverse=True)
    _, cluster = np.unique(clusters, return_inverse=True)
    count, rng = int(cluster.max()) + 1, np.random.default_rng(0)
    drawn = [np.bincount(rng.integers(count, size=count), minlength=count)[cluster] for _ in range(_DRAWS)]
    low, high = np.nanquantile([_area(place, truth, weights) for weights in drawn], [0.025, 0.975]).tolist()
    return low, high


def _area(place: NDArray[np.intp], truth: NDArray[np.bool_], weights: NDArray[Any]) -> float:
    """Of the ROC curve, of scores of which only their ranks count, each as often as it weighs."""
    positive, negative = (np.bincount(place, weights * some) for some in (truth, ~truth))
    pairs = positive.sum() * negative.sum()
    return float(positive @ (negative.cumsum() - negative / 2) / pairs) if pairs else float("nan")


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
    told: dict[str, float] = {"hands": len(views)}
    pictures = np.broadcast_to(views.picture[:, None], seen.shape)
    for cause in ("", *CAUSES[1:]):
        hidden = views.cause == CAUSES.index(cause) if cause else ~views.seen
        if hidden.sum() >= _FEWEST:
            some, name = views.seen | hidden, f"auroc_{cause}".rstrip("_")
            told[name] = auroc(seen[some], views.seen[some])
            told[f"{name}_low"], told[f"{name}_high"] = auroc_interval(seen[some], views.seen[some], pictures[some])
            told[f"{name}_hidden"] = int(hidden.sum())
    told |= {
        "hidden_said": float((seen[~views.seen] < 0.5).mean()) if (~views.seen).any() else float("nan"),
        "seen_said": float((seen[views.seen] >= 0.5).mean()),
        "ece": calibration_error(seen, views.seen),
        "ece_before": calibration_error(raw_seen, views.seen),
    }
    right, published = (side > 0.5) == views.right, (views.label > 0.5) == views.right
    low, high = mean_interval(right, clusters=views.picture.tolist())
    told |= {
        "side": float(right.mean()),
        "side_low": low,
        "side_high": high,
        "side_ece": calibration_error(side, views.right),
        "side_ece_before": calibration_error(raw_side, views.right),
        "published_side": float(published.mean()),
        "published_side_ece": calibration_error(views.label, views.right),
    }
    for name, some in (("half_seen", views.seen.mean(1) >= 0.5), ("well_found", views.error < _WELL_FOUND)):
        if some.any():
            told |= {
                f"side_{name}_hands": int(some.sum()),
                f"side_{name}": float(right[some].mean()),
                f"published_side_{name}": float(published[some].mean()),
            }
    return told
