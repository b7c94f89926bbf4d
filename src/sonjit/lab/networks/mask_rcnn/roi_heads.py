"""The heads of each proposal: class and box from 7x7 maps, and a mask for each class.

Sources: Girshick, Fast R-CNN (2015), section 2; He et al., Mask R-CNN (2017), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.ops import clip_boxes_to_image, nms, remove_small_boxes, roi_align

from sonjit.lab.networks.mask_rcnn.boxes import decode_boxes, encode_boxes, match_boxes, sample_matches
from sonjit.lab.networks.mask_rcnn.fpn import Norm, conv_block

_BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # scale the small deltas of proposals to about 1
_MIN_SIDE_PX = 1e-2


MaskHeadName = Literal["fcn", "skip"]


class DetectedInstances(NamedTuple):
    """Instances in one image, best first.

    Attributes:
        boxes: (N, 4) x_min, y_min, x_max, y_max in pixels.
        scores: (N,) probability of the class.
        labels: (N,) int64 class, 1 and up.
        masks: (N, M, M) probability within the box; see `paste_masks`.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor


class Target(NamedTuple):
    """Ground truth of one image.

    Attributes:
        boxes: (N, 4) x_min, y_min, x_max, y_max in pixels, not empty.
        labels: (N,) int64 class, 1 and up.
        masks: (N, H, W) 0 or 1.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor


class Samples(NamedTuple):
    """Proposals of one image in the losses.

    Attributes:
        boxes: (S, 4) pixels.
        matches: (S,) index of the true instance; negative without one.
    """

    boxes: Tensor
    matches: Tensor


class BoxHead(nn.Module):
    """Class scores and, for each class, deltas of a proposal, from its 7x7 map.

    Args:
        classes: Number of classes, including the background, which is class 0.
        channels: Channels of the map.
        hidden: Width of the fully connected layers.
        convs: Number of 3x3 convolutions before the fully connected layers; with convolutions there is one such layer,
            without them there are two.
        norm: Normalization after each convolution.
    """

    def __init__(
        self, classes: int, channels: int = 256, hidden: int = 1024, convs: int = 0, norm: Norm | None = None
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(conv_block(channels, channels, 3, norm=norm) for _ in range(convs)))
        inputs = [channels * 49] if convs else [channels * 49, hidden]
        self.hidden = nn.ModuleList(nn.Linear(count, hidden) for count in inputs)
        self.scores = nn.Linear(hidden, classes)
        self.deltas = nn.Linear(hidden, classes * 4)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, 7, 7) to logits (N, classes) and deltas (N, classes, 4)."""
        x = self.convs(maps).flatten(1)
        for layer in self.hidden:
            x = layer(x).relu_()
        return self.scores(x), self.deltas(x).unflatten(1, (-1, 4))


class MaskHead(nn.Module):
    """A mask for each class from the map of a box: a 14x14 map becomes a 28x28 mask, a 7x7 one a 14x14 mask.

    Args:
        classes: Number of classes, including the background, whose mask has no meaning.
        channels: Channels of the map.
        norm: Normalization after each convolution.
    """

    def __init__(self, classes: int, channels: int = 256, norm: Norm | None = None) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(conv_block(channels, channels, 3, norm=norm) for _ in range(4)))
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, 2)
        self.logits = nn.Conv2d(channels, classes, 1)
        for layer in (self.upsample, self.logits):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, C, M, M) to logits (N, classes, 2M, 2M)."""
        return self.logits(self.features(maps))

    def features(self, maps: Tensor) -> Tensor:
        """Map (N, C, M, M) to features (N, C, 2M, 2M), of which the logits are linear."""
        return self.upsample(self.convs(maps)).relu_()

    def logits_of(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the logits (N, 2M, 2M) of one class (N,) for each of the features (N, C, 2M, 2M)."""
        weight, bias = self.logits.weight.flatten(1)[labels], self.logits.bias  # (N, C)
        own = torch.einsum("nc,nchw->nhw", weight, features)
        return own if bias is None else own + bias[labels, None, None]


class SkipMaskHead(MaskHead):
    """A mask head for a comparison: scores at the map's resolution and at half of it, added (Long et al. 2015).

    The bilinear upsampling is applied to the features instead, which is equal because scores are linear in them.
    """

    def __init__(self, classes: int, channels: int = 256, norm: Norm | None = None) -> None:
        super().__init__(classes, channels, norm)
        del self.upsample
        self.logits = nn.Conv2d(2 * channels, classes, 1)
        nn.init.kaiming_normal_(self.logits.weight, mode="fan_out", nonlinearity="relu")

    def features(self, maps: Tensor) -> Tensor:
        """Map (N, C, M, M) to features (N, 2 C, 2M, 2M), of which the logits are linear."""
        fine = self.convs[:2](maps)
        coarse = self.convs[2:](F.max_pool2d(fine, 2, ceil_mode=True))
        side = 2 * maps.shape[-1]
        return torch.cat(
            [F.interpolate(maps, (side, side), mode="bilinear", align_corners=False) for maps in (fine, coarse)], 1
        )


