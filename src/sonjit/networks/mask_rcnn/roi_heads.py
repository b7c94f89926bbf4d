"""The heads on each proposal: class and box from 7x7 maps, and a mask per class.

Sources: Girshick, Fast R-CNN (2015), section 2; He et al., Mask R-CNN (2017), section 3.

Images of several sizes as one batch, and what is in them scaled with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.ops import clip_boxes_to_image, nms, remove_small_boxes, roi_align

from sonjit.networks.mask_rcnn.fpn import Norm, conv_block
from sonjit.networks.mask_rcnn.roi_align import decode_boxes, encode_boxes, match_boxes, sample_matches

_BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # deltas of proposals are small: this brings them near 1
_SMALLEST_PX = 1e-2


class DetectedInstances(NamedTuple):
    """What was found in one image, best first.

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
    """What is in one image.

    Attributes:
        boxes: (N, 4) x_min, y_min, x_max, y_max in pixels, each with an area.
        labels: (N,) int64 class, 1 and up.
        masks: (N, H, W) 0 or 1.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor


class Samples(NamedTuple):
    """Proposals of one image that the losses are taken over.

    Attributes:
        boxes: (S, 4) pixels.
        matches: (S,) index of the true instance; negative where there is none.
    """

    boxes: Tensor
    matches: Tensor


class BoxHead(nn.Module):
    """Class scores and, for each class, deltas of a proposal, from its 7x7 map.

    Args:
        classes: with the background, which is class 0.
        channels: of the map.
        hidden: of the fully connected layers.
        convs: 3x3 convolutions before these; where there are any, one such layer follows, else two.
        norm: after each convolution.
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
        """(N, C, 7, 7) -> logits (N, classes) and deltas (N, classes, 4)."""
        x = self.convs(maps).flatten(1)
        for layer in self.hidden:
            x = layer(x).relu_()
        return self.scores(x), self.deltas(x).unflatten(1, (-1, 4))


class MaskHead(nn.Module):
    """A mask for each class from the map of a box: a 14x14 map becomes a 28x28 mask, a 7x7 one a 14x14 mask.

    Args:
        classes: with the background, whose mask means nothing.
        channels: of the map.
        norm: after each convolution.
    """

    def __init__(self, classes: int, channels: int = 256, norm: Norm | None = None) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(conv_block(channels, channels, 3, norm=norm) for _ in range(4)))
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, 2)
        self.logits = nn.Conv2d(channels, classes, 1)
        for layer in (self.upsample, self.logits):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, M, M) -> logits (N, classes, 2M, 2M)."""
        return self.logits(self.features(maps))

    def features(self, maps: Tensor) -> Tensor:
        """(N, C, M, M) -> (N, C, 2M, 2M), of which the logits are linear."""
        return self.upsample(self.convs(maps)).relu_()

    def logits_of(self, features: Tensor, labels: Tensor) -> Tensor:
        """(N, C, 2M, 2M) and one class each (N,) -> logits (N, 2M, 2M), without those of all other classes."""
        weight, bias = self.logits.weight.flatten(1)[labels], self.logits.bias  # (N, C)
        own = torch.einsum("nc,nchw->nhw", weight, features)
        return own if bias is None else own + bias[labels, None, None]


MaskHeadName = Literal["fcn", "skip"]


class SkipMaskHead(MaskHead):
    """To compare with: scores at the map's own resolution and at half of it, added (Long et al. 2015, skip layers).

    Their bilinear enlargement is applied to the features instead, which is the same, for scores are linear in them.
    """

    def __init__(self, classes: int, channels: int = 256, norm: Norm | None = None) -> None:
        super().__init__(classes, channels, norm)
        del self.upsample
        self.logits = nn.Conv2d(2 * channels, classes, 1)
        nn.init.kaiming_normal_(self.logits.weight, mode="fan_out", nonlinearity="relu")

    def features(self, maps: Tensor) -> Tensor:
        """(N, C, M, M) -> (N, 2 C, 2M, 2M), of which the logits are linear."""
        fine = self.convs[:2](maps)
        coarse = self.convs[2:](F.max_pool2d(fine, 2, ceil_mode=True))
        side = 2 * maps.shape[-1]
        return torch.cat([_enlarged(one, side) for one in (fine, coarse)], 1)


def _enlarged(maps: Tensor, side: int) -> Tensor:
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)


def boxes_from_scores(
    logits: Tensor,
    deltas: Tensor,
    proposals: Tensor,
    size: tuple[int, int],
    *,
    min_score: float,
    nms_iou: float,
    most: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes of one image: each proposal moved for each class, without the unlikely, the tiny and doubles.

    Args:
        logits: (N, classes).
        deltas: (N, classes, 4).
        proposals: (N, 4) pixels.
        size: height and width of the image.
        min_score: below which a class is none.
        nms_iou: from which overlap the worse of two boxes of a class goes.
        most: how many are kept.

    Returns:
        Boxes (K, 4) in pixels, scores (K,) and classes (K,), best first.
    """
    scores = logits.softmax(-1)
    owners, labels = (scores[:, 1:] > min_score).nonzero().unbind(1)
    labels = labels + 1
    scores = scores[owners, labels]
    boxes = decode_boxes(deltas[owners, labels], proposals[owners], _BOX_WEIGHTS)
    boxes = clip_boxes_to_image(boxes, size)
    large = remove_small_boxes(boxes, _SMALLEST_PX)
    boxes, scores, labels = boxes[large], scores[large], labels[large]
    apart = labels[:, None] * (max(size) + 1.0)  # classes side by side, so that none covers another's boxes
    kept = nms(boxes + apart, scores, nms_iou)[:most]
    return boxes[kept], scores[kept], labels[kept]


