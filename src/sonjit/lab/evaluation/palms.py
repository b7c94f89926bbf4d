"""Evaluate only the palm detector: average precision of its boxes without the landmark network.

A palm is the square around seven keypoints, as in its training. Hands whose palm is unlabelled or crosses the image's
edge do not count.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.kinds import KINDS, make_options
from sonjit.detectors.kinds.hands import PALM_KEYPOINTS, load_palm_finder, palm_squares
from sonjit.lab.evaluation.images import InstanceEvaluator
from sonjit.lab.evaluation.predictions import Model, Prediction

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from sonjit.lab.datasets import Instance, Sample
    from sonjit.lab.evaluation.metrics import MetricSummary
    from sonjit.lab.evaluation.predictions import EvaluatedItem, Mode

PALM_MODELS = ("palm-full", "palm-lite")
_CATEGORY = 1
_MIN_SCORE = 0.02
"""Minimum score of a detection, so low that average precision sees nearly all of the curve."""


class PalmModel(Model):
    """Palm detector on full images.

    Args:
        name: `palm-full` or `palm-lite`.
        weights: Exported network to use in place of the published one.
        models_dir: Folder with the published files.
        device: Device of the network.
    """

    modes = ("reacquisition",)

    def __init__(self, name: str, weights: str | None, models_dir: str | None, device: str | None) -> None:
        values = {"model": name.partition("-")[2], "models_dir": models_dir, "device": device, "search": "fast"}
        options = make_options(KINDS["hands"], values)
        self._finder = load_palm_finder(options, name, None if weights is None else Path(weights))

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """Return boxes of palms in an image (H, W, 3), at every score."""
        del sample, mode
        return [
            Prediction(category_id=_CATEGORY, score=palm.score, box=_box(palm.box))
            for palm in self._finder.detector.find(rgb, _MIN_SCORE)
        ]


class PalmEvaluator(InstanceEvaluator):
    """Evaluator of palm boxes by average precision over all images, including those without a hand."""

    main = "ap"

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """Return the image as COCO records of palms."""
        hands = tuple(_palm(instance, sample) for instance in sample.instances if instance.kind == "hand")
        return super().evaluate(replace(sample, instances=hands), predictions)

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """Return AP at an IoU of 0.5, as in the paper, and the mean over 0.5 to 0.95."""
        summary = super().summary(evaluated, clusters)
        named = {metric.name: metric for metric in summary.metrics}
        summary.metrics = [
            replace(named["box_ap50"], name="ap", title="AP at an IoU of 0.5"),
            replace(named["box_ap"], name="ap_strict", title="AP, mean over IoU 0.5 to 0.95"),
            replace(named["box_ar100"], name="ar", title="AR"),
        ]
        return summary


def _palm(instance: Instance, sample: Sample) -> Instance:
    """Return a hand as its palm, or as a crowd, which does not count, if the palm is unknown or cut by the image's
    edge.
    """
    indices = instance.keypoint_indices(PALM_KEYPOINTS)
    points = None if indices is None or instance.keypoints_px is None else instance.keypoints_px[indices]
    if points is not None and np.isfinite(points).all():
        cx, cy, side, _ = palm_squares(points[None])[0].tolist()
        box = (cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2)
        inside = 0 < cx < sample.width and 0 < cy < sample.height
        return replace(instance, category_id=_CATEGORY, box=box, area_px2=side * side, crowd=not inside, read_mask=None)
    box = instance.bounds() or (0.0, 0.0, float(sample.width), float(sample.height))
    return replace(instance, category_id=_CATEGORY, box=box, area_px2=None, crowd=True, read_mask=None)


def _box(corners: NDArray[np.floating]) -> tuple[float, float, float, float]:
    x_min, y_min, x_max, y_max = corners.tolist()
    return x_min, y_min, x_max, y_max
