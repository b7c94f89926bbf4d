"""MediaPipe's palm detectors and hand landmark networks, and masks of hands on the trunk of the latter.

The trunk of the palm detectors resembles BlazeFace, that of the landmark networks MobileNetV2, with five halvings each.
The last map of 7 x 7 is averaged and read by four linear heads. Every output is therefore the mean of the head's
outputs for each cell, and its class activation map is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name
from torchvision.ops import Conv2dNormActivation

from sonjit._util import InputError, RealArray
from sonjit.detectors.kinds.hands import box_around_hand
from sonjit.geometry.boxes import RotatedBox
from sonjit_lab.networks import backbones, registry
from sonjit_lab.networks import mediapipe_blocks as mp_blocks

_CHANNELS = (32, 64, 128, 256, 256)
_BOX = 18  # centre, size and seven keypoints
_COARSE_ANCHORS, _FINE_ANCHORS = 6, 2
_HEAD_BLOCKS = 2
PUBLISHED_KEYPOINTS = 21
_INPUT_SIZE = 224
_HEAVY_WIDTH = 1.23  # gives `full` the 4.02 million parameters of the paper's heavy, never published
PARTS: Final = ("hand", "object", "arm")  # channels of the masks
CONTEXT: Final = 1.5  # side of the crops relative to the hand landmark network's, for objects and arms
MASK_STRIDE: Final = 4  # pixels of the crop per pixel of the masks


def _block(channels: int, out: int | None = None, stride: int = 1) -> mp_blocks.BlazeBlock:
    out = channels if out is None else out
    return mp_blocks.BlazeBlock(channels, out, nn.PReLU(out), stride=stride, depthwise_bias=False)


def _blocks(channels: int, count: int) -> list[mp_blocks.BlazeBlock]:
    return [_block(channels) for _ in range(count)]


class UpStep(nn.Module):
    """Upsample and narrow a coarse map, add it to a finer one of the trunk, and mix them."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.narrow = nn.Sequential(nn.Conv2d(channels, out, 1), nn.PReLU(out))
        self.mix = nn.Sequential(*_blocks(out, _HEAD_BLOCKS))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Map (B, channels, H, W) and (B, out, 2H, 2W) to (B, out, 2H, 2W)."""
        return self.mix(fine + self.narrow(mp_blocks.upsample(coarse)))


class Head(nn.Module):
    """Logits and boxes of a map's anchors."""

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        self.scores = nn.Conv2d(channels, anchors, 1)
        self.boxes = nn.Conv2d(channels, anchors * _BOX, 1)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, channels, H, W) to boxes (B, N, 18) and logits (B, N, 1)."""
        return mp_blocks.rows_from_map(self.boxes(values), _BOX), mp_blocks.rows_from_map(self.scores(values), 1)


class PalmDetectionNetwork(mp_blocks.PublishedNetwork):
    """Palm detector for full images.

    `depth`: number of blocks after each halving: 4 in `palm-full`, 3 in `palm-lite`; `channels`: channels of the stem
    and after each further halving; `decoder`: False omits the upward steps of the pyramid, so that the heads read the
    trunk's own maps, and the last halving, which no head reads then. Source: Zhang et al. 2020, MediaPipe Hands,
    section 2.1; Bazarevsky et al. 2019, BlazeFace, section 3.2; numbers of the published files.
    """

    def __init__(self, depth: int = 4, channels: Sequence[int] = _CHANNELS, decoder: bool = True) -> None:
        super().__init__()
        first, *_, fine, coarse, last = channels
        self.stem = nn.Sequential(mp_blocks.SameConv2d(3, first, 5, stride=2), nn.PReLU(first), *_blocks(first, depth))
        self.stages = nn.ModuleList(
            nn.Sequential(_block(before, after, stride=2), *_blocks(after, depth))
            for before, after in pairwise(channels if decoder else channels[:-1])
        )
        self.to_coarse = UpStep(last, coarse) if decoder else None
        self.coarse_head = Head(coarse, _COARSE_ANCHORS)
        self.to_fine = UpStep(coarse, fine) if decoder else None
        self.fine_head = Head(fine, _FINE_ANCHORS)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict boxes and scores of the anchors of images (B, 3, 192, 192), RGB in 0..1.

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
    mp_blocks.register_published(
        f"palm-{_name}",
        partial(PalmDetectionNetwork, depth=_depth),
        "palms in a whole image: boxes with seven keypoints on 2016 anchors",
        "Zhang et al. 2020, MediaPipe Hands, section 2.1",
        (192, 192),
        tiny={"depth": 1, "channels": (8, 8, 12, 12, 16)},
    )


@dataclass(frozen=True)
class Trunk:
    """Channels of the first convolution and block, kernel, stride and channels of residuals, and the last map's."""

    stem: tuple[int, int]
    blocks: tuple[tuple[int, int, int, int], ...]
    features: int

    def widen_blocks(self, width: float) -> "Trunk":
        """Return the trunk with every number of channels times `width`, in multiples of eight."""
        if width == 1:
            return self
        if not width > 0:
            raise InputError(f"width={width}: must be above 0")
        stem = (_eights(self.stem[0] * width), _eights(self.stem[1] * width))
        features = _eights(self.features * width)
        blocks = tuple(
            (kernel, stride, _eights(expanded * width), _eights(out * width))
            for kernel, stride, expanded, out in self.blocks
        )
        return Trunk(stem, blocks, features)