@torch.no_grad()
def sample_proposals(proposals: Tensor, target: Target, count: int) -> Samples:
    """A random few of the proposals and true boxes of one image, at most a quarter of them objects."""
    boxes = torch.cat([proposals, target.boxes])
    matches = match_boxes(target.boxes, boxes, low=0.5, high=0.5)
    objects, background = sample_matches(matches, count, 0.25)
    chosen = torch.cat([objects, background]).sort().values
    return Samples(boxes[chosen], matches[chosen])


def box_losses(
    logits: Tensor, deltas: Tensor, samples: Sequence[Samples], targets: Sequence[Target]
) -> dict[str, Tensor]:
    """Cross-entropy of classes, and smooth L1 of the deltas of the true class.

    Args:
        logits: (S, classes) of all images' samples.
        deltas: (S, classes, 4) of them.
        samples: of each image.
        targets: of each image.
    """
    labels, wanted, objects, start = [], [], [], 0
    for sample, target in zip(samples, targets, strict=True):
        found = (sample.matches >= 0).nonzero()[:, 0]
        true = sample.matches[found]
        labels.append(torch.zeros_like(sample.matches).index_copy(0, found, target.labels[true]))
        wanted.append(encode_boxes(target.boxes[true], sample.boxes[found], _BOX_WEIGHTS))
        objects.append(found + start)
        start += len(sample.boxes)
    every, at = torch.cat(labels), torch.cat(objects)
    place = F.smooth_l1_loss(deltas[at, every[at]], torch.cat(wanted), beta=1 / 9, reduction="sum")
    return {"classes": F.cross_entropy(logits, every), "boxes": place / len(every)}


def mask_loss(logits: Tensor, samples: Sequence[Samples], targets: Sequence[Target]) -> Tensor:
    """Binary cross-entropy of the true class's mask alone, so that classes do not compete.

    Args:
        logits: (S, classes, M, M) of all images' samples, which are objects all.
        samples: of each image.
        targets: of each image; their masks are cut out by RoIAlign.
    """
    size, labels, wanted = logits.shape[-1], [], []
    for sample, target in zip(samples, targets, strict=True):
        labels.append(target.labels[sample.matches])
        rois = torch.cat([sample.matches[:, None].to(sample.boxes), sample.boxes], 1)  # (S_b, 5)
        wanted.append(roi_align(target.masks[:, None].to(sample.boxes), rois, size)[:, 0])
    every = torch.cat(labels)
    if not len(every):
        return logits.sum() * 0  # no object in any image
    true = logits[torch.arange(len(every), device=every.device), every]
    return F.binary_cross_entropy_with_logits(true, torch.cat(wanted))


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks stretched over their boxes on the image.

    Args:
        masks: (N, M, M) probability.
        boxes: (N, 4) pixels.
        size: height and width of the image.

    Returns:
        (N, H, W) probability, 0 outside of the box.
    """
    height, width = size
    grown = (masks.shape[-1] + 2) / masks.shape[-1]  # a rim of zeros lets the edge fade
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * grown
    edges = torch.cat([middle - half, middle + half], 1).long().tolist()
    pasted = masks.new_zeros(len(masks), height, width)
    for canvas, mask, (left, top, right, bottom) in zip(pasted, F.pad(masks, (1, 1, 1, 1)), edges, strict=True):
        shape = max(bottom - top + 1, 1), max(right - left + 1, 1)
        large = F.interpolate(mask[None, None], shape, mode="bilinear")[0, 0]
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right + 1, width), min(bottom + 1, height)
        canvas[y0:y1, x0:x1] = large[y0 - top : y1 - top, x0 - left : x1 - left]
    return pasted


_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's images
_STRIDE = 32  # the batch is padded to whole cells of the coarsest map


def batch_of(images: Sequence[Tensor], min_side: int, max_side: int) -> tuple[Tensor, list[tuple[int, int]]]:
    """Images normalised, scaled and padded with 0 on the right and below.

    Args:
        images: (3, H, W) RGB 0..1 each.
        min_side: what the short side becomes, in pixels.
        max_side: what the long side becomes where it would be longer.

    Returns:
        (B, 3, H, W), and the height and width of each image within it.
    """
    scaled: list[Tensor] = []
    for image in images:
        mean, deviation = image.new_tensor(_MEAN), image.new_tensor(_DEVIATION)
        normal = (image - mean[:, None, None]) / deviation[:, None, None]
        height, width = image.shape[-2:]
        scale = min(min_side / min(height, width), max_side / max(height, width))
        size = max(int(height * scale), 1), max(int(width * scale), 1)
        scaled.append(F.interpolate(normal[None], size, mode="bilinear")[0])
    sizes = [(one.shape[-2], one.shape[-1]) for one in scaled]
    high, wide = (-(-max(side) // _STRIDE) * _STRIDE for side in zip(*sizes, strict=True))
    batch = scaled[0].new_zeros(len(scaled), 3, high, wide)
    for row, one in zip(batch, scaled, strict=True):
        row[:, : one.shape[-2], : one.shape[-1]] = one
    return batch, sizes


def ratio_to(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(4,) by which boxes on the resized image become boxes on the image (3, H, W) itself."""
    height, width = image.shape[-2:]
    across, down = width / size[1], height / size[0]
    return image.new_tensor([across, down, across, down])


def resize_target(image: Tensor, size: tuple[int, int], target: Target) -> Target:
    """What is in an image, scaled with it to a height and width."""
    masks = F.interpolate(target.masks[:, None].to(image.dtype), size)[:, 0]
    return Target(target.boxes / ratio_to(image, size), target.labels, masks)
