"""Mask R-CNN: segment objects as boxes, classes and masks, with every intermediate step.

Source: He et al., Mask R-CNN (2017), with the pyramid of section 3.1. `load_official` loads checkpoints of
torchvision's `maskrcnn_resnet50_fpn` and `maskrcnn_resnet50_fpn_v2` and gives the same outputs. The classes of a
checkpoint are in the description in its folder, or follow from the shape of its weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sonjit._util.errors import InputError
from sonjit.lab.networks.checkpoints import DESCRIPTION, load_checkpoint, load_description, save_description
from sonjit.lab.networks.mask_rcnn.batches import batch_of, ratio_to, resize_target
from sonjit.lab.networks.mask_rcnn.fpn import FeaturePyramid, Norm, ResNet
from sonjit.lab.networks.mask_rcnn.roi_align import Pooling, pool_levels
from sonjit.lab.networks.mask_rcnn.roi_heads import (
    BoxHead,
    DetectedInstances,
    MaskHead,
    MaskHeadName,
    Samples,
    SkipMaskHead,
    Target,
    box_losses,
    boxes_from_scores,
    mask_loss,
    paste_masks,
    sample_proposals,
)
from sonjit.lab.networks.mask_rcnn.rpn import RegionProposals, RpnSteps
from sonjit.lab.networks.registry import InputSpec, Network, NetworkEntry, create_network, register, required_checkpoint

_BATCH_NORM_EPSILON = 1e-5

_OFFICIAL = (
    (r"^backbone\.body\.", "backbone."),
    (r"^backbone\.fpn\.inner_blocks\.(\d+)\.(?=[wb])", r"pyramid.lateral.\1.0."),  # files from before torchvision 0.13
    (r"^backbone\.fpn\.layer_blocks\.(\d+)\.(?=[wb])", r"pyramid.output.\1.0."),
    (r"^backbone\.fpn\.inner_blocks\.", "pyramid.lateral."),
    (r"^backbone\.fpn\.layer_blocks\.", "pyramid.output."),
    (r"^rpn\.head\.conv\.(?=[wb])", "rpn.convs.0.0."),
    (r"^rpn\.head\.conv\.", "rpn.convs."),
    (r"^rpn\.head\.cls_logits\.", "rpn.objectness."),
    (r"^rpn\.head\.bbox_pred\.", "rpn.deltas."),
    (r"^roi_heads\.box_head\.(?:fc6|5)\.", "box_head.hidden.0."),
    (r"^roi_heads\.box_head\.fc7\.", "box_head.hidden.1."),
    (r"^roi_heads\.box_head\.", "box_head.convs."),
    (r"^roi_heads\.box_predictor\.cls_score\.", "box_head.scores."),
    (r"^roi_heads\.box_predictor\.bbox_pred\.", "box_head.deltas."),
    (r"^roi_heads\.mask_head\.mask_fcn1\.", "mask_head.convs.0.0."),
    (r"^roi_heads\.mask_head\.mask_fcn2\.", "mask_head.convs.1.0."),
    (r"^roi_heads\.mask_head\.mask_fcn3\.", "mask_head.convs.2.0."),
    (r"^roi_heads\.mask_head\.mask_fcn4\.", "mask_head.convs.3.0."),
    (r"^roi_heads\.mask_head\.", "mask_head.convs."),
    (r"^roi_heads\.mask_predictor\.conv5_mask\.", "mask_head.upsample."),
    (r"^roi_heads\.mask_predictor\.mask_fcn_logits\.", "mask_head.logits."),
)
"""Patterns of torchvision's keys and their replacements; the first pattern that matches is used."""


_TINY = {
    "classes": 3, "depth": 10, "width": 8, "channels": 16, "hidden": 32, "norm": "group",
    "anchors_px": (8, 16, 32, 64, 128), "before_nms": 50, "after_nms": 20, "min_side": 64, "max_side": 96, "most": 10,
}  # fmt: skip

"""Options of a small twin; group norms bound the outputs of random weights, so that rounding errors stay small."""
_IMAGE = (InputSpec("images", (3, 480, 640)),)
_SMALL_IMAGE = (InputSpec("images", (3, 64, 96)),)
WEIGHTS = "weights.safetensors"
"""File name of the weights in a training run."""
_INFERENCE_OPTIONS = ("min_side", "max_side", "min_score", "most")
"""Options that change no weight; they may differ from those of the training."""


