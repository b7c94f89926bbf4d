"""Deformer: a hand's mesh in a video, fused from several frames where the hand is hidden or blurred.

A transformer over each frame's feature map predicts a token and 2D joints. A transformer over the tokens of a window
combines its frames. Each frame then has a pose and its motion to the neighbouring frames, which carry all poses to the
centre. MANO makes the meshes of right and left hands in the convention of one of two variants.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from sonjit._util.errors import InputError
from sonjit.lab.hand_models import Mano, demo_mano
from sonjit.lab.hand_models.mano import Side, remove_mano
from sonjit.lab.hand_models.rotations import axis_angle_from_matrix, matrix_from_6d, matrix_from_axis_angle
from sonjit.lab.networks.hands3d.handoccnet_layers import KEYPOINTS, SpatialSoftmax
from sonjit.lab.networks.hands3d.layers import BLOCKS, Decoder, Encoder, LeakyPyramid, sine_grid, sine_positions
from sonjit.lab.networks.hands3d.sizes import DeformerSize, Variant
from sonjit.lab.networks.registry import InputSpec, Network, NetworkEntry, register

ROTATIONS: Final = 6 * 16
"""Size of a pose: six numbers for the wrist and each of 15 joints."""


_PREFIXES = ("module.", "honet.", "module.")  # of checkpoints saved from parallel training
_MANO_KEYS = ("mano_branch.mano_layer_right.", "mano_branch.mano_layer_left.")
_NOT_WEIGHTS = ("hand_hm_layer.uu", "hand_hm_layer.vv", "mano_branch.coord_change_mat")
"""Buffers of published checkpoints that this network does not have: heatmap cells and the conversion of axes."""
_PIXELS_PER_CELL = 4  # of the pyramid's finest map
SIZES: Final = {
    "full": DeformerSize(512, 7, 64, BLOCKS, 256, 32, 8, 256, 3, (1024, 512)),
    "small": DeformerSize(64, 5, 16, (1, 1, 1, 1), 48, 8, 4, 96, 1, (128, 64)),
    "tiny": DeformerSize(64, 5, 4, (1, 1, 1, 1), 16, 4, 2, 16, 1, (32, 16)),
}
VARIANTS: Final = {
    "ho3d": Variant("deformer_ho3d", pca=False, flat_hand_mean=True, stops_at_gap=False, opengl=True),
    "dexycb": Variant("deformer_dexycb", pca=True, flat_hand_mean=False, stops_at_gap=True, opengl=False),
}
VARIANT_CHOICES: Final = (
    "--variant ho3d or --variant dexycb (variant=...), the data set that it was trained on: they use MANO differently"
)


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


class JointPlaces(SpatialSoftmax):
    """Positions of the 21 joints in a hand's box."""

    def forward(self, scores: Tensor) -> Tensor:
        """Map scores (N, H * W, 21) to (N, 21, 2) x, y in 0..1."""
        return self.positions(scores.mT)[0]


class Motion(NamedTuple):
    """Predictions for each frame of a window; poses are six numbers per joint."""

    pose: Tensor  # (B, T, 96)
    forward: Tensor  # (B, T, 96): difference to the next frame's pose
    backward: Tensor  # (B, T, 96): difference to the previous frame's pose
    confidence: Tensor  # (B, T): logits


class DynamicHead(nn.Module):
    """Predict poses, their motion and the confidence of each frame, and one shape for the window."""

    def __init__(self, size: DeformerSize) -> None:
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
        """Map tokens (B, T, C), joints (B, T, 21, 2) and the shape token (B, C) to the motion and the shape (B, 10)."""
        base = self.mano_base_layer(torch.cat([tokens, joints.flatten(2)], 2))
        motion = Motion(
            self.pose_reg(base),
            self.fw_dynamic_pose_reg(base),
            self.bw_dynamic_pose_reg(base),
            self.confidence_reg(base).squeeze(2),
        )
        return motion, self.shape_reg(shape)


def poses_at_centre(motion: Motion) -> Tensor:
    """Return every frame's pose (B, T, 96), carried to the window's centre by the motions in between.

    Motions are added as numbers: six numbers become a rotation only after the fusion.
    """
    centre = motion.pose.shape[1] // 2
    from_before = motion.forward[:, :centre].flip(1).cumsum(1).flip(1)
    from_after = motion.backward[:, centre + 1 :].cumsum(1)
    still = torch.zeros_like(motion.pose[:, :1])
    return motion.pose + torch.cat([from_before, still, from_after], 1)


