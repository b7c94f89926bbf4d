"""InterNet: both hands of one person from one crop: their presence, their joints in 2.5D and their distance.

Source: Moon et al. 2020, InterHand2.6M, section 5; numbers as in the released code. Quirks that checkpoints depend on
are kept: bins count from the crop's corner without a half, and the bin with the highest value is the prediction. Pixels
of a crop and of the image count from the centre of the first pixel.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sonjit._util import BoolArray, FloatArray, InputError, RealArray
from sonjit.geometry.boxes import RotatedBox, box_from_corners, square_box
from sonjit.geometry.cameras import Intrinsics
from sonjit.results import Box
from sonjit.results.skeletons import Skeleton, load_skeleton
from sonjit_lab.datasets import Instance
from sonjit_lab.networks import backbones, registry

Side = Literal["Right", "Left"]
SIDES: Final[tuple[Side, Side]] = ("Right", "Left")
"""Order of hands and of their roots' depths in a network's outputs, whatever the order of its joints."""
JOINTS = 21  # number of joints of one hand
INPUT_SIZE = 256
BINS = 64
CELL_PX = 4  # pixels of a crop for each bin along x and y
F = TypeVar("F", float, "FloatArray")
_MARGIN = 1.25  # side of the crop relative to the box
_JOINT_MARGIN = 1.2  # side of a box relative to the joints in it
LAYOUT_CHOICES: Final = (
    "layout interhand, stb or rhd (--lift-layout, --layout): the data set that the weights were trained on"
)


@dataclass(frozen=True)
class HandLayout:
    """An order of two hands' joints."""

    skeleton_name: str  # skeleton of one hand; depths are relative to its root
    first: Side  # side with the joints 0..20; the other hand has 21..41
    both_in_a_crop: bool = False  # True if a crop contains both hands of a person, False if each hand has its own crop

    @cached_property
    def skeleton(self) -> Skeleton:
        """Names and bones of one hand in this order."""
        return load_skeleton(self.skeleton_name)

    def joints(self, side: Side) -> slice:
        """Return the indices of a hand's joints among the 42."""
        return slice(0, JOINTS) if side == self.first else slice(JOINTS, 2 * JOINTS)

    def root(self, side: Side) -> int:
        """Return the index of a hand's root among the 42."""
        return self.joints(side).start + self.skeleton.parents.index(-1)

    @property
    def root_keypoints(self) -> tuple[int, ...]:
        """MediaPipe's keypoints whose mean is the root: the wrist, or wrist and middle finger's knuckle."""
        return (0,) if "wrist" in self.skeleton.keypoints else (0, 9)

    def from_mediapipe21(self, points: RealArray) -> RealArray:
        """Convert one hand (21, D) from MediaPipe's order, in its unit; STB's palm is between wrist and knuckle."""
        skeleton = load_skeleton("hand_mediapipe21")
        palm = points[[0, skeleton.index("middle_finger_mcp")]].mean(0)
        return np.stack(
            [palm if name == "palm_center" else points[skeleton.index(name)] for name in self.skeleton.keypoints]
        )

    def mediapipe21(self, joints: RealArray, side: Side) -> RealArray:
        """Return one of two hands (..., 42, D) in MediaPipe's order (..., 21, D), in their unit.

        STB's wrist is extrapolated from the middle finger's knuckle through the palm's centre, which it has instead.
        """
        names = load_skeleton("hand_mediapipe21").keypoints
        joints_of_side, skeleton = joints[..., self.joints(side), :], self.skeleton
        if names[0] in skeleton.keypoints:
            return joints_of_side[..., [skeleton.index(name) for name in names], :]
        palm = skeleton.index("palm_center")
        hand = joints_of_side[..., [palm, *(skeleton.index(name) for name in names[1:])], :]
        hand[..., 0, :] = 2 * hand[..., 0, :] - joints_of_side[..., skeleton.index("middle_finger_mcp"), :]
        return hand


@dataclass(frozen=True)
class HeatmapSpace:
    """Conversion of a heatmap's bins to pixels of a crop and millimetres of depth."""

    size_px: int = INPUT_SIZE  # side of the crop
    bins: int = BINS  # number of bins along x, y and z
    # range of depth, half in front of the root and half behind it, also of the left root relative to the right one
    range_mm: float = 400.0

    def bins_from_px(self, px: F) -> F:
        """Convert pixels of a crop to bins."""
        return px / self.size_px * self.bins

    def px_from_bins(self, bins: F) -> F:
        """Convert bins to pixels of a crop."""
        return bins / self.bins * self.size_px

    def bins_from_mm(self, mm: F) -> F:
        """Convert relative depths to bins; the middle bin is 0 mm."""
        return (mm / (self.range_mm / 2) + 1) / 2 * self.bins

    def mm_from_bins(self, bins: F) -> F:
        """Convert bins to relative depths."""
        return (bins / self.bins * 2 - 1) * (self.range_mm / 2)


