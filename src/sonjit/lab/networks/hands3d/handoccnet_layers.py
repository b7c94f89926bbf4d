"""Layers of HandOccNet.

Source: Park et al. 2022, HandOccNet, sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.lab.networks.hands3d.layers import LeakyPyramid
from sonjit.lab.networks.hands3d.sizes import HandOccSize

HEADS = 4
KEYPOINTS = 21


class Attention(nn.Module):
    """One block: each cell of the query map attends to the cells of the key map.

    Args:
        channels: Channels of both maps.
        side: Side of both maps; a position is learned for each cell.
        injecting: True for the block of FIT, which does not add the query to its output.
        sigmoid: True to multiply the output of FIT by a sigmoid of the correlation of a second query with the sum of
            all second keys (the paper's pooling is that sum).
    """

    def __init__(self, channels: int, side: int, *, injecting: bool, sigmoid: bool = True) -> None:
        super().__init__()
        self.q_embedding = nn.Parameter(torch.randn(1, channels, side, side))
        self.k_embedding = nn.Parameter(torch.randn(1, channels, side, side))
        self.encode_value = nn.Conv2d(channels, channels, 1)
        self.encode_query = nn.Conv2d(channels, channels, 1)
        self.encode_key = nn.Conv2d(channels, channels, 1)
        self.injecting = injecting
        self.weighs = injecting and sigmoid
        if self.weighs:
            self.encode_query2 = nn.Conv2d(channels, channels, 1)
            self.encode_key2 = nn.Conv2d(channels, channels, 1)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = _Mlp(channels)

    def forward(
        self, query: Tensor, key: Tensor, maps: MutableMapping[str, Tensor] | None = None, name: str = ""
    ) -> Tensor:
        """Return the updated query map.

        Args:
            query: (B, C, H, W) query map.
            key: (B, C, H, W) key map.
            maps: Mapping that receives the attention, if given: `<name>.soft` (B, heads, H * W, H * W), whose rows sum
                to 1, and for FIT `<name>.sigmoid` (B, heads, H, W), the factor of each cell.
            name: Name of this block in `maps`.
        """
        placed_query, placed_key = query + self.q_embedding, key + self.k_embedding
        q, k = _heads(self.encode_query(placed_query)), _heads(self.encode_key(placed_key))
        v = _heads(self.encode_value(key))
        scale = q.shape[-1] ** -0.5
        if maps is not None:
            maps[f"{name}.soft"] = torch.softmax(q @ k.transpose(2, 3) * scale, -1)
        gathered = F.scaled_dot_product_attention(q, k, v)  # (B, heads, H * W, C / heads)
        if self.weighs:
            # The sum of products over keys is the product with the sum of keys, which needs no map of all pairs.
            # Weighting the rows of the softmax is equal to weighting its output.
            q2, k2 = _heads(self.encode_query2(placed_query)), _heads(self.encode_key2(placed_key))
            share = torch.sigmoid(q2 @ k2.sum(2).unsqueeze(3) * scale)  # (B, heads, H * W, 1)
            if maps is not None:
                maps[f"{name}.sigmoid"] = share.squeeze(3).unflatten(2, query.shape[2:])
            gathered = gathered * share
        tokens = gathered.transpose(1, 2).flatten(2)  # (B, H * W, C)
        if not self.injecting:
            tokens = tokens + query.flatten(2).transpose(1, 2)
        tokens = tokens + self.mlp(self.norm2(tokens))
        updated = tokens.transpose(1, 2).unflatten(2, query.shape[2:])
        if maps is not None:
            maps[name] = updated
        return updated


class FeatureTransformer(nn.Module):
    """A sequence of attention blocks with the same key map: FIT if they inject, SET for self-attention."""

    def __init__(self, channels: int, side: int, *, injecting: bool, sigmoid: bool = True, blocks: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Attention(channels, side, injecting=injecting, sigmoid=sigmoid) for _ in range(blocks)
        )
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
        """Map query and key (B, C, H, W) to (B, C, H, W); in `maps`, the blocks are `<name>.block0` and so on."""
        for number, layer in enumerate(self.layers):
            query = layer(query, key, maps, f"{name}.block{number}")
        if self.injecting:
            both = torch.cat([key, query], 1)
            query = self.conv1(both) + self.conv2(both)
        if maps is not None:
            maps[name] = query
        return query


class _Mlp(nn.Module):
    """Two layers on each token, with their published names."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


def _heads(values: Tensor) -> Tensor:
    """Convert (B, C, H, W) to (B, heads, H * W, C / heads); attention is fast with contiguous channels."""
    return values.flatten(2).transpose(1, 2).contiguous().unflatten(2, (HEADS, -1)).transpose(1, 2)


class PreActivation(nn.Module):
    """Three times norm, leaky unit and convolution (1x1, 3x3, 1x1), with a residual connection.

    Args:
        channels: Channels of input and output; inner layers have half as many.
        norms: Names of the norms in the published weights.
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
        """Map (B, C, H, W) to the same shape."""
        inner = values
        for norm, conv in zip(self._norms, (self.conv1, self.conv2, self.conv3), strict=True):
            inner = conv(F.leaky_relu(self.get_submodule(norm)(inner)))
        return values + inner


class Hourglass(nn.Module):
    """Halve the map `depth` times and add it up again on the way back. Source: Newell et al. 2016.

    The first block of a level is the skip connection, the second follows the halving, the third precedes the doubling.
    The innermost level has a fourth block in the middle.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.hg = nn.ModuleList(
            nn.ModuleList(nn.Sequential(PreActivation(channels)) for _ in range(3 if level else 4))
            for level in range(depth)
        )

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape; H and W must be multiples of 2 ** depth."""
        return self._level(len(self.hg) - 1, values)

    def _level(self, level: int, values: Tensor) -> Tensor:
        skip, down, up, *middle = cast("nn.ModuleList", self.hg[level])
        low = down(F.max_pool2d(values, 2))
        low = self._level(level - 1, low) if level else middle[0](low)
        return skip(values) + F.interpolate(up(low), scale_factor=2, mode="nearest")


class _Fc(nn.Module):
    """A 1x1 convolution with norm and leaky unit, with its published name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.LeakyReLU())

    def forward(self, values: Tensor) -> Tensor:
        return self.block(values)


