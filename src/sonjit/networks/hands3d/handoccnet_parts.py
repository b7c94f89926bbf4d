"""HandOccNet's transformers: features of the visible hand injected into the hidden part, then self-attention over all.

Source: Park et al. 2022, HandOccNet, sections 3.2 and 3.3.

HandOccNet's regressor: an hourglass finds the joints in the crop, an encoder reads pose and shape off both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

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
            maps: takes what correlates, if given: `<name>.soft` (B, heads, H * W, H * W), the attention, rows
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
    """Blocks of attention, each with the first key map; FIT where they inject, SET in self-attention."""

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


KEYPOINTS = 21


class PreActivation(nn.Module):
    """Three times norm, leaky unit and convolution (1x1, 3x3, 1x1), around which the input is added.

    Args:
        channels: in and out; half as many in between.
        norms: what the published weights call the norms.
    """

    def __init__(self, channels: int, norms: tuple[str, str, str] = ("bn1", "bn2", "bn3")) -> None:
        super().__init__()
        half = channels // 2
        self._norms = norms
        for name, width in zip(norms, (channels, half, half), strict=True):
            self.add_module(name, nn.BatchNorm2d(width))
        self.conv1 = nn.Conv2d(channels, half, 1)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1)
        self.conv3 = nn.Conv2d(half, channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        inner = values
        for norm, conv in zip(self._norms, (self.conv1, self.conv2, self.conv3), strict=True):
            inner = conv(F.leaky_relu(self.get_submodule(norm)(inner)))
        return values + inner


class Hourglass(nn.Module):
    """Halve the map `depth` times and add it up again on the way back. Source: Newell et al. 2016.

    Of a level's blocks the first works beside the halving, the second after it, the third before doubling again; the
    innermost level has a fourth, its middle.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.hg = nn.ModuleList(
            nn.ModuleList(nn.Sequential(PreActivation(channels)) for _ in range(3 if level else 4))
            for level in range(depth)
        )

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape; H and W divide by 2 ** depth."""
        return self._level(len(self.hg) - 1, values)

    def _level(self, level: int, values: Tensor) -> Tensor:
        beside, down, up, *middle = cast("nn.ModuleList", self.hg[level])
        low = down(F.max_pool2d(values, 2))
        low = self._level(level - 1, low) if level else middle[0](low)
        return beside(values) + F.interpolate(up(low), scale_factor=2, mode="nearest")


class _Fc(nn.Module):
    """A 1x1 convolution with norm and leaky unit, under the published name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.LeakyReLU())

    def forward(self, values: Tensor) -> Tensor:
        return self.block(values)


class SpatialSoftmax(nn.Module):
    """Where joints are in a square map: the mean place of a heatmap each.

    Args:
        side: of the map.
    """

    uu: Tensor
    vv: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.betas = nn.Parameter(torch.ones(KEYPOINTS, 1))  # how peaked each joint's heatmap is
        centres = (torch.arange(side, dtype=torch.get_default_dtype()) + 0.5) / side
        self.register_buffer("uu", centres.repeat(side, 1), persistent=False)
        self.register_buffer("vv", centres[:, None].repeat(1, side), persistent=False)

    def places(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, 21, H * W) -> joints (B, 21, 2) as x, y in 0..1, heatmaps (B, 21, H * W) that sum to 1."""
        heatmaps = torch.softmax(scores * self.betas, -1)
        grid = torch.stack([self.uu.flatten(), self.vv.flatten()], -1)  # (H * W, 2)
        return heatmaps @ grid, heatmaps


class SpatialSoftmaxHead(SpatialSoftmax):
    """Where the 21 joints are in the crop, after an hourglass."""

    def __init__(self, channels: int, side: int, depth: int) -> None:
        super().__init__(side)
        self.hg = nn.ModuleList([Hourglass(channels, depth)])
        self.res = nn.ModuleList([nn.Sequential(PreActivation(channels))])
        self.fc = nn.ModuleList([_Fc(channels)])
        self.score = nn.ModuleList([nn.Conv2d(channels, KEYPOINTS, 1)])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Joints (B, 21, 2) in 0..1, heatmaps (B, 21, H, W), encoding (B, C, H, W) and scores (B, 21, H, W)."""
        encoding = self.fc[0](self.res[0](self.hg[0](features)))
        scores = self.score[0](encoding)
        joints, heatmaps = self.places(scores.flatten(2))
        return joints, heatmaps.unflatten(2, scores.shape[2:]), encoding, scores


class HandEncoder(nn.Module):
    """Heatmaps and encoding -> one vector, by halving `depth` times to 2 x 2."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.heatmap_conv = nn.Conv2d(KEYPOINTS, channels, 1)
        self.encoding_conv = nn.Conv2d(channels, channels, 1)
        self.reg = nn.ModuleList(PreActivation(channels, ("bn", "bn1", "bn2")) for _ in range(2 * depth))

    def forward(self, heatmaps: Tensor, encoding: Tensor) -> Tensor:
        """(B, 21, H, W) and (B, C, H, W) -> (B, 4 * C)."""
        values = self.heatmap_conv(heatmaps) + self.encoding_conv(encoding)
        for first, second in _pairs(self.reg):
            values = F.max_pool2d(second(first(values)), 2)
        return values.flatten(1)


class ManoHead(nn.Module):
    """A vector -> six numbers per joint's rotation, and the shape."""

    def __init__(self, inputs: int, widths: tuple[int, int]) -> None:
        super().__init__()
        first, second = widths
        self.mano_base_layer = nn.Sequential(
            nn.Linear(inputs, first), nn.LeakyReLU(), nn.Linear(first, second), nn.LeakyReLU()
        )
        self.pose_reg = nn.Linear(second, 96)
        self.shape_reg = nn.Linear(second, 10)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs) -> (B, 96) and (B, 10)."""
        base = self.mano_base_layer(values)
        return self.pose_reg(base), self.shape_reg(base)


class Regressor(nn.Module):
    """The three under their published names."""

    def __init__(self, channels: int, side: int, widths: tuple[int, int]) -> None:
        super().__init__()
        depth = side.bit_length() - 2  # halvings to 2 x 2
        self.hand_regHead = SpatialSoftmaxHead(channels, side, depth)
        self.hand_Encoder = HandEncoder(channels, depth)
        self.mano_regHead = ManoHead(4 * channels, widths)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> joints (B, 21, 2) in 0..1, scores (B, 21, H, W), pose (B, 96), shape (B, 10)."""
        joints, heatmaps, encoding, scores = self.hand_regHead(features)
        pose, shape = self.mano_regHead(self.hand_Encoder(heatmaps, encoding))
        return joints, scores, pose, shape


def _pairs(modules: nn.ModuleList) -> Iterator[tuple[nn.Module, nn.Module]]:
    each = iter(modules)
    return zip(each, each, strict=True)
