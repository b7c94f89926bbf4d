"""HandOccNet's transformers: what the visible hand tells about the hidden part, and what the whole tells about itself.

Source: Park et al. 2022, HandOccNet, sections 3.2 and 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import MutableMapping

HEADS = 4


class Attention(nn.Module):
    """One block: each place of the query map gathers from the places of the key map what correlates with it.

    Args:
        channels: of both maps.
        side: of both maps, for each place of which a position is learned.
        injecting: the block of FIT. How much a place gathers at all is a sigmoid of what its second query and all the
            second keys have in common, their sum (the paper's pooling is that sum); and the query itself is not added
            to what was gathered.
    """

    def __init__(self, channels: int, side: int, *, injecting: bool) -> None:
        super().__init__()
        self.q_embedding = nn.Parameter(torch.randn(1, channels, side, side))
        self.k_embedding = nn.Parameter(torch.randn(1, channels, side, side))
        self.encode_value = nn.Conv2d(channels, channels, 1)
        self.encode_query = nn.Conv2d(channels, channels, 1)
        self.encode_key = nn.Conv2d(channels, channels, 1)
        self.injecting = injecting
        if injecting:
            self.encode_query2 = nn.Conv2d(channels, channels, 1)
            self.encode_key2 = nn.Conv2d(channels, channels, 1)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = _Mlp(channels)

    def forward(
        self, query: Tensor, key: Tensor, maps: MutableMapping[str, Tensor] | None = None, name: str = ""
    ) -> Tensor:
        """The query map made anew.

        Args:
            query: (B, C, H, W): the places that gather.
            key: (B, C, H, W): those that they gather from.
            maps: takes what correlates, if given: `<name>.soft` (B, heads, H * W, H * W), where each place looks, rows
                of which sum to 1; and from FIT `<name>.sigmoid` (B, heads, H, W), how much it takes from there.
            name: of this block in `maps`.
        """
        asked, shown = query + self.q_embedding, key + self.k_embedding
        q, k, v = _heads(self.encode_query(asked)), _heads(self.encode_key(shown)), _heads(self.encode_value(key))
        scale = q.shape[-1] ** -0.5
        if maps is not None:
            maps[f"{name}.soft"] = torch.softmax(q @ k.transpose(2, 3) * scale, -1)
        gathered = F.scaled_dot_product_attention(q, k, v)  # (B, heads, H * W, C / heads)
        if self.injecting:
            # The sum over keys of products is the product with the sum of keys: no map of all pairs is needed, and
            # weighing the rows of the softmax is weighing what was gathered by them.
            q2, k2 = _heads(self.encode_query2(asked)), _heads(self.encode_key2(shown))
            share = torch.sigmoid(q2 @ k2.sum(2).unsqueeze(3) * scale)  # (B, heads, H * W, 1)
            if maps is not None:
                maps[f"{name}.sigmoid"] = share.squeeze(3).unflatten(2, query.shape[2:])
            gathered = gathered * share
        tokens = gathered.transpose(1, 2).flatten(2)  # (B, H * W, C)
        if not self.injecting:
            tokens = tokens + query.flatten(2).transpose(1, 2)
        tokens = tokens + self.mlp(self.norm2(tokens))
        made = tokens.transpose(1, 2).unflatten(2, query.shape[2:])
        if maps is not None:
            maps[name] = made
        return made


class FeatureTransformer(nn.Module):
    """Blocks of attention, each with the first key map; FIT where they inject, SET where a map looks at itself."""

    def __init__(self, channels: int, side: int, *, injecting: bool, blocks: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Attention(channels, side, injecting=injecting) for _ in range(blocks))
        self.injecting = injecting
        if injecting:
            self.conv1 = nn.Sequential(
                nn.Conv2d(2 * channels, channels, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
            self.conv2 = nn.Sequential(nn.Conv2d(2 * channels, channels, 1))

    def forward(
        self, query: Tensor, key: Tensor, maps: MutableMapping[str, Tensor] | None = None, name: str = ""
    ) -> Tensor:
        """(B, C, H, W) twice -> (B, C, H, W), as in a block; in `maps` the blocks are `<name>.block0` and so on."""
        for number, layer in enumerate(self.layers):
            query = layer(query, key, maps, f"{name}.block{number}")
        if self.injecting:
            both = torch.cat([key, query], 1)
            query = self.conv1(both) + self.conv2(both)
        if maps is not None:
            maps[name] = query
        return query


class _Mlp(nn.Module):
    """Two layers on each token, under their published names."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


def _heads(values: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, heads, H * W, C / heads), with the channels next to each other: attention is fast so."""
    return values.flatten(2).transpose(1, 2).contiguous().unflatten(2, (HEADS, -1)).transpose(1, 2)
