"""Layers that HandOccNet and Deformer share: transformer layers, sine positions, and a pyramid of leaky units.

Transformer layers are normalised after each sum, as in DETR. A position is added to queries and keys, never to values.
The trunk is a ResNet-50 with leaky units instead of rectifiers, which still starts from ImageNet's weights, and a
pyramid down to its finest map.

Sources: Vaswani et al. 2017, Attention Is All You Need; Carion et al. 2020, End-to-End Object Detection with
Transformers, appendix A.4; He et al. 2015, Deep Residual Learning; Lin et al. 2017, Feature Pyramid Networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from sonjit._util.errors import InputError

_MAX_WAVE = 10_000.0  # wavelength in turns of 2 * pi
_TINY = 1e-6


BLOCKS = (3, 4, 6, 3)
"""Number of blocks of ResNet-50's four stages."""


class _TransformerLayer(nn.Module):
    """Modules of a transformer layer.

    Args:
        channels: Channels of a token.
        heads: Number of attention heads.
        hidden: Width of the hidden layer of the feed-forward part.
        dropout: Dropout in training.
        cross_attention: True for attention to a memory in addition to self-attention.
    """

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float, *, cross_attention: bool) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        if cross_attention:
            self.multihead_attn = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        if cross_attention:
            self.norm3 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """Return the outputs of the feed-forward part."""
        return self.dropout(self.linear2(self.dropout(self.linear1(tokens).relu())))


class EncoderLayer(_TransformerLayer):
    """Self-attention of tokens, followed by a feed-forward part."""

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float = 0.1) -> None:
        super().__init__(channels, heads, hidden, dropout, cross_attention=False)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Map tokens (B, N, C) with positions to (B, N, C)."""
        placed = tokens + positions
        tokens = self.norm1(tokens + self.dropout(_attend(self.self_attn, placed, placed, tokens)))
        return self.norm2(tokens + self.feed_forward(tokens))


class DecoderLayer(_TransformerLayer):
    """Self-attention of queries and attention to a memory, followed by a feed-forward part."""

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float = 0.1) -> None:
        super().__init__(channels, heads, hidden, dropout, cross_attention=True)

    def forward(self, answers: Tensor, queries: Tensor, memory: Tensor, placed_memory: Tensor) -> Tensor:
        """Refine answers (B, Q, C).

        Args:
            answers: Answers of the previous layer.
            queries: (1, Q, C) positions of the queries.
            memory: (B, N, C) tokens.
            placed_memory: (B, N, C) tokens with their positions.
        """
        placed = answers + queries
        answers = self.norm1(answers + self.dropout(_attend(self.self_attn, placed, placed, answers)))
        found = _attend(self.multihead_attn, answers + queries, placed_memory, memory)
        answers = self.norm2(answers + self.dropout(found))
        return self.norm3(answers + self.feed_forward(answers))


class Encoder(nn.Module):
    """A sequence of encoder layers, without a final norm."""

    def __init__(self, layers: int, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(channels, heads, hidden) for _ in range(layers))

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Map tokens (B, N, C) with positions to (B, N, C)."""
        for layer in self.layers:
            tokens = layer(tokens, positions)
        return tokens


