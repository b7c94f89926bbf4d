"""Evaluate masks: Mask R-CNN, and hands with held objects and arms, on full images."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sonjit.segmentation.instances import Instances
from sonjit_lab.datasets import Sample
from sonjit_lab.evaluation.models import ModelChoice
from sonjit_lab.evaluation.predictions import Mode, Model, Prediction
from sonjit_lab.networks.registry import required_checkpoint
from sonjit_lab.papers.mask_rcnn.files import load_mask_rcnn
from sonjit_lab.papers.mask_rcnn.finders import CATEGORIES, instances_from, load_hand_masks
from sonjit_lab.papers.mask_rcnn.network import Category

_MIN_SCORE = 0.05  # minimum score of instances: that of Mask R-CNN


class InstancesModel(Model):
    """Mask R-CNN on full images."""

    modes = ("reacquisition",)

    def __init__(self, weights: str | None, device: torch.device) -> None:
        self._saved = load_mask_rcnn(weights)
        self._network = self._saved.network.to(device)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        with torch.inference_mode():
            pixels = torch.from_numpy(rgb).to(self._network.device).permute(2, 0, 1).float() / 255
            (outputs,) = self._network.find([pixels])
        return _predictions(instances_from(outputs), self._saved.categories, rgb.shape[:2])


class HandMasksModel(Model):
    """Hands, held objects and arms on full images, by a run of `sonjit train hand-masks`."""

    modes = ("reacquisition",)

    def __init__(self, weights: str | None, device: torch.device) -> None:
        self._finder = load_hand_masks(required_checkpoint("hand-masks", weights), min_score=_MIN_SCORE, device=device)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        return _predictions(self._finder.find(rgb), CATEGORIES, rgb.shape[:2])


def _predictions(instances: Instances, categories: Sequence[Category], size: tuple[int, int]) -> list[Prediction]:
    """Return the instances of an image of a size (height, width)."""
    masks = instances.in_image(size) >= 0.5
    rows = zip(instances.labels.tolist(), instances.scores.tolist(), instances.boxes.tolist(), masks, strict=True)
    return [
        Prediction(
            category_id=categories[label - 1].id,
            category=categories[label - 1].name,
            score=score,
            box=(box[0], box[1], box[2], box[3]),
            mask=mask,
        )
        for label, score, box, mask in rows
    ]


def open_mask_rcnn(choice: ModelChoice, device: torch.device) -> InstancesModel:
    """Open Mask R-CNN."""
    return InstancesModel(choice.weights, device)


def open_hand_masks(choice: ModelChoice, device: torch.device) -> HandMasksModel:
    """Open the masks of hands, held objects and arms."""
    return HandMasksModel(choice.weights, device)
