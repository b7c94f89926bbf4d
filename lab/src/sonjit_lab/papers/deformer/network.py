"""Deformer: a hand's mesh in a video, fused from several frames where the hand is hidden or blurred.

A transformer over each frame's feature map predicts a token and 2D joints, a second one combines the tokens of a
window. Each frame then has a pose and its motion to the neighbouring frames, which carry all poses to the centre. MANO
makes the meshes in the convention of one of two variants.

Sources: Fu et al. 2023, Deformer; Carion et al. 2020, End-to-End Object Detection with Transformers, appendix A.4.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from sonjit._util import Float32Array, InputError, RealArray
from sonjit.geometry.boxes import RotatedBox
from sonjit_lab.hand_models import Mano
from sonjit_lab.hand_models.mano import Side, remove_mano, turned_pose
from sonjit_lab.hand_models.placeholders import mano_by_name
from sonjit_lab.networks import modes
from sonjit_lab.networks.registry import InputSpec, Network, NetworkEntry, register
from sonjit_lab.papers.deformer import layers as deformer_layers
from sonjit_lab.papers.handoccnet import network as handoccnet

ROTATIONS: Final = 6 * 16  # size of a pose: six numbers for the wrist and each of 15 joints
_PREFIXES = ("module.", "honet.", "module.")  # of checkpoints saved from parallel training
_MANO_KEYS = ("mano_branch.mano_layer_right.", "mano_branch.mano_layer_left.")
_NOT_WEIGHTS = ("hand_hm_layer.uu", "hand_hm_layer.vv", "mano_branch.coord_change_mat")
"""Buffers of published checkpoints that this network does not have: heatmap cells and the conversion of axes."""
_PIXELS_PER_CELL = 4  # of the pyramid's finest map
VARIANT_CHOICES: Final = (
    "--variant ho3d or --variant dexycb (variant=...), the data set that it was trained on: they use MANO differently"
)
GAP = 10  # frames between neighbouring frames of a window, as published
_BOX_SCALE = 1.5
_FRAMES = 7
register(
    NetworkEntry(
        name="motion-discriminator",
        build=deformer_layers.MotionDiscriminator,
        summary="discriminates motions of real hands from a network's; used only in Deformer's training",
        source="Fu et al. 2023, Deformer, section 3.5",
        licence="no weights were published",
        inputs=(InputSpec("motions", (_FRAMES, deformer_layers.MOTION), -1.0, 1.0),),
        where="train it with Deformer",
        tiny={"channels": 16},
    )
)
SIZES: Final = {
    "full": deformer_layers.DeformerSize(512, 7, 64, handoccnet.BLOCKS, 256, 32, 8, 256, 3, (1024, 512)),
    "small": deformer_layers.DeformerSize(64, 5, 16, (1, 1, 1, 1), 48, 8, 4, 96, 1, (128, 64)),
    "tiny": deformer_layers.DeformerSize(64, 5, 4, (1, 1, 1, 1), 16, 4, 2, 16, 1, (32, 16)),
}


@dataclass(frozen=True)
class Variant:
    """How the networks of one data set use MANO, and which frames they see."""

    tips: str  # layout of the joints, a key of `hand_models.mano_files.LAYOUTS`
    # True if the fingers' 45 numbers are coefficients of MANO's principal components, three of which at a time go
    # through six numbers and a rotation matrix as if they were an axis-angle
    pca: bool
    flat_hand_mean: bool  # True if MANO's mean pose is not added
    stops_at_gap: bool  # True if frames beyond a missing frame are not searched
    # True for poses in OpenGL's axes, y up and z backward, as in HO-3D's files; False for the camera's axes
    opengl: bool


VARIANTS: Final = {
    "ho3d": Variant("deformer_ho3d", pca=False, flat_hand_mean=True, stops_at_gap=False, opengl=True),
    "dexycb": Variant("deformer_dexycb", pca=True, flat_hand_mean=False, stops_at_gap=True, opengl=False),
}


class Motion(NamedTuple):
    """Predictions for each frame of a window; poses are six numbers per joint."""

    pose: Tensor  # (B, T, 96)
    forward: Tensor  # (B, T, 96): difference to the next frame's pose
    backward: Tensor  # (B, T, 96): difference to the previous frame's pose
    confidence: Tensor  # (B, T): logits


class DynamicHead(nn.Module):
    """Predict poses, their motion and the confidence of each frame, and one shape for the window."""

    def __init__(self, size: deformer_layers.DeformerSize) -> None:
        super().__init__()
        _, second = size.widths
        self.mano_base_layer = handoccnet.mano_base(size.channels + 2 * handoccnet.KEYPOINTS, size.widths)
        self.pose_reg = nn.Linear(second, ROTATIONS)
        self.fw_dynamic_pose_reg = nn.Linear(second, ROTATIONS)
        self.bw_dynamic_pose_reg = nn.Linear(second, ROTATIONS)
        self.confidence_reg = nn.Linear(second, 1)
        self.shape_reg = nn.Linear(size.channels, 10)

    def forward(self, tokens: Tensor, joints: Tensor, shape: Tensor) -> tuple[Motion, Tensor]:
        """Map tokens (B, T, C), joints (B, T, 21, 2) and the shape token (B, C) to the motion and the shape (B, 10).

        Joints are shares of the crop, 0 to 1.
        """
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


class VariantHands(nn.Module):
    """MANO models of both sides that convert poses and shapes of a variant to meshes."""

    def __init__(self, variant: Variant, right: Mano | str | None, left: Mano | str | None) -> None:
        super().__init__()
        self.right = _hand_model(right, "right")
        self.variant = variant
        model = _hand_model(left, "left")
        self.left = model and model.in_convention("distributed")  # the released code reads MANO's files as they are

    def forward(self, pose: Tensor, shape: Tensor, side: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return vertices (N, 778, 3) and joints (N, 21, 3) in metres in MANO's axes; sides (N,) are 0 or None for
        right.
        """
        if side is None or not side.any():
            return self._meshes(self.right, pose, shape)
        if not ((side == 0) | (side == 1)).all():
            raise InputError(f"side={side.tolist()}: must be 0 for a right or 1 for a left hand")
        order = side.argsort(stable=True)
        right, left = order.split([int((side == 0).sum()), int((side == 1).sum())])
        pairs = ((self.right, right), (self.left, left))
        meshes = [self._meshes(mano, pose[rows], shape[rows]) for mano, rows in pairs]
        back = order.argsort()
        vertices, joints = (torch.cat(tensors)[back] for tensors in zip(*meshes, strict=True))
        return vertices, joints

    def _meshes(self, mano: Mano | None, pose: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        if mano is None:
            name, side = ("mano", "right") if self.right is None else ("mano_left", "left")
            raise InputError(f"deformer requires {name}=load_mano(FILE, side={side!r}) for meshes of {side} hands")
        variant = self.variant
        return mano(pose, shape, flat_hand_mean=variant.flat_hand_mean, tips=variant.tips, pca=variant.pca)


def _hand_model(model: Mano | str | None, side: Side) -> Mano | None:
    if isinstance(model, str):
        if placeholder := mano_by_name(model, side):
            return placeholder
        raise InputError(f"{model!r} is not a MANO model; pass load_mano({model!r}, side={side!r})")
    if model is not None and model.side != side:
        raise InputError(f"deformer's {side} MANO model is a {model.side} hand; pass load_mano(FILE, side={side!r})")
    return model


class DeformerNetwork(Network):
    """Deformer.

    Args:
        mano: MANO's right hand from `load_mano`, which is not part of the weights; None to predict only pose and
            shape; `"demo"` or `"stand-in"` for placeholders.
        mano_left: MANO's left hand, for windows of left hands.
        variant: `ho3d` or `dexycb`, which use MANO differently; None takes that of the checkpoint, or `ho3d`.
        size: `full`, `small` for a trial on a CPU, or `tiny` for tests.
        fusion: True to fuse the poses of all frames by confidence; False takes the pose of the middle frame.

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
        handoccnet.check_options(size=(size, SIZES), variant=(variant or "ho3d", VARIANTS))
        self.variant = variant
        numbers = SIZES[size]
        layers = numbers.layers, numbers.channels, numbers.heads, numbers.hidden
        self.base_net = handoccnet.LeakyPyramid(numbers.channels, numbers.width, numbers.blocks)
        self.hand_transformer = deformer_layers.SpatialTransformer(numbers)
        self.hand_query_embed = nn.Embedding(1, numbers.channels)
        self.hand_hm_embed = deformer_layers.TokenMlp(numbers.channels, handoccnet.KEYPOINTS)
        self.hand_hm_layer = handoccnet.SpatialSoftmax(numbers.side)
        self.temporal_hand_transformer_encoder = deformer_layers.Encoder(*layers)
        self.temporal_hand_transformer_decoder = deformer_layers.Decoder(*layers)
        self.temporal_hand_query_embed = nn.Embedding(1, numbers.channels)
        self.mano_branch = DynamicHead(numbers)
        self.register_buffer(
            "positions", deformer_layers.sine_positions(numbers.frames, numbers.channels), persistent=False
        )
        self.hands = VariantHands(VARIANTS[variant or "ho3d"], mano, mano_left)
        self.size = numbers

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """Windows of images and the boxes of the hand in them."""
        return _inputs(self.size)

    def forward(
        self, images: Tensor, hand_boxes: Tensor | None = None, side: Tensor | None = None, roots: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Predict the hand in the middle of each window: encode each frame, then fuse all frames.

        `images`: (B, T, 3, 512, 512) RGB in 0..1, T = 7 frames of one hand, oldest first; `hand_boxes`: (B, T, 4) boxes
        of the hand as x_min, y_min, x_max, y_max in pixels, by default the full images; `side` and `roots` as in
        `fuse`.

        Returns:
            The outputs of `fuse`, and `joints2d` (B * T, 21, 2): x, y in 0..1 of the hand's box.
        """
        frames, pixels = self.size.frames, self.size.image
        self._check("images", images, (len(images), frames, 3, pixels, pixels))
        if hand_boxes is None:
            hand_boxes = images.new_tensor([0, 0, pixels, pixels]).expand(*images.shape[:2], 4)
        self._check("hand_boxes", hand_boxes, (len(images), frames, 4))
        if not (torch.compiler.is_compiling() or hand_boxes.is_meta or hand_boxes.isfinite().all()):
            raise InputError(f"{self.name}: hand_boxes must be finite")
        tokens, joints = self.encode(images.flatten(0, 1), hand_boxes.to(images).flatten(0, 1))
        windows = (-1, frames)
        return {
            **self.fuse(tokens.unflatten(0, windows), joints.unflatten(0, windows), side, roots),
            "joints2d": joints,
        }

    def encode(self, images: Tensor, hand_boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features of single frames, the expensive part, which a video requires once per frame.

        Images (N, 3, 512, 512) and boxes (N, 4) become tokens (N, 256) and joints (N, 21, 2) in 0..1 of the box.
        """
        owners = torch.arange(images.shape[0], dtype=hand_boxes.dtype, device=images.device)
        rois = torch.cat([owners[:, None], hand_boxes], 1)
        features = self.base_net(images.contiguous(memory_format=torch.channels_last))  # a quarter faster on CPUs
        # The first version of RoIAlign: as many points in a bin as it spans cells, and no shift by half a cell.
        if torch.compiler.is_compiling():  # formats without the operator
            maps = deformer_layers.dense_roi_align(features, rois[:, 1:] / _PIXELS_PER_CELL, self.size.side)
        else:
            maps = roi_align(features, rois, self.size.side, 1 / _PIXELS_PER_CELL, -1, aligned=False)
        answers, memory = self.hand_transformer(maps, self.hand_query_embed.weight)
        return answers.squeeze(1), self.hand_hm_layer.positions(self.hand_hm_embed(memory).mT)[0]

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
        """
        batch = tuple(tokens.shape[:2])
        if side is not None:
            self._check("side", side, batch)
            if not (((side == 0) | (side == 1)) & (side == side[:, :1])).all():
                raise InputError(
                    f"side={side.tolist()}: must be 0 for right or 1 for left hands, the same in each window"
                )
        if isinstance(roots, Tensor) and roots.shape == (*batch, 1, 3):
            roots = roots.squeeze(2)
        if roots is not None:
            self._check("roots", roots, (*batch, 3))
        memory = self.temporal_hand_transformer_encoder(tokens, self.positions)
        query = self.temporal_hand_query_embed.weight
        shape_token = self.temporal_hand_transformer_decoder(query, memory, self.positions).squeeze(1)
        motion, shape = self.mano_branch(memory, joints, shape_token)
        six, confidences = fused_pose(motion)
        if not self.fusion:  # the pose of the middle frame
            middle = tokens.shape[1] // 2
            six, confidences = motion.pose[:, middle], torch.zeros_like(confidences)
            confidences[:, middle] = 1
        rotations, pose = handoccnet.rotations_from_6d(six)
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

    def _check(self, name: str, values: object, expected: tuple[int, ...]) -> None:
        if not isinstance(values, Tensor):
            raise InputError(f"{self.name}: {name} require a torch.Tensor, not {type(values).__name__}")
        if values.shape != expected:
            raise InputError(f"{self.name}: {name} have shape {tuple(values.shape)}; expected {expected}")

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a published checkpoint without its MANO models, which are the given ones of its
        variant.
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

    def _take_variant(self, variant: str | None) -> None:
        """Use the variant of a checkpoint."""
        if variant is None:
            if self.variant is None and (self.hands.right is not None or self.hands.left is not None):
                raise InputError(f"the checkpoint does not define its variant; set {VARIANT_CHOICES}")
            return
        if self.variant not in (None, variant):
            raise InputError(f"the MANO models in the checkpoint are those of variant {variant}, not {self.variant}")
        self.variant = variant
        self.hands.variant = VARIANTS[variant]
        self.options = {**self.options, "variant": variant}


def official_variant(state_dict: Mapping[str, Tensor]) -> str | None:
    """Return the variant of a released checkpoint by its MANO models, with principal components for DexYCB, or None."""
    fields = {key.rpartition(".")[2] for key in state_dict if any(mano in key for mano in _MANO_KEYS)}
    if not fields:
        return None
    return "dexycb" if "th_comps" in fields else "ho3d"


def rotate_to_camera(pose: Tensor, variant: Variant) -> Tensor:
    """Convert poses (N, 48) in radians of a variant to the camera's axes, x right, y down, z forward, or back."""
    if not variant.opengl:
        return pose
    turn = pose.new_tensor([1.0, -1.0, -1.0]).diag()
    return turned_pose(pose, turn)


def _inputs(size: deformer_layers.DeformerSize) -> tuple[InputSpec, ...]:
    frames, side = size.frames, size.image
    return InputSpec("images", (frames, 3, side, side)), InputSpec("hand_boxes", (frames, 4), high=side)


register(
    NetworkEntry(
        name="deformer",
        evaluate="sonjit_lab.papers.deformer.model:open_deformer",
        uses_windows=True,
        build=DeformerNetwork,
        summary="mesh and joints of one hand in the middle of seven frames of a video, through MANO",
        source="Fu et al. 2023, Deformer",
        licence="no weights were published; MANO's own licence for the mesh",
        inputs=_inputs(SIZES["full"]),
        where="train it, or use a checkpoint of https://github.com/fuqichen1998/Deformer",
        tiny={"mano": "demo", "mano_left": "demo", "size": "tiny"},
        tiny_inputs=_inputs(SIZES["tiny"]),
    )
)


class Fused(NamedTuple):
    """The output for one frame."""

    frame: int
    outputs: dict[str, Tensor]  # of `DeformerNetwork.fuse` for one window


class _Frame(NamedTuple):
    """Features of a frame."""

    tokens: Tensor  # (256,)
    joints: Tensor  # (21, 2)


class DeformerStream:
    """Predict a hand's mesh for every frame, as soon as the frames around it are available.

    It keeps 1.2 kB for each frame in reach: 30 before the frame that is due, and 30 after it. `gap`: frames between
    neighbouring frames of a window. A missing frame of a window, because the video ends or because it was not pushed,
    is replaced by the last available one between it and the middle.
    """

    def __init__(self, network: DeformerNetwork, gap: int = GAP, *, left: bool = False) -> None:
        if gap < 1:
            raise InputError(f"gap={gap}: must be at least 1")
        self._network = network
        self._gap = gap
        self._half = network.size.frames // 2
        self._left = left
        self._seen: dict[int, _Frame] = {}
        self._due: deque[int] = deque()
        self._newest: int | None = None

    @torch.inference_mode()
    def push(self, index: int, image: Tensor, hand_box: Tensor) -> list[Fused]:
        """Add a frame, and return the outputs that are now complete, usually one, of 30 frames ago.

        `index`: greater than the previous one; frames without the hand are skipped; `image`: (3, 512, 512) RGB in 0..1;
        `hand_box`: (4,) x_min, y_min, x_max, y_max in pixels.
        """
        if self._newest is not None and index <= self._newest:
            raise InputError(f"frame {index} came after frame {self._newest}; push frames in order")
        with modes.eval_mode(self._network):
            tokens, joints = self._network.encode(image[None], hand_box[None])
        self._seen[index] = _Frame(tokens[0], joints[0])
        self._due.append(index)
        self._newest = index
        return self._fuse_until(index - self._half * self._gap)

    @torch.inference_mode()
    def finish(self) -> list[Fused]:
        """Return the remaining outputs at the end of a video. Another video may follow."""
        fused = self._fuse_until(self._newest)
        self._seen.clear()
        self._newest = None
        return fused

    def _fuse_until(self, newest: int | None) -> list[Fused]:
        """Return the outputs for pending frames up to the newest index."""
        fused: list[Fused] = []
        while self._due and newest is not None and self._due[0] <= newest:
            index = self._due.popleft()
            for old in [old for old in self._seen if old < index - self._half * self._gap]:
                del self._seen[old]
            tokens, joints = (
                torch.stack(tensors)[None]
                for tensors in zip(*map(self._seen.__getitem__, self._window(index)), strict=True)
            )
            side = tokens.new_full(tokens.shape[:2], float(self._left))
            with modes.eval_mode(self._network):
                fused.append(Fused(index, self._network.fuse(tokens, joints, side)))
        return fused

    def _window(self, centre: int) -> list[int]:
        """Return the indices of a window's frames, oldest first."""
        sides: list[list[int]] = []
        for step in (-self._gap, self._gap):
            indices = [centre]
            for distance in range(1, self._half + 1):
                index = centre + distance * step
                stopped = self._network.hands.variant.stops_at_gap and distance > 1 and indices[-1] != index - step
                indices.append(indices[-1] if stopped or index not in self._seen else index)
            sides.append(indices)
        before, after = sides
        return before[:0:-1] + after


class Corners(NamedTuple):
    """A box in pixels."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float

    def clip(self, width: float, height: float) -> "Corners":
        """Return the part of the box in an image."""
        return Corners(max(self.x_min, 0), max(self.y_min, 0), min(self.x_max, width), min(self.y_max, height))


def box_around(points: RealArray, scale: float = _BOX_SCALE) -> Corners:
    """Return the box of points (K, 2) in the crop, enlarged about its centre, in whole pixels as published."""
    low, high = points.min(0), points.max(0)
    x, y = np.trunc((low + high) / 2).tolist()
    half_width, half_height = (scale * (high - low) / 2).tolist()
    return Corners(x - half_width, y - half_height, x + half_width, y + half_height)


def crop_square(
    hand: Corners, width: int, height: int, held_object: Corners | None = None, rotation_rad: float = 0.0
) -> RotatedBox:
    """Return the square of an image around a hand's box that is scaled to 512 x 512; its content rotates back.

    The box around the held object is on HO-3D `box_around` its corners, on DexYCB with scale 1 and only if it overlaps
    the hand's.
    """
    both = [hand, *([] if held_object is None else [held_object])]
    x_min, y_min, x_max, y_max = Corners(
        *(min(box[axis] for box in both) for axis in (0, 1)), *(max(box[axis] for box in both) for axis in (2, 3))
    ).clip(width, height)
    if x_max <= x_min or y_max <= y_min:
        raise InputError(f"the box {tuple(round(edge) for edge in hand)} is outside the image of {width} x {height}")
    side = max(x_max - x_min, y_max - y_min)
    return RotatedBox(int((x_min + x_max) / 2), int((y_min + y_max) / 2), side, side, rotation_rad)


def joints_in_box(joints: RealArray, box: Corners) -> Float32Array:
    """Return joints (21, 2) as x, y in 0..1 of a box for training; (-1, -1) if a joint is outside."""
    low, high = np.array(box[:2]), np.array(box[2:])
    placed = (joints - low) / (high - low)
    outside = ((placed < 0) | (placed > 1)).any(1, keepdims=True)
    return np.where(outside, -1, placed).astype(np.float32)
