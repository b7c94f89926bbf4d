"""Images of a data set and their classes, as a classifier is trained and evaluated on them.

An image's class is its tag `class` where it has one, else the one category of what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit.arrays import Image
from sonjit.datasets import Dataset, Sample, dataset_entry, open_dataset
from sonjit.errors import InputError
from sonjit.explain.classes import ClassBox, LocalizeBy, crop_box, localize_classes
from sonjit.geometry.boxes import RotatedBox, crop
from sonjit.metrics.localization import localization_error
from sonjit.networks.classifiers import Classifier, View
from sonjit.results import Box
from sonjit.training.augment import (
    NO_AUGMENTATION,
    Augmentation,
    AugmentationSettings,
    draw_augmentation,
    mirrored_order,
)

_TRIES = 50  # images drawn in search of one with a class
_HELD_OUT = ("val", "test")  # splits to evaluate on, where a set has them


@dataclass(frozen=True, eq=False)
class Crop:
    """One example.

    Attributes:
        image: (size, size, 3) uint8.
        label: index of its class.
        box: of what is of the class, in pixels of the crop; None where it is unknown, or there is nothing.
    """

    image: Image
    label: int
    box: Box | None = None


def images_from(crops: Sequence[Crop]) -> Tensor:
    """(B, 3, size, size) float32 in 0..1."""
    stacked = np.stack([one.image for one in crops])  # (B, size, size, 3)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255


def class_of(sample: Sample) -> str | None:
    """The class of an image; None where it has none, or is of several."""
    if (named := sample.tags.get("class")) is not None:
        return str(named)
    found = {one.category or one.kind for one in sample.instances}
    return found.pop() if len(found) == 1 else None


class ClassImages:
    """Images to train on, and others to evaluate on.

    Args:
        training: images with classes.
        held_out: others.
        size: side of a network's square input in pixels.
        view: what is shown of an image.
        cropper: whose map cuts out what is shown, for the view "crop".

    Attributes:
        names: of the classes.
        ids: of the classes in the data set.

    Raises:
        InputError: fewer than two classes.
    """

    def __init__(
        self, training: Dataset, held_out: Dataset, size: int, view: View = "full", cropper: Classifier | None = None
    ) -> None:
        self._training, self._held_out = training, held_out
        self._size, self._view, self._cropper = size, view, cropper
        if "class" in training[0].tags:
            found = sorted({name for sample in training if (name := class_of(sample)) is not None})
            categories: Mapping[int, str] = dict(enumerate(found))
        else:
            categories = training.categories()
        self.ids, self.names = tuple(categories), tuple(categories.values())
        if len(self.names) < 2:
            raise InputError(f"{training.root}: {len(self.names)} class to tell apart; give images of two at least")
        self._mirrored = mirrored_order(self.names)
        self._boxes: dict[int, Box] = {}

    def __len__(self) -> int:
        """How many images there are to train on."""
        return len(self._training)

    def draw(
        self, rng: np.random.Generator, count: int, augmentation: AugmentationSettings = NO_AUGMENTATION
    ) -> list[Crop]:
        """Examples of the training set: a part of what is shown, augmented."""
        return [self._drawn(own, augmentation) for own in rng.spawn(count)]

    def held_out(self, most: int) -> list[Sample]:
        """At most so many images to evaluate on that have a class, evenly spread."""
        count = len(self._held_out)
        places = range(count) if count <= most else [i * count // most for i in range(most)]
        return [sample for place in places if class_of(sample := self._held_out[place]) in self.names]

    def _drawn(self, rng: np.random.Generator, augmentation: AugmentationSettings) -> Crop:
        for _ in range(_TRIES):
            place = int(rng.integers(len(self._training)))
            sample = self._training[place]
            name = class_of(sample)
            if name not in self.names:
                continue
            rgb = sample.rgb()
            area = self._area(place, sample, rgb)
            if area is None:
                continue
            change, label = draw_augmentation(augmentation, rng), self.names.index(name)
            image = change.image(_part(rgb, area, self._size, rng, change))
            return Crop(image, self._mirrored[label] if change.mirror else label)
        raise InputError(f"of {_TRIES} images none has a class: give another data set or split")

    def _area(self, place: int, sample: Sample, rgb: NDArray[np.uint8]) -> Box | None:
        """What is shown of an image; None where the set does not say."""
        if self._view == "full":
            return 0.0, 0.0, float(rgb.shape[1]), float(rgb.shape[0])
        if self._view == "box":
            return next((one.box for one in sample.instances if one.box is not None), None)
        assert self._cropper is not None
        if place not in self._boxes:
            self._boxes[place] = crop_box(self._cropper, rgb)
        return self._boxes[place]


def open_class_images(
    dataset: str,
    data: Path,
    images: Path | None,
    *,
    split: str,
    held_out_split: str,
    size: int,
    view: View,
    cropper: Classifier | None,
) -> ClassImages:
    """The images of a data set; without a split to evaluate on, every fifth image is.

    Args:
        dataset: its name.
        data: its folder, or COCO file.
        images: folder or video of the images, where it is another one.
        split: to train on; "" for its training set, else its first.
        held_out_split: to evaluate on; "" for what the set has for that.
        size: see `ClassImages`, as the others.
        view: likewise.
        cropper: likewise.

    Raises:
        InputError: data that cannot be used.
    """
    entry = dataset_entry(dataset)
    options: dict[str, Any] = {"images": str(images)} if images else {}
    chosen = split or ("train" if "train" in entry.splits else entry.splits[0])
    own: dict[str, Any] = {}
    if "labels" in entry.options:  # COCO: of all objects, not of people's keypoints; ImageNet: images without boxes too
        own["labels"] = "folders" if chosen == "train" and dataset == "ilsvrc-loc" else "instances"
    if dataset == "ilsvrc-loc" and chosen != "train":
        own.clear()
    training = open_dataset(dataset, data, chosen, **options, **own)
    other = held_out_split or next((one for one in _HELD_OUT if one in entry.splits and one != chosen), "")
    if other:
        own = own if dataset != "ilsvrc-loc" else {}
        return ClassImages(training, open_dataset(dataset, data, other, **options, **own), size, view, cropper)
    count = len(training)
    held_out = range(4, count, 5)
    if not held_out:
        raise InputError(f"{data} has {count} images: too few to train on some and evaluate on others")
    rest = training.subset(place for place in range(count) if place % 5 != 4)
    return ClassImages(rest, training.subset(held_out), size, view, cropper)


def classification_metrics(
    classifier: Classifier, samples: Sequence[Sample], by: LocalizeBy = "cam"
) -> dict[str, float]:
    """Errors on images as ILSVRC counts them, in per cent.

    Args:
        classifier: with the names of its classes.
        samples: with classes; localization is of those with boxes.
        by: where boxes come from; a network without maps has only those of backprop.

    Returns:
        classification_error_1 and _5, and localization_error_1 and _5 where there are boxes.
    """
    by = "backprop" if classifier.pooling is None else by
    found: list[list[ClassBox]] = []
    for sample in samples:
        true_box = next((one.box for one in sample.instances if one.box is not None), None)
        found.append(localize_classes(classifier, sample.rgb(), by=by, view=classifier.view, true_box=true_box))
    labels = [classifier.names.index(class_of(sample) or "") for sample in samples]
    errors: dict[str, float] = {}
    for top in (1, 5):
        wrong = [label not in [one.label for one in boxes[:top]] for label, boxes in zip(labels, found, strict=True)]
        errors[f"classification_error_{top}"] = 100 * float(np.mean(wrong)) if wrong else float("nan")
    truth = [
        (label, [one.box for one in sample.instances if one.box is not None])
        for label, sample in zip(labels, samples, strict=True)
    ]
    kept = [place for place, (_, boxes) in enumerate(truth) if boxes]
    if kept:
        guesses = [[(one.label, one.box) for one in found[place]] for place in kept]
        for top in (1, 5):
            error = localization_error(guesses, [truth[place] for place in kept], top)
            errors[f"localization_error_{top}"] = 100 * error
    return errors


def _part(
    rgb: NDArray[np.uint8], area: Box, size: int, rng: np.random.Generator, change: Augmentation
) -> NDArray[np.uint8]:
    """A part of an upright area from any place, stretched to a square and rotated; all of it from a scale of 1 on."""
    height, width = rgb.shape[:2]
    left, top = max(round(area[0]), 0), max(round(area[1]), 0)
    right, bottom = max(min(round(area[2]), width), left + 1), max(min(round(area[3]), height), top + 1)
    aspect = np.exp(rng.uniform(-0.25, 0.25)) if change.scale < 1 else 1.0
    wide = max(min(round((right - left) * change.scale * aspect), right - left), 1)
    high = max(min(round((bottom - top) * change.scale / aspect), bottom - top), 1)
    x, y = int(rng.integers(left, right - wide + 1)), int(rng.integers(top, bottom - high + 1))
    part = cv2.resize(rgb[y : y + high, x : x + wide], (size, size), interpolation=cv2.INTER_AREA)
    whole = RotatedBox(size / 2, size / 2, size, size, change.rotation_rad)
    return crop(np.asarray(part, np.uint8), whole, size, size) if change.rotation_rad else np.asarray(part, np.uint8)