def _eights(channels: float) -> int:
    return max(round(channels / 8), 1) * 8


def trunk_of(name: str) -> Trunk:
    """Return the dimensions of a trunk by its name."""
    trunks = {
        "full": Trunk(
            (24, 16),
            (
                (3, 2, 64, 24),
                (3, 1, 144, 24),
                (5, 2, 144, 40),
                (5, 1, 240, 40),
                (3, 2, 240, 80),
                *((3, 1, 480, 80),) * 2,
                (5, 1, 480, 112),
                *((5, 1, 672, 112),) * 2,
                (5, 2, 672, 192),
                *((5, 1, 1152, 192),) * 3,
            ),
            1152,
        ),
        "lite": Trunk(
            (24, 16),
            (
                (3, 2, 64, 16),
                (3, 1, 96, 16),
                (5, 2, 96, 24),
                (5, 1, 144, 24),
                (3, 2, 144, 48),
                *((3, 1, 288, 48),) * 2,
                (5, 1, 288, 64),
                *((5, 1, 384, 64),) * 2,
                (5, 2, 384, 112),
                *((5, 1, 672, 112),) * 3,
            ),
            672,
        ),
        "tiny": Trunk((8, 8), ((3, 2, 16, 8), (5, 2, 16, 12), (3, 2, 24, 12), (5, 2, 24, 16), (5, 1, 32, 16)), 32),
    }
    if name not in trunks:
        raise InputError(f"Unknown trunk {name!r}. Choose from {', '.join(trunks)}")
    return trunks[name]


