"""MediaPipe's palm detectors: boxes with seven keypoints on 2016 anchors of a square image.

The trunk resembles BlazeFace with five halvings and 5 x 5 kernels. Two upward steps of a feature pyramid have a head
each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from sonjit.lab.networks.mediapipe.blocks import BlazeBlock, SameConv2d, rows_from_map, upsample
from sonjit.lab.networks.mediapipe.tflite_weights import PublishedNetwork, register_published

_CHANNELS = (32, 64, 128, 256, 256)
_BOX = 18  # centre, size and seven keypoints
_COARSE_ANCHORS, _FINE_ANCHORS = 6, 2
_HEAD_BLOCKS = 2


def _block(channels: int, out: int | None = None, stride: int = 1) -> BlazeBlock:
    out = channels if out is None else out
    return BlazeBlock(channels, out, nn.PReLU(out), stride=stride, depthwise_bias=False)


def _blocks(channels: int, count: int) -> list[BlazeBlock]:
    return [_block(channels) for _ in range(count)]


class UpStep(nn.Module):
    """Upsample and narrow a coarse map, add it to a finer one of the trunk, and mix them."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.narrow = nn.Sequential(nn.Conv2d(channels, out, 1), nn.PReLU(out))
        self.mix = nn.Sequential(*_blocks(out, _HEAD_BLOCKS))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (B, channels, H, W) and (B, out, 2H, 2W) to (B, out, 2H, 2W)."""
        return self.mix(fine + self.narrow(upsample(coarse)))


class Head(nn.Module):
    """Logits and boxes of a map's anchors."""

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        self.scores = nn.Conv2d(channels, anchors, 1)
        self.boxes = nn.Conv2d(channels, anchors * _BOX, 1)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, channels, H, W) to boxes (B, N, 18) and logits (B, N, 1)."""
        return rows_from_map(self.boxes(values), _BOX), rows_from_map(self.scores(values), 1)


class PalmDetectionNetwork(PublishedNetwork):
    """Palm detector for full images.

    Args:
        depth: Number of blocks after each halving: 4 in `palm-full`, 3 in `palm-lite`.
        channels: Channels of the stem and after each further halving.
        decoder: True for two upward steps of the pyramid. Without them the heads read the trunk's own maps, and the
            last halving, which no head reads, is omitted.

    Source: Zhang et al. 2020, MediaPipe Hands, section 2.1; Bazarevsky et al. 2019, BlazeFace, section 3.2. Numbers are
    those of the published files, whose batch norms are folded into the pointwise convolutions.
    """

    def __init__(self, depth: int = 4, channels: Sequence[int] = _CHANNELS, decoder: bool = True) -> None:
        super().__init__()
        first, *_, fine, coarse, last = channels
        self.stem = nn.Sequential(SameConv2d(3, first, 5, stride=2), nn.PReLU(first), *_blocks(first, depth))
        self.stages = nn.ModuleList(
            nn.Sequential(_block(before, after, stride=2), *_blocks(after, depth))
            for before, after in pairwise(channels if decoder else channels[:-1])
        )
        self.to_coarse = UpStep(last, coarse) if decoder else None
        self.coarse_head = Head(coarse, _COARSE_ANCHORS)
        self.to_fine = UpStep(coarse, fine) if decoder else None
        self.fine_head = Head(fine, _FINE_ANCHORS)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict boxes and scores of the anchors.

        Args:
            images: (B, 3, 192, 192) RGB in 0..1.

        Returns:
            `boxes` (B, 2016, 18): centre, size, then x and y of seven keypoints, in pixels of the input from the
            anchor's centre; `scores` (B, 2016, 1): logits. Anchors of the fine map (24 x 24 x 2) come first, then
            those of the coarse one (12 x 12 x 6).
        """
        values = self.stem(images)
        maps: list[Tensor] = []
        for stage in self.stages:
            values = stage(values)
            maps.append(values)
        if self.to_coarse is None or self.to_fine is None:
            fine, coarse = maps[-2:]
        else:
            fine, coarse, last = maps[-3:]
            coarse = self.to_coarse(last, coarse)
            fine = self.to_fine(coarse, fine)
        boxes, scores = zip(self.fine_head(fine), self.coarse_head(coarse), strict=True)
        return {"boxes": torch.cat(boxes, 1), "scores": torch.cat(scores, 1)}


for _name, _depth in (("lite", 3), ("full", 4)):
    register_published(
        f"palm-{_name}",
        partial(PalmDetectionNetwork, depth=_depth),
        "palms in a whole image: boxes with seven keypoints on 2016 anchors",
        "Zhang et al. 2020, MediaPipe Hands, section 2.1",
        (192, 192),
        tiny={"depth": 1, "channels": (8, 8, 12, 12, 16)},
    )