class TwoHands(NamedTuple):
    """Predictions of InterNet for a batch of crops, in the layout's order of joints."""

    xy_px: FloatArray  # (B, 42, 2) pixels of the image
    z_mm: FloatArray  # (B, 42) depth relative to the same hand's root
    rel_root_mm: FloatArray  # (B,) depth of the left root relative to the right one
    present: BoolArray  # (B, 2) True for a right and a left hand that is present


def box_of_joints(xy_px: RealArray) -> RotatedBox:
    """Return the upright box of hands with joints (K, 2) in pixels, with a margin as in the boxes of data sets."""
    low, high = xy_px.min(0), xy_px.max(0)
    (cx, cy), (width, height) = ((low + high) / 2).tolist(), ((high - low) * _JOINT_MARGIN).tolist()
    return RotatedBox(cx, cy, width, height)


def box_of_hands(hands: Collection[Instance], shared: Box | None = None) -> RotatedBox | None:
    """Return the upright box of hands in pixels: the box that they share, else around their own, else their joints."""
    boxes = [shared] if shared else [hand.box for hand in hands if hand.box]
    if boxes and (shared or len(boxes) == len(hands)):
        return box_from_corners([*np.min(boxes, 0)[:2].tolist(), *np.max(boxes, 0)[2:].tolist()])
    points = [points[np.isfinite(points).all(1)] for hand in hands if (points := hand.labelled_px) is not None]
    return box_of_joints(np.concatenate(points)) if points else None


def area_of_box(box: RotatedBox) -> RotatedBox:
    """Return the square crop of a box around the hands; outside the image it is black."""
    return square_box(box, scale=_MARGIN)


def two_hands_from_outputs(
    outputs: Mapping[str, Tensor], to_image: RealArray, space: HeatmapSpace = HeatmapSpace()
) -> TwoHands:
    """Convert outputs of InterNet to pixels, by transforms (B, 2, 3) from crop to image, and to millimetres."""
    joints, rel, hands = (
        outputs[name].detach().cpu().double().numpy() for name in ("joint_coord", "rel_root_depth", "hand_type")
    )
    crop_px = space.px_from_bins(joints[..., :2])
    turn, shift = to_image[:, :, :2], to_image[:, None, :, 2]
    xy = crop_px @ turn.swapaxes(1, 2) + shift
    return TwoHands(xy, space.mm_from_bins(joints[..., 2]), space.mm_from_bins(rel[:, 0]), hands > 0.5)


def apply_relative_depth(own_mm: RealArray, hands: TwoHands) -> FloatArray:
    """Return depths (B, 2) in mm of right and left roots.

    With both hands, the left root is placed relative to the right one.
    """
    depths = np.array(own_mm, np.float64)
    both = hands.present.all(1)
    depths[both, 1] = depths[both, 0] + hands.rel_root_mm[both]
    return depths


def joints_in_camera(hands: TwoHands, roots_mm: RealArray, layout: HandLayout, camera: Intrinsics) -> FloatArray:
    """Return joints (B, 42, 3) in mm in the camera's frame, from the depths of right and left roots (B, 2)."""
    depth = hands.z_mm.copy()
    for number, side in enumerate(SIDES):
        depth[:, layout.joints(side)] += roots_mm[:, number, None]
    return camera.back_project(hands.xy_px, depth)


LAYOUTS: Final = {
    "interhand": HandLayout("hand_interhand21", "Right", both_in_a_crop=True),
    "stb": HandLayout("hand_stb21", "Left"),
    "rhd": HandLayout("hand_rhd21", "Left"),
}
"""Layouts by the data set of a checkpoint of InterNet."""


class InterNet(registry.Network):
    """Both hands from a square crop around them, with the keys of the official checkpoints.

    `layout`: order of hands and joints in the outputs: `interhand`, `stb` or `rhd`, the data set of the checkpoint;
    None if it is not known; see `HandLayout`; `depth`: number of layers of the residual network; `channels`: those of
    the upsampled maps; `hidden`: width of the two heads; `bins`: number of bins of depth, x and y: a quarter of the
    crop's side.
    """

    maxima = MappingProxyType({"joint_coord": "heatmap"})
    resnet_prefix = "backbone_net.resnet."

    def __init__(
        self,
        layout: str | None = None,
        depth: int = 50,
        width: int = 64,
        *,
        channels: int = 256,
        hidden: int = 512,
        bins: int = BINS,
    ) -> None:
        super().__init__()
        if layout is not None and layout not in LAYOUTS:
            raise InputError(f"Unknown layout {layout!r}. Choose from {', '.join(LAYOUTS)}")
        self._layout = layout
        self.side = bins * CELL_PX
        self.space = HeatmapSpace(self.side, bins)
        self.backbone_net = _Backbone(depth, width)
        self.pose_net = _PoseNet(self.backbone_net.resnet.channels[-1], channels, hidden, bins)

    @property
    def layout(self) -> HandLayout:
        """The order of hands and joints."""
        if self._layout is None:
            raise InputError(f"InterNet's layout is not known; set {LAYOUT_CHOICES}")
        return LAYOUTS[self._layout]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Predict the hands in crops (B, 3, 256, 256), RGB in 0..1.

        Returns:
            `joint_coord` (B, 42, 3): x, y, z in integer bins, in the layout's order; `rel_root_depth` (B, 1): depth
            of the left root minus that of the right one, in bins; `hand_type` (B, 2): probability of a right and of
            a left hand; and their sources: `heatmap` (B, 42, z, y, x), `root_heatmap1d_logits` (B, 64),
            `hand_type_logits` (B, 2). `two_hands_from_outputs` converts bins to millimetres.
        """
        return self.pose_net(self.backbone_net.resnet(images)[-1])


class _Backbone(nn.Module):
    """A container for the official keys."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.resnet = backbones.ResNet(depth, width, "batch")


