"""Evaluate classifiers: their five most probable classes, with boxes by their maps or their saliency."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from sonjit._util import InputError
from sonjit_lab.datasets import Sample
from sonjit_lab.evaluation.models import ModelChoice
from sonjit_lab.evaluation.predictions import Mode, Model, Prediction
from sonjit_lab.papers.cam.maps import LocalizeBy, localize_classes
from sonjit_lab.papers.cam.network import Classifier, View, load_classifier

_CLASSES = 5


class ClassifierModel(Model):
    """Classifier that predicts its five most probable classes with boxes.

    `localize_by`: source of the boxes; None uses its maps, or backprop if it has none; `view`: None uses that of its
    training. The attribute `supervision` is weak for training on classes only, box for labelled boxes.
    """

    def __init__(
        self, classifier: Classifier, localize_by: LocalizeBy | None, view: View | None, device: torch.device
    ) -> None:
        has_maps = classifier.pooling is not None
        self._by: LocalizeBy = localize_by or ("cam" if has_maps else "backprop")
        self._view: View = view or classifier.view
        if not has_maps and self._by != "backprop":
            raise InputError(f"--localize-by {self._by}: {classifier.network.name} has no maps; use backprop")
        if self._view == "box":
            self.modes: tuple[Mode, ...] = ("ground-truth boxes",)
        else:
            self.modes = ("reacquisition",)
        self._classifier = classifier
        classifier.network.to(device)
        if classifier.cropper is not None:
            classifier.cropper.network.to(device)
        shown = {"full": "whole image", "crop": "crop by the map", "box": "true box"}[self._view]
        pooling = {"pooling": classifier.pooling} if classifier.pooling else {}
        self.supervision = "box" if self._view == "box" else "weak"
        self.settings: Mapping[str, str] = {**pooling, "localize_by": self._by, "view": shown}

    def check(self, samples: Iterable[Sample], categories: Callable[[], Mapping[int, str]]) -> None:
        model_ids = dict(zip(self._classifier.names, self._classifier.ids, strict=False))
        other = {name: number for number, name in sorted(categories().items())}
        if wrong := [name for name in model_ids.keys() & other.keys() if model_ids[name] != other[name]]:
            raise InputError(f"class {min(wrong)} has another id in the data set than in the model; use the same ids")

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        true_box = next((instance.box for instance in sample.instances if instance.box is not None), None)
        if self._view == "box" and true_box is None:
            return []
        located_classes = localize_classes(
            self._classifier, rgb, by=self._by, view=self._view, true_box=true_box, top=_CLASSES
        )
        names, ids = self._classifier.names, self._classifier.ids
        return [
            Prediction(
                category_id=ids[item.label],
                category=names[item.label] if names else None,
                score=item.probability,
                box=item.box,
                map=item.values,
            )
            for item in located_classes
        ]


def open_classifier(choice: ModelChoice, device: torch.device) -> ClassifierModel:
    """Open a classifier."""
    assert choice.name is not None
    classifier = load_classifier(choice.name, choice.weights, choice.pooling)
    return ClassifierModel(classifier, choice.localize_by, choice.view, device)
