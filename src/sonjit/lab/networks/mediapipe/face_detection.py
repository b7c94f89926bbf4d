"""MediaPipe's face detectors: boxes with six keypoints on the anchors of a square image.

The short-range network is BlazeFace for faces up to about 2 m away. The full-range network, for up to about 5 m, has
five halvings and three upward steps of a feature pyramid, with one anchor on every fourth pixel.

Source: Bazarevsky et al. 2019, BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs, sections 3.1 and 3.2.
Numbers are those of the published files, whose batch norms are folded into the convolutions. Their kernels are 3 x 3,
those of the paper 5 x 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.lab.networks.mediapipe.blocks import (
    BlazeBlock,
    SameConv2d,
    depth_to_space,
    depthwise,
    rows_from_map,
    upsample,
)
from sonjit.lab.networks.mediapipe.tflite_weights import PublishedNetwork, register_published

_BOX = 16  # centre, size and six keypoints
_FINE_ANCHORS, _COARSE_ANCHORS = 2, 6
_SOURCE = "Bazarevsky et al. 2019, BlazeFace, sections 3.1 and 3.2"


class ShortRangeFaceNetwork(PublishedNetwork):
    """Face detector up to about 2 m.

    Args:
        fine: Channels and stride of each block up to the finer map with anchors.
        coarse: Channels and stride of each block from there to the coarser map.
    """

    def __init__(
        self,
        fine: Sequence[tuple[int, int]] = (
            (24, 1), (28, 1), (32, 2), (36, 1), (42, 1), (48, 2), (56, 1), (64, 1), (72, 1), (80, 1), (88, 1),
        ),
        coarse: Sequence[tuple[int, int]] = ((96, 2), *((96, 1),) * 4),
    ) -> None:  # fmt: skip
        super().__init__()
        stem = fine[0][0]
        self.stem = SameConv2d(3, stem, 5, stride=2)
        self.fine = _blaze_blocks(stem, fine)
        self.coarse = _blaze_blocks(fine[-1][0], coarse)
        self.fine_scores = nn.Conv2d(fine[-1][0], _FINE_ANCHORS, 1)
        self.coarse_scores = nn.Conv2d(coarse[-1][0], _COARSE_ANCHORS, 1)
        self.fine_boxes = nn.Conv2d(fine[-1][0], _FINE_ANCHORS * _BOX, 1)
        self.coarse_boxes = nn.Conv2d(coarse[-1][0], _COARSE_ANCHORS * _BOX, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict boxes and scores of the anchors.

        Args:
            images: (B, 3, 128, 128) RGB in -1..1.

        Returns:
            `boxes` (B, 896, 16): centre, size, then x and y of the person's right eye, left eye, nose, mouth, right
            ear and left ear, in pixels of the input from the anchor's centre; `scores` (B, 896, 1): logits. Anchors
            of the fine map (16 x 16 x 2) come first, then those of the coarse one (8 x 8 x 6).
        """
        fine = self.fine(F.relu(self.stem(images)))
        coarse = self.coarse(fine)
        boxes = rows_from_map(self.fine_boxes(fine), _BOX), rows_from_map(self.coarse_boxes(coarse), _BOX)
        scores = rows_from_map(self.fine_scores(fine), 1), rows_from_map(self.coarse_scores(coarse), 1)
        return {"boxes": torch.cat(boxes, 1), "scores": torch.cat(scores, 1)}


def _blaze_blocks(channels: int, blocks: Sequence[tuple[int, int]]) -> nn.Sequential:
    pairs = pairwise([channels, *(out for out, _ in blocks)])
    return nn.Sequential(
        *(
            BlazeBlock(before, after, nn.ReLU(), kernel=3, stride=stride, depthwise_bias=False)
            for (before, after), (_, stride) in zip(pairs, blocks, strict=True)
        )
    )


