"""Deformer's parts: features of a frame, fusion with its neighbours, and the MANO hand of both variants.

MANO as each variant of Deformer uses it, for right and left hands.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor, nn

from sonjit.errors import InputError
from sonjit.hand_models import demo_mano
from sonjit.networks.hands3d.handoccnet_parts import KEYPOINTS, SpatialSoftmax
from sonjit.networks.hands3d.layers import BLOCKS, Decoder, Encoder, sine_grid

if TYPE_CHECKING:
    from sonjit.hand_models import Mano
    from sonjit.hand_models.mano import Side

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
    """Self-attention over a hand's feature map, of which one token is read."""

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
    """The prediction of each frame of a window; poses are six numbers per joint."""

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


@dataclass(frozen=True)
class Variant:
    """How the networks of one data set use MANO, and which frames they see.

    Attributes:
        tips: layout of the joints, of `hand_models.mano.LAYOUTS`.
        pca: the fingers' 45 numbers are coefficients of MANO's principal components, three of which at a time go
            through six numbers and a rotation matrix as if they were an axis-angle.
        flat_hand_mean: MANO's mean pose is not added.
        stops_at_gap: beyond a frame that is missing, farther ones on its side are not searched.
    """

    tips: str
    pca: bool
    flat_hand_mean: bool
    stops_at_gap: bool


VARIANTS: Final = {
    "ho3d": Variant("deformer_ho3d", pca=False, flat_hand_mean=True, stops_at_gap=False),
    "dexycb": Variant("deformer_dexycb", pca=True, flat_hand_mean=False, stops_at_gap=True),
}


class VariantHands(nn.Module):
    """Poses and shapes -> meshes.

    Args:
        variant: of `VARIANTS`.
        right: MANO's right hand, None, or `"demo"`.
        left: its left hand, likewise.
    """

    def __init__(self, variant: Variant, right: Mano | str | None, left: Mano | str | None) -> None:
        super().__init__()
        self.variant = variant
        self.right = _hand_model(right, "right")
        self.left = _hand_model(left, "left")

    def forward(self, pose: Tensor, shape: Tensor, side: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The meshes.

        Args:
            pose: (N, 48).
            shape: (N, 10).
            side: (N,) 0 for right, 1 for left; None: right.

        Returns:
            Vertices (N, 778, 3) and joints (N, 21, 3), metres in MANO's axes.

        Raises:
            InputError: a model that is needed was not given, or another side.
        """
        if side is None or not side.any():
            return self._of(self.right, pose, shape)
        if not ((side == 0) | (side == 1)).all():
            raise InputError(f"side={side.tolist()}: give 0 for a right or 1 for a left hand, the same over a window")
        order = side.argsort(stable=True)
        right, left = order.split([int((side == 0).sum()), int((side == 1).sum())])
        parts = [self._of(mano, pose[at], shape[at]) for mano, at in ((self.right, right), (self.left, left))]
        back = order.argsort()
        vertices, joints = (torch.cat(each)[back] for each in zip(*parts, strict=True))
        return vertices, joints

    def _of(self, mano: Mano | None, pose: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        if mano is None:
            name, side = ("mano", "right") if self.right is None else ("mano_left", "left")
            raise InputError(f"deformer needs {name}=load_mano(FILE, side={side!r}) for meshes of {side} hands")
        kind = self.variant
        return mano(pose, shape, flat_hand_mean=kind.flat_hand_mean, tips=kind.tips, pca=kind.pca)


def _hand_model(given: Mano | str | None, side: Side) -> Mano | None:
    if given == "demo":
        return demo_mano(side)
    if isinstance(given, str):
        raise InputError(f"{given!r} as a MANO model: give load_mano({given!r}, side={side!r})")
    if given is not None and given.side != side:
        raise InputError(f"a {given.side} hand as deformer's {side} MANO model: give load_mano(FILE, side={side!r})")
    return given