def boxes_from_scores(
    logits: Tensor,
    deltas: Tensor,
    proposals: Tensor,
    size: tuple[int, int],
    *,
    min_score: float,
    nms_iou: float,
    max_boxes: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the boxes of one image: each proposal moved for each class, without unlikely, tiny and duplicate ones.

    Args:
        logits: (N, classes).
        deltas: (N, classes, 4).
        proposals: (N, 4) pixels.
        size: Height and width of the image.
        min_score: Minimum score of a class.
        nms_iou: IoU from which the worse of two boxes of a class is suppressed.
        max_boxes: Maximum number of boxes.

    Returns:
        Boxes (K, 4) in pixels, scores (K,) and classes (K,), best first.
    """
    scores = logits.softmax(-1)
    owners, labels = (scores[:, 1:] > min_score).nonzero().unbind(1)
    labels = labels + 1
    scores = scores[owners, labels]
    boxes = decode_boxes(deltas[owners, labels], proposals[owners], _BOX_WEIGHTS)
    boxes = clip_boxes_to_image(boxes, size)
    large = remove_small_boxes(boxes, _MIN_SIDE_PX)
    boxes, scores, labels = boxes[large], scores[large], labels[large]
    offsets = labels[:, None] * (max(size) + 1.0)  # move classes apart, so that they do not suppress each other
    selected = nms(boxes + offsets, scores, nms_iou)[:max_boxes]
    return boxes[selected], scores[selected], labels[selected]


@torch.no_grad()
def sample_proposals(proposals: Tensor, target: Target, count: int) -> Samples:
    """Sample proposals and true boxes of one image, at most a quarter of them objects."""
    boxes = torch.cat([proposals, target.boxes])
    matches = match_boxes(target.boxes, boxes, low=0.5, high=0.5)
    objects, background = sample_matches(matches, count, 0.25)
    chosen = torch.cat([objects, background]).sort().values
    return Samples(boxes[chosen], matches[chosen])


def box_losses(
    logits: Tensor, deltas: Tensor, samples: Sequence[Samples], targets: Sequence[Target]
) -> dict[str, Tensor]:
    """Return the cross-entropy of classes, and the smooth L1 of the deltas of the true class.

    Args:
        logits: (S, classes) of all images' samples.
        deltas: (S, classes, 4) of all images' samples.
        samples: Samples of each image.
        targets: Ground truth of each image.
    """
    labels, expected, objects, start = [], [], [], 0
    for sample, target in zip(samples, targets, strict=True):
        found = (sample.matches >= 0).nonzero()[:, 0]
        true = sample.matches[found]
        labels.append(torch.zeros_like(sample.matches).index_copy(0, found, target.labels[true]))
        expected.append(encode_boxes(target.boxes[true], sample.boxes[found], _BOX_WEIGHTS))
        objects.append(found + start)
        start += len(sample.boxes)
    every, rows = torch.cat(labels), torch.cat(objects)
    boxes = F.smooth_l1_loss(deltas[rows, every[rows]], torch.cat(expected), beta=1 / 9, reduction="sum")
    return {"classes": F.cross_entropy(logits, every), "boxes": boxes / len(every)}


def mask_loss(logits: Tensor, samples: Sequence[Samples], targets: Sequence[Target]) -> Tensor:
    """Return the binary cross-entropy of the true class's mask only, so that classes do not compete.

    Args:
        logits: (S, classes, M, M) of all images' samples, which are all objects.
        samples: Samples of each image.
        targets: Ground truth of each image; RoIAlign crops its masks.
    """
    size, labels, expected = logits.shape[-1], [], []
    for sample, target in zip(samples, targets, strict=True):
        labels.append(target.labels[sample.matches])
        rois = torch.cat([sample.matches[:, None].to(sample.boxes), sample.boxes], 1)  # (S_b, 5)
        expected.append(roi_align(target.masks[:, None].to(sample.boxes), rois, size)[:, 0])
    every = torch.cat(labels)
    if not len(every):
        return logits.sum() * 0  # no object in any image
    true = logits[torch.arange(len(every), device=every.device), every]
    return F.binary_cross_entropy_with_logits(true, torch.cat(expected))


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize masks to their boxes on the image.

    Args:
        masks: (N, M, M) probability.
        boxes: (N, 4) pixels.
        size: Height and width of the image.

    Returns:
        (N, H, W) probability, 0 outside of the box.
    """
    height, width = size
    grown = (masks.shape[-1] + 2) / masks.shape[-1]  # a margin of zeros fades the edge
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * grown
    edges = torch.cat([middle - half, middle + half], 1).long().tolist()
    pasted = masks.new_zeros(len(masks), height, width)
    for canvas, mask, (left, top, right, bottom) in zip(pasted, F.pad(masks, (1, 1, 1, 1)), edges, strict=True):
        shape = max(bottom - top + 1, 1), max(right - left + 1, 1)
        large = F.interpolate(mask[None, None], shape, mode="bilinear")[0, 0]
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right + 1, width), min(bottom + 1, height)
        canvas[y0:y1, x0:x1] = large[y0 - top : y1 - top, x0 - left : x1 - left]
    return pasted
