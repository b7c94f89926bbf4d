"""The region proposal network, which proposes boxes of objects on each level of the pyramid.

Source: Ren et al., Faster R-CNN (2015), section 3; on the levels of a pyramid as in Lin et al., Feature Pyramid
Networks (2017), section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.ops import clip_boxes_to_image, nms, remove_small_boxes

from sonjit.lab.networks.mask_rcnn.boxes import decode_boxes, encode_boxes, match_boxes, sample_matches
from sonjit.lab.networks.mask_rcnn.fpn import conv_block

_RATIOS = (0.5, 1.0, 2.0)  # height / width of the anchors of each cell
_MIN_SIDE_PX = 1e-3


@dataclass(frozen=True)
class Candidates:
    """Boxes of one image that may become proposals.

    Attributes:
        boxes: (N, 4) pixels of the resized image.
        scores: (N,) objectness as a probability.
        levels: (N,) level of the pyramid, 2 to 6.
    """

    boxes: Tensor
    scores: Tensor
    levels: Tensor

    def select(self, index: Tensor) -> Candidates:
        """Return the candidates at indices or where a mask is True."""
        return Candidates(self.boxes[index], self.scores[index], self.levels[index])


@dataclass(frozen=True)
class RpnSteps:
    """The steps of the region proposal network; lists over P2..P6 or over images.

    Attributes:
        anchors: Anchors (A_l, 4) of each level in pixels of the resized image.
        objectness: Logits (B, A_l) of each level.
        deltas: Deltas (B, A_l, 4) of each level.
        before_nms: Best candidates of each level for each image, moved and clipped, without tiny ones.
        after_nms: Candidates of each image after NMS on each level.
        proposals: Best candidates of each image over all levels.
    """

    anchors: list[Tensor]
    objectness: list[Tensor]
    deltas: list[Tensor]
    before_nms: list[Candidates]
    after_nms: list[Candidates]
    proposals: list[Candidates]


class RegionProposals(nn.Module):
    """A convolutional network on every level that predicts objectness and box deltas of each anchor.

    Args:
        channels: Channels of the pyramid.
        convs: Number of 3x3 convolutions before the two outputs.
        sizes_px: Side of the anchors of P2, P3, ...
        before_nms: Number of anchors of each level before NMS; doubled in training.
        after_nms: Number of proposals of all levels after NMS; doubled in training.
        nms_iou: IoU from which the worse of two proposals of a level is suppressed.
        samples: Number of anchors of an image in the loss, at most half of them objects.
    """

    def __init__(
        self,
        channels: int = 256,
        *,
        convs: int = 1,
        sizes_px: Sequence[float] = (32, 64, 128, 256, 512),
        before_nms: int = 1000,
        after_nms: int = 1000,
        nms_iou: float = 0.7,
        samples: int = 256,
    ) -> None:
        super().__init__()
        self.sizes_px, self.nms_iou, self.samples = tuple(sizes_px), nms_iou, samples
        self.before_nms, self.after_nms = before_nms, after_nms
        self.convs = nn.Sequential(*(conv_block(channels, channels, 3, norm=None) for _ in range(convs)))
        self.objectness = nn.Conv2d(channels, len(_RATIOS), 1)
        self.deltas = nn.Conv2d(channels, len(_RATIOS) * 4, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, pyramid: Sequence[Tensor], padded: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> RpnSteps:
        """Return the proposals of each image with the intermediate steps.

        Args:
            pyramid: P2..P6, (B, C, H_l, W_l).
            padded: Height and width of the batch.
            sizes: Height and width of each image in it.
        """
        anchors, objectness, deltas = [], [], []
        for level, size_px in zip(pyramid, self.sizes_px, strict=True):
            anchors.append(anchors_on_grid(level.shape[-2], level.shape[-1], padded, size_px, like=level))
            likely, where = self.on_level(level)
            objectness.append(likely)
            deltas.append(where)
        before, after, final = [], [], []
        with torch.no_grad():
            for i, size in enumerate(sizes):
                levels = [
                    self._best_of_level(level, anchors[level - 2], objectness[level - 2][i], deltas[level - 2][i], size)
                    for level in range(2, 2 + len(pyramid))
                ]
                selected = [item.select(nms(item.boxes, item.scores, self.nms_iou)) for item in levels]
                before.append(_merge(levels))
                after.append(_merge(selected))
                best_first = _best_first(after[-1].scores)
                final.append(after[-1].select(best_first[: self._budget(self.after_nms)]))
        return RpnSteps(
            anchors=anchors, objectness=objectness, deltas=deltas, before_nms=before, after_nms=after, proposals=final
        )

    def on_level(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Map a level (B, C, H, W) to the objectness (B, A) and the deltas (B, A, 4) of its anchors."""
        x = self.convs(level)
        objectness, deltas = (layer(x).permute(0, 2, 3, 1) for layer in (self.objectness, self.deltas))
        return objectness.reshape(len(x), -1), deltas.reshape(len(x), -1, 4)

    def losses(self, steps: RpnSteps, truth: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the binary cross-entropy of objectness and smooth L1 of deltas, over a sample of the anchors.

        Args:
            steps: Steps of the forward pass.
            truth: Boxes (M_b, 4) of each image in pixels of the resized image.
        """
        anchors = torch.cat(steps.anchors)  # (A, 4)
        objectness, deltas = torch.cat(steps.objectness, 1), torch.cat(steps.deltas, 1)  # (B, A), (B, A, 4)
        logits, labels, predicted, expected = [], [], [], []
        for i, boxes in enumerate(truth):
            matches = match_boxes(boxes, anchors, low=0.3, high=0.7, keep_best=True)
            objects, background = sample_matches(matches, self.samples, 0.5)
            logits += [objectness[i, objects], objectness[i, background]]
            labels += [torch.ones_like(logits[-2]), torch.zeros_like(logits[-1])]
            predicted.append(deltas[i, objects])
            expected.append(encode_boxes(boxes[matches[objects]], anchors[objects]))
        every = torch.cat(logits)
        boxes_loss = F.smooth_l1_loss(torch.cat(predicted), torch.cat(expected), beta=1 / 9, reduction="sum")
        return {
            "rpn_objectness": F.binary_cross_entropy_with_logits(every, torch.cat(labels)),
            "rpn_boxes": boxes_loss / len(every),
        }

    def _best_of_level(
        self, level: int, anchors: Tensor, objectness: Tensor, deltas: Tensor, size: tuple[int, int]
    ) -> Candidates:
        """Take the best anchors by objectness, move them by their deltas, clip them to the image, drop tiny ones."""
        logits, best = objectness.topk(min(self._budget(self.before_nms), len(objectness)))
        boxes = clip_boxes_to_image(decode_boxes(deltas[best], anchors[best]), size)
        found = Candidates(boxes, logits.sigmoid(), torch.full_like(best, level))
        return found.select(remove_small_boxes(boxes, _MIN_SIDE_PX))

    def _budget(self, count: int) -> int:
        return count * 2 if self.training else count


def anchors_on_grid(high: int, wide: int, padded: tuple[int, int], size_px: float, *, like: Tensor) -> Tensor:
    """Return the anchors of one level: boxes of one area and three shapes around the corner of each cell.

    Args:
        high: Number of rows of cells.
        wide: Number of columns of cells.
        padded: Height and width of the batch in pixels.
        size_px: Square root of the area.
        like: Tensor that determines type and device.

    Returns:
        (high * wide * 3, 4), shape by shape within a cell, rows before columns.

    >>> anchors_on_grid(1, 2, (4, 8), 32, like=torch.zeros(1))[1::3]
    tensor([[-16., -16.,  16.,  16.],
            [-12., -16.,  20.,  16.]])
    """
    roots = like.new_tensor(_RATIOS).sqrt()
    half_wide, half_high = size_px / roots / 2, size_px * roots / 2
    shapes = torch.stack([-half_wide, -half_high, half_wide, half_high], 1).round()  # (3, 4)
    x = torch.arange(wide, device=like.device, dtype=like.dtype) * (padded[1] // wide)
    y = torch.arange(high, device=like.device, dtype=like.dtype) * (padded[0] // high)
    down, right = torch.meshgrid(y, x, indexing="ij")
    corners = torch.stack([right, down, right, down], -1).reshape(-1, 1, 4)
    return (corners + shapes).reshape(-1, 4)  # (high * wide * 3, 4)


def _merge(parts: Sequence[Candidates]) -> Candidates:
    return Candidates(
        torch.cat([part.boxes for part in parts]),
        torch.cat([part.scores for part in parts]),
        torch.cat([part.levels for part in parts]),
    )


def _best_first(scores: Tensor) -> Tensor:
    """Return the indices of the scores (N,) in descending order; equal scores keep their order."""
    if torch.compiler.is_exporting():  # ONNX has no stable sort
        return scores.argsort(descending=True)
    return scores.argsort(descending=True, stable=True)
