"""A residual network and the feature pyramid on top of it, which map images to P2..P6.

Sources: He et al., Deep Residual Learning (2015), with the stride in the 3x3 convolution of a bottleneck as in
torchvision; Lin et al., Feature Pyramid Networks (2017); Wu and He, Group Normalization (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import gcd
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name
from torchvision.models.resnet import BasicBlock, Bottleneck

from sonjit._util.errors import InputError

Norm = Literal["frozen", "batch", "group"]

_DEPTHS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    10: (BasicBlock, (1, 1, 1, 1)),
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
"""Types of blocks and their numbers in the four stages, by the number of all layers."""


class FrozenNorm(nn.Module):
    """Batch normalization with constant statistics, scale and shift; nothing is added to the variance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, start in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), start))

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=0.0)


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Return a normalization of the given channels; group norm suits batches of one or two images."""
    if norm == "frozen":
        return FrozenNorm(channels)
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(gcd(32, channels), channels)


def conv_block(inputs: int, outputs: int, kernel: int, *, norm: Norm | None, relu: bool = True) -> nn.Sequential:
    """Return a convolution with optional normalization and ReLU; it has a bias only without normalization."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=norm is None)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    rest = [norm_layer(norm, outputs)] if norm else []
    return nn.Sequential(conv, *rest, *([nn.ReLU(inplace=True)] if relu else []))


class ResNet(nn.Module):
    """The four stages of a residual network, C2..C5; keys are those of torchvision's ResNet without its classifier.

    Args:
        depth: Number of layers: 10, 18, 34, 50 or 101.
        width: Channels of the first stage's 3x3 convolutions; 64 in the paper.
        norm: Normalization: "frozen" keeps trained statistics, "batch" learns them, "group" has none.
    """

    def __init__(self, depth: int = 50, width: int = 64, norm: Norm = "frozen") -> None:
        super().__init__()
        if depth not in _DEPTHS:
            raise InputError(f"Unknown depth {depth}. Choose from {', '.join(map(str, _DEPTHS))}")
        kind, blocks = _DEPTHS[depth]
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = norm_layer(norm, width)
        channels = width
        self.channels: list[int] = []  # of C2..C5
        for stage, count in enumerate(blocks):
            layer = nn.Sequential()
            outputs = (width << stage) * kind.expansion
            for i in range(count):
                stride = 2 if stage and not i else 1
                block = kind(channels, width << stage, stride, norm_layer=partial(norm_layer, norm))
                if stride > 1 or channels != outputs:
                    shortcut = nn.Conv2d(channels, outputs, 1, stride, bias=False)
                    block.downsample = nn.Sequential(shortcut, norm_layer(norm, outputs))
                channels = outputs
                layer.append(block)
            self.add_module(f"layer{stage + 1}", layer)
            self.channels.append(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, H, W) to C2..C5 with strides 4, 8, 16, 32."""
        x = F.max_pool2d(self.bn1(self.conv1(images)).relu_(), 3, 2, 1)
        maps: list[Tensor] = []
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
            maps.append(x)
        return maps


class FeaturePyramid(nn.Module):
    """The feature pyramid P2..P6: coarse maps with more semantics are added to fine maps with more detail.

    Args:
        inputs: Channels of C2..C5.
        channels: Channels of every level.
        norm: Normalization after each convolution, or None.
    """

    def __init__(self, inputs: Sequence[int], channels: int = 256, norm: Norm | None = None) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(conv_block(count, channels, 1, norm=norm, relu=False) for count in inputs)
        self.output = nn.ModuleList(conv_block(channels, channels, 3, norm=norm, relu=False) for _ in inputs)
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_uniform_(conv.weight, a=1)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map C2..C5 (B, C_l, H_l, W_l) to P2..P6 (B, channels, H_l, W_l); P6 is every second pixel of P5."""
        laterals = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for fine, coarse in zip(reversed(laterals[:-1]), reversed(laterals[1:]), strict=True):
            fine += F.interpolate(coarse, fine.shape[-2:], mode="nearest")
        levels = [output(x) for output, x in zip(self.output, laterals, strict=True)]
        return [*levels, F.max_pool2d(levels[-1], 1, 2)]
