"""Layers of Deformer: attention over space and time, and heads."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from sonjit._util import InputError
from sonjit_lab.networks.registry import Network

MOTION = 46  # size of a motion's frame: the side, 0 for right and 1 for left, and the 45 numbers of MANO's fingers
_MAX_WAVE = 10_000.0  # wavelength in turns of 2 * pi
_TINY = 1e-6


@dataclass(frozen=True)
class DeformerSize:
    """Dimensions: `width` and `blocks` of the trunk, `channels` of maps and tokens, `side` of the hand's map.

    `layers` are those of each encoder and decoder, `hidden` the width of their feed-forward parts, and `widths` the two
    layers before the pose.
    """

    image: int
    frames: int
    width: int
    blocks: tuple[int, int, int, int]
    channels: int
    side: int
    heads: int
    hidden: int
    layers: int
    widths: tuple[int, int]


class EncoderLayer(nn.TransformerEncoderLayer):
    """Self-attention of tokens with positions, followed by a feed-forward part."""

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Map tokens (B, N, C) with positions to (B, N, C)."""
        placed = tokens + positions
        tokens = self.norm1(tokens + self.dropout1(_attend(self.self_attn, placed, placed, tokens)))
        return self.norm2(tokens + _feed_forward(self, tokens))


class DecoderLayer(nn.TransformerDecoderLayer):
    """Self-attention of queries and attention to a memory, followed by a feed-forward part."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, answers: Tensor, queries: Tensor, memory: Tensor, placed_memory: Tensor
    ) -> Tensor:
        """Refine answers (B, Q, C) to queries at (1, Q, C), from a memory (B, N, C) without and with positions."""
        placed = answers + queries
        answers = self.norm1(answers + self.dropout1(_attend(self.self_attn, placed, placed, answers)))
        attended = _attend(self.multihead_attn, answers + queries, placed_memory, memory)
        answers = self.norm2(answers + self.dropout2(attended))
        return self.norm3(answers + _feed_forward(self, answers))


def _attend(attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return attention(query, key, value, need_weights=False)[0]


def _feed_forward(layer: EncoderLayer | DecoderLayer, tokens: Tensor) -> Tensor:
    return layer.dropout(layer.linear2(layer.dropout(layer.linear1(tokens).relu())))


class Encoder(nn.Module):
    """A sequence of encoder layers, without a final norm."""

    def __init__(self, layers: int, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(channels, heads, hidden, batch_first=True) for _ in range(layers))

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Map tokens (B, N, C) with positions to (B, N, C)."""
        for layer in self.layers:
            tokens = layer(tokens, positions)
        return tokens


class Decoder(nn.Module):
    """A sequence of decoder layers with a final norm. Only the answers of the last layer are used."""

    def __init__(self, layers: int, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(channels, heads, hidden, batch_first=True) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)

    def forward(self, queries: Tensor, memory: Tensor, positions: Tensor) -> Tensor:
        """Map queries (Q, C) and a memory (B, N, C) with positions to answers (B, Q, C)."""
        placed = memory + positions
        answers = torch.zeros_like(queries).expand(memory.shape[0], -1, -1)
        for layer in self.layers:
            answers = layer(answers, queries[None], memory, placed)
        return self.norm(answers)


def sine_positions(length: int, channels: int) -> Tensor:
    """Return positions 1 to `length`, scaled to a full turn, as sines and cosines (length, channels)."""
    steps = torch.arange(1, length + 1, dtype=torch.get_default_dtype()) / (length + _TINY) * 2 * math.pi
    waves = _MAX_WAVE ** (torch.arange(0, channels, 2, dtype=torch.get_default_dtype()) / channels)
    angles = steps[:, None] / waves  # (length, channels / 2)
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


