"""Convert images of a data set to training examples of Mask R-CNN, and augment them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util.arrays import Image, IntArray
from sonjit.geometry.boxes import RotatedBox, crop_matrix
from sonjit.lab.datasets import Instance, Sample, rle_from_mask
from sonjit.lab.networks.mask_rcnn.mask_rcnn import (
    Target,
)
from sonjit.lab.training.augment import Augmentation, mirrored_order
from sonjit.lab.training.sequences import LazySequence

_MAX_SIDE_PX = 1333  # longer images are scaled down
_MIN_MASK_PX = 16  # instances with smaller masks are dropped after augmentation


@dataclass(frozen=True, eq=False)
class Example:
    """One image and its instances.

    Attributes:
        rgb: (H, W, 3) uint8.
        labels: (N,) int64, 1 and up.
        masks: (N, H, W) uint8, 0 or 1.
    """

    rgb: Image
    labels: IntArray
    masks: NDArray[np.uint8]


def example_from_sample(sample: Sample, categories: Mapping[int, str], max_side: int) -> Example:
    """Return an image, scaled down to `max_side`, without crowds and empty masks."""
    rgb = sample.rgb()
    height, width = rgb.shape[:2]
    scale = min(max_side / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    labels: list[int] = []
    masks: list[NDArray[np.uint8]] = []
    for instance in sample.instances:
        filled = instance.filled_mask(height, width).astype(np.float32)
        mask = cv2.resize(filled, size, interpolation=cv2.INTER_AREA) >= 0.5
        if not instance.crowd and mask.any():
            labels.append(list(categories).index(category_of(instance, categories)) + 1)
            masks.append(mask.astype(np.uint8))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    stacked = np.stack(masks) if masks else np.zeros((0, size[1], size[0]), np.uint8)
    return Example(small, np.array(labels, np.int64), stacked)


class Examples(LazySequence[Example]):
    """The images of a data set with a maximum long side in pixels; each is read on access."""

    def __init__(self, samples: Sequence[Sample], categories: Mapping[int, str], max_side: int = _MAX_SIDE_PX) -> None:
        self._samples, self._categories, self._max_side = samples, categories, max_side

    def __len__(self) -> int:
        return len(self._samples)

    def item(self, index: int) -> Example:
        """Return one image; see `example_from_sample`."""
        return example_from_sample(self._samples[index], self._categories, self._max_side)


def category_of(instance: Instance, categories: Mapping[int, str]) -> int:
    """Return the id of an instance's category in its data set, see `Dataset.categories`."""
    if instance.category_id is not None:
        return instance.category_id
    return next(number for number, name in categories.items() if name == (instance.category or instance.kind))


def coco_from_samples(samples: Sequence[Sample], categories: Mapping[int, str]) -> dict[str, list[dict[str, object]]]:
    """Return the ground truth in COCO's format; the id of an image is its index."""
    annotations: list[dict[str, object]] = []
    for index, sample in enumerate(samples):
        for instance in sample.instances:
            x_min, y_min, x_max, y_max = instance.bounds() or (0, 0, 0, 0)
            mask = instance.filled_mask(sample.height, sample.width)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": category_of(instance, categories),
                    "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
                    "area": instance.area_px2 or int(mask.sum()),
                    "iscrowd": int(instance.crowd),
                    "segmentation": rle_from_mask(mask),
                }
            )
    return {
        "images": [
            {"id": index, "width": sample.width, "height": sample.height} for index, sample in enumerate(samples)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
    }


def mirrored_labels(names: Sequence[str]) -> IntArray:
    """Return the label of each label's mirror image; left and right in the names swap where both are known.

    >>> mirrored_labels(["left_hand", "right_hand", "cup"]).tolist()
    [0, 2, 1, 3]
    """
    return np.array([0, *(1 + index for index in mirrored_order(names))])


def augment(example: Example, mirror: IntArray, change: Augmentation) -> Example:
    """Augment an example; in a mirror labels change, and instances outside the image are dropped."""
    height, width = example.rgb.shape[:2]
    matrix = crop_matrix(change.box(RotatedBox(width / 2, height / 2, width, height)), width, height)
    size, back = (width, height), cv2.WARP_INVERSE_MAP
    fill = tuple(example.rgb.mean(axis=(0, 1)).tolist())
    rgb = cv2.warpAffine(example.rgb, matrix, size, flags=back | cv2.INTER_LINEAR, borderValue=fill)
    flags = back | cv2.INTER_NEAREST
    masks = [np.asarray(cv2.warpAffine(mask, matrix, size, flags=flags), np.uint8) for mask in example.masks]
    large_enough = [i for i, mask in enumerate(masks) if mask.sum() >= _MIN_MASK_PX]
    labels = mirror[example.labels] if change.mirror else example.labels
    stacked = np.stack([change.mirrored(masks[i]) for i in large_enough]) if large_enough else example.masks[:0]
    return Example(change.image(np.asarray(rgb, np.uint8)), labels[large_enough], np.asarray(stacked, np.uint8))


def tensors_from_example(example: Example) -> tuple[Tensor, Target]:
    """Return (3, H, W) RGB 0..1 and the target, whose boxes are tight around the masks."""
    boxes = np.zeros((len(example.masks), 4), np.float32)
    for box, mask in zip(boxes, example.masks, strict=True):
        x, y, wide, high = cv2.boundingRect(mask)
        box[:] = x, y, x + wide, y + high
    labels, masks = torch.from_numpy(example.labels), torch.from_numpy(example.masks)
    return image_tensor(example.rgb, "cpu"), Target(torch.from_numpy(boxes), labels, masks)


def image_tensor(rgb: Image, device: str | torch.device) -> Tensor:
    """Convert (H, W, 3) uint8 to (3, H, W) float32, 0..1."""
    return torch.from_numpy(rgb).to(device).permute(2, 0, 1).float() / 255
