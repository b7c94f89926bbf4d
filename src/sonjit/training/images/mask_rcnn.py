"""Images of a data set as examples for Mask R-CNN, and their augmentation.

The recipe `mask-rcnn`: Mask R-CNN on any data set with masks or boxes, evaluated by COCO's average precision.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sonjit.arrays import Image, IntArray
from sonjit.datasets import Dataset, Instance, Sample, dataset_entry, open_dataset, rle_from_mask
from sonjit.errors import InputError
from sonjit.explain.segment import results_from_instances
from sonjit.files import write_text
from sonjit.geometry.boxes import RotatedBox, crop_matrix
from sonjit.metrics import coco_precision
from sonjit.networks.mask_rcnn.mask_rcnn import (
    Category,
    MaskRCNN,
    SavedMaskRCNN,
    Target,
    load_mask_rcnn,
    save_mask_rcnn_description,
)
from sonjit.networks.mask_rcnn.roi_align import Pooling
from sonjit.networks.mask_rcnn.roi_heads import MaskHeadName
from sonjit.networks.registry import create_network
from sonjit.training.augment import Augmentation, AugmentedSettings, draw_augmentation, mirrored_order
from sonjit.training.hands.samples import SHARDS, in_any_order
from sonjit.training.loop import WEIGHTS, train
from sonjit.training.recipes import TrainingRequest, settings_from
from sonjit.training.sequences import LazySequence
from sonjit.training.settings import check_at_least

_KEPT_SIDE_PX = 1333  # longer images are made smaller
_LEAST_PX = 16  # pixels of a mask below which an instance has left the image


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


class Examples(LazySequence[Example]):
    """The images of a data set, each read when it is asked for; long sides are at most so many pixels."""

    def __init__(self, samples: Sequence[Sample], categories: Mapping[int, str], max_side: int = _KEPT_SIDE_PX) -> None:
        self._samples, self._categories, self._max_side = samples, categories, max_side

    def __len__(self) -> int:
        return len(self._samples)

    def item(self, index: int) -> Example:
        """One image; see `example_from_sample`."""
        return example_from_sample(self._samples[index], self._categories, self._max_side)


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


def mirrored_labels(names: Sequence[str]) -> IntArray:
    """The label of each label's mirror image: left and right in the names change places where both are known.

    >>> mirrored_labels(["left_hand", "right_hand", "cup"]).tolist()
    [0, 2, 1, 3]
    """
    return np.array([0, *(1 + place for place in mirrored_order(names))])


def augmented(example: Example, mirror: IntArray, change: Augmentation) -> Example:
    """The example augmented; in a mirror labels change, and what leaves the image is dropped."""
    height, width = example.rgb.shape[:2]
    matrix = crop_matrix(change.box(RotatedBox(width / 2, height / 2, width, height)), width, height)
    size, back = (width, height), cv2.WARP_INVERSE_MAP
    fill = tuple(example.rgb.mean(axis=(0, 1)).tolist())
    rgb = cv2.warpAffine(example.rgb, matrix, size, flags=back | cv2.INTER_LINEAR, borderValue=fill)
    flags = back | cv2.INTER_NEAREST
    masks = [np.asarray(cv2.warpAffine(mask, matrix, size, flags=flags), np.uint8) for mask in example.masks]
    kept = [i for i, mask in enumerate(masks) if mask.sum() >= _LEAST_PX]
    labels = mirror[example.labels] if change.mirror else example.labels
    stacked = np.stack([change.mirrored(masks[i]) for i in kept]) if kept else example.masks[:0]
    return Example(change.image(np.asarray(rgb, np.uint8)), labels[kept], np.asarray(stacked, np.uint8))


def tensors_from_example(example: Example) -> tuple[Tensor, Target]:
    """(3, H, W) RGB 0..1 and the target, whose boxes are drawn tightly around the masks."""
    boxes = np.zeros((len(example.masks), 4), np.float32)
    for box, mask in zip(boxes, example.masks, strict=True):
        x, y, wide, high = cv2.boundingRect(mask)
        box[:] = x, y, x + wide, y + high
    labels, masks = torch.from_numpy(example.labels), torch.from_numpy(example.masks)
    return image_tensor(example.rgb, "cpu"), Target(torch.from_numpy(boxes), labels, masks)


def image_tensor(rgb: Image, device: str | torch.device) -> Tensor:
    """(H, W, 3) uint8 as (3, H, W) float32, 0..1."""
    return torch.from_numpy(rgb).to(device).permute(2, 0, 1).float() / 255


METRICS = "metrics.json"

_SIDE_PX = 192  # short side of images for a new network


@dataclass(frozen=True)
class MaskRCNNSettings(AugmentedSettings):
    """Settings of the recipe; those of its layers apply where no initial weights are given.

    Attributes:
        dataset: the kind of data set of `--data`, by its name in `sonjit datasets list`; `folder` is COCO's format and
            other own files.
        split: which part of it; "" is the data set's first.
        images: of the training set, spread evenly over the data set; 0 for four in five.
        held_out: of the others to evaluate on, at most.
        batch: images in a step.
        side: to which the short side of an image is resized, in pixels; 0 for 192, or what the given weights are for.
        depth: layers of the residual network.
        width: channels of its first stage.
        channels: of pyramid and heads.
        hidden: of the box head's fully connected layers.
        masks: False for Faster R-CNN, the same without masks.
        roi: align, or pool to compare with.
        mask_head: fcn, or skip for one with skip layers to compare with.
        samples: anchors and proposals of an image that the losses are taken over.
    """

    steps: int = 600
    learning_rate: float = 2e-3
    dataset: str = "folder"
    split: str = ""
    images: int = 0
    held_out: int = 100
    batch: int = 4
    side: int = 0
    depth: int = 18
    width: int = 24
    channels: int = 48
    hidden: int = 128
    masks: bool = True
    roi: Pooling = "align"
    mask_head: MaskHeadName = "fcn"
    samples: int = 128

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        check_at_least(self, images=0, held_out=1, batch=1, side=0, width=8, channels=8, hidden=8, samples=8)

    @property
    def layers(self) -> dict[str, object]:
        """Options of a small network for few images, with norms that need no large batches."""
        return {
            "depth": self.depth,
            "width": self.width,
            "channels": self.channels,
            "hidden": self.hidden,
            "norm": "group",
            "masks": self.masks,
            "roi": self.roi,
            "mask_head": self.mask_head,
            "before_nms": 300,
            "after_nms": 100,
        }


def train_mask_rcnn(request: TrainingRequest) -> Mapping[str, object]:
    """Train Mask R-CNN on a data set and evaluate it on images held out.

    Args:
        request: with `data`, the data set or its COCO file, and `images`, the folder or video of that.

    Returns:
        The weights' path, and average precisions of boxes and masks on the images held out.

    Raises:
        InputError: no data, data that cannot be used, or weights that do not fit.
    """
    settings = settings_from(MaskRCNNSettings, request.settings)
    if request.data is None:
        raise InputError("mask-rcnn trains on a data set: give --data, a COCO file or a folder")
    if request.export is not None:
        raise InputError("mask-rcnn writes PyTorch weights alone, which sonjit segment reads: leave --export out")
    data = _opened(request.data, request.images, settings)
    names = data.categories()
    data = in_any_order(data, request.out / SHARDS)
    categories = tuple(Category(number, name) for number, name in names.items())
    torch.manual_seed(settings.seed)
    saved = _network(request.weights, categories, settings)
    network = saved.network.to(request.device)
    training, held_out = _split(data, settings)
    examples = Examples(training, names)
    mirror = mirrored_labels(list(names.values()))

    def losses(model: MaskRCNN, drawn: list[tuple[Tensor, Target]]) -> Mapping[str, Tensor]:
        return model.losses([one[0] for one in drawn], [one[1] for one in drawn])

    save_mask_rcnn_description(request.out, saved)
    metrics = train(
        network, partial(draw_batch, examples=examples, mirror=mirror, settings=settings), losses, settings,
        out=request.out, inputs=request.inputs() | {"images": str(request.images)}, progress=request.progress,
        evaluate=partial(evaluate, samples=held_out, categories=names, device=request.device), higher_is_better=True,
    )  # fmt: skip
    text = json.dumps({**metrics, "held_out": len(held_out)}, indent=2) + "\n"
    write_text(request.out / METRICS, text)
    return {"weights": request.out / WEIGHTS, "training_images": len(examples), "held_out": len(held_out), **metrics}


def draw_batch(
    rng: np.random.Generator, examples: Sequence[Example], mirror: IntArray, settings: MaskRCNNSettings
) -> list[tuple[Tensor, Target]]:
    """Augmented images and targets of a step."""
    chosen = [examples[int(i)] for i in rng.integers(len(examples), size=settings.batch)]
    return [
        tensors_from_example(augmented(one, mirror, draw_augmentation(settings.augmentation, rng))) for one in chosen
    ]


@torch.no_grad()
def evaluate(
    network: MaskRCNN, samples: Sequence[Sample], categories: Mapping[int, str], device: str
) -> dict[str, float]:
    """Average precisions of a network on images, and how many of them it takes a second.

    Args:
        network: in eval mode, whose labels 1, 2, ... are the categories in order.
        samples: images with their ground truth.
        categories: names by id, as `Dataset.categories` gives them.
        device: of torch.
    """
    results: list[Mapping[str, object]] = []
    seconds = 0.0
    for place, sample in enumerate(samples):
        rgb = sample.rgb()
        start = time.perf_counter()
        (found,) = network.find([image_tensor(rgb, device)])
        results += results_from_instances(found, rgb.shape[:2], place, list(categories))
        seconds += time.perf_counter() - start
    metrics = average_precisions(coco_from_samples(samples, categories), results, masks=network.mask_head is not None)
    return {**metrics, "frames_per_second": len(samples) / seconds}


def _opened(data: Path, images: Path | None, settings: MaskRCNNSettings) -> Dataset:
    options: dict[str, Any] = {"images": str(images)} if images else {}
    if "labels" in dataset_entry(settings.dataset).options:  # COCO: of all objects, not of people's keypoints
        options["labels"] = "instances"
    return open_dataset(settings.dataset, data, settings.split or None, **options)


def _network(weights: str | None, categories: Sequence[Category], settings: MaskRCNNSettings) -> SavedMaskRCNN:
    """A new small network; or one with weights, whose norms keep their statistics, for batches are small."""
    classes = len(categories) + 1
    if weights is None:
        side = settings.side or _SIDE_PX
        options: dict[str, Any] = {"classes": classes, **settings.layers, "min_side": side, "max_side": side * 2}
        network = create_network("mask-rcnn", **options)
        assert isinstance(network, MaskRCNN)
        saved = SavedMaskRCNN(network, tuple(categories), "mask-rcnn", options)
    else:
        sides = (("min_side", settings.side), ("max_side", settings.side * 2)) if settings.side else ()
        saved = load_mask_rcnn(weights, **dict(sides))
        if [one.name for one in saved.categories] != [one.name for one in categories]:
            saved.network.forget_classes(classes)
        options = {**saved.options, "classes": classes}
        saved = saved._replace(categories=tuple(categories), options=options)
    saved.network.train()
    for module in saved.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    saved.network.box_samples = saved.network.rpn.samples = settings.samples
    return saved


def _split(data: Dataset, settings: MaskRCNNSettings) -> tuple[Dataset, Dataset]:
    """The training set, and the images held out; both spread evenly over the data set."""
    count = len(data)
    wanted = settings.images or count * 4 // 5
    if not 0 < wanted < count:
        raise InputError(f"{data.root} has {count} images and {wanted} are to be trained on: leave some to evaluate on")
    chosen = {i * count // wanted for i in range(wanted)}
    others = sorted(set(range(count)) - chosen)
    held_out = sorted({others[i * len(others) // settings.held_out] for i in range(settings.held_out)})
    return data.subset(sorted(chosen)), data.subset(held_out)


_KINDS: dict[str, Literal["bbox", "segm"]] = {"box": "bbox", "mask": "segm"}


def average_precisions(
    truth: Mapping[str, object], results: Sequence[Mapping[str, object]], *, masks: bool = True
) -> dict[str, float]:
    """How well results fit annotations: AP over IoU 0.5 to 0.95, and AP50.

    Args:
        truth: annotations in COCO's format.
        results: as in COCO's results format.
        masks: whether the results hold masks.

    Returns:
        "box_ap", "box_ap50" and, with masks, "mask_ap", "mask_ap50"; NaN where nothing is annotated.
    """
    scores: dict[str, float] = {}
    for name, kind in _KINDS.items():
        if kind == "bbox" or masks:
            stats = coco_precision(truth, results, kind).stats
            scores |= {f"{name}_ap": stats["AP"], f"{name}_ap50": stats["AP50"]}
    return scores
