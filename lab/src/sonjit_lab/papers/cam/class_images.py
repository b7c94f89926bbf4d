"""Training images of classifiers: images of a data set, or crops of a clip with known hands, each with one or none.

The class of an image is its tag `class`. An image without that tag has the class of its instances, if they have only
one category.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util import FloatArray, Image, InputError, data_files
from sonjit.geometry.boxes import RotatedBox, crop, points_into_crop
from sonjit.media import open_source
from sonjit.results import Box
from sonjit.results.skeletons import mirrored_order
from sonjit_lab.datasets import Dataset, Sample
from sonjit_lab.datasets.sample import CORNER_PIXEL
from sonjit_lab.metrics.detection import localization_error
from sonjit_lab.papers.cam.maps import ClassBox, LocalizeBy, crop_box, localize_classes
from sonjit_lab.papers.cam.network import Classifier, View
from sonjit_lab.training.augment import UNCHANGED, Augmentation, AugmentationSettings, draw_augmentation
from sonjit_lab.training.batches import epoch_indices
from sonjit_lab.training.building_blocks import evenly_spaced

_MAX_TRIES = 50  # maximum number of images that are drawn to find one with a class
CLASSES = ("Left", "Right", "none")
_LONG_SIDE_PX = 320  # longer side of the frames in memory; crops are smaller
_MAX_BOXES = 10  # maximum number of boxes that are tried for a held-out crop without another hand
_MARGIN = 0.12  # distance of the skin from the keypoints, relative to the hand's size


@dataclass(frozen=True, eq=False)
class Crop:
    """One example."""

    image: Image  # (size, size, 3) uint8
    label: int  # index of the class
    # box of the object of the class in pixels of the crop; None if it is unknown or there is no object
    box: Box | None = None


def images_from(crops: Sequence[Crop]) -> Tensor:
    """Return the crops as (B, 3, size, size) float32 in 0..1."""
    stacked = np.stack([crop.image for crop in crops])  # (B, size, size, 3)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255


def class_of(sample: Sample) -> tuple[int | None, str]:
    """Return id and name of an image's class; no name if it has none or several."""
    if (named := sample.tags.get("class")) is not None:
        return None, str(named)
    classes = {(instance.category_id, instance.category or instance.kind) for instance in sample.instances}
    return classes.pop() if len(classes) == 1 else (None, "")


def label_of(sample: Sample, ids: Sequence[int], names: Sequence[str]) -> int | None:
    """Return the index of an image's class by its name, or by its id if several classes have the name, else None."""
    number, name = class_of(sample)
    indices = [index for index, class_name in enumerate(names) if class_name == name]
    return next((index for index in indices if len(indices) == 1 or ids[index] == number), None)


class ClassImages:
    """Training images and held-out images with classes, for a network's square input of `size` pixels."""

    def __init__(
        self, training: Dataset, held_out: Dataset, size: int, view: View = "full", cropper: Classifier | None = None
    ) -> None:
        self._training, self._held_out = training, held_out
        self._size = size
        self._view = view
        self._cropper = cropper
        if "class" in training[0].tags:
            class_names = sorted({name for sample in training if (name := class_of(sample)[1])})
            categories: Mapping[int, str] = dict(enumerate(class_names))
        else:
            categories = training.categories()
        self.ids, self.names = tuple(categories), tuple(categories.values())
        if len(self.names) < 2:
            raise InputError(f"{training.root}: {len(self.names)} class; a classifier requires images of at least two")
        self.mirrored = mirrored_order(self.names)
        self._boxes: dict[int, Box] = {}

    def __len__(self) -> int:
        """Return the number of training images."""
        return len(self._training)

    def draw(
        self, rng: np.random.Generator, count: int, augmentation: AugmentationSettings | None = None
    ) -> list[Crop]:
        """Draw augmented examples of the training set, each of a random part of the shown area."""
        indices = epoch_indices(rng, len(self._training), count).tolist()
        pairs = zip(rng.spawn(count), indices, strict=True)
        return [self._draw_crop(generator, index, augmentation) for generator, index in pairs]

    def select_held_out(self, maximum: int) -> list[Sample]:
        """Return at most `maximum` evenly spaced images to evaluate on that have a class."""
        samples = evenly_spaced(self._held_out, maximum)
        return [sample for sample in samples if label_of(sample, self.ids, self.names) is not None]

    def _draw_crop(self, rng: np.random.Generator, index: int, augmentation: AugmentationSettings | None) -> Crop:
        for number in range(_MAX_TRIES):
            index = int(rng.integers(len(self._training))) if number else index
            sample = self._training[index]
            if (label := label_of(sample, self.ids, self.names)) is None:
                continue
            rgb = sample.rgb()
            area = self._area(index, sample, rgb)
            if area is None:
                continue
            change = draw_augmentation(augmentation or AugmentationSettings(), rng)
            image = change.image(_random_part(rgb, area, self._size, rng, change))
            return Crop(image, self.mirrored[label] if change.mirror else label)
        raise InputError(f"None of {_MAX_TRIES} images has a class. Choose another data set or split.")

    def _area(self, index: int, sample: Sample, rgb: NDArray[np.uint8]) -> Box | None:
        """Return the shown area of an image, or None if the data set has no box."""
        if self._view == "full":
            return 0.0, 0.0, float(rgb.shape[1]), float(rgb.shape[0])
        if self._view == "box":
            return next((instance.box for instance in sample.instances if instance.box is not None), None)
        assert self._cropper is not None
        if index not in self._boxes:
            self._boxes[index] = crop_box(self._cropper, rgb)
        return self._boxes[index]


