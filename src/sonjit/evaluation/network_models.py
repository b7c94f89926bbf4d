"""Networks of the registry under evaluation: looking at the ground-truth boxes, or at whole images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonjit.errors import InputError
from sonjit.evaluation.predictions import Prediction

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from numpy.typing import NDArray

    from sonjit.datasets import Sample
    from sonjit.evaluation.predictions import Mode
    from sonjit.explain.classes import LocalizeBy
    from sonjit.networks.classifiers import Classifier, View
    from sonjit.networks.mask_rcnn.mask_rcnn import SavedMaskRCNN

_CLASSES = 5


class NetworkModel:
    """What networks have in common: no memory, nothing to free."""

    modes: tuple[Mode, ...] = ("ground-truth boxes",)

    def check(self, samples: Iterable[Sample]) -> None:
        """It takes any image."""

    def begin(self, mode: Mode) -> None:
        """Nothing is kept from image to image."""

    def close(self) -> None:
        """Nothing is held."""


class ClassifierModel(NetworkModel):
    """A classifier: its five likeliest classes, with boxes.

    Args:
        classifier: as `load_classifier` gives it.
        localize_by: where boxes come from; None for its maps, or where it has none for backprop.
        view: what it is shown; None for what it was trained on.
        device: of torch.

    Attributes:
        settings: how it was asked, for reports.
        supervision: what it was trained on: weak, on classes alone; box, on labelled boxes cut out.
    """

    def __init__(
        self, classifier: Classifier, localize_by: LocalizeBy | None, view: View | None, device: torch.device
    ) -> None:
        has_maps = classifier.pooling is not None
        self._by: LocalizeBy = localize_by or ("cam" if has_maps else "backprop")
        self._view: View = view or classifier.view
        if not has_maps and self._by != "backprop":
            raise InputError(f"--localize-by {self._by}: {classifier.network.name} has no maps; give backprop")
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
        """The classes of an image (H, W, 3); nothing where the true box is to be shown, and there is none."""
        from sonjit.explain.classes import localize_classes

        del mode
        true_box = next((one.box for one in sample.instances if one.box is not None), None)
        if self._view == "box" and true_box is None:
            return []
        found = localize_classes(self._classifier, rgb, by=self._by, view=self._view, true_box=true_box, top=_CLASSES)
        names, ids = self._classifier.names, self._classifier.ids
        return [
            Prediction(
                category_id=ids[one.label],
                category=names[one.label] if names else None,
                score=one.probability,
                box=one.box,
                map=one.values,
            )
            for one in found
        ]


class InstancesModel(NetworkModel):
    """Mask R-CNN over whole images."""

    modes = ("reacquisition",)

    def __init__(self, weights: str | None, device: torch.device) -> None:
        from sonjit.networks.mask_rcnn.mask_rcnn import load_mask_rcnn

        self._saved: SavedMaskRCNN = load_mask_rcnn(weights)
        self._network = self._saved.network.to(device)

    def find(self, sample: Sample, rgb: NDArray[np.uint8], mode: Mode) -> list[Prediction]:
        """Instances of an image (H, W, 3)."""
        import torch

        from sonjit.networks.mask_rcnn.mask_rcnn import paste_masks

        del mode
        with torch.inference_mode():
            pixels = torch.from_numpy(rgb).to(self._network.device).permute(2, 0, 1).float() / 255
            (found,) = self._network.find([pixels])
            masks = paste_masks(found.masks, found.boxes, rgb.shape[:2]).cpu().numpy() >= 0.5
        ids = [one.id for one in self._saved.categories]
        rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), masks, strict=True)
        return [
            Prediction(category_id=ids[label - 1], score=score, box=(box[0], box[1], box[2], box[3]), mask=mask)
            for label, score, box, mask in rows
        ]


def needed_weights(name: str, weights: str | None) -> str:
    """Weights of a network that are given; InputError, with where to get them, for none."""
    from sonjit.networks import network_entry

    if weights is None:
        entry = network_entry(name)
        raise InputError(f"--model {name} needs its checkpoint, --weights FILE: {entry.where} ({entry.licence})")
    return weights
