"""MediaPipe's hand landmark networks: 21 keypoints, presence and handedness from the crop of one hand.

The trunk resembles MobileNetV2 with five halvings. Its last map of 7 x 7 is averaged and read by four linear heads.
Every output is therefore the mean of the head's outputs for each cell, and its class activation map is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from sonjit._util.errors import InputError
from sonjit.lab.networks.mediapipe.blocks import InvertedResidual, SameConv2d, depthwise, new_activation
from sonjit.lab.networks.mediapipe.tflite_weights import fill_from_tflite, register_published
from sonjit.lab.networks.registry import Network

PUBLISHED_KEYPOINTS = 21
_INPUT_SIZE = 224
_HEAVY_WIDTH = 1.23
"""Width that gives `full` the 4.02 million parameters of heavy in the paper's table 3, which was never published."""


@dataclass(frozen=True)
class Trunk:
    """Dimensions of a trunk.

    Attributes:
        stem: Channels of the first convolution, and of the first block.
        blocks: Kernel, stride, expanded channels and output channels of each inverted residual.
        features: Channels of the last map.
    """

    stem: tuple[int, int]
    blocks: tuple[tuple[int, int, int, int], ...]
    features: int

    def widen_blocks(self, width: float) -> Trunk:
        """Return the trunk with every number of channels times `width`, in multiples of eight."""
        if width == 1:
            return self
        if not width > 0:
            raise InputError(f"width={width}: must be above 0")
        stem, features = (_eights(self.stem[0] * width), _eights(self.stem[1] * width)), _eights(self.features * width)
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
                (3, 2, 64, 24), (3, 1, 144, 24),
                (5, 2, 144, 40), (5, 1, 240, 40),
                (3, 2, 240, 80), *((3, 1, 480, 80),) * 2,
                (5, 1, 480, 112), *((5, 1, 672, 112),) * 2,
                (5, 2, 672, 192), *((5, 1, 1152, 192),) * 3,
            ),
            1152,
        ),
        "lite": Trunk(
            (24, 16),
            (
                (3, 2, 64, 16), (3, 1, 96, 16),
                (5, 2, 96, 24), (5, 1, 144, 24),
                (3, 2, 144, 48), *((3, 1, 288, 48),) * 2,
                (5, 1, 288, 64), *((5, 1, 384, 64),) * 2,
                (5, 2, 384, 112), *((5, 1, 672, 112),) * 3,
            ),
            672,
        ),
        "tiny": Trunk((8, 8), ((3, 2, 16, 8), (5, 2, 16, 12), (3, 2, 24, 12), (5, 2, 24, 16), (5, 1, 32, 16)), 32),
    }  # fmt: skip
    if name not in trunks:
        raise InputError(f"Unknown trunk {name!r}. Choose from {', '.join(trunks)}")
    return trunks[name]


class HandLandmarkNetwork(Network):
    """Hand landmarks from a square crop.

    Args:
        trunk: `full`, `lite` or, for tests, `tiny`; `hand-heavy` is a wider `full`.
        keypoints: Number of keypoints, at least 21. Published weights fill the first 21;
            the others start in the middle of the crop.
        width: Factor on the trunk's channels.
        activation: One of `ACTIVATIONS`, after the convolutions; published weights were trained with relu6.
        dropout: Share of the averages of the last map that training leaves out.

    Source: Zhang et al. 2020, MediaPipe Hands, section 2.2. Numbers are those of the published files, whose batch norms
    are folded into the convolutions.
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
        self.stem = SameConv2d(3, first, 3, stride=2)
        self.first = InvertedResidual(first, first, second, activation=activation)
        blocks: list[nn.Module] = []
        channels = second
        for kernel, stride, expanded, out in numbers.blocks:
            blocks.append(
                InvertedResidual(channels, expanded, out, kernel=kernel, stride=stride, activation=activation)
            )
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.widen = nn.Conv2d(channels, numbers.features, 1)
        self.mix = depthwise(numbers.features, 3)
        self.activations = nn.ModuleList(new_activation(activation) for _ in range(3))
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
        """Predict the hands in crops.

        Args:
            images: (B, 3, 224, 224) RGB in 0..1.

        Returns:
            `keypoints` (B, 3K): x, y in pixels of the crop, ordinal z from the wrist; `presence` (B, 1) and
            `handedness` (B, 1): probabilities, the latter that of a left hand in a selfie view; `keypoints_3d`
            (B, 3K): metres in the crop's axes, origin at the hand's centre.
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
        fill_from_tflite(published, path)
        with torch.no_grad():
            for head, start in ((self.keypoints, _INPUT_SIZE / 2), (self.keypoints_3d, 0.0)):
                head.weight.zero_()
                head.bias.copy_(torch.tensor([start, start, 0.0]).repeat(len(head.bias) // 3))
            own = self.state_dict()
            for key, value in published.state_dict().items():
                own[key][: len(value)] = value


for _name, _trunk, _width in (("lite", "lite", 1.0), ("full", "full", 1.0), ("heavy", "full", _HEAVY_WIDTH)):
    register_published(
        f"hand-{_name}",
        partial(HandLandmarkNetwork, trunk=_trunk, width=_width),
        "21 keypoints, presence and handedness of one hand in its crop",
        "Zhang et al. 2020, MediaPipe Hands, section 2.2",
        (_INPUT_SIZE, _INPUT_SIZE),
        tiny={"trunk": "tiny", "width": 1.0},
        multiple_of=16,
        weight=None if _name == "heavy" else "",
    )