def classification_metrics(classifier: Classifier, samples: Sequence[Sample]) -> dict[str, float]:
    """Return ILSVRC's errors in per cent: classification_error_1 and _5, and with boxes localization_error_1 and _5."""
    by: LocalizeBy = "backprop" if classifier.pooling is None else "cam"
    predictions: list[list[ClassBox]] = []
    for sample in samples:
        true_box = next((instance.box for instance in sample.instances if instance.box is not None), None)
        predictions.append(localize_classes(classifier, sample.rgb(), by=by, view=classifier.view, true_box=true_box))
    errors: dict[str, float] = {}
    truth = [
        (label, [instance.box for instance in sample.instances if instance.box is not None])
        for sample in samples
        if (label := label_of(sample, classifier.ids, classifier.names)) is not None
    ]
    pairs = [(true, [(item.label, item.box) for item in boxes]) for true, boxes in zip(truth, predictions, strict=True)]
    placed = [pair for pair in pairs if pair[0][1]]
    for top in (1, 5):
        wrong = [
            label not in [box.label for box in boxes[:top]]
            for (label, _), boxes in zip(truth, predictions, strict=True)
        ]
        errors[f"classification_error_{top}"] = 100 * float(np.mean(wrong)) if wrong else float("nan")
        if placed:
            error = localization_error([boxes for _, boxes in placed], [true for true, _ in placed], top)
            errors[f"localization_error_{top}"] = 100 * error
    return errors


def _random_part(
    rgb: NDArray[np.uint8], area: Box, size: int, rng: np.random.Generator, change: Augmentation
) -> NDArray[np.uint8]:
    """Return a random part of an upright area, stretched to a square and rotated; from a scale of 1, all of it."""
    height, width = rgb.shape[:2]
    left, top = max(round(area[0]), 0), max(round(area[1]), 0)
    right, bottom = max(min(round(area[2]), width), left + 1), max(min(round(area[3]), height), top + 1)
    aspect = np.exp(rng.uniform(-0.25, 0.25)) if change.scale < 1 else 1.0
    wide = max(min(round((right - left) * change.scale * aspect), right - left), 1)
    high = max(min(round((bottom - top) * change.scale / aspect), bottom - top), 1)
    x, y = int(rng.integers(left, right - wide + 1)), int(rng.integers(top, bottom - high + 1))
    part = cv2.resize(rgb[y : y + high, x : x + wide], (size, size), interpolation=cv2.INTER_AREA)
    box = RotatedBox(size / 2, size / 2, size, size, change.rotation_rad)
    return crop(np.asarray(part, np.uint8), box, size, size) if change.rotation_rad else np.asarray(part, np.uint8)