class _PoseNet(nn.Module):
    """The heads, with the names and indices of the official checkpoints."""

    def __init__(self, features: int, channels: int, hidden: int, bins: int) -> None:
        super().__init__()
        self._bins = bins
        self.joint_deconv_1, self.joint_deconv_2 = (upsampling(features, channels) for _ in range(2))
        self.joint_conv_1, self.joint_conv_2 = (nn.Sequential(nn.Conv2d(channels, JOINTS * bins, 1)) for _ in range(2))
        self.root_fc = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, bins))
        self.hand_fc = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        init_small_weights(self)

    def forward(self, maps: Tensor) -> dict[str, Tensor]:
        hands = (self.joint_conv_1(self.joint_deconv_1(maps)), self.joint_conv_2(self.joint_deconv_2(maps)))
        # Channels are ordered by joint, then by depth bin.
        heatmap = torch.cat(hands, 1).unflatten(1, (-1, self._bins))  # (B, 42, z, y, x)
        mean = maps.mean((2, 3))
        root = self.root_fc(mean)
        hand = self.hand_fc(mean)
        return {
            "heatmap": heatmap,
            "hand_type": hand.sigmoid(),
            "hand_type_logits": hand,
            "rel_root_depth": expected_bin(root.softmax(1)).unsqueeze(1),
            "root_heatmap1d_logits": root,
            "joint_coord": highest_bin(heatmap),
        }


def upsampling(inputs: int, channels: int) -> nn.Sequential:
    """Return three transposed convolutions that double the sides each: (B, inputs, h, w) to (B, channels, 8h, 8w)."""
    layers: list[nn.Module] = []
    for count in (inputs, channels, channels):
        layers += [
            nn.ConvTranspose2d(count, channels, 4, 2, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def init_small_weights(heads: nn.Module) -> None:
    """Initialise heads after a pretrained trunk as the released code does: small normal weights and no bias."""
    for module in heads.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.01 if isinstance(module, nn.Linear) else 0.001)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def expected_bin(probabilities: Tensor) -> Tensor:
    """Return the mean bin index (...) of probabilities (..., bins)."""
    return probabilities @ torch.arange(probabilities.shape[-1], dtype=probabilities.dtype, device=probabilities.device)


def highest_bin(heatmap: Tensor) -> Tensor:
    """Return the bin indices x, y, z (B, J, 3) of the maximum of volumes (B, J, z, y, x).

    Of equal values it is the one of the smallest x, y, z, as released.
    """
    # Maxima without indices are five times as fast; indices are then searched in one column and one row.
    x = heatmap.amax((2, 3)).argmax(2, keepdim=True)  # (B, J, 1)
    depth, height = heatmap.shape[2:4]
    column = heatmap.gather(4, x[..., None, None].expand(-1, -1, depth, height, 1)).squeeze(4)  # (B, J, z, y)
    y = column.amax(2).argmax(2, keepdim=True)
    z = column.gather(3, y.unsqueeze(2).expand(-1, -1, depth, 1)).squeeze(3).argmax(2, keepdim=True)
    return torch.cat([x, y, z], 2).to(heatmap.dtype)


registry.register(
    registry.NetworkEntry(
        name="internet",
        evaluate="sonjit_lab.papers.interhand.model:open_internet",
        build=InterNet,
        summary="both hands in one crop: which are there, 21 joints each in 2.5D, their distance in depth",
        source="Moon et al. 2020, InterHand2.6M, section 5",
        licence="CC-BY-NC-4.0",
        inputs=(registry.InputSpec("images", (3, INPUT_SIZE, INPUT_SIZE)),),
        where="the released snapshot_20.pth.tar, by the links in github.com/facebookresearch/InterHand2.6M",
        tiny={"depth": 10, "width": 8, "channels": 8, "hidden": 16, "bins": 8},
        tiny_inputs=(registry.InputSpec("images", (3, 32, 32)),),
    )
)