def weights_from_torchvision(weights: Mapping[str, Tensor], *, frozen: bool) -> dict[str, Tensor]:
    """Convert torchvision's keys to those of this module.

    Torchvision's first version adds nothing to the variance, as `FrozenNorm`. A file with the counters of a live batch
    norm is from a version that adds 1e-5, which is then added to the variance itself.

    Args:
        weights: Weights with torchvision's keys.
        frozen: True if the residual network has frozen norms.
    """
    live = any(key.startswith("backbone.body.") and key.endswith("num_batches_tracked") for key in weights)
    ours: dict[str, Tensor] = {}
    for key, value in weights.items():
        if frozen and key.startswith("backbone.body."):
            if key.endswith("num_batches_tracked"):
                continue
            if live and key.endswith("running_var"):
                value = value + _BATCH_NORM_EPSILON
        ours[_own_key(key)] = value
    return ours


def _own_key(key: str) -> str:
    return next((re.sub(old, new, key) for old, new in _OFFICIAL if re.search(old, key)), key)


@dataclass(frozen=True)
class Steps:
    """The intermediate steps of a forward pass over B images.

    Attributes:
        images: (B, 3, H, W) resized, normalised, padded with 0.
        sizes: Height and width of each image in the batch.
        pyramid: P2..P6, (B, C, H / 2^l, W / 2^l).
        rpn: Anchors, objectness, deltas, proposals before and after NMS, and final proposals.
        levels: (R,) pyramid level of each proposal, over all images.
        box_maps: (R, C, 7, 7) map of each proposal.
        logits: (R, classes).
        deltas: (R, classes, 4).
        boxes: Boxes (N_b, 4) of each image's instances in pixels of the resized image.
        mask_maps: (N, C, 14, 14) map of each instance; or 7x7.
        mask_logits: (N, classes, 28, 28); or 14x14.
    """

    images: Tensor
    sizes: list[tuple[int, int]]
    pyramid: list[Tensor]
    rpn: RpnSteps
    levels: Tensor
    box_maps: Tensor
    logits: Tensor
    deltas: Tensor
    boxes: list[Tensor]
    mask_maps: Tensor
    mask_logits: Tensor


__all__ = ["DetectedInstances", "MaskRCNN", "Steps", "Target", "paste_masks"]


