"""Layers of transformers that are normalised after each sum, as DETR has them, and positions made of sines.

Sources: Vaswani et al. 2017, Attention Is All You Need; Carion et al. 2020, End-to-End Object Detection with
Transformers, appendix A.4. A position is added to what asks and to what is asked, never to what is gathered.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 10_000.0  # wave, in turns of 2 * pi
_TINY = 1e-6


class EncoderLayer(nn.Module):
    """Tokens look at each other, then each is worked on by itself.

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
    """Answers look at each other, then at a memory, then each is worked on by itself.

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
