"""Train Mask R-CNN (recipe `mask-rcnn`) on a data set with masks or boxes, evaluated by COCO's average precision."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sonjit._util import Image, InputError, IntArray, data_files
from sonjit._util.settings import Range
from sonjit.geometry.boxes import RotatedBox, crop_matrix
from sonjit.results.skeletons import mirrored_order
from sonjit.segmentation.instances import results_from_instances
from sonjit_lab.datasets import Dataset, Sample, convert, dataset_entry, open_dataset
from sonjit_lab.metrics import coco_precision
from sonjit_lab.networks.export import ENDINGS
from sonjit_lab.networks.modes import evaluates
from sonjit_lab.networks.registry import create_network
from sonjit_lab.papers.mask_rcnn import files
from sonjit_lab.papers.mask_rcnn import network as mask_rcnn
from sonjit_lab.papers.mask_rcnn.finders import instances_from
from sonjit_lab.training.augment import Augmentation, AugmentationSettings, draw_augmentation, warn_about_mirror
from sonjit_lab.training.building_blocks import evenly_spaced
from sonjit_lab.training.hands.samples import (
    FRAMES,
    HELD_OUT,
    DataSettings,
    allow_any_order,
    draw_batch,
    held_out_parts,
    report_split,
)
from sonjit_lab.training.loop import WEIGHTS, fit
from sonjit_lab.training.recipes import TrainingRequest, settings_from
from sonjit_lab.training.settings import Count, Depth, ImageBatch, Steps, WideWidth

_MAX_SIDE_PX = 1333  # longer images are scaled down
_MIN_SEEN = 0.35  # least share of an instance in the crop; one that shows less counts as a crowd
_MIN_MASK_PX = 16  # instances with smaller masks are dropped after augmentation
METRICS = "metrics.json"
_SIDE_PX = 192  # short side of images for a new network
_COCO_KINDS: tuple[tuple[str, Literal["bbox", "segm"]], ...] = (("box", "bbox"), ("mask", "segm"))


@dataclass(frozen=True, eq=False)
class Example:
    """One image and its instances."""

    rgb: Image  # (H, W, 3) uint8
    labels: IntArray  # (N,) int64, 1 and up; 0 for crowds, which count neither as objects nor as background
    masks: NDArray[np.uint8]  # (N, H, W) uint8, 0 or 1


def example_from_sample(sample: Sample, categories: Mapping[int, str]) -> Example:
    """Return an image, scaled down if it is large, without empty masks."""
    rgb = sample.rgb()
    height, width = rgb.shape[:2]
    scale = min(_MAX_SIDE_PX / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    labels: list[int] = []
    masks: list[NDArray[np.uint8]] = []
    for instance in sample.instances:
        filled = instance.filled_mask(height, width).astype(np.float32)
        mask = cv2.resize(filled, size, interpolation=cv2.INTER_AREA) >= 0.5
        if mask.any():
            if (category_id := convert.category_of(instance, categories)) not in categories:
                raise InputError(f"{sample.id}: a {instance.kind} has no category")
            labels.append(0 if instance.crowd else list(categories).index(category_id) + 1)
            masks.append(mask.astype(np.uint8))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    stacked = np.stack(masks) if masks else np.zeros((0, size[1], size[0]), np.uint8)
    return Example(small, np.array(labels, np.int64), stacked)


def coco_from_samples(samples: Sequence[Sample], categories: Mapping[int, str]) -> dict[str, list[dict[str, object]]]:
    """Return the ground truth in COCO's format; the id of an image is its index."""
    annotations: list[dict[str, object]] = []
    for index, sample in enumerate(samples):
        for item in sample.instances:
            mask = partial(item.filled_mask, sample.height, sample.width)
            complete = replace(item, box=item.bounds() or (0.0, 0.0, 0.0, 0.0), read_mask=mask)
            number, category = len(annotations) + 1, convert.category_of(item, categories)
            annotations.append(convert.coco_annotation(number, index, category, complete))
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
    """Augment an example; in a mirror labels change, and instances outside the image are dropped.

    `mirror` (L,) has the label of each label in a mirror.
    """
    height, width = example.rgb.shape[:2]
    matrix = crop_matrix(change.box(RotatedBox(width / 2, height / 2, width, height)), width, height)
    size, back = (width, height), cv2.WARP_INVERSE_MAP
    fill = tuple(example.rgb.mean(axis=(0, 1)).tolist())
    rgb = cv2.warpAffine(example.rgb, matrix, size, flags=back | cv2.INTER_LINEAR, borderValue=fill)
    flags = back | cv2.INTER_NEAREST
    masks = [np.asarray(cv2.warpAffine(mask, matrix, size, flags=flags), np.uint8) for mask in example.masks]
    large_enough = [i for i, mask in enumerate(masks) if mask.sum() >= _MIN_MASK_PX]
    labels = (mirror[example.labels] if change.mirror else example.labels).copy()
    for i, (mask, complete) in enumerate(zip(masks, example.masks, strict=True)):
        if mask.sum() * change.scale**2 < _MIN_SEEN * complete.sum():
            labels[i] = 0
    stacked = np.stack([change.mirrored(masks[i]) for i in large_enough]) if large_enough else example.masks[:0]
    return Example(change.image(np.asarray(rgb, np.uint8)), labels[large_enough], np.asarray(stacked, np.uint8))


