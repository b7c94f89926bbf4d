"""Layers of transformers that are normalised after each sum, as DETR has them, and positions made of sines.

Sources: Vaswani et al. 2017, Attention Is All You Need; Carion et al. 2020, End-to-End Object Detection with
Transformers, appendix A.4. A position is added to what asks and to what is asked, never to what is gathered.

The trunk that HandOccNet and Deformer share: ResNet-50 with leaky units, and a pyramid down to its finest map.

Sources: He et al. 2015, Deep Residual Learning; Lin et al. 2017, Feature Pyramid Networks. The published networks put
leaky units where ResNet has rectifiers, and begin from its ImageNet weights all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from sonjit.errors import InputError

_LONGEST = 10_000.0  # wave, in turns of 2 * pi
_TINY = 1e-6


class EncoderLayer(nn.Module):
    """Self-attention of tokens, then a feed-forward layer on each.

    Args:
        channels: of a token.
        heads: of the attention.
        hidden: width of the layer between the two of the feed-forward part.
        dropout: in training.
    """

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """(B, N, C) with positions that fit it -> (B, N, C)."""
        placed = tokens + positions
        tokens = self.norm1(tokens + self.dropout(_gather(self.self_attn, placed, placed, tokens)))
        return self.norm2(tokens + _worked(self, tokens))


class DecoderLayer(nn.Module):
    """Self-attention of queries, attention to a memory, then a feed-forward layer on each.

    Args: those of `EncoderLayer`.
    """

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, answers: Tensor, queries: Tensor, memory: Tensor, placed_memory: Tensor) -> Tensor:
        """Answers (B, Q, C) made better.

        Args:
            answers: so far.
            queries: what is asked for, (1, Q, C).
            memory: (B, N, C).
            placed_memory: the same with positions.
        """
        asking = answers + queries
        answers = self.norm1(answers + self.dropout(_gather(self.self_attn, asking, asking, answers)))
        found = _gather(self.multihead_attn, answers + queries, placed_memory, memory)
        answers = self.norm2(answers + self.dropout(found))
        return self.norm3(answers + _worked(self, answers))


class Encoder(nn.Module):
    """Layers one after the other; nothing is normalised at the end."""

    def __init__(self, layers: int, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(channels, heads, hidden) for _ in range(layers))

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """(B, N, C) with positions that fit it -> (B, N, C)."""
        for layer in self.layers:
            tokens = layer(tokens, positions)
        return tokens


class Decoder(nn.Module):
    """Layers one after the other, normalised at the end.

    DETR keeps the answers of every layer, to train them all; only the last are used here.
    """

    def __init__(self, layers: int, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(channels, heads, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)

    def forward(self, queries: Tensor, memory: Tensor, positions: Tensor) -> Tensor:
        """Queries (Q, C) about a memory (B, N, C) with positions that fit it -> answers (B, Q, C)."""
        placed = memory + positions
        answers = torch.zeros_like(queries).expand(memory.shape[0], -1, -1)
        for layer in self.layers:
            answers = layer(answers, queries[None], memory, placed)
        return self.norm(answers)


def sine_positions(length: int, channels: int) -> Tensor:
    """Places 1 to `length`, stretched to a full turn, as sines and cosines of falling frequency: (length, channels)."""
    places = torch.arange(1, length + 1, dtype=torch.get_default_dtype()) / (length + _TINY) * 2 * math.pi
    waves = _LONGEST ** (torch.arange(0, channels, 2, dtype=torch.get_default_dtype()) / channels)
    angles = places[:, None] / waves  # (length, channels / 2)
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


def sine_grid(side: int, channels: int) -> Tensor:
    """Positions of a square map, row by row: (side * side, channels), the first half of the row, then of the column."""
    along = sine_positions(side, channels // 2)
    rows, columns = along[:, None].expand(-1, side, -1), along[None].expand(side, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)


def _gather(
    attention: Callable[..., tuple[Tensor, Tensor | None]], query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    return attention(query, key, value, need_weights=False)[0]


def _worked(layer: EncoderLayer | DecoderLayer, tokens: Tensor) -> Tensor:
    """The feed-forward part."""
    return layer.dropout(layer.linear2(layer.dropout(layer.linear1(tokens).relu())))


BLOCKS = (3, 4, 6, 3)
"""Of ResNet-50's four stages."""


class LeakyBottleneck(Bottleneck):
    """ResNet's block of a 1x1, 3x3 and 1x1 convolution around which the input is added, with leaky units."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width, stride)
        self.relu = nn.LeakyReLU(inplace=True)
        outputs = width * self.expansion
        if stride > 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))


class LeakyPyramid(nn.Module):
    """Images -> the finest map of the pyramid, a quarter of their size.

    Args:
        channels: of the map.
        width: of the first stage; each next one is twice as wide.
        blocks: of the four stages.
        smooth2: hold the convolution of the second finest map too. HandOccNet's code computes that map and drops it;
            here it is not computed, but the published weights have its numbers.
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
        # The published names have one more container around each stage.
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
        """(B, 3, H, W) in 0..1, H and W multiples of 32 -> (B, channels, H / 4, W / 4)."""
        stage1 = self.layer1(self.layer0(images))
        stage2 = self.layer2(stage1)
        stage3 = self.layer3(stage2)
        top = self.toplayer(self.layer4(stage3))
        for lateral, stage in ((self.latlayer1, stage3), (self.latlayer2, stage2), (self.latlayer3, stage1)):
            top = F.interpolate(top, scale_factor=2, mode="bilinear", align_corners=False) + lateral(stage)
        return self.smooth3(top)

    def load_imagenet(self, state_dict: Mapping[str, Tensor]) -> None:
        """Begin from torchvision's ResNet-50, as the published networks did; the pyramid keeps its weights.

        Raises:
            InputError: weights of another network.
        """
        given = {_own_name(name): value for name, value in state_dict.items()}
        own = {name: value for name, value in self.state_dict().items() if name.startswith("layer")}
        for name, value in own.items():
            if name not in given or given[name].shape != value.shape:
                raise InputError(
                    f"these weights are not torchvision's ResNet-50: {name} is missing or of another shape"
                )
        self.load_state_dict({name: given[name] for name in own}, strict=False)


def _own_name(name: str) -> str:
    """Torchvision's name as the pyramid's: conv1 and bn1 are in layer0, and each stage has one more container."""
    part, _, rest = name.partition(".")
    return {"conv1": f"layer0.0.{rest}", "bn1": f"layer0.1.{rest}"}.get(part, f"{part}.0.{rest}")


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    rest = (LeakyBottleneck(width * Bottleneck.expansion, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(LeakyBottleneck(inputs, width, stride), *rest)
