"""Convert between InterNet and images: crops of hands, and bins of heatmaps as pixels and millimetres.

Source: Moon et al. 2020, InterHand2.6M, section 5; numbers as in the released code. Pixels of a crop
and of the image count from the centre of the first pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from torch import Tensor

from sonjit._util.arrays import BoolArray, FloatArray, RealArray
from sonjit.geometry.boxes import RotatedBox, square_box
from sonjit.geometry.cameras import Intrinsics
from sonjit.lab.networks.hands3d.hand_layouts import SIDES, HandLayout

INPUT_SIZE = 256
BINS = 64
CELL_PX = 4
"""Pixels of a crop for each bin along x and y."""
F = TypeVar("F", float, "FloatArray")
_MARGIN = 1.25  # side of the crop relative to the box
_JOINT_MARGIN = 1.2  # side of a box relative to the joints in it


@dataclass(frozen=True)
class HeatmapSpace:
    """Conversion of a heatmap's bins to pixels of a crop and millimetres of depth.

    Attributes:
        size_px: Side of the crop.
        bins: Number of bins along x, y and z.
        range_mm: Range of depth, half in front of the root and half behind it, also of the left root relative to the
            right one.
    """

    size_px: int = INPUT_SIZE
    bins: int = BINS
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
    """Predictions of InterNet for a batch of crops, in the layout's order of joints.

    Attributes:
        xy_px: (B, 42, 2) pixels of the image.
        z_mm: (B, 42) depth relative to the same hand's root.
        rel_root_mm: (B,) depth of the left root relative to the right one.
        present: (B, 2) True for a right and a left hand that is present.
    """

    xy_px: FloatArray
    z_mm: FloatArray
    rel_root_mm: FloatArray
    present: BoolArray


def box_of_joints(xy_px: RealArray) -> RotatedBox:
    """Return the upright box of hands with joints (K, 2), with a margin as in the boxes of data sets."""
    low, high = xy_px.min(0), xy_px.max(0)
    (cx, cy), (width, height) = ((low + high) / 2).tolist(), ((high - low) * _JOINT_MARGIN).tolist()
    return RotatedBox(cx, cy, width, height)


def area_of_box(box: RotatedBox) -> RotatedBox:
    """Return the square crop of a box around the hands; outside the image it is black."""
    return square_box(box, scale=_MARGIN)


def two_hands_from_outputs(
    outputs: Mapping[str, Tensor], to_image: RealArray, space: HeatmapSpace = HeatmapSpace()
) -> TwoHands:
    """Convert bins to pixels and millimetres.

    Args:
        outputs: Outputs `joint_coord`, `rel_root_depth` and `hand_type` of InterNet.
        to_image: (B, 2, 3) transforms from pixels of each crop to those of its image.
        space: Heatmap space of the network.
    """
    joints, rel, hands = (
        outputs[name].detach().cpu().double().numpy() for name in ("joint_coord", "rel_root_depth", "hand_type")
    )
    crop_px = space.px_from_bins(joints[..., :2])
    turn, shift = to_image[:, :, :2], to_image[:, None, :, 2]
    xy = crop_px @ turn.swapaxes(1, 2) + shift
    return TwoHands(xy, space.mm_from_bins(joints[..., 2]), space.mm_from_bins(rel[:, 0]), hands > 0.5)


def apply_relative_depth(own_mm: RealArray, hands: TwoHands) -> FloatArray:
    """Return the depths (B, 2) of right and left roots from their independent estimates (B, 2).

    With both hands, the depth of the left root is that relative to the right one, because InterNet sees both at once.
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
