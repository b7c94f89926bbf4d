"""Deformer's parts: what a frame says, what its neighbours add, and the hand that all of them agree on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from sonjit.networks.handoccnet_heads import KEYPOINTS, SpatialSoftmax
from sonjit.networks.leaky_pyramid import BLOCKS
from sonjit.networks.transformer_layers import Decoder, Encoder, sine_grid

ROTATIONS: Final = 6 * 16
"""Numbers of a pose: six for the wrist and each of 15 joints."""


@dataclass(frozen=True)
class Size:
    """The numbers of one size.

    Attributes:
        image: side of the crop in pixels.
        frames: of a window, an odd number.
        width: of the trunk's first stage.
        blocks: of its four stages.
        channels: of the maps and tokens.
        side: of a hand's map.
        heads: of all attention.
        hidden: width of the feed-forward parts.
        layers: of each encoder and decoder.
        widths: of the two layers before the pose.
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


SIZES: Final = {
    "full": Size(512, 7, 64, BLOCKS, 256, 32, 8, 256, 3, (1024, 512)),
    "small": Size(64, 5, 16, (1, 1, 1, 1), 48, 8, 4, 96, 1, (128, 64)),
    "tiny": Size(64, 5, 4, (1, 1, 1, 1), 16, 4, 2, 16, 1, (32, 16)),
}


class SpatialTransformer(nn.Module):
    """A hand's map looks at itself; one answer is read off it."""

    positions: Tensor

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.encoder = Encoder(size.layers, size.channels, size.heads, size.hidden)
        self.decoder = Decoder(size.layers, size.channels, size.heads, size.hidden)
        self.register_buffer("positions", sine_grid(size.side, size.channels), persistent=False)
        for weight in self.parameters():
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)

    def forward(self, maps: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N, C, H, W) and queries (Q, C) -> answers (N, Q, C) and the map's tokens (N, H * W, C)."""
        memory = self.encoder(maps.flatten(2).mT, self.positions)
        return self.decoder(queries, memory, self.positions), memory


class TokenMlp(nn.Module):
    """Three layers on each token, under their published names."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        widths = (channels, channels, channels, outputs)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., C) -> (..., outputs)."""
        first, second, last = self.layers
        return last(second(first(tokens).relu()).relu())


class JointPlaces(SpatialSoftmax):
    """Where the 21 joints are in a hand's box."""

    def forward(self, scores: Tensor) -> Tensor:
        """(N, H * W, 21) -> (N, 21, 2) as x, y in 0..1."""
        return self.places(scores.mT)[0]


class Motion(NamedTuple):
    """What each frame of a window says; poses are six numbers per joint."""

    pose: Tensor  # (B, T, 96)
    forward: Tensor  # (B, T, 96): what to add to become the next frame's
    backward: Tensor  # (B, T, 96): what to add to become that of the frame before
    confidence: Tensor  # (B, T): before softmax


class DynamicHead(nn.Module):
    """Poses, how they go on, and how sure each frame is; one shape for the window."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        first, second = size.widths
        self.mano_base_layer = nn.Sequential(
            nn.Linear(size.channels + 2 * KEYPOINTS, first), nn.LeakyReLU(), nn.Linear(first, second), nn.LeakyReLU()
        )
        self.pose_reg = nn.Linear(second, ROTATIONS)
        self.fw_dynamic_pose_reg = nn.Linear(second, ROTATIONS)
        self.bw_dynamic_pose_reg = nn.Linear(second, ROTATIONS)
        self.confidence_reg = nn.Linear(second, 1)
        self.shape_reg = nn.Linear(size.channels, 10)

    def forward(self, tokens: Tensor, joints: Tensor, shape: Tensor) -> tuple[Motion, Tensor]:
        """Tokens (B, T, C), joints (B, T, 21, 2) and the shape's token (B, C) -> the motion and the shape (B, 10)."""
        base = self.mano_base_layer(torch.cat([tokens, joints.flatten(2)], 2))
        motion = Motion(
            self.pose_reg(base),
            self.fw_dynamic_pose_reg(base),
            self.bw_dynamic_pose_reg(base),
            self.confidence_reg(base).squeeze(2),
        )
        return motion, self.shape_reg(shape)


def poses_at_centre(motion: Motion) -> Tensor:
    """Every frame's pose (B, T, 96) carried to the window's centre by the motions in between.

    Steps are added up as numbers: six numbers become a rotation only after fusion.
    """
    centre = motion.pose.shape[1] // 2
    from_before = motion.forward[:, :centre].flip(1).cumsum(1).flip(1)
    from_after = motion.backward[:, centre + 1 :].cumsum(1)
    still = torch.zeros_like(motion.pose[:, :1])
    return motion.pose + torch.cat([from_before, still, from_after], 1)


def fused_pose(motion: Motion) -> tuple[Tensor, Tensor]:
    """The pose at the centre (B, 96) that all frames agree on, by confidence; and the confidences (B, T), sum 1."""
    confidence = motion.confidence.softmax(1)
    return (poses_at_centre(motion) * confidence[..., None]).sum(1), confidence