def tensors_from_example(example: Example) -> tuple[Tensor, mask_rcnn.Target]:
    """Return (3, H, W) RGB 0..1 and the target, whose boxes are tight around the masks."""
    boxes = np.zeros((len(example.masks), 4), np.float32)
    for box, mask in zip(boxes, example.masks, strict=True):
        x, y, wide, high = cv2.boundingRect(mask)
        box[:] = x, y, x + wide, y + high
    labels, masks = torch.from_numpy(example.labels), torch.from_numpy(example.masks)
    return image_tensor(example.rgb), mask_rcnn.Target(torch.from_numpy(boxes), labels, masks)


def image_tensor(rgb: Image, device: torch.device | None = None) -> Tensor:
    """Convert (H, W, 3) uint8 to (3, H, W) float32, 0..1."""
    return torch.from_numpy(rgb).to(device).permute(2, 0, 1).float() / 255


@dataclass(frozen=True)
class MaskRCNNSettings(DataSettings):
    """Settings of the recipe; those of the layers apply only without initial weights."""

    steps: Steps = 600
    learning_rate: float = 2e-3
    images: Count = 0  # maximum number of training images, evenly spaced; 0 for all that are not held out
    # split to evaluate on, such as `val2017`; "" holds out a fifth: some subjects, else recordings, else the last ones
    test_split: str = ""
    held_out: Steps = 100  # maximum number of images to evaluate on, evenly spaced
    batch: ImageBatch = 4  # number of images in a step
    # short side of the images after scaling, in pixels; 0 for 192, or that of the given weights
    side: Annotated[int, Range(0, 4096)] = 0
    max_side: Annotated[int, Range(0, 8192)] = 0  # longest side after scaling, in pixels; 0 for twice `side`
    # small: the layers below, for few images; full: those of the paper with `depth` layers, as in torchvision
    size: Literal["small", "full"] = "small"
    trunk_weights: str = ""  # file of torchvision's ResNet or Mask R-CNN for the residual network; "" starts at random
    depth: Depth = 18  # number of layers of the residual network
    width: WideWidth = 24  # channels of its first stage
    channels: WideWidth = 48  # channels of the pyramid and the heads
    hidden: WideWidth = 128  # width of the box head's fully connected layers
    masks: bool = True  # False for Faster R-CNN, the same network without masks
    roi: mask_rcnn.Pooling = "align"  # pooling of regions: align, or pool for a comparison
    mask_head: mask_rcnn.MaskHeadName = "fcn"  # mask head: fcn, or skip for a comparison with skip layers
    # number of anchors and proposals of an image in the losses; 0 for 256 and 512
    samples: Annotated[int, Range(0, 65_536)] = 128

    @property
    def layers(self) -> Mapping[str, object]:
        """Options of a small network for few images, with norms that do not require large batches.

        A trained residual network keeps its statistics instead.
        """
        if self.size == "full":
            return {"depth": self.depth, "masks": self.masks, "roi": self.roi, "mask_head": self.mask_head}
        option_names = ("depth", "width", "channels", "hidden", "masks", "roi", "mask_head")
        return {name: getattr(self, name) for name in option_names} | {
            "norm": "frozen" if self.trunk_weights else "group",
            "before_nms": 300,
            "after_nms": 100,
        }


def train_mask_rcnn(request: TrainingRequest) -> Mapping[str, object]:
    """Train Mask R-CNN on a data set; the results are average precisions of boxes and masks on held-out images."""
    settings = settings_from(MaskRCNNSettings, request.settings)
    if request.data is None:
        raise InputError("mask-rcnn requires --data, a COCO file or a folder")
    options: dict[str, Any] = {"images": str(request.images)} if request.images else {}
    if "labels" in dataset_entry(settings.dataset).options:  # COCO: all objects instead of people's keypoints
        options["labels"] = "instances"
    data = open_dataset(settings.dataset, request.data, settings.split or None, skip_bad=settings.skip_bad, **options)
    names = data.categories()
    data = allow_any_order(data, request.out / FRAMES)
    categories = tuple(mask_rcnn.Category(number, name) for number, name in names.items())
    torch.manual_seed(settings.seed)
    saved = _network(request.weights, categories, settings)
    network = saved.network.to(request.device)
    if settings.test_split:
        held_out = open_dataset(
            settings.dataset, request.data, settings.test_split, skip_bad=settings.skip_bad, **options
        )
        training = data.subset(evenly_spaced(range(len(data)), settings.images))
        held_out = held_out.subset(evenly_spaced(range(len(held_out)), settings.held_out))
    else:
        training, held_out = _split(data, settings)
    split = report_split(training, held_out)
    mirror = mirrored_labels(list(names.values()))
    warn_about_mirror(list(names.values()), (mirror[1:] - 1).tolist(), settings.augmentation.mirror)
    augmented = partial(make_example, categories=names, mirror=mirror, augmentation=settings.augmentation)
    batch = partial(draw_batch, samples=training, make_example=augmented, join=list, count=settings.batch)

    def losses(model: mask_rcnn.MaskRCNN, batch: list[tuple[Tensor, mask_rcnn.Target]]) -> Mapping[str, Tensor]:
        return model.losses([image for image, _ in batch], [target for _, target in batch])

    metrics = fit(
        request,
        network,
        batch,
        losses,
        settings,
        inputs=request.inputs() | {"images": str(request.images)} | split.inputs(),
        evaluate=partial(evaluate, samples=held_out, categories=names),
        higher_is_better=True,
        describe=partial(files.save_mask_rcnn_description, request.out, saved),
    )
    data_files.write_json(request.out / METRICS, {**metrics, "held_out": len(held_out)}, indent=2)
    counts = {"training_images": len(training), "held_out": len(held_out), "split": split.text}
    return {"weights": request.out / WEIGHTS, **counts, **metrics, **_exported(request)}


