"""Mask R-CNN: segment objects as boxes, classes and masks, with every intermediate step.

Source: He et al., Mask R-CNN (2017), with the pyramid of section 3.1. The layers, losses and keys are torchvision's, so
that checkpoints of its `maskrcnn_resnet50_fpn` and `maskrcnn_resnet50_fpn_v2` give the same outputs. The forward is
written here, because it returns every step, pools by RoIPool for a comparison, and is exported to ONNX. The classes of
a checkpoint are in the description in its folder, or follow from the shape of its weights.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, maskrcnn_loss, paste_masks_in_image
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, clip_boxes_to_image, nms, remove_small_boxes, roi_align, roi_pool
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from sonjit._util.errors import InputError
from sonjit_lab.networks.backbones import IMAGENET_MEAN, IMAGENET_STD, MobileNetMaps, Norm, ResNet, norm_layer
from sonjit_lab.networks.registry import InputSpec, Network, NetworkEntry, register

__all__ = ["DetectedInstances", "MaskRCNN", "Steps", "Target", "paste_masks"]
Pooling = Literal["align", "pool"]
MaskHeadName = Literal["fcn", "skip"]
_BATCH_NORM_EPSILON = 1e-5
_STRIDE = 32  # the batch is padded to a multiple of the coarsest map's stride
SHIPPED = Path(__file__).with_name("people_and_hands")
"""Run of the recipe `mask-rcnn` on photographs, whose export is `people_and_hands.onnx`; see docs/mask-rcnn.md."""
_NO_CLASS = -100  # label that torch's cross-entropy ignores
_MIN_PROPOSAL_PX, _MIN_INSTANCE_PX = 1e-3, 1e-2
_BODY = ("backbone.body.", "backbone.layer", "backbone.bn")
"""Prefixes of the keys of the residual network, in new and old files."""
_RENAMED = (
    (r"^(backbone\.fpn\.\w+\.\d+)\.(?=[wb])", r"\1.0."),
    (r"^rpn\.head\.conv\.(?=[wb])", "rpn.head.conv.0.0."),
    *((rf"^roi_heads\.mask_head\.mask_fcn{i + 1}\.", f"roi_heads.mask_head.{i}.0.") for i in range(4)),
)
"""Patterns of keys in files of torchvision before 0.13, and their replacements."""


class DetectedInstances(NamedTuple):
    """Instances in one image, best first."""

    boxes: Tensor  # (N, 4) x_min, y_min, x_max, y_max in pixels
    scores: Tensor  # (N,) probability of the class
    labels: Tensor  # (N,) int64 class, 1 and up
    masks: Tensor  # (N, M, M) probability within the box; see `paste_masks`


class Target(NamedTuple):
    """Ground truth of one image."""

    boxes: Tensor  # (N, 4) x_min, y_min, x_max, y_max in pixels, not empty
    labels: Tensor  # (N,) int64 class, 1 and up; 0 for a region that is neither object nor background
    masks: Tensor  # (N, H, W) 0 or 1


class Candidates(NamedTuple):
    """Boxes (N, 4) of one image that may become proposals, their objectness 0..1 and their levels, 2 to 6."""

    boxes: Tensor
    scores: Tensor
    levels: Tensor

    def select(self, index: Tensor) -> "Candidates":
        """Return the candidates at indices (M,) or where a mask (N,) is True."""
        return Candidates(*(values[index] for values in self))


@dataclass(frozen=True)
class RpnSteps:
    """The steps of the region proposal network; lists over P2..P6 or over images."""

    anchors: list[Tensor]  # anchors (A_l, 4) of each level in pixels of the resized image
    objectness: list[Tensor]  # logits (B, A_l) of each level
    deltas: list[Tensor]  # deltas (B, A_l, 4) of each level
    before_nms: list[Candidates]  # best candidates of each level for each image, moved and clipped, without tiny ones
    after_nms: list[Candidates]  # candidates of each image after NMS on each level
    proposals: list[Candidates]  # best candidates of each image over all levels


@dataclass(frozen=True)
class Steps:
    """The intermediate steps of a forward pass over B images."""

    images: Tensor  # (B, 3, H, W) resized, normalised, padded with 0
    sizes: list[tuple[int, int]]  # height and width of each image in the batch
    pyramid: list[Tensor]  # P2..P6, (B, C, H / 2^l, W / 2^l)
    rpn: RpnSteps  # anchors, objectness, deltas, proposals before and after NMS, and final proposals
    levels: Tensor  # (R,) pyramid level of each proposal, over all images
    box_maps: Tensor  # (R, C, 7, 7) map of each proposal
    logits: Tensor  # (R, classes)
    deltas: Tensor  # (R, classes, 4)
    boxes: list[Tensor]  # boxes (N_b, 4) of each image's instances in pixels of the resized image
    mask_maps: Tensor  # (N, C, 14, 14) map of each instance; or 7x7
    mask_logits: Tensor  # (N, classes, 28, 28); or 14x14


class _Backbone(nn.Module):
    """A trunk and the feature pyramid P2..P6 on it, with torchvision's names."""

    def __init__(self, body: ResNet | MobileNetMaps, channels: int, norm: Norm | None) -> None:
        super().__init__()
        self.body = body
        layer = partial(norm_layer, norm) if norm else None
        self.fpn = FeaturePyramidNetwork(body.channels, channels, LastLevelMaxPool(), layer)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = {str(stage): values for stage, values in enumerate(self.body(images))}
        return list(self.fpn(maps).values())


