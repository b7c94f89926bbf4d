"""Deformer: a hand's mesh in a video, from the frames around where it is hidden or blurred.

A transformer over each frame's feature map gives a token and 2D joints; one over the window's tokens combines frames;
each frame then has a pose and its motion to the neighbouring frames, and all are carried to the centre. MANO makes the
meshes, as each of the two variants uses it, for right and left hands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from sonjit.errors import InputError
from sonjit.hand_models import Mano, demo_mano
from sonjit.hand_models.mano import Side, without_mano
from sonjit.hand_models.rotations import axis_angle_from_matrix, matrix_from_6d, matrix_from_axis_angle
from sonjit.networks.hands3d.handoccnet import KEYPOINTS, SpatialSoftmax
from sonjit.networks.hands3d.layers import BLOCKS, Decoder, Encoder, LeakyPyramid, sine_grid, sine_positions
from sonjit.networks.registry import InputSpec, Network, NetworkEntry, register

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


def _own_pose(motion: Motion) -> tuple[Tensor, Tensor]:
    """The same of the frame at the centre alone."""
    centre = motion.pose.shape[1] // 2
    confidence = torch.zeros_like(motion.confidence)
    confidence[:, centre] = 1
    return motion.pose[:, centre], confidence


@dataclass(frozen=True)
class Variant:
    """How the networks of one data set use MANO, and which frames they see.

    Attributes:
        tips: layout of the joints, of `hand_models.mano.LAYOUTS`.
        pca: the fingers' 45 numbers are coefficients of MANO's principal components, three of which at a time go
            through six numbers and a rotation matrix as if they were an axis-angle.
        flat_hand_mean: MANO's mean pose is not added.
        stops_at_gap: beyond a frame that is missing, farther ones on its side are not searched.
        opengl: poses are in OpenGL's axes, y up and z backward, as HO-3D's files have them; else in the camera's.
    """

    tips: str
    pca: bool
    flat_hand_mean: bool
    stops_at_gap: bool
    opengl: bool


VARIANTS: Final = {
    "ho3d": Variant("deformer_ho3d", pca=False, flat_hand_mean=True, stops_at_gap=False, opengl=True),
    "dexycb": Variant("deformer_dexycb", pca=True, flat_hand_mean=False, stops_at_gap=True, opengl=False),
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


_PREFIXES = ("module.", "honet.", "module.")  # of a checkpoint that was saved from parallel training
_MANO_KEYS = ("mano_branch.mano_layer_right.", "mano_branch.mano_layer_left.")
_NOT_WEIGHTS = ("hand_hm_layer.uu", "hand_hm_layer.vv", "mano_branch.coord_change_mat")
"""In published checkpoints, and no part of this network: the places of a heatmap's cells, and the turn of the axes."""
_PIXELS_PER_CELL = 4  # of the pyramid's finest map


