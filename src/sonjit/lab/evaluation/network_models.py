"""Evaluate networks of the registry on the ground-truth boxes, or on full images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit._util.errors import InputError
from sonjit.lab.evaluation.predictions import Model, Prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from sonjit.lab.datasets import Sample
    from sonjit.lab.evaluation.predictions import Mode
    from sonjit.lab.explain.classes import LocalizeBy
    from sonjit.lab.networks.classifiers import Classifier, View
    from sonjit.lab.networks.mask_rcnn.mask_rcnn import Category, DetectedInstances, SavedMaskRCNN

_CLASSES = 5
_MIN_SCORE = 0.05
"""Minimum score of instances: that of Mask R-CNN."""


class ClassifierModel(Model):
    """Classifier that predicts its five most probable classes with boxes.

    Args:
        classifier: Network from `load_classifier`.
        localize_by: Source of the boxes; None uses its maps, or backprop if it has none.
        view: Input; None uses that of its training.
        device: PyTorch device.

    Attributes:
        settings: Settings of the evaluation, for reports.
        supervision: Labels it was trained on: weak for classes only, box for labelled boxes.
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
        self.settings: dict[str, str] = {**pooling, "localize_by": self._by, "view": shown}

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """Return the classes of an image (H, W, 3); nothing if the true box is required and missing."""
        from sonjit.lab.explain.classes import localize_classes

        del mode
        true_box = next((instance.box for instance in sample.instances if instance.box is not None), None)
        if self._view == "box" and true_box is None:
            return []
        found = localize_classes(self._classifier, rgb, by=self._by, view=self._view, true_box=true_box, top=_CLASSES)
        names, ids = self._classifier.names, self._classifier.ids
        return [
            Prediction(
                category_id=ids[item.label],
                category=names[item.label] if names else None,
                score=item.probability,
                box=item.box,
                map=item.values,
            )
            for item in found
        ]


class InstancesModel(Model):
    """Mask R-CNN on full images."""

    modes = ("reacquisition",)

    def __init__(self, weights: str | None, device: torch.device) -> None:
        from sonjit.lab.networks.mask_rcnn.mask_rcnn import load_mask_rcnn

        self._saved: SavedMaskRCNN = load_mask_rcnn(weights)
        self._network = self._saved.network.to(device)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """Return the instances of an image (H, W, 3)."""
        import torch

        del mode
        with torch.inference_mode():
            pixels = torch.from_numpy(rgb).to(self._network.device).permute(2, 0, 1).float() / 255
            (found,) = self._network.find([pixels])
        return _predictions(found, self._saved.categories, rgb.shape[:2])


class HandMasksModel(Model):
    """Hands, held objects and arms on full images, by a run of `sonjit train hand-masks`."""

    modes = ("reacquisition",)

    def __init__(self, weights: str | None, device: torch.device) -> None:
        from sonjit.lab.explain.hand_masks import load_hand_masks
        from sonjit.lab.networks.registry import required_checkpoint

        self._finder = load_hand_masks(required_checkpoint("hand-masks", weights), min_score=_MIN_SCORE, device=device)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """Return the instances of an image (H, W, 3)."""
        from sonjit.lab.explain.hand_masks import CATEGORIES

        del mode
        return _predictions(self._finder.find(rgb), CATEGORIES, rgb.shape[:2])


def _predictions(found: DetectedInstances, categories: Sequence[Category], size: tuple[int, int]) -> list[Prediction]:
    """Return the instances of an image of a size (height, width)."""
    from sonjit.lab.networks.mask_rcnn.mask_rcnn import paste_masks

    masks = paste_masks(found.masks, found.boxes, size).cpu().numpy() >= 0.5
    rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), masks, strict=True)
    return [
        Prediction(
            category_id=categories[label - 1].id, category=categories[label - 1].name, score=score,
            box=(box[0], box[1], box[2], box[3]), mask=mask,
        )
        for label, score, box, mask in rows
    ]  # fmt: skip