class _Proposals(RegionProposalNetwork):
    """torchvision's region proposal network, which also returns its steps."""

    def propose(self, pyramid: Sequence[Tensor], padded: Sequence[int], sizes: Sequence[tuple[int, int]]) -> RpnSteps:
        """Return the proposals of each image in a batch of the padded height and width."""
        logits, boxes = self.head(list(pyramid))
        objectness = [values.permute(0, 2, 3, 1).flatten(1) for values in logits]
        deltas = [values.permute(0, 2, 3, 1).reshape(len(values), -1, 4) for values in boxes]
        if not torch.compiler.is_exporting():
            self.anchor_generator.set_cell_anchors(pyramid[0].dtype, pyramid[0].device)
        grids = [list(level.shape[-2:]) for level in pyramid]
        strides: list[Any] = [[side // count for side, count in zip(padded, grid, strict=True)] for grid in grids]
        anchors = self.anchor_generator.grid_anchors(grids, strides)
        before, after, final = [], [], []
        with torch.no_grad():
            for i, size in enumerate(sizes):
                levels = [
                    self._best_of_level(level, every, likely[i], moves[i], size)
                    for level, (every, likely, moves) in enumerate(zip(anchors, objectness, deltas, strict=True), 2)
                ]
                before.append(_merge(levels))
                after.append(_merge([item.select(nms(item.boxes, item.scores, self.nms_thresh)) for item in levels]))
                # The exporter of ONNX translates only the overload of sort without stable.
                stable = {} if torch.compiler.is_exporting() else {"stable": True}
                order = after[-1].scores.argsort(descending=True, **stable)
                final.append(after[-1].select(order[: self.post_nms_top_n()]))
        return RpnSteps(anchors, objectness, deltas, before, after, final)

    def losses(self, steps: RpnSteps, targets: Sequence[Target], ignored: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the binary cross-entropy of objectness and smooth L1 of deltas, over a sample of the anchors."""
        anchors = [torch.cat(steps.anchors)] * len(targets)
        labels, matched = self.assign_targets_to_anchors(anchors, [target._asdict() for target in targets])
        _ignore(labels, anchors, ignored, -1)
        expected = self.box_coder.encode(matched, anchors)
        deltas = torch.cat(steps.deltas, 1).flatten(0, 1)
        objectness, boxes = self.compute_loss(torch.cat(steps.objectness, 1), deltas, labels, expected)
        return {"rpn_objectness": objectness, "rpn_boxes": boxes}

    def _best_of_level(
        self, level: int, anchors: Tensor, objectness: Tensor, deltas: Tensor, size: tuple[int, int]
    ) -> Candidates:
        """Take the best anchors by objectness, move them by their deltas, clip them to the image, drop tiny ones."""
        logits, best = objectness.topk(min(self.pre_nms_top_n(), len(objectness)))
        boxes = clip_boxes_to_image(self.box_coder.decode_single(deltas[best], anchors[best]), size)
        candidates = Candidates(boxes, logits.sigmoid(), torch.full_like(best, level))
        return candidates.select(remove_small_boxes(boxes, _MIN_PROPOSAL_PX))


class SkipMaskHead(MaskRCNNHeads):
    """A mask head for a comparison: scores at the map's resolution and at half of it, added (Long et al. 2015).

    The bilinear upsampling is applied to the features instead, which is equal because scores are linear in them.
    """

    def forward(self, maps: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  # torch's name
        """Map (N, C, M, M) to features (N, 2 C, 2M, 2M). The logits are linear in them."""
        first, second, *coarser = self
        fine = second(first(maps))
        coarse = F.max_pool2d(fine, 2, ceil_mode=True)
        for layer in coarser:
            coarse = layer(coarse)
        side = (2 * maps.shape[-1],) * 2
        return torch.cat(
            [F.interpolate(level, side, mode="bilinear", align_corners=False) for level in (fine, coarse)], 1
        )


class MaskRCNN(Network):
    """A residual network with a pyramid, a region proposal network on it, and a box and a mask head.

    Args:
        classes: Number of classes, including the background, which is class 0.
        depth: Number of layers of the residual network: 10, 18, 34, 50 or 101; 0 for MobileNetV2.
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

    selects = True

    resnet_prefix = "backbone.body."

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
        self.mask_map = mask_map
        self.min_side = min_side
        self.max_side = max_side
        self.min_score = min_score
        self.most = most
        self.masks = masks
        self._frozen = norm == "frozen"
        norm_of_heads = None if norm == "frozen" else norm
        layer = partial(norm_layer, norm_of_heads) if norm_of_heads else None
        body = ResNet(depth, width, norm) if depth else MobileNetMaps()
        self.backbone = _Backbone(body, channels, norm_of_heads)
        generator = AnchorGenerator(tuple((side,) for side in anchors_px), ((0.5, 1.0, 2.0),) * len(anchors_px))
        before, after = ({"training": 2 * count, "testing": count} for count in (before_nms, after_nms))
        self.rpn = _Proposals(generator, RPNHead(channels, 3, rpn_convs), 0.7, 0.3, 256, 0.5, before, after, 0.7)
        if box_convs:
            box_head = FastRCNNConvFCHead((channels, 7, 7), [channels] * box_convs, [hidden], layer)
        else:
            box_head = TwoMLPHead(channels * 49, hidden)
        self.roi_heads: Any = RoIHeads(  # Any, because torchvision declares its parts as None
            None, box_head, FastRCNNPredictor(hidden, classes), 0.5, 0.5, 512, 0.25, None, min_score, 0.5, most
        )
        if masks:
            head = {"fcn": MaskRCNNHeads, "skip": SkipMaskHead}[mask_head]
            self.roi_heads.mask_head = head(channels, [channels] * 4, 1, layer)
            self.roi_heads.mask_predictor = MaskRCNNPredictor(channels, channels, classes)
            if mask_head == "skip":
                del self.roi_heads.mask_predictor.conv5_mask, self.roi_heads.mask_predictor.relu
                logits = nn.Conv2d(2 * channels, classes, 1)
                nn.init.kaiming_normal_(logits.weight, mode="fan_out", nonlinearity="relu")
                self.roi_heads.mask_predictor.mask_fcn_logits = logits

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
        instances, intermediate = self._run(list(images), every_class=steps)
        outputs = {
            name: torch.stack([_pad_rows(getattr(item, name), self.most) for item in instances])
            for name in DetectedInstances._fields
        }
        return outputs | {"steps": intermediate} if steps else outputs

    def find(self, images: Sequence[Tensor]) -> list[DetectedInstances]:
        """Segment several images (3, H, W), RGB 0..1, which may differ in size."""
        return self._run(images, every_class=False)[0]

    def find_with_steps(self, images: Sequence[Tensor]) -> tuple[list[DetectedInstances], Steps]:
        """Segment images (3, H, W) as `find` does, and return the intermediate steps."""
        return self._run(images, every_class=True)

    def _run(self, images: Sequence[Tensor], *, every_class: bool) -> tuple[list[DetectedInstances], Steps]:
        """Return instances and steps, with the mask logits of all classes or only of each instance's own class."""
        batch, sizes = self._batch(images)
        pyramid = self.backbone(batch)
        rpn = self.rpn.propose(pyramid, batch.shape[-2:], sizes)
        proposals = [proposal.boxes for proposal in rpn.proposals]
        maps, levels = pool_levels(pyramid[:4], proposals, 7, kind=self.roi)
        logits, flat = self.roi_heads.box_predictor(self.roi_heads.box_head(maps))
        deltas = flat.unflatten(1, (-1, 4))
        counts = [proposal.shape[0] for proposal in proposals]  # export does not support len()
        per_image = zip(logits.split(counts), deltas.split(counts), proposals, sizes, strict=True)
        detections = [self._instances(*part) for part in per_image]
        if torch.compiler.is_exporting():  # other runtimes do not support layers without instances: add empty ones
            detections = [tuple(_pad_rows(values, self.most) for values in item) for item in detections]
        boxes = [item[0] for item in detections]
        likely, labels = (torch.cat([item[i] for item in detections]) for i in (1, 2))
        mask_maps = maps[:0]
        mask_logits = logits[:0]
        class_logits = logits.new_zeros(labels.shape[0], 0, 0)
        if self.masks:
            mask_maps, _ = pool_levels(pyramid[:4], boxes, self.mask_map, kind=self.roi)
            features = self._mask_features(mask_maps)
            layer = self.roi_heads.mask_predictor.mask_fcn_logits
            class_logits = torch.einsum("nc,nchw->nhw", layer.weight.flatten(1)[labels], features)
            class_logits = class_logits + layer.bias[labels, None, None]
            mask_logits = layer(features) if every_class else class_logits[:, None]
        masks = (class_logits.sigmoid() * (likely > 0)[:, None, None]).split([box.shape[0] for box in boxes])
        instances = [
            DetectedInstances(corners * _ratio_to(image, size), scores, classes, mask)
            for image, size, (corners, scores, classes), mask in zip(images, sizes, detections, masks, strict=True)
        ]
        steps = Steps(batch, sizes, pyramid, rpn, levels, maps, logits, deltas, boxes, mask_maps, mask_logits)
        return instances, steps

    def _batch(self, images: Sequence[Tensor]) -> tuple[Tensor, list[tuple[int, int]]]:
        """Normalise and scale images, and pad them with 0 on the right and at the bottom."""
        scaled: list[Tensor] = []
        for image in images:
            mean, deviation = (image.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
            height, width = image.shape[-2:]
            scale = min(self.min_side / min(height, width), self.max_side / max(height, width))
            size = max(int(height * scale), 1), max(int(width * scale), 1)
            scaled.append(F.interpolate(((image - mean) / deviation)[None], size, mode="bilinear")[0])
        sizes = [(item.shape[-2], item.shape[-1]) for item in scaled]
        high, wide = (-(-max(side) // _STRIDE) * _STRIDE for side in zip(*sizes, strict=True))
        batch = scaled[0].new_zeros(len(scaled), 3, high, wide)
        for row, item in zip(batch, scaled, strict=True):
            row[:, : item.shape[-2], : item.shape[-1]] = item
        return batch, sizes

    def _instances(
        self, logits: Tensor, deltas: Tensor, proposals: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        """Return boxes (K, 4), scores (K,) and classes (K,) of one image, best first, moved for each class."""
        scores = logits.softmax(-1)
        owners, labels = (scores[:, 1:] > self.min_score).nonzero().unbind(1)
        labels = labels + 1
        scores = scores[owners, labels]
        boxes = self.roi_heads.box_coder.decode_single(deltas[owners, labels], proposals[owners])
        boxes = clip_boxes_to_image(boxes, size)
        large = remove_small_boxes(boxes, _MIN_INSTANCE_PX)
        boxes, scores, labels = boxes[large], scores[large], labels[large]
        offsets = labels[:, None] * (max(size) + 1.0)  # move classes apart, so that they do not suppress each other
        selected = nms(boxes + offsets, scores, self.roi_heads.nms_thresh)[: self.most]
        return boxes[selected], scores[selected], labels[selected]

    def _mask_features(self, maps: Tensor) -> Tensor:
        """Return features (N, C, 2M, 2M) of maps (N, C, M, M). The mask logits are linear in them."""
        features = self.roi_heads.mask_head(maps)
        for layer in list(self.roi_heads.mask_predictor.children())[:-1]:
            features = layer(features)
        return features

    def on_full_budget(self, *inputs: Tensor) -> None:
        """Run every layer with the maximum number of proposals and instances of images (B, 3, H, W)."""
        (images,) = inputs
        batch, _ = self._batch(list(images))
        pyramid = self.backbone(batch)
        self.rpn.head(pyramid)
        maps = batch.new_zeros(len(images) * self.rpn.post_nms_top_n(), pyramid[0].shape[1], 7, 7)
        self.roi_heads.box_predictor(self.roi_heads.box_head(maps))
        if self.masks:
            maps = batch.new_zeros(len(images) * self.most, maps.shape[1], self.mask_map, self.mask_map)
            layer = self.roi_heads.mask_predictor.mask_fcn_logits
            labels = torch.ones(len(maps), dtype=torch.int64, device=maps.device)
            torch.einsum("nc,nchw->nhw", layer.weight.flatten(1)[labels], self._mask_features(maps))

    def set_samples(self, count: int) -> None:
        """Set the number of anchors, and of proposals, of an image in the losses; by default 256 and 512."""
        self.rpn.fg_bg_sampler.batch_size_per_image = self.roi_heads.fg_bg_sampler.batch_size_per_image = count

    def losses(self, images: Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the parts of the multi-task loss, whose sum is minimised: L_cls, L_box, L_mask, and two of the RPN.

        Args:
            images: (3, H, W) RGB 0..1.
            targets: Ground truth of each image in its pixels.
        """
        batch, sizes = self._batch(images)
        resized: list[Target] = []
        for image, size, target in zip(images, sizes, targets, strict=True):
            masks = F.interpolate(target.masks[:, None].float(), size)[:, 0]
            resized.append(Target(target.boxes / _ratio_to(image, size), target.labels, masks.to(image)))
        ignored = [target.boxes[target.labels == 0] for target in resized]
        resized = [Target(*(values[target.labels > 0] for values in target)) for target in resized]
        pyramid = self.backbone(batch)
        rpn = self.rpn.propose(pyramid, batch.shape[-2:], sizes)
        losses = self.rpn.losses(rpn, resized, ignored)
        boxes, matches, labels, expected = self.roi_heads.select_training_samples(
            [proposal.boxes for proposal in rpn.proposals], [target._asdict() for target in resized]
        )
        maps, _ = pool_levels(pyramid[:4], boxes, 7, kind=self.roi)
        logits, deltas = self.roi_heads.box_predictor(self.roi_heads.box_head(maps))
        _ignore(labels, boxes, ignored, _NO_CLASS)
        losses["classes"], losses["boxes"] = fastrcnn_loss(logits, deltas, labels, expected)
        if self.masks:
            objects = [label > 0 for label in labels]
            boxes, matches = ([v[i] for v, i in zip(tensors, objects, strict=True)] for tensors in (boxes, matches))
            maps, _ = pool_levels(pyramid[:4], boxes, self.mask_map, kind=self.roi)
            scores = self.roi_heads.mask_predictor.mask_fcn_logits(self._mask_features(maps))
            truth = [target.masks for target in resized], [target.labels for target in resized]
            losses["masks"] = maskrcnn_loss(scores, boxes, *truth, matches)
        return losses

    def forget_classes(self, classes: int) -> None:
        """Replace the layers that depend on the classes; `classes` includes the background."""
        heads = self.roi_heads
        heads.box_predictor = FastRCNNPredictor(heads.box_predictor.cls_score.in_features, classes)
        if self.masks:
            channels = heads.mask_predictor.mask_fcn_logits.in_channels
            heads.mask_predictor.mask_fcn_logits = nn.Conv2d(channels, classes, 1)

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert keys of old files. A file with counters has live batch norms, which are frozen on request."""
        weights = super().from_official(state_dict)
        if any(key.startswith(_BODY) and key.endswith("num_batches_tracked") for key in weights):
            weights = self._with_chosen_norms(weights)
        converted: dict[str, Tensor] = {}
        for key, value in weights.items():
            for old, new in _RENAMED:
                key = re.sub(old, new, key)
            converted[key] = value
        return converted

    def from_classifier(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert the ResNet of a classifier, whose batch norms are live."""
        return self._with_chosen_norms(super().from_classifier(weights))

    def _with_chosen_norms(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights with live batch norms for this network, which may have frozen ones.

        Live norms add 1e-5 to the variance. Frozen ones add nothing, as those of torchvision's first checkpoint, so
        that the variance itself contains it. They have no counters.
        """
        if not self._frozen:
            return weights
        return {
            key: value + _BATCH_NORM_EPSILON if key.startswith(_BODY) and key.endswith("running_var") else value
            for key, value in weights.items()
            if not (key.startswith(_BODY) and key.endswith("num_batches_tracked"))
        }


def _merge(candidates: Sequence[Candidates]) -> Candidates:
    return Candidates(*(torch.cat(values) for values in zip(*candidates, strict=True)))


def _pad_rows(values: Tensor, count: int) -> Tensor:
    """Pad (N, ...) with zeros to (count, ...)."""
    return torch.cat([values, values.new_zeros(count, *values.shape[1:])])[:count]


def _ratio_to(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the factors (4,) from boxes on the resized image to boxes on the image (3, H, W)."""
    height, width = image.shape[-2:]
    return image.new_tensor([width / size[1], height / size[0]] * 2)


def _ignore(labels: Sequence[Tensor], boxes: Sequence[Tensor], ignored: Sequence[Tensor], value: int) -> None:
    """Set the label of background boxes in place if more than half of the box is in an ignored region of its image.

    >>> labels, boxes = torch.tensor([1, 0, 0]), torch.tensor([[0.0, 0, 8, 8], [2, 2, 9, 9], [7, 7, 12, 12]])
    >>> _ignore([labels], [boxes], [torch.tensor([[0.0, 0, 10, 10]])], -1)
    >>> labels
    tensor([ 1, -1,  0])
    """
    for image_labels, every, regions in zip(labels, boxes, ignored, strict=True):
        corners = torch.min(every[:, None, 2:], regions[:, 2:]), torch.max(every[:, None, :2], regions[:, :2])
        shared = (corners[0] - corners[1]).clamp(min=0).prod(2)
        inside = (image_labels == 0) & (shared > (every[:, 2:] - every[:, :2]).prod(1, keepdim=True) / 2).any(1)
        inside[:1] = False  # the mean over no boxes is not a number
        image_labels[inside] = value


def pyramid_levels(boxes: Tensor, highest: int = 5) -> Tensor:
    """Return the pyramid level (N,) of each box: k = floor(4 + log2(sqrt(w * h) / 224)) in 2..highest.

    The boxes are (N, 4) in pixels, and 224 x 224 is the size of ImageNet's images. Source: Lin et al., Feature Pyramid
    Networks (2017), equation 1.

    >>> sizes = [(56, 56), (112, 112), (224, 224), (111, 111), (448, 448), (900, 900), (448, 112)]
    >>> pyramid_levels(torch.tensor([[0.0, 0, w, h] for w, h in sizes]))
    tensor([2, 3, 4, 2, 5, 5, 4])
    """
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    # A little more than the formula, because a rounding error must not lower the level of 224 itself.
    levels = torch.floor(4 + torch.log2(torch.sqrt(width * height) / 224) + 1e-6)
    return levels.clamp(2, highest).long()


def pool_levels(
    pyramid: Sequence[Tensor], boxes: Sequence[Tensor], size: int, *, kind: Pooling = "align"
) -> tuple[Tensor, Tensor]:
    """Pool each box (N_b, 4), in pixels, from its level of P2, P3, ...: maps (N, C, size, size), and levels."""
    every = torch.cat(list(boxes))
    owners = torch.cat([torch.full_like(box[:, :1], i) for i, box in enumerate(boxes)])
    rois = torch.cat([owners, every], 1)  # (N, 5)
    levels = pyramid_levels(every, len(pyramid) + 1)
    maps = pyramid[0].new_zeros(every.shape[0], pyramid[0].shape[1], size, size)
    for level, grid in enumerate(pyramid, 2):
        rows = (levels == level).nonzero()[:, 0]
        scale = 2.0**-level
        if kind == "align":
            part = roi_align(grid, rois[rows], size, scale, 2)
        else:
            part = roi_pool(grid, rois[rows], size, scale)
        maps[rows] = part.to(maps.dtype)
    return maps, levels


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize masks (N, M, M) to their boxes (N, 4) in pixels on an image of a height and width: (N, H, W)."""
    return paste_masks_in_image(masks[:, None], boxes, size)[:, 0]


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
            evaluate="sonjit_lab.papers.mask_rcnn.model:open_mask_rcnn" if _name == "mask-rcnn" else "",
            build=_build,
            summary=_summary,
            source="He et al., Mask R-CNN, 2017; layers as torchvision's",
            licence="BSD-3-Clause",
            inputs=(InputSpec("images", (3, 480, 640)),),
            where=f"download {_file}*.pth from https://download.pytorch.org/models/ and pass its path, or train: "
            "sonjit train mask-rcnn",
            # Group norms bound the outputs of random weights, so that rounding errors stay small.
            tiny={
                "classes": 3,
                "depth": 10,
                "width": 8,
                "channels": 16,
                "hidden": 32,
                "norm": "group",
                "anchors_px": (8, 16, 32, 64, 128),
                "before_nms": 50,
                "after_nms": 20,
                "min_side": 64,
                "max_side": 96,
                "most": 10,
            },
            tiny_inputs=(InputSpec("images", (3, 64, 96)),),
        )
    )


class Category(NamedTuple):
    """Id of a class in the data set, and its name."""

    id: int
    name: str
