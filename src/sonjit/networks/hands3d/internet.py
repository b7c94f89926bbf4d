"""InterNet: both hands of one person from one crop: which are there, their joints in 2.5D, how far they lie apart.

Source: Moon et al. 2020, InterHand2.6M, section 5; the numbers are those of the released code. Its quirks that
checkpoints depend on are kept: bins count from the crop's corner without a half, and are read by the highest value.

Before and after InterNet: the box to cut out, and joints in millimetres from bins.

Source: Moon et al. 2020, InterHand2.6M, section 5; the numbers are those of the released code. Pixels of a crop and of
the image count from the first pixel's centre there, and so they do here.

The order of InterNet's 42 joints: by the data set that a checkpoint was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sonjit.arrays import BoolArray, FloatArray, RealArray
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox, square_box
from sonjit.geometry.cameras import Intrinsics
from sonjit.networks.mask_rcnn.fpn import ResNet
from sonjit.networks.registry import InputSpec, Network, NetworkEntry, register
from sonjit.skeletons import Skeleton, load_skeleton

INPUT_SIZE = 256
BINS = 64
CELL_PX = 4
"""Of a crop, for each bin along x and y."""

_JOINTS = 21  # of one hand
_BACKBONE = "backbone_net.resnet."


class InterNet(Network):
    """Both hands from a square crop around them.

    The module's keys are those of the official checkpoints.

    Args:
        layout: whose checkpoints' order of hands and joints the outputs have: `interhand`, `stb` or `rhd`. It changes
            no number that comes out, but what the numbers stand for; see `HandLayout`. None where nobody says it.
        depth: layers of the residual network.
        width: channels of its first stage; a tiny network for tests has few.
        channels: of the maps that are enlarged.
        hidden: of the two heads on the mean of the features.
        bins: of depth, and of x and y: a quarter of the side of its crops.
    """

    def __init__(
        self,
        layout: str | None = None,
        depth: int = 50,
        width: int = 64,
        channels: int = 256,
        hidden: int = 512,
        bins: int = BINS,
    ) -> None:
        super().__init__()
        if layout is not None and layout not in LAYOUTS:
            raise InputError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
        self._layout = layout
        self.side = bins * CELL_PX
        self.space = HeatmapSpace(self.side, bins)
        self.backbone_net = _Backbone(depth, width)
        self.pose_net = _PoseNet(self.backbone_net.resnet.channels[-1], channels, hidden, bins)

    @property
    def layout(self) -> HandLayout:
        """The order of hands and joints.

        Raises:
            InputError: nobody has said it.
        """
        if self._layout is None:
            raise InputError(f"InterNet's layout is not known: give {LAYOUT_NEEDED}")
        return LAYOUTS[self._layout]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """What is seen in crops.

        Args:
            images: (B, 3, 256, 256) RGB in 0..1.

        Returns:
            `joint_coord` (B, 42, 3): x, y, z in bins, whole numbers, in the layout's order; `rel_root_depth` (B, 1):
            depth of the left root less that of the right one, in bins; `hand_type` (B, 2): probability of a right and
            of a left hand; and what they are read from: `heatmap` (B, 42, z, y, x), `root_heatmap1d_logits` (B, 64),
            `hand_type_logits` (B, 2). `hand_layouts` makes millimetres of bins.
        """
        return self.pose_net(self.backbone_net.resnet(images)[-1])

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Official keys as this module's own, which they are.

        Weights of torchvision's classifier begin a training: `load_official(resnet50, strict=False)` takes its trunk.
        """
        weights = super().from_official(state_dict)
        if "conv1.weight" in weights:
            return {_BACKBONE + key: value for key, value in weights.items() if not key.startswith("fc.")}
        return weights


class _Backbone(nn.Module):
    """One level of names that the official keys have."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.resnet = ResNet(depth, width, "batch")


class _PoseNet(nn.Module):
    """The heads; names and indices are those of the official checkpoints."""

    def __init__(self, features: int, channels: int, hidden: int, bins: int) -> None:
        super().__init__()
        self._bins = bins
        self.joint_deconv_1, self.joint_deconv_2 = (enlarge(features, channels) for _ in range(2))
        self.joint_conv_1, self.joint_conv_2 = (nn.Sequential(nn.Conv2d(channels, _JOINTS * bins, 1)) for _ in range(2))
        self.root_fc = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, bins))
        self.hand_fc = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        begin_small(self)

    def forward(self, maps: Tensor) -> dict[str, Tensor]:
        hands = (
            self.joint_conv_1(self.joint_deconv_1(maps)),
            self.joint_conv_2(self.joint_deconv_2(maps)),
        )
        # Channels are joint by joint, the bins of depth within each.
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


def enlarge(inputs: int, channels: int) -> nn.Sequential:
    """Three transposed convolutions that double the sides each: (B, inputs, h, w) -> (B, channels, 8h, 8w)."""
    layers: list[nn.Module] = []
    for count in (inputs, channels, channels):
        layers += [
            nn.ConvTranspose2d(count, channels, 4, 2, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def begin_small(heads: nn.Module) -> None:
    """The released code's first weights of what follows a trained trunk: normal, small, no bias."""
    for module in heads.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.01 if isinstance(module, nn.Linear) else 0.001)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def expected_bin(probabilities: Tensor) -> Tensor:
    """The mean bin of distributions (..., bins) -> (...)."""
    return probabilities @ torch.arange(probabilities.shape[-1], dtype=probabilities.dtype, device=probabilities.device)


