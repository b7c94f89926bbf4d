"""What stands before and after InterNet: the box to cut out, and joints in millimetres from bins.

Source: Moon et al. 2020, InterHand2.6M, section 5; the numbers are those of the released code. Pixels of a crop and of
the picture count from the first pixel's centre there, and so they do here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from sonjit.geometry import RotatedBox, square_box
from sonjit.networks.hand_layouts import SIDES
from sonjit.networks.internet import BINS, INPUT_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from sonjit.geometry import Camera
    from sonjit.networks.hand_layouts import HandLayout

F = TypeVar("F", float, "NDArray[np.float64]")

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
        xy_px: (B, 42, 2) in the picture.
        z_mm: (B, 42) behind the same hand's root.
        rel_root_mm: (B,) of the left root behind the right one.
        present: (B, 2) whether there is a right and a left hand.
    """

    xy_px: NDArray[np.float64]
    z_mm: NDArray[np.float64]
    rel_root_mm: NDArray[np.float64]
    present: NDArray[np.bool_]


def box_of_joints(xy_px: NDArray[np.floating]) -> RotatedBox:
    """The upright box of hands with joints (K, 2), with a margin as where boxes come with the data."""
    low, high = xy_px.min(0), xy_px.max(0)
    (cx, cy), (width, height) = ((low + high) / 2).tolist(), ((high - low) * _AROUND_JOINTS).tolist()
    return RotatedBox(cx, cy, width, height)


def area_of_box(box: RotatedBox) -> RotatedBox:
    """The square to cut out for a box around the hands; it may leave the picture, where all is black."""
    return square_box(box, scale=_MARGIN)


def two_hands_from_outputs(
    outputs: Mapping[str, Tensor],
    to_picture: NDArray[np.floating],
    space: HeatmapSpace = HeatmapSpace(),
) -> TwoHands:
    """Bins as pixels and millimetres.

    Args:
        outputs: `joint_coord`, `rel_root_depth` and `hand_type` of InterNet.
        to_picture: (B, 2, 3) from pixels of each crop to those of its picture.
        space: of the network.
    """
    joints, rel, hands = (
        outputs[name].detach().cpu().double().numpy() for name in ("joint_coord", "rel_root_depth", "hand_type")
    )
    crop_px = space.px_from_bins(joints[..., :2])
    turn, shift = to_picture[:, :, :2], to_picture[:, None, :, 2]
    xy = crop_px @ turn.swapaxes(1, 2) + shift
    return TwoHands(xy, space.mm_from_bins(joints[..., 2]), space.mm_from_bins(rel[:, 0]), hands > 0.5)


def with_relative_depth(own_mm: NDArray[np.floating], hands: TwoHands) -> NDArray[np.float64]:
    """Depths (B, 2) of right and left roots from what each came to by itself (B, 2).

    Where there are both hands, the left one stands where InterNet saw it from the right one: it saw both at once.
    """
    depths = np.array(own_mm, np.float64)
    both = hands.present.all(1)
    depths[both, 1] = depths[both, 0] + hands.rel_root_mm[both]
    return depths


def joints_in_camera(
    hands: TwoHands, roots_mm: NDArray[np.floating], layout: HandLayout, camera: Camera
) -> NDArray[np.float64]:
    """Joints (B, 42, 3) in mm in the camera's frame, of hands whose right and left roots (B, 2) are so deep."""
    depth = hands.z_mm.copy()
    for number, side in enumerate(SIDES):
        depth[:, layout.joints(side)] += roots_mm[:, number, None]
    return camera.back_project(hands.xy_px, depth)