def _exported(request: TrainingRequest) -> dict[str, object]:
    """Export the network of a run, with its categories, if the request asks for it, and return the path as "export"."""
    if request.export is None:
        return {}
    path = request.out / f"{request.recipe}{ENDINGS[request.export]}"
    return {"export": files.export_mask_rcnn(request.out, path, request.export).path}


def make_example(
    sample: Sample,
    rng: np.random.Generator,
    *,
    categories: Mapping[int, str],
    mirror: IntArray,
    augmentation: AugmentationSettings,
) -> tuple[Tensor, mask_rcnn.Target]:
    """Return an augmented image and its target. `mirror` (L,) has the label of each label in a mirror."""
    example = example_from_sample(sample, categories)
    return tensors_from_example(augment(example, mirror, draw_augmentation(augmentation, rng)))


@evaluates
def evaluate(network: mask_rcnn.MaskRCNN, samples: Sequence[Sample], categories: Mapping[int, str]) -> dict[str, float]:
    """Return AP over IoU 0.5 to 0.95 and AP at 0.5 of boxes and masks, and the number of images per second."""
    results: list[Mapping[str, object]] = []
    seconds = 0.0
    for index, sample in enumerate(samples):
        rgb = sample.rgb()
        start = time.perf_counter()
        (outputs,) = network.find([image_tensor(rgb, network.device)])
        results += results_from_instances(instances_from(outputs), rgb.shape[:2], index, list(categories))
        seconds += time.perf_counter() - start
    truth, metrics = coco_from_samples(samples, categories), dict[str, float]()
    for name, kind in _COCO_KINDS[: 1 + network.masks]:
        stats = coco_precision(truth, results, kind).stats
        metrics |= {f"{name}_ap": stats["AP"], f"{name}_ap50": stats["AP50"]}
    return {**metrics, "frames_per_second": len(samples) / seconds}


def _network(
    weights: str | None, categories: Sequence[mask_rcnn.Category], settings: MaskRCNNSettings
) -> files.SavedMaskRCNN:
    """Return a new small network, or one with weights, whose norms keep their statistics because batches are small."""
    classes = len(categories) + 1
    if weights is None:
        side = settings.side or _SIDE_PX
        longest = settings.max_side or side * 2
        options: dict[str, Any] = {"classes": classes, **settings.layers, "min_side": side, "max_side": longest}
        network = create_network("mask-rcnn", **options)
        assert isinstance(network, mask_rcnn.MaskRCNN)
        if settings.trunk_weights:
            network.load_trunk(settings.trunk_weights)
        saved = files.SavedMaskRCNN(network, tuple(categories), "mask-rcnn", options)
    else:
        if settings.trunk_weights:
            raise InputError(f"trunk_weights={settings.trunk_weights} has no effect with --weights: leave out one")
        longest = settings.max_side or settings.side * 2
        sides = (("min_side", settings.side), ("max_side", longest)) if settings.side else ()
        saved = files.load_mask_rcnn(weights, **dict(sides))
        if [category.name for category in saved.categories] != [category.name for category in categories]:
            saved.network.forget_classes(classes)
        options = {**saved.options, "classes": classes}
        saved = saved._replace(categories=tuple(categories), options=options)
    saved.network.train()
    for module in saved.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    if settings.samples:
        saved.network.set_samples(settings.samples)
    return saved


def _split(data: Dataset, settings: MaskRCNNSettings) -> tuple[Dataset, Dataset]:
    """Return the training set and the held-out images, which show other people or recordings if these are stated."""
    if settings.images >= len(data):
        raise InputError(
            f"{data.root} has {len(data)} images, {settings.images} of them for training; keep some to evaluate on"
        )
    training, held_out = held_out_parts(data, HELD_OUT, str(data.root))
    chosen = evenly_spaced(range(len(training)), settings.images)
    return training.subset(chosen), held_out.subset(evenly_spaced(range(len(held_out)), settings.held_out))