class HandLandmarkNetwork(registry.Network):
    """Hand landmarks from a square crop.

    `trunk`: `full`, `lite` or, for tests, `tiny`; `width`: factor on its channels, above 1 for `hand-heavy`;
    `keypoints`: at least 21; published weights fill the first 21, the others start in the middle of the crop;
    `activation`: one of `ACTIVATIONS`; published weights were trained with relu6; `dropout`: share of the averages of
    the last map that training leaves out. Source: Zhang et al. 2020, MediaPipe Hands, section 2.2; numbers of the
    published files.
    """

    def __init__(
        self,
        trunk: str = "full",
        keypoints: int = PUBLISHED_KEYPOINTS,
        width: float = 1.0,
        activation: str = "relu6",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if keypoints < PUBLISHED_KEYPOINTS:
            raise InputError(f"keypoints={keypoints}: must be at least {PUBLISHED_KEYPOINTS}")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout={dropout}: must be at least 0 and below 1")
        self._trunk, self._width = trunk, width
        numbers = trunk_of(trunk).widen_blocks(width)
        first, second = numbers.stem
        self.stem = mp_blocks.SameConv2d(3, first, 3, stride=2)
        self.first = mp_blocks.InvertedResidual(first, first, second, activation=activation)
        blocks: list[nn.Module] = []
        channels = second
        for kernel, stride, expanded, out in numbers.blocks:
            blocks.append(
                mp_blocks.InvertedResidual(channels, expanded, out, kernel=kernel, stride=stride, activation=activation)
            )
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.widen = nn.Conv2d(channels, numbers.features, 1)
        self.mix = mp_blocks.depthwise(numbers.features, 3)
        self.activations = nn.ModuleList(mp_blocks.new_activation(activation) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        # In the order of the published files.
        self.handedness = nn.Linear(numbers.features, 1)
        self.presence = nn.Linear(numbers.features, 1)
        self.keypoints = nn.Linear(numbers.features, 3 * keypoints)
        self.keypoints_3d = nn.Linear(numbers.features, 3 * keypoints)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # up to twice as fast on a CPU

    def features(self, images: Tensor) -> Tensor:
        """Return the last map (B, C, H / 32, W / 32) of crops (B, 3, H, W) in 0..1."""
        first, second, third = self.activations
        values = self.blocks(self.first(first(self.stem(images))))
        return third(self.mix(second(self.widen(values))))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict the hands in crops (B, 3, 224, 224), RGB in 0..1.

        Returns:
            `keypoints` (B, 3K): x, y in pixels of the crop, ordinal z from the wrist; `presence` (B, 1) and
            `handedness` (B, 1): probabilities, the latter that of a left hand in a selfie view; `keypoints_3d` (B,
            3K): metres in the crop's axes, origin at the hand's centre.
        """
        mean = self.dropout(self.features(images).mean((2, 3)))  # (B, C)
        return {
            "keypoints": self.keypoints(mean),
            "presence": self.presence(mean).sigmoid(),
            "handedness": self.handedness(mean).sigmoid(),
            "keypoints_3d": self.keypoints_3d(mean),
        }

    def load_tflite(self, path: Path) -> None:
        """Load `hand_landmark_full.tflite` or `hand_landmark_lite.tflite`."""
        published = HandLandmarkNetwork(self._trunk, width=self._width)
        published.name = self.name
        mp_blocks.fill_from_tflite(published, path)
        with torch.no_grad():
            for head, start in ((self.keypoints, _INPUT_SIZE / 2), (self.keypoints_3d, 0.0)):
                head.weight.zero_()
                head.bias.copy_(torch.tensor([start, start, 0.0]).repeat(len(head.bias) // 3))
            weights = self.state_dict()
            for key, value in published.state_dict().items():
                weights[key][: len(value)] = value


for _name, _trunk, _width in (("lite", "lite", 1.0), ("full", "full", 1.0), ("heavy", "full", _HEAVY_WIDTH)):
    mp_blocks.register_published(
        f"hand-{_name}",
        partial(HandLandmarkNetwork, trunk=_trunk, width=_width),
        "21 keypoints, presence and handedness of one hand in its crop",
        "Zhang et al. 2020, MediaPipe Hands, section 2.2",
        (_INPUT_SIZE, _INPUT_SIZE),
        tiny={"trunk": "tiny", "width": 1.0},
        multiple_of=16,
        weight=None if _name == "heavy" else "",
    )


class HandMaskNetwork(registry.Network):
    """Masks of a hand and of what belongs to it, in crops of `size` pixels (a multiple of 32) or other sizes."""

    def __init__(self, trunk: str = "full", channels: int = 48, size: int = 160) -> None:
        super().__init__()
        if size < 32 or size % 32 or channels < 8:
            raise InputError(f"size={size}, channels={channels}: must be a multiple of 32, and at least 8")
        self.size = self.side = size
        self.hand = HandLandmarkNetwork(trunk)
        blocks = trunk_of(trunk).blocks
        halvings = [index for index, (_, after) in enumerate(pairwise(blocks)) if after[1] == 2]
        self._last_blocks = [*halvings, len(self.hand.blocks) - 1]
        counts = [blocks[index][3] for index in self._last_blocks]
        block = partial(Conv2dNormActivation, norm_layer=partial(backbones.norm_layer, "group"))
        self.lateral = nn.ModuleList(block(count, channels, 1, activation_layer=None) for count in counts)
        self.mix = nn.ModuleList(block(channels, channels, 3) for _ in counts)
        self.read = nn.Conv2d(channels, len(PARTS), 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return `masks` (B, 3, H / 4, W / 4): logits of the hand, of objects in it and of its arm.

        `images`: (B, 3, H, W) RGB in 0..1, whose sides are 1.5 times those of the hand landmark network's crops.
        """
        maps = self._maps(images)
        values: Tensor | None = None
        for lateral, mix, level in reversed(list(zip(self.lateral, self.mix, maps, strict=True))):
            projected = lateral(level)
            values = mix(
                projected if values is None else projected + F.interpolate(values, projected.shape[-2:], mode="nearest")
            )
        assert values is not None
        return {"masks": self.read(values)}

    def _maps(self, images: Tensor) -> list[Tensor]:
        """Return the trunk's maps with strides 4, 8, 16 and 32."""
        hand = self.hand
        values = hand.first(hand.activations[0](hand.stem(images)))
        maps: list[Tensor] = []
        for index, block in enumerate(hand.blocks):
            values = block(values)
            if index in self._last_blocks:
                maps.append(values)
        return maps

    def start_from_published(self) -> None:
        """Fill the trunk with the published weights of the hand landmark network."""
        published = registry.create_network(f"hand-{self.options['trunk']}", "published")
        self.hand.load_state_dict(published.state_dict())


def wide_box(keypoints: RealArray) -> RotatedBox:
    """Return the box of the network's crop around a hand's keypoints (21, 2 or more), both in pixels."""
    box = box_around_hand(np.asarray(keypoints))
    return box._replace(width=box.width * CONTEXT, height=box.height * CONTEXT)


registry.register(
    registry.NetworkEntry(
        name="hand-masks",
        evaluate="sonjit_lab.papers.mask_rcnn.model:open_hand_masks",
        build=HandMaskNetwork,
        summary="masks of a hand, of objects in it and of its arm, from the crop of one hand",
        source="Lin et al. 2017, Feature Pyramid Networks, section 3, on the trunk of MediaPipe's hand network",
        licence="Apache-2.0",
        inputs=(registry.InputSpec("images", (3, 160, 160), multiple_of=32),),
        where="train it: sonjit train hand-masks",
        tiny={"trunk": "tiny", "channels": 8, "size": 64},
        tiny_inputs=(registry.InputSpec("images", (3, 64, 64), multiple_of=32),),
    )
)