class SpatialSoftmax(nn.Module):
    """Joint positions in a square map: the mean position of each heatmap.

    Args:
        side: Side of the map.
    """

    uu: Tensor
    vv: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.betas = nn.Parameter(torch.ones(KEYPOINTS, 1))  # sharpness of each joint's heatmap
        centres = (torch.arange(side, dtype=torch.get_default_dtype()) + 0.5) / side
        self.register_buffer("uu", centres.repeat(side, 1), persistent=False)
        self.register_buffer("vv", centres[:, None].repeat(1, side), persistent=False)

    def positions(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores (B, 21, H * W) to joints (B, 21, 2) as x, y in 0..1, and heatmaps (B, 21, H * W) of sum 1."""
        heatmaps = torch.softmax(scores * self.betas, -1)
        grid = torch.stack([self.uu.flatten(), self.vv.flatten()], -1)  # (H * W, 2)
        return heatmaps @ grid, heatmaps


class SpatialSoftmaxHead(SpatialSoftmax):
    """Joint positions in the crop, after an hourglass."""

    def __init__(self, channels: int, side: int, depth: int) -> None:
        super().__init__(side)
        self.hg = nn.ModuleList([Hourglass(channels, depth)])
        self.res = nn.ModuleList([nn.Sequential(PreActivation(channels))])
        self.fc = nn.ModuleList([_Fc(channels)])
        self.score = nn.ModuleList([nn.Conv2d(channels, KEYPOINTS, 1)])

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return joints (B, 21, 2) in 0..1, heatmaps and scores (B, 21, H, W), and the encoding (B, C, H, W).

        The order is joints, heatmaps, encoding, scores.
        """
        encoding = self.fc[0](self.res[0](self.hg[0](features)))
        scores = self.score[0](encoding)
        joints, heatmaps = self.positions(scores.flatten(2))
        return joints, heatmaps.unflatten(2, scores.shape[2:]), encoding, scores


class HandEncoder(nn.Module):
    """Encode heatmaps and features as one vector, by halving `depth` times to 2 x 2."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.heatmap_conv = nn.Conv2d(KEYPOINTS, channels, 1)
        self.encoding_conv = nn.Conv2d(channels, channels, 1)
        self.reg = nn.ModuleList(PreActivation(channels, ("bn", "bn1", "bn2")) for _ in range(2 * depth))

    def forward(self, heatmaps: Tensor, encoding: Tensor) -> Tensor:
        """Map heatmaps (B, 21, H, W) and features (B, C, H, W) to (B, 4 * C)."""
        values = self.heatmap_conv(heatmaps) + self.encoding_conv(encoding)
        for first, second in _pairs(self.reg):
            values = F.max_pool2d(second(first(values)), 2)
        return values.flatten(1)


class ManoHead(nn.Module):
    """Predict six numbers for each joint's rotation, and the shape."""

    def __init__(self, inputs: int, widths: tuple[int, int]) -> None:
        super().__init__()
        first, second = widths
        self.mano_base_layer = nn.Sequential(
            nn.Linear(inputs, first), nn.LeakyReLU(), nn.Linear(first, second), nn.LeakyReLU()
        )
        self.pose_reg = nn.Linear(second, 96)
        self.shape_reg = nn.Linear(second, 10)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, inputs) to the pose (B, 96) and the shape (B, 10)."""
        base = self.mano_base_layer(values)
        return self.pose_reg(base), self.shape_reg(base)


class Regressor(nn.Module):
    """Joints, encoder and MANO head, with their published names."""

    def __init__(self, channels: int, side: int, widths: tuple[int, int]) -> None:
        super().__init__()
        depth = side.bit_length() - 2  # number of halvings to 2 x 2
        self.hand_regHead = SpatialSoftmaxHead(channels, side, depth)
        self.hand_Encoder = HandEncoder(channels, depth)
        self.mano_regHead = ManoHead(4 * channels, widths)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map (B, C, H, W) to joints (B, 21, 2) in 0..1, scores (B, 21, H, W), pose (B, 96) and shape (B, 10)."""
        joints, heatmaps, encoding, scores = self.hand_regHead(features)
        pose, shape = self.mano_regHead(self.hand_Encoder(heatmaps, encoding))
        return joints, scores, pose, shape


def _pairs(modules: nn.ModuleList) -> Iterator[tuple[nn.Module, nn.Module]]:
    each = iter(modules)
    return zip(each, each, strict=True)


class SpatialGate(nn.Module):
    """Visible share of the hand at each cell, from the channels' maximum and mean. Source: Woo et al. 2018, CBAM."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Sequential()
        self.spatial.add_module("conv", nn.Conv2d(2, 1, 7, padding=3, bias=False))
        self.spatial.add_module("bn", nn.BatchNorm2d(1, momentum=0.01))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, 1, H, W) in 0..1."""
        pooled = torch.cat([features.amax(1, keepdim=True), features.mean(1, keepdim=True)], 1)
        return torch.sigmoid(self.spatial(pooled))


class HandOccBackbone(LeakyPyramid):
    """The trunk with the gate, with their published names."""

    def __init__(self, size: HandOccSize) -> None:
        super().__init__(size.channels, size.width, size.blocks, smooth2=True)
        self.attention_module = SpatialGate()

    def apply_gate(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, S, S) to features (B, C, S / 8, S / 8) and the gate (B, 1, S / 8, S / 8)."""
        features = F.avg_pool2d(self(images), 2)
        return features, self.attention_module(features)