class Decoder(nn.Module):
    """A sequence of decoder layers with a final norm.

    DETR also trains the answers of the other layers; only those of the last layer are used here.
    """

    def __init__(self, layers: int, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(channels, heads, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)

    def forward(self, queries: Tensor, memory: Tensor, positions: Tensor) -> Tensor:
        """Map queries (Q, C) and a memory (B, N, C) with positions to answers (B, Q, C)."""
        placed = memory + positions
        answers = torch.zeros_like(queries).expand(memory.shape[0], -1, -1)
        for layer in self.layers:
            answers = layer(answers, queries[None], memory, placed)
        return self.norm(answers)


def sine_positions(length: int, channels: int) -> Tensor:
    """Return positions 1 to `length`, scaled to a full turn, as sines and cosines of decreasing frequency.

    The shape is (length, channels).
    """
    steps = torch.arange(1, length + 1, dtype=torch.get_default_dtype()) / (length + _TINY) * 2 * math.pi
    waves = _MAX_WAVE ** (torch.arange(0, channels, 2, dtype=torch.get_default_dtype()) / channels)
    angles = steps[:, None] / waves  # (length, channels / 2)
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


def sine_grid(side: int, channels: int) -> Tensor:
    """Return positions (side * side, channels) of a square map, row by row: half for the row, half for the column."""
    along = sine_positions(side, channels // 2)
    rows, columns = along[:, None].expand(-1, side, -1), along[None].expand(side, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)


def _attend(
    attention: Callable[..., tuple[Tensor, Tensor | None]], query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    return attention(query, key, value, need_weights=False)[0]


class LeakyBottleneck(Bottleneck):
    """ResNet's bottleneck block with leaky units."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width, stride)
        self.relu = nn.LeakyReLU(inplace=True)
        outputs = width * self.expansion
        if stride > 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))


class LeakyPyramid(nn.Module):
    """The finest map of a feature pyramid, a quarter of the images' size.

    Args:
        channels: Channels of the map.
        width: Width of the first stage; each next stage is twice as wide.
        blocks: Number of blocks of the four stages.
        smooth2: True to have the convolution of the second finest map, too. HandOccNet's code computes that map and
            drops it. It is not computed here, but its weights are in the published checkpoints.
    """

    def __init__(
        self,
        channels: int = 256,
        width: int = 64,
        blocks: tuple[int, int, int, int] = BLOCKS,
        *,
        smooth2: bool = False,
    ) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        wide = [width * 2**stage for stage in range(4)]
        outputs = [each * Bottleneck.expansion for each in wide]
        # The published names have an additional container around each stage.
        self.layer1 = nn.Sequential(_stage(width, wide[0], blocks[0], 1))
        self.layer2 = nn.Sequential(_stage(outputs[0], wide[1], blocks[1], 2))
        self.layer3 = nn.Sequential(_stage(outputs[1], wide[2], blocks[2], 2))
        self.layer4 = nn.Sequential(_stage(outputs[2], wide[3], blocks[3], 2))
        self.toplayer = nn.Conv2d(outputs[3], channels, 1)
        self.latlayer1 = nn.Conv2d(outputs[2], channels, 1)
        self.latlayer2 = nn.Conv2d(outputs[1], channels, 1)
        self.latlayer3 = nn.Conv2d(outputs[0], channels, 1)
        if smooth2:
            self.smooth2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.smooth3 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in 0..1, H and W multiples of 32, to (B, channels, H / 4, W / 4)."""
        stage1 = self.layer1(self.layer0(images))
        stage2 = self.layer2(stage1)
        stage3 = self.layer3(stage2)
        top = self.toplayer(self.layer4(stage3))
        for lateral, stage in ((self.latlayer1, stage3), (self.latlayer2, stage2), (self.latlayer3, stage1)):
            top = F.interpolate(top, scale_factor=2, mode="bilinear", align_corners=False) + lateral(stage)
        return self.smooth3(top)

    def load_imagenet(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load torchvision's ResNet-50, as for the published networks; the pyramid keeps its weights.

        Raises:
            InputError: The weights are of another network.
        """
        renamed = {_own_name(name): value for name, value in state_dict.items()}
        own = {name: value for name, value in self.state_dict().items() if name.startswith("layer")}
        for name, value in own.items():
            if name not in renamed or renamed[name].shape != value.shape:
                raise InputError(
                    f"these weights are not torchvision's ResNet-50: {name} is missing or has another shape"
                )
        self.load_state_dict({name: renamed[name] for name in own}, strict=False)


def _own_name(name: str) -> str:
    """Convert torchvision's name: conv1 and bn1 are in layer0, and each stage has an additional container."""
    part, _, rest = name.partition(".")
    return {"conv1": f"layer0.0.{rest}", "bn1": f"layer0.1.{rest}"}.get(part, f"{part}.0.{rest}")


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    rest = (LeakyBottleneck(width * Bottleneck.expansion, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(LeakyBottleneck(inputs, width, stride), *rest)