def sine_grid(side: int, channels: int) -> Tensor:
    """Return positions (side * side, channels) of a square map, row by row: half for the row, half for the column."""
    along = sine_positions(side, channels // 2)
    rows, columns = along[:, None].expand(-1, side, -1), along[None].expand(side, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)


class SpatialTransformer(nn.Module):
    """Self-attention over a hand's feature map, and decoding of one token."""

    positions: Tensor

    def __init__(self, size: DeformerSize) -> None:
        super().__init__()
        self.encoder = Encoder(size.layers, size.channels, size.heads, size.hidden)
        self.decoder = Decoder(size.layers, size.channels, size.heads, size.hidden)
        self.register_buffer("positions", sine_grid(size.side, size.channels), persistent=False)
        for weight in self.parameters():
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)

    def forward(self, maps: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, H, W) and queries (Q, C) to answers (N, Q, C) and the map's tokens (N, H * W, C)."""
        memory = self.encoder(maps.flatten(2).mT, self.positions)
        return self.decoder(queries, memory, self.positions), memory


def dense_roi_align(maps: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Return `roi_align` with as many points as cells, as products: for boxes (N, 4) in cells, of up to two maps."""

    def weights(low: Tensor, high: Tensor, length: int) -> Tensor:
        extent = (high - low).clamp(min=1)[:, None, None]
        count = (extent / side).ceil()  # of points in a bin
        bins, points, cells = (torch.arange(n, device=maps.device) for n in (side, 2 * -(-length // side), length))
        at = low[:, None, None] + extent / side * (bins[:, None] + (points + 0.5) / count)  # (N, side, points)
        is_used = (points < count) & (at >= -1) & (at <= length)
        hats = (1 - (at.clamp(0, length - 1)[..., None] - cells).abs()).clamp(min=0)
        return (hats * is_used[..., None]).sum(2) / count

    rows, columns = (weights(boxes[:, axis], boxes[:, axis + 2], maps.shape[3 - axis]) for axis in (1, 0))
    return rows[:, None] @ maps @ columns[:, None].mT


class TokenMlp(nn.Module):
    """Three layers on each token, with their published names."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        widths = (channels, channels, channels, outputs)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (..., C) to (..., outputs)."""
        first, second, last = self.layers
        return last(second(first(tokens).relu()).relu())


class TimeAttention(nn.Module):
    """Weights of the frames from three layers on each, with the published initial weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Linear(channels, channels),
            nn.Tanh(),
            nn.Dropout(0.2),
            nn.Linear(channels, channels),
            nn.Tanh(),
            nn.Dropout(0.2),
            nn.Linear(channels, 1),
            nn.Tanh(),
            nn.Dropout(0.2),
        )
        for layer in self.attention:
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight, -0.1, 0.1)
                nn.init.constant_(layer.bias, 0.01)

    def forward(self, states: Tensor) -> Tensor:
        """Map states (B, T, C) to weights (B, T), shares of sum 1."""
        return self.attention(states).squeeze(2).softmax(1)


class MotionDiscriminator(Network):
    """Discriminate motions of real hands from those of a network that it trains.

    Source: Fu et al. 2023, Deformer, section 3.5; Kocabas et al. 2020, VIBE, section 3.2.
    """

    def __init__(self, channels: int = 1024) -> None:
        super().__init__()
        self.gru = nn.GRU(MOTION, channels, 2, batch_first=True)
        self.attention = TimeAttention(channels)
        self.fc = nn.Linear(channels, 1)

    def forward(self, motions: Tensor) -> dict[str, Tensor]:
        """Score motions (B, T, 46): side, and the fingers' numbers in the convention of Deformer's variant.

        `out` (B, 1) is unbounded, near 1 for real motions, `attention` (B, T), and `pooled` (B, 1024) states.
        """
        if motions.ndim != 3 or motions.shape[2] != MOTION or not motions.shape[1]:
            raise InputError(f"{self.name}: motions have shape {tuple(motions.shape)}; expected (B, T, {MOTION})")
        states: Tensor = self.gru(motions)[0]
        shares = self.attention(states)
        pooled = torch.einsum("bt,btc->bc", shares, states)
        return {"out": self.fc(pooled), "attention": shares, "pooled": pooled}