def highest_bin(heatmap: Tensor) -> Tensor:
    """Where volumes (B, J, z, y, x) are highest: (B, J, 3) as x, y, z.

    Of equal values the least x counts, then the least y, then the least z, as in the released code.
    """
    # Maxima without their places are found five times as fast; places are then searched in the one column and row.
    x = heatmap.amax((2, 3)).argmax(2, keepdim=True)  # (B, J, 1)
    depth, height = heatmap.shape[2:4]
    column = heatmap.gather(4, x[..., None, None].expand(-1, -1, depth, height, 1)).squeeze(4)  # (B, J, z, y)
    y = column.amax(2).argmax(2, keepdim=True)
    z = column.gather(3, y.unsqueeze(2).expand(-1, -1, depth, 1)).squeeze(3).argmax(2, keepdim=True)
    return torch.cat([x, y, z], 2).to(heatmap.dtype)


register(
    NetworkEntry(
        name="internet",
        build=InterNet,
        summary="both hands in one crop: which are there, 21 joints each in 2.5D, their distance in depth",
        source="Moon et al. 2020, InterHand2.6M, section 5",
        licence="CC-BY-NC-4.0",
        inputs=(InputSpec("images", (3, INPUT_SIZE, INPUT_SIZE)),),
        where="the released snapshot_20.pth.tar, by the links in github.com/facebookresearch/InterHand2.6M",
        tiny={"depth": 10, "width": 8, "channels": 8, "hidden": 16, "bins": 8},
        tiny_inputs=(InputSpec("images", (3, 32, 32)),),
    )
)

F = TypeVar("F", float, "FloatArray")
_MARGIN = 1.25  # of what is cut out, around the box
_AROUND_JOINTS = 1.2  # of a box, around the joints of which it is made


@dataclass(frozen=True)
class HeatmapSpace:
    """How bins of a heatmap stand for pixels of a crop and millimetres of depth.

    Attributes:
        size_px: side of the crop.
        bins: along x, y and z alike.
        range_mm: of depth: half before the root, half behind it; the same for the left root about the right one.
    """

    size_px: int = INPUT_SIZE
    bins: int = BINS
    range_mm: float = 400.0

    def bins_from_px(self, px: F) -> F:
        """Bins of places in a crop."""
        return px / self.size_px * self.bins

    def px_from_bins(self, bins: F) -> F:
        """Places in a crop of bins."""
        return bins / self.bins * self.size_px

    def bins_from_mm(self, mm: F) -> F:
        """Bins of relative depths; the middle one is 0 mm."""
        return (mm / (self.range_mm / 2) + 1) / 2 * self.bins

    def mm_from_bins(self, bins: F) -> F:
        """Relative depths of bins."""
        return (bins / self.bins * 2 - 1) * (self.range_mm / 2)


class TwoHands(NamedTuple):
    """What InterNet saw in a batch of crops, in the layout's order of joints.

    Attributes:
        xy_px: (B, 42, 2) in the image.
        z_mm: (B, 42) behind the same hand's root.
        rel_root_mm: (B,) of the left root behind the right one.
        present: (B, 2) whether there is a right and a left hand.
    """

    xy_px: FloatArray
    z_mm: FloatArray
    rel_root_mm: FloatArray
    present: BoolArray


def box_of_joints(xy_px: RealArray) -> RotatedBox:
    """The upright box of hands with joints (K, 2), with a margin as where boxes come with the data."""
    low, high = xy_px.min(0), xy_px.max(0)
    (cx, cy), (width, height) = ((low + high) / 2).tolist(), ((high - low) * _AROUND_JOINTS).tolist()
    return RotatedBox(cx, cy, width, height)


def area_of_box(box: RotatedBox) -> RotatedBox:
    """The square to cut out for a box around the hands; it may leave the image, where all is black."""
    return square_box(box, scale=_MARGIN)


