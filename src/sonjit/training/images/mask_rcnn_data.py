"""Images of a data set as examples for Mask R-CNN, and their augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from sonjit.datasets import rle_from_mask
from sonjit.networks.mask_rcnn.mask_rcnn import Target
from sonjit.training.augment import mirrored_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from sonjit.datasets import Instance, Sample

_LEAST_PX = 16  # pixels of a mask below which an instance has left the image
_TURN_RAD, _SCALE, _SHIFT = 0.3, (0.7, 1.3), 0.15  # at most; the shift in sides of the image
_LIGHT = (0.7, 1.3)


@dataclass(frozen=True, eq=False)
class Example:
    """One image and its instances.

    Attributes:
        rgb: (H, W, 3) uint8.
        labels: (N,) int64, 1 and up.
        masks: (N, H, W) uint8, 0 or 1.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.int64]
    masks: NDArray[np.uint8]


def example_from_sample(sample: Sample, categories: Mapping[int, str], max_side: int) -> Example:
    """An image, made smaller where its long side is longer; crowds and empty masks are left out."""
    rgb = sample.rgb()
    height, width = rgb.shape[:2]
    scale = min(max_side / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    labels: list[int] = []
    masks: list[NDArray[np.uint8]] = []
    for one in sample.instances:
        whole = one.filled_mask(height, width).astype(np.float32)
        mask = cv2.resize(whole, size, interpolation=cv2.INTER_AREA) >= 0.5
        if not one.crowd and mask.any():
            labels.append(list(categories).index(category_of(one, categories)) + 1)
            masks.append(mask.astype(np.uint8))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    stacked = np.stack(masks) if masks else np.zeros((0, size[1], size[0]), np.uint8)
    return Example(small, np.array(labels, np.int64), stacked)


def category_of(one: Instance, categories: Mapping[int, str]) -> int:
    """The id of an instance's category among those of its data set, see `Dataset.categories`."""
    if one.category_id is not None:
        return one.category_id
    return next(number for number, name in categories.items() if name == (one.category or one.kind))


def coco_from_samples(samples: Sequence[Sample], categories: Mapping[int, str]) -> dict[str, list[dict[str, object]]]:
    """Ground truth in COCO's format; an image's id is its place."""
    annotations: list[dict[str, object]] = []
    for place, sample in enumerate(samples):
        for one in sample.instances:
            x_min, y_min, x_max, y_max = one.bounds() or (0, 0, 0, 0)
            mask = one.filled_mask(sample.height, sample.width)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": place,
                    "category_id": category_of(one, categories),
                    "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
                    "area": one.area_px2 or int(mask.sum()),
                    "iscrowd": int(one.crowd),
                    "segmentation": rle_from_mask(mask),
                }
            )
    return {
        "images": [{"id": place, "width": one.width, "height": one.height} for place, one in enumerate(samples)],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
    }


def mirrored_labels(names: Sequence[str]) -> NDArray[np.int64]:
    """The label of each label's mirror image: left and right in the names change places where both are known.

    >>> mirrored_labels(["left_hand", "right_hand", "cup"]).tolist()
    [0, 2, 1, 3]
    """
    return np.array([0, *(1 + place for place in mirrored_order(names))])


def augmented(example: Example, mirror: NDArray[np.int64], rng: np.random.Generator) -> Example:
    """The example rotated, scaled, shifted, relit and, every other time, mirrored; what leaves the image is dropped."""
    height, width = example.rgb.shape[:2]
    turn, scale = rng.uniform(-_TURN_RAD, _TURN_RAD), rng.uniform(*_SCALE)
    flip = rng.random() < 0.5
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
    middle = np.array([width, height]) / 2
    moved = middle - linear @ middle + rng.uniform(-_SHIFT, _SHIFT, 2) * (width, height)
    matrix = np.column_stack([linear, moved])
    fill = tuple(example.rgb.mean(axis=(0, 1)).tolist())
    light = rng.uniform(*_LIGHT) * rng.uniform(0.92, 1.08, 3)
    rgb = cv2.warpAffine(example.rgb, matrix, (width, height), borderValue=fill) * light
    masks = [cv2.warpAffine(mask, matrix, (width, height), flags=cv2.INTER_NEAREST) for mask in example.masks]
    kept = [i for i, mask in enumerate(masks) if mask.sum() >= _LEAST_PX]
    labels = mirror[example.labels] if flip else example.labels
    stacked = np.stack([masks[i] for i in kept]) if kept else example.masks[:0]
    return Example(np.clip(rgb, 0, 255).astype(np.uint8), labels[kept], np.asarray(stacked, np.uint8))


def tensors_from_example(example: Example, device: str | torch.device) -> tuple[Tensor, Target]:
    """(3, H, W) RGB 0..1 and the target, whose boxes are drawn tightly around the masks."""
    boxes = np.zeros((len(example.masks), 4), np.float32)
    for box, mask in zip(boxes, example.masks, strict=True):
        x, y, wide, high = cv2.boundingRect(mask)
        box[:] = x, y, x + wide, y + high
    image = image_tensor(example.rgb, device)
    labels, masks = torch.from_numpy(example.labels).to(device), torch.from_numpy(example.masks).to(device)
    return image, Target(torch.from_numpy(boxes).to(device), labels, masks)


def image_tensor(rgb: NDArray[np.uint8], device: str | torch.device) -> Tensor:
    """(H, W, 3) uint8 as (3, H, W) float32, 0..1."""
    return torch.from_numpy(rgb).to(device).permute(2, 0, 1).float() / 255
