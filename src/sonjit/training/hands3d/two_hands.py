"""InterNet's training data and losses: augmented crops of two hands with their ground truth.

Losses compare Gaussian volumes around joints, the roots' distance, and which hands there are. Source: Moon et al. 2020,
InterHand2.6M, section 5.3; the numbers are those of the released code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sonjit.geometry import RotatedBox, crop, crop_matrix, inverse_affine
from sonjit.networks.hands3d.internet import JOINTS, SIDES, HandLayout, HeatmapSpace, area_of_box

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PEAK, SIGMA_BINS = 255.0, 2.5


class InterNetTargets(NamedTuple):
    """Ground truth of a batch of crops, in the layout's order of joints.

    Attributes:
        joints: (B, 42, 3) x, y, z in bins.
        valid: (B, 42) 1 where a joint is known and in the volume; all 0 for a hand that is absent.
        rel_root: (B, 1) bins from the right root to the left one.
        rel_valid: (B, 1) 1 where both are known and in range.
        hand_type: (B, 2) 1 for a right and a left hand that is there.
        hand_type_valid: (B,) 1 where that is known.
    """

    joints: Tensor
    valid: Tensor
    rel_root: Tensor
    rel_valid: Tensor
    hand_type: Tensor
    hand_type_valid: Tensor


def heatmap_from_joints(joints: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Volumes (B, J, z, y, x) of a shape with a Gaussian around joints (B, J, 3) as x, y, z in bins."""
    axes: list[Tensor] = []
    for axis, count in zip((2, 1, 0), shape, strict=True):
        off = torch.arange(count, dtype=joints.dtype, device=joints.device) - joints[..., axis, None]  # (B, J, count)
        axes.append((-(off**2) / (2 * SIGMA_BINS**2)).exp())
    z, y, x = axes  # a Gaussian of three axes is the product of three
    return PEAK * z[..., :, None, None] * (y[..., :, None] * x[..., None, :])[..., None, :, :]


def internet_losses(outputs: Mapping[str, Tensor], targets: InterNetTargets) -> dict[str, Tensor]:
    """The three losses, whose sum is minimised.

    Returns:
        `joints`: squared difference of volumes, nothing for joints that are not valid, over all of them; `rel_root`:
        distance in bins; `hand_type`: cross entropy. Each is a mean over the batch.
    """
    heatmap = outputs["heatmap"]
    off = heatmap - heatmap_from_joints(targets.joints, (heatmap.shape[2], heatmap.shape[3], heatmap.shape[4]))
    joints = (off.square().mean((2, 3, 4)) * targets.valid).mean()
    rel_root = ((outputs["rel_root_depth"] - targets.rel_root).abs() * targets.rel_valid).mean()
    hand = F.binary_cross_entropy_with_logits(outputs["hand_type_logits"], targets.hand_type, reduction="none")
    return {"joints": joints, "rel_root": rel_root, "hand_type": (hand.mean(1) * targets.hand_type_valid).mean()}


@dataclass(frozen=True, eq=False)
class TwoHandImage:
    """One labelled image.

    Attributes:
        rgb: (H, W, 3) uint8.
        box: upright, around the hands, in pixels.
        joints: (42, 3) x, y in pixels, depth in mm from the camera, in the layout's order.
        valid: (42,) whether a joint is known.
        hand_type: (2,) whether there is a right and a left hand.
        hand_type_valid: whether that is known.
    """

    rgb: NDArray[np.uint8]
    box: RotatedBox
    joints: NDArray[np.float64]
    valid: NDArray[np.bool_]
    hand_type: NDArray[np.bool_]
    hand_type_valid: bool = True