def two_hands_from_outputs(
    outputs: Mapping[str, Tensor], to_image: RealArray, space: HeatmapSpace = HeatmapSpace()
) -> TwoHands:
    """Bins as pixels and millimetres.

    Args:
        outputs: `joint_coord`, `rel_root_depth` and `hand_type` of InterNet.
        to_image: (B, 2, 3) from pixels of each crop to those of its image.
        space: of the network.
    """
    joints, rel, hands = (
        outputs[name].detach().cpu().double().numpy() for name in ("joint_coord", "rel_root_depth", "hand_type")
    )
    crop_px = space.px_from_bins(joints[..., :2])
    turn, shift = to_image[:, :, :2], to_image[:, None, :, 2]
    xy = crop_px @ turn.swapaxes(1, 2) + shift
    return TwoHands(xy, space.mm_from_bins(joints[..., 2]), space.mm_from_bins(rel[:, 0]), hands > 0.5)


def with_relative_depth(own_mm: RealArray, hands: TwoHands) -> FloatArray:
    """Depths (B, 2) of right and left roots from what each came to by itself (B, 2).

    Where there are both hands, the left one is where InterNet saw it from the right one: it saw both at once.
    """
    depths = np.array(own_mm, np.float64)
    both = hands.present.all(1)
    depths[both, 1] = depths[both, 0] + hands.rel_root_mm[both]
    return depths


def joints_in_camera(hands: TwoHands, roots_mm: RealArray, layout: HandLayout, camera: Intrinsics) -> FloatArray:
    """Joints (B, 42, 3) in mm in the camera's frame, of hands whose right and left roots (B, 2) are so deep."""
    depth = hands.z_mm.copy()
    for number, side in enumerate(SIDES):
        depth[:, layout.joints(side)] += roots_mm[:, number, None]
    return camera.back_project(hands.xy_px, depth)


Side = Literal["Right", "Left"]

SIDES: Final[tuple[Side, Side]] = ("Right", "Left")
"""The order in which a network gives hands, and depths of their roots, whatever the order of its joints."""

JOINTS = 21
"""Of one hand."""


@dataclass(frozen=True)
class HandLayout:
    """One order of two hands' joints.

    Attributes:
        skeleton_name: of one hand; its root is the joint that depths are relative to.
        first: whose joints are 0..20; the other hand's are 21..41.
        both_in_a_crop: both hands of a person were seen in one crop; else each by itself.
    """

    skeleton_name: str
    first: Side
    both_in_a_crop: bool = False

    @cached_property
    def skeleton(self) -> Skeleton:
        """Names and bones of one hand in this order."""
        return load_skeleton(self.skeleton_name)

    def joints(self, side: Side) -> slice:
        """Where a hand's joints are among the 42."""
        return slice(0, JOINTS) if side == self.first else slice(JOINTS, 2 * JOINTS)

    def root(self, side: Side) -> int:
        """Where a hand's root is among the 42."""
        return self.joints(side).start + self.skeleton.parents.index(-1)

    @property
    def root_keypoints(self) -> tuple[int, ...]:
        """MediaPipe's keypoints between which the root lies: the wrist, or wrist and middle finger's knuckle."""
        return (0,) if "wrist" in self.skeleton.keypoints else (0, 9)

    def from_mediapipe21(self, points: RealArray) -> RealArray:
        """One hand in MediaPipe's order (21, D) in this one; STB's palm is half-way from wrist to knuckle."""
        known = load_skeleton("hand_mediapipe21")
        palm = points[[0, known.index("middle_finger_mcp")]].mean(0)
        return np.stack([
            palm if name == "palm_center" else points[known.index(name)] for name in self.skeleton.keypoints
        ])  # fmt: skip

    def mediapipe21(self, joints: RealArray, side: Side) -> RealArray:
        """One of two hands (..., 42, D) in MediaPipe's order (..., 21, D).

        STB names no wrist but the palm's centre; the wrist is then put as far behind it as the middle finger's knuckle
        is in front.
        """
        names = load_skeleton("hand_mediapipe21").keypoints
        own, skeleton = joints[..., self.joints(side), :], self.skeleton
        if names[0] in skeleton.keypoints:
            return own[..., [skeleton.index(name) for name in names], :]
        palm = skeleton.index("palm_center")
        hand = own[..., [palm, *(skeleton.index(name) for name in names[1:])], :]
        hand[..., 0, :] = 2 * hand[..., 0, :] - own[..., skeleton.index("middle_finger_mcp"), :]
        return hand


LAYOUTS: Final = {
    "interhand": HandLayout("hand_interhand21", "Right", both_in_a_crop=True),
    "stb": HandLayout("hand_stb21", "Left"),
    "rhd": HandLayout("hand_rhd21", "Left"),
}
"""By the data set of a checkpoint of InterNet."""

LAYOUT_NEEDED: Final = (
    "layout interhand, stb or rhd (--lift-layout, --layout): on which of these data sets the weights were trained"
)