def fused_pose(motion: Motion) -> tuple[Tensor, Tensor]:
    """Return the pose at the centre (B, 96), fused by confidence, and the confidences (B, T), sum 1."""
    confidence = motion.confidence.softmax(1)
    return (poses_at_centre(motion) * confidence[..., None]).sum(1), confidence


def _own_pose(motion: Motion) -> tuple[Tensor, Tensor]:
    """Return the pose of the centre frame, and confidences (B, T) that are 1 only for it."""
    centre = motion.pose.shape[1] // 2
    confidence = torch.zeros_like(motion.confidence)
    confidence[:, centre] = 1
    return motion.pose[:, centre], confidence


class VariantHands(nn.Module):
    """MANO models that convert poses and shapes of a variant to meshes.

    Args:
        variant: Variant of `VARIANTS`.
        right: MANO's right hand, None, or `"demo"`.
        left: MANO's left hand, None, or `"demo"`.
    """

    def __init__(self, variant: Variant, right: Mano | str | None, left: Mano | str | None) -> None:
        super().__init__()
        self.variant = variant
        self.right = _hand_model(right, "right")
        self.left = _hand_model(left, "left")

    def forward(self, pose: Tensor, shape: Tensor, side: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the meshes of poses.

        Args:
            pose: (N, 48) pose parameters.
            shape: (N, 10) shape parameters.
            side: (N,) 0 for right, 1 for left; None for right.

        Returns:
            Vertices (N, 778, 3) and joints (N, 21, 3), metres in MANO's axes.

        Raises:
            InputError: A required model is missing, or a side is not 0 or 1.
        """
        if side is None or not side.any():
            return self._meshes(self.right, pose, shape)
        if not ((side == 0) | (side == 1)).all():
            raise InputError(f"side={side.tolist()}: must be 0 for a right or 1 for a left hand")
        order = side.argsort(stable=True)
        right, left = order.split([int((side == 0).sum()), int((side == 1).sum())])
        pairs = ((self.right, right), (self.left, left))
        parts = [self._meshes(mano, pose[rows], shape[rows]) for mano, rows in pairs]
        back = order.argsort()
        vertices, joints = (torch.cat(each)[back] for each in zip(*parts, strict=True))
        return vertices, joints

    def _meshes(self, mano: Mano | None, pose: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        if mano is None:
            name, side = ("mano", "right") if self.right is None else ("mano_left", "left")
            raise InputError(f"deformer requires {name}=load_mano(FILE, side={side!r}) for meshes of {side} hands")
        variant = self.variant
        return mano(pose, shape, flat_hand_mean=variant.flat_hand_mean, tips=variant.tips, pca=variant.pca)


def _hand_model(model: Mano | str | None, side: Side) -> Mano | None:
    if model == "demo":
        return demo_mano(side)
    if isinstance(model, str):
        raise InputError(f"{model!r} is not a MANO model; pass load_mano({model!r}, side={side!r})")
    if model is not None and model.side != side:
        raise InputError(f"deformer's {side} MANO model is a {model.side} hand; pass load_mano(FILE, side={side!r})")
    return model


class DeformerNetwork(Network):
    """Deformer.

    Args:
        mano: MANO's right hand from `load_mano`; None to predict only pose and shape; `"demo"` for a placeholder model.
            It is not part of the weights.
        mano_left: MANO's left hand, for windows of left hands.
        variant: `ho3d` or `dexycb`, which use MANO differently. None takes the variant of the loaded checkpoint, or
            `ho3d` for a new network.
        size: `full`, `small` for a trial on a CPU, or `tiny` for tests.
        fusion: True to fuse the poses of all frames by confidence; False takes the pose of the middle frame.

    Attributes:
        variant: Name of the variant; None if neither an option nor a checkpoint defines it.

    Source: Fu et al. 2023, Deformer: Dynamic Fusion Transformer for Robust Hand Pose Estimation. Initial weights are
    those of the released code, except for layers of one transformer, which are copies of each other there.
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
        for option, value, known in (("size", size, SIZES), ("variant", variant or "ho3d", VARIANTS)):
            if value not in known:
                raise InputError(f"Unknown {option} {value!r}. Choose from {', '.join(known)}")
        self.variant = variant
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
        self.hands = VariantHands(VARIANTS[variant or "ho3d"], mano, mano_left)
        self.size = numbers

    def forward(
        self,
        images: Tensor,
        hand_boxes: Tensor | None = None,
        side: Tensor | None = None,
        roots: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Predict the hand in the middle of each window: encode each frame, then fuse all frames.

        Args:
            images: (B, T, 3, 512, 512) RGB in 0..1, T = 7 frames of one hand, oldest first.
            hand_boxes: (B, T, 4) boxes of the hand as x_min, y_min, x_max, y_max in pixels of the images; None for the
                full images.
            side: (B, T) as in `fuse`.
            roots: (B, T, 3) as in `fuse`.

        Returns:
            The outputs of `fuse`, and `joints2d` (B * T, 21, 2): x, y in 0..1 of the hand's box.
        """
        frames, pixels = self.size.frames, self.size.image
        if images.ndim != 5 or images.shape[1:] != (frames, 3, pixels, pixels):
            expected = f"(B, {frames}, 3, {pixels}, {pixels})"
            raise InputError(f"{self.name}: images have shape {tuple(images.shape)}; expected {expected}")
        if hand_boxes is None:
            hand_boxes = images.new_tensor([0, 0, pixels, pixels]).expand(*images.shape[:2], 4)
        if hand_boxes.shape != (*images.shape[:2], 4):
            shape = tuple(hand_boxes.shape)
            raise InputError(f"{self.name}: hand_boxes have shape {shape}; expected (B, {frames}, 4)")
        if not (torch.compiler.is_compiling() or hand_boxes.is_meta or hand_boxes.isfinite().all()):
            raise InputError(f"{self.name}: hand_boxes must be finite")
        tokens, joints = self.encode(images.flatten(0, 1), hand_boxes.to(images).flatten(0, 1))
        windows = (-1, frames)
        return {
            **self.fuse(tokens.unflatten(0, windows), joints.unflatten(0, windows), side, roots),
            "joints2d": joints,
        }

    def encode(self, images: Tensor, hand_boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features of single frames: the expensive part, which a video requires once per frame.

        Args:
            images: (N, 3, 512, 512) RGB in 0..1.
            hand_boxes: (N, 4) pixels.

        Returns:
            Tokens (N, 256) and joints (N, 21, 2) as x, y in 0..1 of the box.
        """
        owners = torch.arange(images.shape[0], dtype=hand_boxes.dtype, device=images.device)
        rois = torch.cat([owners[:, None], hand_boxes], 1)
        features = self.base_net(images.contiguous(memory_format=torch.channels_last))  # a quarter faster on CPUs
        # The first version of RoIAlign: as many points in a bin as it spans cells, and no shift by half a cell.
        maps = roi_align(features, rois, self.size.side, 1 / _PIXELS_PER_CELL, -1, aligned=False)
        answers, memory = self.hand_transformer(maps, self.hand_query_embed.weight)
        return answers.squeeze(1), self.hand_hm_layer(self.hand_hm_embed(memory))

    def fuse(
        self, tokens: Tensor, joints: Tensor, side: Tensor | None = None, roots: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Predict the hand in the middle of each window from the features of its frames.

        Args:
            tokens: (B, T, 256) from `encode`.
            joints: (B, T, 21, 2) from `encode`.
            side: (B, T) 0 for a right and 1 for a left hand, the same in all frames of a window; None for right hands.
            roots: (B, T, 3) or (B, T, 1, 3) metres in the variant's axes. The mesh is shifted by that of the middle
                frame. None: zero.

        Returns:
            `mano_shape` (B, 10); `mano_pose` (B, 16, 3, 3) and `mano_pose_aa` (B, 48), in MANO's order without its mean
            pose; `confidences` (B, T): the weight of each frame; `pose6d`, `fw6d` and `bw6d` (B * T, 96): each frame's
            pose, and the differences to the next frame's and the previous frame's. With a MANO model `verts3d`
            (B, 778, 3) and `joints3d` (B, 21, 3), MediaPipe's 21, in metres; y and z are negated, because the released
            code evaluates both variants so.

        Raises:
            InputError: `side` or `roots` have another shape, or `side` has other values.
        """
        _check_side(side, tokens)
        if roots is not None:
            if not isinstance(roots, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InputError(f"{self.name}: roots require a torch.Tensor, not {type(roots).__name__}")
            expected = (*tokens.shape[:2], 3)
            if roots.shape not in (expected, (*expected[:2], 1, 3)):
                raise InputError(f"{self.name}: roots have shape {tuple(roots.shape)}; expected {expected}")
            roots = roots.reshape(expected)
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
            root = 0 if roots is None else roots[:, tokens.shape[1] // 2, None]
            axes = tokens.new_tensor([1, -1, -1])
            out |= {"joints3d": (hand + root) * axes, "verts3d": (vertices + root) * axes}
        return out

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a published checkpoint, without its MANO models, which must be the given ones.

        The MANO models in the checkpoint determine its variant.

        Raises:
            InputError: A MANO model is another one, or the checkpoint belongs to another variant than the option, or
                meshes are required and neither defines the variant.
        """
        weights = dict(state_dict)
        for prefix in _PREFIXES:
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
        self._take_variant(official_variant(weights))
        for prefix, mano in zip(_MANO_KEYS, (self.hands.right, self.hands.left), strict=True):
            if self.hands.variant.flat_hand_mean:
                weights.pop(f"{prefix}th_hands_mean", None)  # zeros there, whatever the model's mean pose
            weights = remove_mano(weights, prefix, mano)
        return {key: value for key, value in weights.items() if key not in _NOT_WEIGHTS}

    def _take_variant(self, found: str | None) -> None:
        """Use the variant of a checkpoint."""
        if found is None:
            if self.variant is None and (self.hands.right is not None or self.hands.left is not None):
                raise InputError(f"the checkpoint does not define its variant; set {VARIANT_CHOICES}")
            return
        if self.variant not in (None, found):
            raise InputError(f"the MANO models in the checkpoint are those of variant {found}, not {self.variant}")
        self.variant = found
        self.hands.variant = VARIANTS[found]
        self.options = {**self.options, "variant": found}


def official_variant(state_dict: Mapping[str, Tensor]) -> str | None:
    """Return the variant of a checkpoint of the released code by its MANO models, or None if it has none.

    Checkpoints of DexYCB contain the principal components of their poses, those of HO-3D do not.
    """
    fields = {key.rpartition(".")[2] for key in state_dict if any(mano in key for mano in _MANO_KEYS)}
    return None if not fields else "dexycb" if "th_comps" in fields else "ho3d"


def _check_side(side: Tensor | None, tokens: Tensor) -> None:
    """Check that sides (B, T) match tokens (B, T, C) and are all 0 or all 1 in each window."""
    if side is None:
        return
    if not isinstance(side, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"side requires a torch.Tensor, not {type(side).__name__}")
    if side.shape != tokens.shape[:2]:
        raise InputError(f"side has shape {tuple(side.shape)}; expected (B, T) = {tuple(tokens.shape[:2])}")
    if not (((side == 0) | (side == 1)) & (side == side[:, :1])).all():
        raise InputError(f"side={side.tolist()}: must be 0 for a right or 1 for a left hand, the same in each window")


def rotate_to_camera(pose: Tensor, variant: Variant) -> Tensor:
    """Convert poses (N, 48) of a variant to the camera's axes, x right, y down, z forward, or back."""
    if not variant.opengl:
        return pose
    turn = pose.new_tensor([1.0, -1.0, -1.0]).diag()
    root = axis_angle_from_matrix(turn @ matrix_from_axis_angle(pose[:, :3]))
    return torch.cat([root, pose[:, 3:]], 1)


def rotations_from_6d(six: Tensor) -> tuple[Tensor, Tensor]:
    """Convert poses (N, 96) to matrices (N, 16, 3, 3) and axis-angles (N, 48)."""
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
        where="train it, or use a checkpoint of https://github.com/fuqichen1998/Deformer",
        tiny={"mano": "demo", "mano_left": "demo", "size": "tiny"},
        tiny_inputs=(
            InputSpec("images", (SIZES["tiny"].frames, 3, SIZES["tiny"].image, SIZES["tiny"].image)),
            InputSpec("hand_boxes", (SIZES["tiny"].frames, 4), high=SIZES["tiny"].image),
        ),
    )
)