class DeformerNetwork(Network):
    """Deformer.

    Args:
        mano: MANO's right hand, by `load_mano`; None: the network stops at pose and shape; `"demo"`: a placeholder
            model, to try things out. It is not part of the weights.
        mano_left: MANO's left hand, likewise, for windows of left hands.
        variant: whose checkpoint it is: `ho3d` or `dexycb`, which use MANO differently; None takes `ho3d` where nothing
            is loaded that depends on it.
        size: `full`, `small` for a try on a CPU, or, for tests, `tiny`.
        fusion: carry all frames' poses to the middle one by confidence; else that one's own is taken.

    Source: Fu et al. 2023, Deformer: Dynamic Fusion Transformer for Robust Hand Pose Estimation. Weights begin as the
    released code's, but for layers of one transformer, which there begin as copies of each other.
    """

    positions: Tensor

    def __init__(
        self,
        mano: Mano | str | None = None,
        mano_left: Mano | str | None = None,
        variant: str | None = None,
        size: str = "full",
        fusion: bool = True,
    ) -> None:
        super().__init__()
        self.fusion = fusion
        variant = variant or "ho3d"
        for option, value, known in (("size", size, SIZES), ("variant", variant, VARIANTS)):
            if value not in known:
                raise InputError(f"unknown {option} {value!r}; known: {', '.join(known)}")
        numbers = SIZES[size]
        layers = numbers.layers, numbers.channels, numbers.heads, numbers.hidden
        self.base_net = LeakyPyramid(numbers.channels, numbers.width, numbers.blocks)
        self.hand_transformer = SpatialTransformer(numbers)
        self.hand_query_embed = nn.Embedding(1, numbers.channels)
        self.hand_hm_embed = TokenMlp(numbers.channels, KEYPOINTS)
        self.hand_hm_layer = JointPlaces(numbers.side)
        self.temporal_hand_transformer_encoder = Encoder(*layers)
        self.temporal_hand_transformer_decoder = Decoder(*layers)
        self.temporal_hand_query_embed = nn.Embedding(1, numbers.channels)
        self.mano_branch = DynamicHead(numbers)
        self.register_buffer("positions", sine_positions(numbers.frames, numbers.channels), persistent=False)
        self.hands = VariantHands(VARIANTS[variant], mano, mano_left)
        self.size = numbers

    def forward(
        self,
        images: Tensor,
        hand_boxes: Tensor | None = None,
        side: Tensor | None = None,
        roots: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The hand in the middle of each window of frames: each frame is encoded, then all are fused.

        Args:
            images: (B, T, 3, 512, 512) RGB in 0..1, T = 7 frames of one hand, oldest first.
            hand_boxes: (B, T, 4) where the hand is, as x_min, y_min, x_max, y_max in pixels of these; None: everywhere.
            side: (B, T) as in `fuse`.
            roots: (B, T, 3) as in `fuse`.

        Returns:
            What `fuse` gives, and `joints2d` (B * T, 21, 2): x, y in 0..1 of the hand's box.
        """
        frames, pixels = self.size.frames, self.size.image
        if images.ndim != 5 or images.shape[1:] != (frames, 3, pixels, pixels):
            wanted = f"(B, {frames}, 3, {pixels}, {pixels})"
            raise InputError(f"{self.name}: images have shape {tuple(images.shape)}; give {wanted}")
        if hand_boxes is None:
            hand_boxes = images.new_tensor([0, 0, pixels, pixels]).expand(*images.shape[:2], 4)
        if hand_boxes.shape != (*images.shape[:2], 4):
            raise InputError(f"{self.name}: hand_boxes have shape {tuple(hand_boxes.shape)}; give (B, {frames}, 4)")
        tokens, joints = self.encode(images.flatten(0, 1), hand_boxes.to(images).flatten(0, 1))
        windows = (-1, frames)
        return {
            **self.fuse(tokens.unflatten(0, windows), joints.unflatten(0, windows), side, roots),
            "joints2d": joints,
        }

    def encode(self, images: Tensor, hand_boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Features of each frame by itself: the costly part, which a video needs once per frame.

        Args:
            images: (N, 3, 512, 512).
            hand_boxes: (N, 4) pixels.

        Returns:
            Tokens (N, 256) and joints (N, 21, 2) as x, y in 0..1 of the box.
        """
        owners = torch.arange(images.shape[0], dtype=hand_boxes.dtype, device=images.device)
        rois = torch.cat([owners[:, None], hand_boxes], 1)
        features = self.base_net(images.contiguous(memory_format=torch.channels_last))  # a quarter faster on CPUs
        # As RoIAlign first came: as many points in a bin as it spans cells, and no shift by half a cell.
        maps = roi_align(features, rois, self.size.side, 1 / _PIXELS_PER_CELL, -1, aligned=False)
        answers, memory = self.hand_transformer(maps, self.hand_query_embed.weight)
        return answers.squeeze(1), self.hand_hm_layer(self.hand_hm_embed(memory))

    def fuse(
        self, tokens: Tensor, joints: Tensor, side: Tensor | None = None, roots: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The hand in the middle of each window from its frames' features.

        Args:
            tokens: (B, T, 256) of `encode`.
            joints: (B, T, 21, 2) of `encode`.
            side: (B, T), 0 where the hand is a right one and 1 where it is a left one, the same over a window; None:
                right ones.
            roots: (B, T, 3) metres in the variant's axes, that of the middle being added to its mesh; None: zero.

        Returns:
            `mano_shape` (B, 10); `mano_pose` (B, 16, 3, 3) and `mano_pose_aa` (B, 48), in MANO's order without its mean
            pose; `confidences` (B, T): the weight of each frame; `pose6d`, `fw6d` and `bw6d` (B * T, 96): each frame's
            pose, and what to add for the next frame's and for the one before. With a MANO model `verts3d`
            (B, 778, 3) and `joints3d` (B, 21, 3), MediaPipe's 21, in metres; y and z are negated, for so the released
            code evaluates both variants.
        """
        memory = self.temporal_hand_transformer_encoder(tokens, self.positions)
        query = self.temporal_hand_query_embed.weight
        shape_token = self.temporal_hand_transformer_decoder(query, memory, self.positions).squeeze(1)
        motion, shape = self.mano_branch(memory, joints, shape_token)
        six, confidences = fused_pose(motion) if self.fusion else _own_pose(motion)
        rotations, pose = rotations_from_6d(six)
        out = {
            "mano_shape": shape,
            "mano_pose": rotations,
            "mano_pose_aa": pose,
            "confidences": confidences,
            "pose6d": motion.pose.flatten(0, 1),
            "fw6d": motion.forward.flatten(0, 1),
            "bw6d": motion.backward.flatten(0, 1),
        }
        if self.hands.right is not None or self.hands.left is not None:
            vertices, hand = self.hands(pose, shape, None if side is None else side.to(pose).mean(1))
            root = 0 if roots is None else roots.reshape(*tokens.shape[:2], 3)[:, tokens.shape[1] // 2, None]
            axes = tokens.new_tensor([1, -1, -1])
            out |= {"joints3d": (hand + root) * axes, "verts3d": (vertices + root) * axes}
        return out

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without what a published checkpoint holds beside weights; its MANO models must be those given.

        Raises:
            InputError: one is another.
        """
        weights = dict(state_dict)
        for prefix in _PREFIXES:
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
        for prefix, mano in zip(_MANO_KEYS, (self.hands.right, self.hands.left), strict=True):
            if self.hands.variant.flat_hand_mean:
                weights.pop(f"{prefix}th_hands_mean", None)  # zeros there, whatever the model's mean pose
            weights = without_mano(weights, prefix, mano)
        return {key: value for key, value in weights.items() if key not in _NOT_WEIGHTS}


VARIANT_NEEDED: Final = (
    "--variant ho3d or --variant dexycb (variant=...), the data set that it was trained on: they use MANO differently"
)


def official_variant(state_dict: Mapping[str, Tensor]) -> str | None:
    """The variant of a checkpoint of the released code, by the MANO models in it; None where it holds none.

    DexYCB's keep the principal components that their poses are made of, HO-3D's do not.
    """
    held = {key.rpartition(".")[2] for key in state_dict if any(mano in key for mano in _MANO_KEYS)}
    return None if not held else "dexycb" if "th_comps" in held else "ho3d"


def turned_to_camera(pose: Tensor, variant: Variant) -> Tensor:
    """Poses (N, 48) of a variant in the camera's axes, x right, y down, z forward; and back."""
    if not variant.opengl:
        return pose
    turn = pose.new_tensor([1.0, -1.0, -1.0]).diag()
    root = axis_angle_from_matrix(turn @ matrix_from_axis_angle(pose[:, :3]))
    return torch.cat([root, pose[:, 3:]], 1)


def rotations_from_6d(six: Tensor) -> tuple[Tensor, Tensor]:
    """Poses (N, 96) as matrices (N, 16, 3, 3) and as axis-angles (N, 48)."""
    matrices = matrix_from_6d(six.unflatten(1, (-1, 6)))
    return matrices, axis_angle_from_matrix(matrices).flatten(1).nan_to_num(nan=0.0)


register(
    NetworkEntry(
        name="deformer",
        build=DeformerNetwork,
        summary="mesh and joints of one hand in the middle of seven frames of a video, through MANO",
        source="Fu et al. 2023, Deformer",
        licence="no weights were published; MANO's own licence for the mesh",
        inputs=(
            InputSpec("images", (SIZES["full"].frames, 3, SIZES["full"].image, SIZES["full"].image)),
            InputSpec("hand_boxes", (SIZES["full"].frames, 4), high=SIZES["full"].image),
        ),
        where="train it, or give a checkpoint of https://github.com/fuqichen1998/Deformer",
        tiny={"mano": "demo", "mano_left": "demo", "size": "tiny"},
        tiny_inputs=(
            InputSpec("images", (SIZES["tiny"].frames, 3, SIZES["tiny"].image, SIZES["tiny"].image)),
            InputSpec("hand_boxes", (SIZES["tiny"].frames, 4), high=SIZES["tiny"].image),
        ),
    )
)
