"""HandOccNet: a hand's mesh from one image in which much of it may be hidden.

A gate gives the visible share of the hand at each place of the feature map. What shows (primary) is injected into what
does not (secondary) where the two correlate: FIT; self-attention over the result follows: SET; an hourglass finds the
joints in the crop, an encoder reads pose and shape off both, and MANO makes the mesh.

Source: Park et al. 2022, HandOccNet, sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sonjit.errors import InputError
from sonjit.hand_models import Mano, demo_mano
from sonjit.hand_models.mano import without_mano
from sonjit.hand_models.rotations import axis_angle_from_matrix, matrix_from_6d
from sonjit.networks.hands3d.layers import BLOCKS, LeakyPyramid
from sonjit.networks.registry import InputSpec, Network, NetworkEntry, register

HEADS = 4


class Attention(nn.Module):
    """One block: each place of the query map gathers from the places of the key map what correlates with it.

    Args:
        channels: of both maps.
        side: of both maps, for each place of which a position is learned.
        injecting: the block of FIT: the query itself is not added to what was gathered.
        sigmoid: of FIT, how much a place gathers at all is a sigmoid of what its second query and all the second keys
            have in common, their sum (the paper's pooling is that sum).
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
        if self.weighs:
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


_MANO_KEYS = "regressor.mano_regHead.mano_layer."
_NOT_WEIGHTS = ("fitting_loss.", "regressor.hand_regHead.uu", "regressor.hand_regHead.vv")
"""In published checkpoints, and no part of this network: what a demo fits with, and the places of a heatmap's cells."""


@dataclass(frozen=True)
class Size:
    """The numbers of one size.

    Attributes:
        image: side of the crop in pixels.
        width: of the trunk's first stage.
        blocks: of its four stages.
        channels: of the maps.
        widths: of the two layers before pose and shape.
    """

    image: int
    width: int
    blocks: tuple[int, int, int, int]
    channels: int
    widths: tuple[int, int]


SIZES = {
    "full": Size(256, 64, BLOCKS, 256, (1024, 512)),
    "small": Size(64, 16, (1, 1, 1, 1), 48, (128, 64)),
    "tiny": Size(64, 4, (1, 1, 1, 1), 16, (32, 16)),
}


FITS = ("full", "softmax", "gate", "none")
"""What becomes of hidden places, see `HandOccNetwork`."""


class SpatialGate(nn.Module):
    """How much of the hand shows at each place, from the channels' maximum and mean. Source: Woo et al. 2018, CBAM."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Sequential()
        self.spatial.add_module("conv", nn.Conv2d(2, 1, 7, padding=3, bias=False))
        self.spatial.add_module("bn", nn.BatchNorm2d(1, momentum=0.01))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W) in 0..1."""
        pooled = torch.cat([features.amax(1, keepdim=True), features.mean(1, keepdim=True)], 1)
        return torch.sigmoid(self.spatial(pooled))


class HandOccBackbone(LeakyPyramid):
    """The trunk with the gate, under their published names."""

    def __init__(self, size: Size) -> None:
        super().__init__(size.channels, size.width, size.blocks, smooth2=True)
        self.attention_module = SpatialGate()

    def gated(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) -> features (B, C, S / 8, S / 8) and gate (B, 1, S / 8, S / 8)."""
        features = F.avg_pool2d(self(images), 2)
        return features, self.attention_module(features)


class HandOccNetwork(Network):
    """HandOccNet.

    Args:
        mano: MANO's right hand, by `load_mano`; None: the network stops at pose and shape; `"demo"`: a model of random
            numbers, to try things out. It is not part of the weights.
        size: `full`, `small` for a try on a CPU, or, for tests, `tiny`.
        fit: what becomes of hidden places: `full`, as published; `softmax`, injection without the sigmoid; `gate`,
            their weight is lowered as by spatial attention, and nothing is injected; `none`, nothing.
        refine: with SET.

    Source: Park et al. 2022, HandOccNet: Occlusion-Robust 3D Hand Mesh Estimation Network.
    """

    def __init__(
        self, mano: Mano | str | None = None, size: str = "full", fit: str = "full", refine: bool = True
    ) -> None:
        super().__init__()
        for option, value, known in (("size", size, SIZES), ("fit", fit, FITS)):
            if value not in known:
                raise InputError(f"unknown {option} {value!r}; known: {', '.join(known)}")
        if isinstance(mano, str):
            if mano != "demo":
                raise InputError(f"mano={mano!r}: give load_mano({mano!r})")
            mano = demo_mano()
        if mano is not None and mano.side != "right":
            raise InputError(
                "handoccnet knows right hands alone: give MANO's right hand, and mirror images of left ones"
            )
        numbers = SIZES[size]
        self.backbone = HandOccBackbone(numbers)
        side = numbers.image // 8
        self.fit = fit
        if fit in ("full", "softmax"):
            self.FIT = FeatureTransformer(numbers.channels, side, injecting=True, sigmoid=fit == "full")
        if refine:
            self.SET = FeatureTransformer(numbers.channels, side, injecting=False)
        self.refine = refine
        self.regressor = Regressor(numbers.channels, side, numbers.widths)
        self.mano = mano
        self.size = numbers
        for name, part in self.named_children():
            if name not in ("backbone", "mano"):
                part.apply(_initialise)

    def forward(self, images: Tensor, features: bool = False) -> dict[str, Tensor]:
        """Hands in crops.

        Args:
            images: (B, 3, 256, 256) RGB in 0..1: right hands, or left ones mirrored.
            features: give the maps on the way too.

        Returns:
            `gate` (B, 32, 32): how much of the hand shows, 0..1; `pose6d` (B, 96); `joints_coord_img` (B, 21, 2): x, y
            in 0..1 of the crop; `mano_pose` (B, 48): axis-angles without MANO's mean pose; `mano_shape` (B, 10). With
            a MANO model `joints_coord_cam` (B, 21, 3) and `mesh_coord_cam` (B, 778, 3), metres in MANO's axes, neither
            centred nor placed before the camera, and `manojoints2cam` (B, 16, 4, 4). Joints are MediaPipe's 21.

            With `features` also `primary`, `secondary`, `FIT` and `SET` (B, 256, 32, 32), `score` (B, 21, 32, 32), and
            of each block `FIT.block0` (B, 256, 32, 32), `FIT.block0.soft` (B, 4, 1024, 1024): the attention,
            `FIT.block0.sigmoid` (B, 4, 32, 32): how much it takes from there; `SET.block0`, `SET.block0.soft`.
        """
        if images.ndim != 4 or images.shape[1:] != (3, self.size.image, self.size.image):
            wanted = f"(B, 3, {self.size.image}, {self.size.image})"
            raise InputError(f"{self.name}: images have shape {tuple(images.shape)}; give {wanted}")
        maps: dict[str, Tensor] | None = {} if features else None
        seen, gate = self.backbone.gated(images)
        primary, secondary = seen * gate, seen * (1 - gate)
        made = seen if self.fit == "none" else primary
        if self.fit in ("full", "softmax"):
            made = self.FIT(secondary, primary, maps, "FIT")
        if self.refine:
            made = self.SET(made, made, maps, "SET")
        joints, scores, pose6d, shape = self.regressor(made)
        rotations = matrix_from_6d(pose6d.unflatten(1, (-1, 6)))
        pose = axis_angle_from_matrix(rotations).flatten(1).nan_to_num(nan=0.0)  # as published; no rotation gives one
        out = {
            "gate": gate.squeeze(1),
            "pose6d": pose6d,
            "joints_coord_img": joints,
            "mano_pose": pose,
            "mano_shape": shape,
        }
        if self.mano is not None:
            hand = self.mano.posed(pose, shape, flat_hand_mean=False, tips="handoccnet")
            out |= {
                "joints_coord_cam": hand.joints,
                "mesh_coord_cam": hand.vertices,
                "manojoints2cam": hand.transforms,
            }
        if maps is not None:
            out |= {"primary": primary, "secondary": secondary, "score": scores, **maps}
        return out

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without what a published checkpoint holds beside weights; its MANO model must be the one given.

        Raises:
            InputError: it is another one.
        """
        weights = without_mano(super().from_official(state_dict), _MANO_KEYS, self.mano)
        return {key: value for key, value in weights.items() if not key.startswith(_NOT_WEIGHTS)}


def _initialise(module: nn.Module) -> None:
    """As published: nearly nothing everywhere but in the trunk."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.normal_(module.weight, std=0.001 if isinstance(module, nn.Conv2d) else 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


register(
    NetworkEntry(
        name="handoccnet",
        build=HandOccNetwork,
        summary="mesh and joints of one hand, much of which may be hidden, through MANO",
        source="Park et al. 2022, HandOccNet",
        licence="none stated in its repository; MANO's own for the mesh",
        inputs=(InputSpec("images", (3, SIZES["full"].image, SIZES["full"].image)),),
        where="snapshot_demo.pth.tar, from the links at https://github.com/namepllet/HandOccNet",
        tiny={"mano": "demo", "size": "tiny"},
        tiny_inputs=(InputSpec("images", (3, SIZES["tiny"].image, SIZES["tiny"].image)),),
    )
)
