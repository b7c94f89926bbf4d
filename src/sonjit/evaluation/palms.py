"""The palm detector by itself: average precision of its boxes before any landmark network has seen them.

A palm is the square around seven keypoints, as its training has it. Hands whose palm is not labelled, or reaches out of
the image, count neither way.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sonjit.detectors.kinds import KINDS, checked_options, filled_options
from sonjit.detectors.kinds.hands import PALM_KEYPOINTS, load_palm_finder, palm_squares
from sonjit.evaluation.images import InstanceEvaluator
from sonjit.evaluation.predictions import Prediction

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    from sonjit.datasets import Instance, Sample
    from sonjit.evaluation.metrics import MetricSummary
    from sonjit.evaluation.predictions import EvaluatedItem, Mode

PALM_MODELS = ("palm-full", "palm-lite")
_CATEGORY = 1
_LEAST_SCORE = 0.02


class PalmModel:
    """A palm detector over whole images.

    Args:
        name: `palm-full` or `palm-lite`.
        weights: an exported network of your own in its place.
        models_dir: folder with the published files.
        device: where it runs.
    """

    modes: tuple[Mode, ...] = ("reacquisition",)

    def __init__(self, name: str, weights: str | None, models_dir: str | None, device: str | None) -> None:
        entry = KINDS["hands"]
        given = checked_options(
            entry, {"model": name.partition("-")[2], "models_dir": models_dir, "device": device, "search": "fast"}
        )
        options = filled_options(entry, given, smoothing=None)
        self._finder = load_palm_finder(options, name, None if weights is None else Path(weights))

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """Boxes of palms in an image (H, W, 3), all that are scored at all."""
        del sample, mode
        return [
            Prediction(category_id=_CATEGORY, score=palm.score, box=_box(palm.box))
            for palm in self._finder.detector.find(rgb, _LEAST_SCORE)
        ]

    def check(self, samples: Iterable[Sample]) -> None:
        """It takes any image."""

    def begin(self, mode: Mode) -> None:
        """Nothing is kept from image to image."""

    def close(self) -> None:
        """Nothing is held."""


class PalmEvaluator(InstanceEvaluator):
    """Evaluates boxes of palms by average precision over all images, those without a hand too."""

    main = "ap"

    def evaluate(self, sample: Sample, predictions: Sequence[Prediction]) -> list[EvaluatedItem]:
        """The image, as COCO's records of palms."""
        hands = tuple(_palm(one, sample) for one in sample.instances if one.kind == "hand")
        return super().evaluate(replace(sample, instances=hands), predictions)

    def summary(self, evaluated: Sequence[EvaluatedItem], clusters: Sequence[Hashable]) -> MetricSummary:
        """AP at an IoU of 0.5 as the paper has it, and the mean over 0.5 to 0.95."""
        summary = super().summary(evaluated, clusters)
        named = {one.name: one for one in summary.metrics}
        summary.metrics = [
            replace(named["box_ap50"], name="ap", title="AP at an IoU of 0.5"),
            replace(named["box_ap"], name="ap_strict", title="AP, mean over IoU 0.5 to 0.95"),
            replace(named["box_ar100"], name="ar", title="AR"),
        ]
        return summary


def _palm(one: Instance, sample: Sample) -> Instance:
    """A hand as its palm; a crowd, which counts neither way, where that is unknown or cut by the image's edge."""
    places = one.places_of(PALM_KEYPOINTS)
    points = None if places is None or one.keypoints_px is None else one.keypoints_px[places]
    if points is not None and np.isfinite(points).all():
        cx, cy, side, _ = palm_squares(points[None])[0].tolist()
        box = (cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2)
        inside = 0 < cx < sample.width and 0 < cy < sample.height
        return replace(one, category_id=_CATEGORY, box=box, area_px2=side * side, crowd=not inside, read_mask=None)
    box = one.bounds() or (0.0, 0.0, float(sample.width), float(sample.height))
    return replace(one, category_id=_CATEGORY, box=box, area_px2=None, crowd=True, read_mask=None)


def _box(corners: NDArray[np.floating]) -> tuple[float, float, float, float]:
    x_min, y_min, x_max, y_max = corners.tolist()
    return x_min, y_min, x_max, y_max