class MaskRCNN(Network):
    """A residual network with a pyramid, a region proposal network on it, and a box and a mask head.

    Args:
        classes: Number of classes, including the background, which is class 0.
        depth: Number of layers of the residual network: 10, 18, 34, 50 or 101.
        width: Channels of its first stage.
        channels: Channels of the pyramid and the heads.
        hidden: Width of the box head's fully connected layers.
        norm: Normalization: "frozen" keeps trained statistics, only in the residual network; "batch" learns them and
            "group" has none, also in pyramid and heads.
        rpn_convs, box_convs: Number of 3x3 convolutions of the region proposal network and of the box head.
        anchors_px: Side of the anchors of P2..P6.
        before_nms: Number of anchors of each level before NMS; doubled in training.
        after_nms: Number of proposals after NMS; doubled in training.
        roi: Pooling: RoIAlign, or RoIPool for a comparison.
        masks: False for Faster R-CNN, the same network without masks.
        mask_head: Mask head: fully convolutional, or with skip layers for a comparison.
        mask_map: Side of the maps: 14 for 28x28 masks, 7 for the paper's 14x14 ones.
        min_side, max_side: Target of the short side, and limit of the long side, of resized images in pixels.
        min_score: Minimum score of an instance.
        most: Maximum number of instances of an image.
    """

    def __init__(
        self,
        classes: int = 91,
        *,
        depth: int = 50,
        width: int = 64,
        channels: int = 256,
        hidden: int = 1024,
        norm: Norm = "frozen",
        rpn_convs: int = 1,
        box_convs: int = 0,
        anchors_px: Sequence[float] = (32, 64, 128, 256, 512),
        before_nms: int = 1000,
        after_nms: int = 1000,
        roi: Pooling = "align",
        masks: bool = True,
        mask_head: MaskHeadName = "fcn",
        mask_map: int = 14,
        min_side: int = 800,
        max_side: int = 1333,
        min_score: float = 0.05,
        most: int = 100,
    ) -> None:
        super().__init__()
        self.roi: Pooling = roi
        self.mask_map, self.min_side, self.max_side = mask_map, min_side, max_side
        self.min_score, self.most = min_score, most
        self.frozen = norm == "frozen"
        norm_of_heads = None if self.frozen else norm
        self.backbone = ResNet(depth, width, norm)
        self.pyramid = FeaturePyramid(self.backbone.channels, channels, norm_of_heads)
        self.rpn = RegionProposals(
            channels, convs=rpn_convs, sizes_px=anchors_px, before_nms=before_nms, after_nms=after_nms
        )
        self.box_head = BoxHead(classes, channels, hidden, box_convs, norm_of_heads)
        head = {"fcn": MaskHead, "skip": SkipMaskHead}[mask_head]
        self.mask_head = head(classes, channels, norm_of_heads) if masks else None

    def forward(self, images: Tensor, *, steps: bool = False) -> dict[str, Any]:
        """Segment images of one size.

        Args:
            images: (B, 3, H, W) RGB, 0..1.
            steps: True to return the intermediate `Steps` as "steps".

        Returns:
            "boxes" (B, N, 4) in pixels of the images, "scores" (B, N), "labels" (B, N) int64 and "masks"
            (B, N, M, M), best first, with N the maximum number of instances; unused entries are 0.
        """
        if not len(images):
            raise InputError(f"{self.name}: images have shape {tuple(images.shape)}; expected at least 1 image")
        found, intermediate = self._run(list(images), every_class=steps)
        filled = {
            name: [_pad_rows(getattr(item, name), self.most) for item in found] for name in DetectedInstances._fields
        }
        outputs = {name: torch.stack(parts) for name, parts in filled.items()}
        return outputs | {"steps": intermediate} if steps else outputs

    def find(self, images: Sequence[Tensor]) -> list[DetectedInstances]:
        """Segment several images (3, H, W), RGB 0..1, which may differ in size."""
        return self._run(images, every_class=False)[0]

    def find_with_steps(self, images: Sequence[Tensor]) -> tuple[list[DetectedInstances], Steps]:
        """Segment images as `find` does, and return the intermediate steps."""
        return self._run(images, every_class=True)

    def _run(self, images: Sequence[Tensor], *, every_class: bool) -> tuple[list[DetectedInstances], Steps]:
        """Return instances and steps, with the mask logits of all classes or only of each instance's own class."""
        batch, sizes = batch_of(images, self.min_side, self.max_side)
        pyramid = self.pyramid(self.backbone(batch))
        rpn = self.rpn(pyramid, (batch.shape[-2], batch.shape[-1]), sizes)
        proposals = [proposal.boxes for proposal in rpn.proposals]
        maps, levels = pool_levels(pyramid[:4], proposals, 7, kind=self.roi)
        logits, deltas = self.box_head(maps)
        counts = [proposal.shape[0] for proposal in proposals]  # export does not support len()
        parts = zip(logits.split(counts), deltas.split(counts), proposals, sizes, strict=True)
        detections = [
            boxes_from_scores(*part, min_score=self.min_score, nms_iou=0.5, max_boxes=self.most) for part in parts
        ]
        if torch.compiler.is_exporting():  # other runtimes do not support layers without instances: add empty ones
            detections = [
                (_pad_rows(a, self.most), _pad_rows(b, self.most), _pad_rows(c, self.most)) for a, b, c in detections
            ]
        boxes = [item[0] for item in detections]
        likely, labels = (torch.cat([item[i] for item in detections]) for i in (1, 2))
        mask_maps, mask_logits, own = maps[:0], logits[:0], logits.new_zeros(labels.shape[0], 0, 0)
        if self.mask_head is not None:
            mask_maps, _ = pool_levels(pyramid[:4], boxes, self.mask_map, kind=self.roi)
            features = self.mask_head.features(mask_maps)
            own = self.mask_head.logits_of(features, labels)
            mask_logits = self.mask_head.logits(features) if every_class else own[:, None]
        masks = (own.sigmoid() * (likely > 0)[:, None, None]).split([box.shape[0] for box in boxes])
        found = [
            DetectedInstances(corners * ratio_to(image, size), scores, classes, mask)
            for image, size, (corners, scores, classes), mask in zip(images, sizes, detections, masks, strict=True)
        ]
        return found, Steps(
            images=batch,
            sizes=sizes,
            pyramid=pyramid,
            rpn=rpn,
            levels=levels,
            box_maps=maps,
            logits=logits,
            deltas=deltas,
            boxes=boxes,
            mask_maps=mask_maps,
            mask_logits=mask_logits,
        )

    def on_full_budget(self, images: Tensor) -> None:
        """Run every layer with the maximum number of proposals and instances of images (B, 3, H, W)."""
        batch, _ = batch_of(list(images), self.min_side, self.max_side)
        pyramid = self.pyramid(self.backbone(batch))
        for level in pyramid:
            self.rpn.on_level(level)
        channels = pyramid[0].shape[1]
        self.box_head(batch.new_zeros(len(images) * self.rpn.after_nms, channels, 7, 7))
        if self.mask_head is not None:
            maps = batch.new_zeros(len(images) * self.most, channels, self.mask_map, self.mask_map)
            labels = torch.ones(len(maps), dtype=torch.int64, device=maps.device)
            self.mask_head.logits_of(self.mask_head.features(maps), labels)

    def losses(self, images: Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the parts of the multi-task loss, whose sum is minimised: L_cls, L_box, L_mask, and two of the RPN.

        Args:
            images: (3, H, W) RGB 0..1.
            targets: Ground truth of each image in its pixels.
        """
        batch, sizes = batch_of(images, self.min_side, self.max_side)
        parts = zip(images, sizes, targets, strict=True)
        resized = [resize_target(image, size, target) for image, size, target in parts]
        pyramid = self.pyramid(self.backbone(batch))
        rpn = self.rpn(pyramid, (batch.shape[-2], batch.shape[-1]), sizes)
        losses = self.rpn.losses(rpn, [item.boxes for item in resized])
        samples = [
            sample_proposals(proposal.boxes, target, self.box_samples)
            for proposal, target in zip(rpn.proposals, resized, strict=True)
        ]
        maps, _ = pool_levels(pyramid[:4], [sample.boxes for sample in samples], 7, kind=self.roi)
        logits, deltas = self.box_head(maps)
        losses |= box_losses(logits, deltas, samples, resized)
        if self.mask_head is not None:
            objects = [
                Samples(sample.boxes[sample.matches >= 0], sample.matches[sample.matches >= 0]) for sample in samples
            ]
            maps, _ = pool_levels(pyramid[:4], [positive.boxes for positive in objects], self.mask_map, kind=self.roi)
            losses["masks"] = mask_loss(self.mask_head(maps), objects, resized)
        return losses

    box_samples = 512
    """Number of proposals of an image in the losses of the heads."""

    def forget_classes(self, classes: int) -> None:
        """Replace the layers that depend on the classes; `classes` includes the background."""
        self.box_head.scores = nn.Linear(self.box_head.scores.in_features, classes)
        self.box_head.deltas = nn.Linear(self.box_head.deltas.in_features, classes * 4)
        if self.mask_head is not None:
            self.mask_head.logits = nn.Conv2d(self.mask_head.logits.in_channels, classes, 1)

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert the names of torchvision to those of this module."""
        return weights_from_torchvision(super().from_official(state_dict), frozen=self.frozen)


def _pad_rows(values: Tensor, count: int) -> Tensor:
    """Pad (N, ...) with zeros to (count, ...)."""
    return torch.cat([values, values.new_zeros(count, *values.shape[1:])])[:count]


for _name, _build, _summary, _file in (
    ("mask-rcnn", MaskRCNN, "objects: box, class and mask", "maskrcnn_resnet50_fpn_coco"),
    (
        "mask-rcnn-v2",
        partial(MaskRCNN, norm="batch", rpn_convs=2, box_convs=4),
        "objects: box, class and mask; more layers, more exact",
        "maskrcnn_resnet50_fpn_v2_coco",
    ),
):
    register(
        NetworkEntry(
            name=_name,
            build=_build,
            summary=_summary,
            source="He et al., Mask R-CNN, 2017; layers as torchvision's",
            licence="BSD-3-Clause",
            inputs=_IMAGE,
            where=f"download {_file}*.pth from https://download.pytorch.org/models/ and pass its path, or train: "
            "sonjit train mask-rcnn",
            tiny=_TINY,
            tiny_inputs=_SMALL_IMAGE,
        )
    )


class Category(NamedTuple):
    """Id of a class in the data set, and its name."""

    id: int
    name: str


class SavedMaskRCNN(NamedTuple):
    """A network and its classes.

    Attributes:
        network: Network in eval mode.
        categories: Categories of the labels 1, 2, ...
        name: Name of the network in the registry.
        options: Options of the network.
    """

    network: MaskRCNN
    categories: tuple[Category, ...]
    name: str
    options: Mapping[str, object]


def load_mask_rcnn(path: str | Path | None, **options: Any) -> SavedMaskRCNN:  # noqa: ANN401  # the network's own
    """Load a network with its weights and classes.

    Args:
        path: Folder of a training run or the weights in it; or a checkpoint of torchvision's `maskrcnn_resnet50_fpn`
            or `_v2`; or "demo" for placeholder weights.
        options: Options that override the saved ones, such as `min_side=480`.

    Raises:
        InputError: The weights are missing or of another network.
    """
    if path == "demo":
        return _create("mask-rcnn", "demo", options, _coco_categories())
    file = Path(required_checkpoint("mask-rcnn", path))
    folder = file if file.is_dir() else file.parent
    if file.is_dir() or (folder / DESCRIPTION).is_file():
        return _from_run(folder, folder / WEIGHTS if file.is_dir() else file, options)
    weights = load_checkpoint(file)
    name = "mask-rcnn-v2" if "roi_heads.box_head.5.weight" in weights else "mask-rcnn"
    classes = _classes(file, weights)
    names = _coco_categories()
    if classes != len(names) + 1:
        names = tuple(Category(i, f"class {i}") for i in range(1, classes))
    return _create(name, file, {"classes": classes, **options}, names)


def save_mask_rcnn_description(folder: Path, saved: SavedMaskRCNN) -> None:
    """Write the description for `load_mask_rcnn` next to the weights: name, options and categories."""
    categories = [category._asdict() for category in saved.categories]
    save_description(folder, {"network": saved.name, "options": saved.options, "categories": categories})


def _from_run(folder: Path, weights: Path, options: Mapping[str, object]) -> SavedMaskRCNN:
    name, own, categories = load_description(folder, "mask-rcnn", _parse_options)
    return _create(name, weights, {**own, **options}, categories)


def _parse_options(description: Any) -> tuple[str, dict[str, Any], tuple[Category, ...]]:  # noqa: ANN401  # JSON
    categories = tuple(Category(int(item["id"]), str(item["name"])) for item in description["categories"])
    return str(description["network"]), dict(description["options"]), categories


def _create(
    name: str, weights: str | Path, options: Mapping[str, object], categories: tuple[Category, ...]
) -> SavedMaskRCNN:
    used = {key: value for key, value in options.items() if key in _INFERENCE_OPTIONS}
    network = create_network(name, weights, **{key: value for key, value in options.items() if key not in used})
    if not isinstance(network, MaskRCNN):
        raise InputError(f"{name} is not a Mask R-CNN")
    for key, value in used.items():
        setattr(network, key, value)
    network.options = {**network.options, **used}
    return SavedMaskRCNN(network.eval(), categories, name, options)


def _classes(file: Path, weights: Mapping[str, Tensor]) -> int:
    key = next(
        (key for key in weights if key.removeprefix("module.") == "roi_heads.box_predictor.cls_score.weight"), None
    )
    if key is None:
        raise InputError(
            f"{file} is neither a run of sonjit train mask-rcnn nor torchvision's maskrcnn_resnet50_fpn[_v2]"
        )
    return weights[key].shape[0]


def _coco_categories() -> tuple[Category, ...]:
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    names = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return tuple(Category(i, name) for i, name in enumerate(names) if i)