class HandCrops:
    """Crops of `size` pixels of a clip with known hands.

    `truth`: JSON file with "frames", each with "index" and "hands" with "handedness" and "xy", (21, 2) in pixels, which
    count from the corner of the first one unless `pixel_centre` is 0.
    """

    def __init__(self, clip: Path, truth: Path, *, size: int = 96, context: float = 2.0, segment: int = 60) -> None:
        self._size, self._context = size, context
        try:
            content = data_files.read_json(truth)
            frames, first_pixel = content["frames"], float(content.get("pixel_centre", CORNER_PIXEL))
            hands = {
                int(frame["index"]): [
                    (CLASSES.index(hand["handedness"]), np.array(hand["xy"], float)) for hand in frame["hands"]
                ]
                for frame in frames
            }
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(f"{truth}: no frames with hands that have handedness and xy ({error})") from None
        self._images: dict[int, NDArray[np.uint8]] = {}
        self._hands: dict[int, list[tuple[int, FloatArray]]] = {}
        with open_source(clip) as source:
            for frame in source:
                if frame.index in hands:
                    scale = min(_LONG_SIDE_PX / max(frame.rgb.shape[:2]), 1.0)
                    size_px = round(frame.rgb.shape[1] * scale), round(frame.rgb.shape[0] * scale)
                    small = cv2.resize(frame.rgb, size_px, interpolation=cv2.INTER_AREA)
                    self._images[frame.index] = np.asarray(small, np.uint8)
                    self._hands[frame.index] = [(label, xy * scale - first_pixel) for label, xy in hands[frame.index]]
        quarter = segment * 3 // 4
        self.training = [index for index in sorted(self._images) if index % segment < quarter]
        self.held_out = [index for index in sorted(self._images) if index % segment >= quarter]
        if not self.training or not self.held_out:
            raise InputError(f"{clip} is too short for segments of {segment} frames; set a smaller segment")

    def draw(
        self, rng: np.random.Generator, count: int, augmentation: AugmentationSettings | None = None
    ) -> list[Crop]:
        """Draw augmented crops of the training set at random positions; a mirror shows the other hand."""
        crops: list[Crop] = []
        while len(crops) < count:
            index = int(rng.choice(self.training))
            hands = self._hands[index]
            hand = int(rng.integers(len(hands) + 1)) if hands else 0  # the last index is a crop without a hand
            change = draw_augmentation(augmentation or AugmentationSettings(), rng)
            hand_crop = self._crop(index, hand, rng, change)
            if hand_crop is not None:
                hand_crop = _mirror(hand_crop) if change.mirror else hand_crop
                crops.append(replace(hand_crop, image=change.change_colours(hand_crop.image)))
        return crops

    def test(self, *, none: bool = False) -> list[Crop]:
        """Return every hand of the held-out frames and its mirror image; with `none`, as many crops without a hand."""
        crops: list[Crop] = []
        for index in self.held_out:
            for hand in range(len(self._hands[index])):
                number = len(self._hands[index]) if none else hand
                rngs = (np.random.default_rng((index, hand, attempt)) for attempt in range(_MAX_BOXES))
                tries = (self._crop(index, number, rng) for rng in rngs)
                hand_crop = next((candidate for candidate in tries if candidate is not None), None)
                crops += [] if hand_crop is None else [hand_crop, _mirror(hand_crop)]
        return crops

    def _crop(self, index: int, hand: int, rng: np.random.Generator, change: Augmentation = UNCHANGED) -> Crop | None:
        """Return a crop of a hand, or of none beyond the last index, if the hand and no other one is in it."""
        rgb = self._images[index]
        hands = self._hands[index]
        size = self._size
        height, width = rgb.shape[:2]
        _, points = hands[min(hand, len(hands) - 1)] if hands else (0, np.array([[0.0, 0.0], [width / 4, width / 4]]))
        box = _box_around(points)
        hand_side = max(box[2] - box[0], box[3] - box[1])
        side = self._context * change.scale * hand_side
        if hand < len(hands):
            free = max(side - 1.2 * hand_side, 0) / 2
            cx, cy = (np.array(box).reshape(2, 2).mean(0) + rng.uniform(-free, free, 2)).tolist()
        else:
            cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        area = RotatedBox(cx, cy, side, side, change.rotation_rad)
        for number, (_, xy) in enumerate(hands):
            x_min, y_min, x_max, y_max = _box_around(points_into_crop(xy, area, size))
            if number != hand and x_max > 0 and y_max > 0 and x_min < size and y_min < size:
                return None
        image = crop(rgb, area, size, size)
        if hand >= len(hands):
            return Crop(image, CLASSES.index("none"), None)
        label, xy = hands[hand]
        if not ((xy >= 0) & (xy < (width, height))).all():
            return None
        x_min, y_min, x_max, y_max = np.clip(_box_around(points_into_crop(xy, area, size)), 0, size).tolist()
        return Crop(image, label, (x_min, y_min, x_max, y_max))


def _mirror(example: Crop) -> Crop:
    """Return the mirror image, which shows the other hand."""
    box = example.box
    if box is not None:
        last = example.image.shape[1] - 1
        box = last - box[2], box[1], last - box[0], box[3]
    label = {"Left": "Right", "Right": "Left"}.get(CLASSES[example.label], CLASSES[example.label])
    return Crop(np.ascontiguousarray(example.image[:, ::-1]), CLASSES.index(label), box)


def _box_around(points: FloatArray) -> Box:
    """Return the box around a hand's keypoints (K, 2) with a margin for the skin."""
    low, high = points.min(0), points.max(0)
    margin = _MARGIN * float((high - low).max())
    x_min, y_min, x_max, y_max = *(low - margin).tolist(), *(high + margin).tolist()
    return x_min, y_min, x_max, y_max