class DoubleBlazeBlock(nn.Module):
    """Two depthwise and pointwise convolutions, narrow in between, with a shortcut if the size stays.

    Args:
        channels: Channels of the input.
        narrow: Channels in between.
        out: Channels of the output.
        stride: Stride 1 or 2.
    """

    def __init__(self, channels: int, narrow: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = depthwise(channels, 3, stride, even=True)
        self.narrow = nn.Conv2d(channels, narrow, 1)
        self.mix = depthwise(narrow, 3, even=True)
        self.widen = nn.Conv2d(narrow, out, 1)
        self._has_shortcut = stride == 1

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, out, H / stride, W / stride)."""
        narrow = F.relu(self.narrow(self.depthwise(values)))
        wide = self.widen(self.mix(narrow))
        return F.relu(values + wide if self._has_shortcut else wide)


def _double_blocks(channels: int, narrow: int, count: int) -> list[DoubleBlazeBlock]:
    return [DoubleBlazeBlock(channels, narrow, channels) for _ in range(count)]


class UpStep(nn.Module):
    """Narrow and upsample a coarse map, add it to a finer one of the downward path, and mix them."""

    def __init__(self, channels: int, fine: int, out: int, blocks: int) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(fine, out, 1)
        self.narrow = nn.Conv2d(channels, out, 1)
        self.mix = nn.Sequential(*_double_blocks(out, out // 2, blocks))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (B, channels, H, W) and (B, fine, 2H, 2W) to (B, out, 2H, 2W)."""
        return self.mix(F.relu(self.lateral(fine)) + upsample(F.relu(self.narrow(coarse))))


class AnchorHead(nn.Module):
    """Predict one row per anchor: a map is halved with four times the channels, which become four pixels again."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels, 4 * length, 1)
        self.depthwise = depthwise(4 * length, 3, 2, even=True)
        self._length = length

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, H * W, length)."""
        return rows_from_map(depth_to_space(self.depthwise(self.pointwise(values))), self._length)


class FullRangeFaceNetwork(PublishedNetwork):
    """Face detector up to about 5 m.

    Args:
        down: Channels, and number of blocks with a shortcut, of the stem and after each further halving.
        up: Channels, and number of blocks, of each upward step.
    """

    def __init__(
        self,
        down: Sequence[tuple[int, int]] = ((32, 2), (64, 2), (128, 2), (192, 2), (384, 3)),
        up: Sequence[tuple[int, int]] = ((96, 2), (64, 2), (48, 1)),
    ) -> None:
        super().__init__()
        stem, blocks = down[0]
        self.stem = nn.Conv2d(3, stem, 3, 2, 1)
        self.first = nn.Sequential(*_double_blocks(stem, stem // 4, blocks))
        self.stages = nn.ModuleList(
            nn.Sequential(DoubleBlazeBlock(before, after // 4, after, 2), *_double_blocks(after, after // 4, blocks))
            for (before, _), (after, blocks) in pairwise(down)
        )
        finer = [channels for channels, _ in down[-2::-1]]
        outs = [down[-1][0], *(channels for channels, _ in up)]
        self.ups = nn.ModuleList(
            UpStep(before, fine, after, blocks)
            for (before, after), fine, (_, blocks) in zip(pairwise(outs), finer, up, strict=False)
        )
        self.scores = AnchorHead(outs[-1], 1)
        self.boxes = AnchorHead(outs[-1], _BOX)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict boxes and scores of the anchors.

        Args:
            images: (B, 3, 192, 192) RGB in -1..1.

        Returns:
            `boxes` (B, 2304, 16) and `scores` (B, 2304, 1) as of the short range, on one map of 48 x 48 anchors.
        """
        values = self.first(F.relu(self.stem(images)))
        maps: list[Tensor] = []
        for stage in self.stages:
            values = stage(values)
            maps.append(values)
        for step, fine in zip(self.ups, maps[-2::-1], strict=True):
            values = step(values, fine)
        return {"boxes": self.boxes(values), "scores": self.scores(values)}

    def tflite_order(self) -> list[nn.Module]:
        """Return the order of `face_detection_full_range_sparse.tflite`; its omitted zeros can be trained as well."""
        ups = [step for step in self.ups if isinstance(step, UpStep)]
        laterals = [step.lateral for step in reversed(ups)]
        order: list[nn.Module] = [self.stem, self.first]
        for number, stage in enumerate(self.stages):  # the file runs lateral branches before the next stage
            order += [stage, *laterals[number : number + 1]]
        order += [part for step in ups for part in (step.narrow, step.mix)]
        return [*order, self.scores, self.boxes]


register_published(
    "face-short",
    ShortRangeFaceNetwork,
    "faces up to about 2 m away: boxes with six keypoints on 896 anchors",
    _SOURCE,
    (128, 128),
    tiny={"fine": ((8, 1), (8, 2), (12, 2), (12, 1)), "coarse": ((16, 2), (16, 1))},
    multiple_of=16,
    low=-1.0,
)
register_published(
    "face-full",
    FullRangeFaceNetwork,
    "faces up to about 5 m away: boxes with six keypoints on 2304 anchors",
    _SOURCE,
    (192, 192),
    tiny={"down": ((8, 1), (8, 0), (12, 0), (16, 0), (16, 1)), "up": ((12, 1), (8, 0), (8, 1))},
    low=-1.0,
)