@dataclass(frozen=True)
class TwoHandAugmentation:
    """How one image is augmented.

    Attributes:
        shift: of the box, as part of its width and height.
        scale: of the box.
        rotation_rad: of the box.
        flip: mirror the image, which makes a left hand of a right one.
        gain: of red, green and blue.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    rotation_rad: float = 0.0
    flip: bool = False
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)


_AS_IS, _SPACE = TwoHandAugmentation(), HeatmapSpace()


@dataclass(frozen=True, eq=False)
class TwoHandExample:
    """One crop and its ground truth; the fields are those of `InterNetTargets` for a single crop."""

    image: NDArray[np.float32]  # (S, S, 3) in 0..1
    joints: NDArray[np.float64]
    valid: NDArray[np.bool_]
    rel_root: float
    rel_valid: bool
    hand_type: NDArray[np.bool_]
    hand_type_valid: bool


def draw_two_hand_augmentation(rng: np.random.Generator) -> TwoHandAugmentation:
    """One of the published augmentations."""
    shift_x, shift_y = rng.uniform(-0.15, 0.15, 2).tolist()
    scale = 1 + 0.25 * float(np.clip(rng.normal(), -1, 1))
    rotate = rng.random() < 0.6
    rotation = math.radians(45) * float(np.clip(rng.normal(), -2, 2)) if rotate else 0.0
    red, green, blue = rng.uniform(0.8, 1.2, 3).tolist()
    return TwoHandAugmentation((shift_x, shift_y), scale, rotation, bool(rng.random() < 0.5), (red, green, blue))


def flipped(image: TwoHandImage) -> TwoHandImage:
    """The mirror image, with the hands' labels changed over; pixels count from the first one's centre."""
    last = image.rgb.shape[1] - 1
    joints = np.roll(image.joints, JOINTS, 0)
    joints[:, 0] = last - joints[:, 0]
    return replace(
        image,
        rgb=np.ascontiguousarray(image.rgb[:, ::-1]),
        box=image.box._replace(cx=last - image.box.cx),
        joints=joints,
        valid=np.roll(image.valid, JOINTS),
        hand_type=image.hand_type[::-1].copy(),
    )


def example_from_image(
    labelled: TwoHandImage,
    layout: HandLayout,
    augmentation: TwoHandAugmentation = _AS_IS,
    space: HeatmapSpace = _SPACE,
) -> TwoHandExample:
    """Augment an image and cut its hands out, with the ground truth of the crop."""
    if augmentation.flip:
        labelled = flipped(labelled)
    box = labelled.box
    box = box._replace(cx=box.cx + augmentation.shift[0] * box.width, cy=box.cy + augmentation.shift[1] * box.height)
    area = area_of_box(box)
    side = area.width * augmentation.scale
    area = RotatedBox(area.cx, area.cy, side, side, augmentation.rotation_rad)
    size = space.size_px
    image = crop(labelled.rgb.astype(np.float32), area, size, size, border="zero")
    image = np.clip(image * np.array(augmentation.gain, np.float32), 0, 255) / np.float32(255)
    matrix = inverse_affine(crop_matrix(area, size, size))
    joints = labelled.joints.copy()
    joints[:, :2] = joints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    bins, valid, rel_root = targets_from_crop(joints, _with_known_roots(labelled.valid, layout), layout, space)
    both = labelled.hand_type.all() and all(valid[layout.root(hand)] for hand in SIDES)
    return TwoHandExample(
        image.astype(np.float32),
        bins,
        valid,
        rel_root,
        bool(both) and 0 <= rel_root < space.bins,
        labelled.hand_type,
        labelled.hand_type_valid,
    )


def targets_from_crop(
    joints: NDArray[np.floating], valid: NDArray[np.bool_], layout: HandLayout, space: HeatmapSpace = _SPACE
) -> tuple[NDArray[np.float64], NDArray[np.bool_], float]:
    """Bins of joints.

    Args:
        joints: (42, 3) x, y in pixels of the crop, depth in mm from the camera.
        valid: (42,) whether a joint is known.
        layout: of the joints.
        space: of the network.

    Returns:
        (42, 3) x, y, z in bins, depths from the same hand's root; (42,) whether the joint is known and lies in the
        volume; the bins from the right root to the left one, which may lie out of range.
    """
    depth = np.array(joints[:, 2], np.float64)
    right, left = (layout.root(side) for side in SIDES)
    rel_root = space.bins_from_mm(float(depth[left] - depth[right]))
    for side, root in zip(SIDES, (right, left), strict=True):
        depth[layout.joints(side)] -= joints[root, 2]
    bins = np.column_stack([space.bins_from_px(joints[:, :2].astype(np.float64)), space.bins_from_mm(depth)])
    return bins, valid & ((bins >= 0) & (bins < space.bins)).all(1), rel_root


def _with_known_roots(valid: NDArray[np.bool_], layout: HandLayout) -> NDArray[np.bool_]:
    """Joints that are known, and so is the root that their depth is relative to."""
    known = valid.copy()
    for side in SIDES:
        known[layout.joints(side)] &= valid[layout.root(side)]
    return known


def batch_from_examples(examples: Sequence[TwoHandExample]) -> tuple[torch.Tensor, InterNetTargets]:
    """Crops (B, 3, S, S) and their ground truth, as float32 tensors."""
    images = torch.from_numpy(np.stack([one.image for one in examples])).permute(0, 3, 1, 2)
    targets = InterNetTargets(
        torch.from_numpy(np.stack([one.joints for one in examples])).float(),
        torch.from_numpy(np.stack([one.valid for one in examples])).float(),
        torch.tensor([[one.rel_root] for one in examples]),
        torch.tensor([[float(one.rel_valid)] for one in examples]),
        torch.from_numpy(np.stack([one.hand_type for one in examples])).float(),
        torch.tensor([float(one.hand_type_valid) for one in examples]),
    )
    return images, targets
