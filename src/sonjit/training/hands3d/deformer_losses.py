"""Deformer's losses, rates and augmentation as published: what a training on HO-3D or DexYCB is made of.

Source: Fu et al. 2023, Deformer, sections 3.4 and 4, and the released code. What the code can add and leaves out by
default (terms for smoothness in time, and regularisers whose weights it reads and never uses) is left out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sonjit.hand_models.rotations import matrix_from_axis_angle
from sonjit.networks.hands3d.deformer import rotations_from_6d

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from sonjit.networks.hands3d.deformer import DeformerNetwork

RATE = 1e-5
"""Of AdamW, for 8 windows in a batch."""
WEIGHT_DECAY = 5e-4
EPOCHS = 100


class Hands(NamedTuple):
    """Hands of all frames of windows (B, T) or of their middles (B); metres in MANO's axes."""

    vertices: Tensor  # (..., 778, 3)
    joints: Tensor  # (..., 21, 3)
    rotations: Tensor  # (..., 16, 3, 3)
    pose: Tensor  # (..., 48)


class DeformerTargets(NamedTuple):
    """The truth of a batch of windows."""

    hands: Hands  # (B, T)
    shape: Tensor  # (B, T, 10)
    side: Tensor  # (B, T), 0 for right and 1 for left
    joints2d: Tensor  # (B, T, 21, 2) in 0..1 of the hand's box; negative where it is not to be learned


def targets_from_mano(
    network: DeformerNetwork, pose: Tensor, shape: Tensor, side: Tensor, joints2d: Tensor
) -> DeformerTargets:
    """The truth from MANO's parameters, as the network's variant has them.

    Args:
        network: whose MANO models are used.
        pose: (B, T, 48).
        shape: (B, T, 10).
        side: (B, T), 0 for right and 1 for left.
        joints2d: (B, T, 21, 2), as `deformer_crops.joints_in_box` gives them.
    """
    windows = pose.shape[:2]
    with torch.no_grad():
        meshes = network.hands(pose.flatten(0, 1), shape.flatten(0, 1), side.flatten())
        vertices, joints = (points.unflatten(0, windows) for points in meshes)
        rotations = matrix_from_axis_angle(pose.unflatten(2, (-1, 3)))
    return DeformerTargets(Hands(vertices, joints, rotations, pose), shape, side, joints2d)


class Predicted(NamedTuple):
    """What a training compares."""

    own: Hands  # (B, T): each frame's
    next: Hands  # (B, T): those of the frames after, by each frame's motion forward
    before: Hands  # (B, T): those of the frames before, by its motion backward
    fused: Hands  # (B)


def predicted_hands(network: DeformerNetwork, outputs: Mapping[str, Tensor], side: Tensor) -> Predicted:
    """Every frame's hands from the network's outputs, all with their window's shape; `side` is (B, T)."""
    frames = side.shape[1]
    own, forward, backward = (outputs[name] for name in ("pose6d", "fw6d", "bw6d"))
    rotations, pose = rotations_from_6d(torch.cat([own, own + forward, own + backward]))
    rotations = torch.cat([rotations, outputs["mano_pose"]])
    pose = torch.cat([pose, outputs["mano_pose_aa"]])
    shape = outputs["mano_shape"]
    shapes = torch.cat([shape.repeat_interleave(frames, 0).repeat(3, 1), shape])
    vertices, joints = network.hands(pose, shapes, torch.cat([side.flatten().repeat(3), side[:, 0]]))
    hands = (values.split([len(own)] * 3 + [len(shape)]) for values in (vertices, joints, rotations, pose))
    each, onward, backwards, fused = (Hands(*part) for part in zip(*hands, strict=True))
    return Predicted(_windows(each, frames), _windows(onward, frames), _windows(backwards, frames), fused)


def deformer_losses(
    outputs: Mapping[str, Tensor],
    predicted: Predicted,
    targets: DeformerTargets,
    points_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """The published losses times their weights, by name; their sum is to fall.

    Args:
        outputs: of the network.
        predicted: of `predicted_hands`.
        targets: the truth.
        points_loss: of vertices and joints; `maxmse` where it is None. With `F.mse_loss` all points count alike.
    """
    points_loss = points_loss or maxmse
    windows, frames = targets.side.shape
    truth, after, before = targets.hands, slice(1, None), slice(None, -1)
    joints2d = outputs["joints2d"].unflatten(0, (windows, frames))
    shapes = outputs["mano_shape"][:, None].expand_as(targets.shape)
    onward = _hand_losses(_part(predicted.next, before), _part(truth, after), points_loss)
    backward = _hand_losses(_part(predicted.before, after), _part(truth, before), points_loss)
    middle = Hands(*(values[:, frames // 2] for values in truth))
    fused = _hand_losses(predicted.fused, middle, points_loss)
    return {
        **_hand_losses(predicted.own, truth, points_loss),
        "shape": 0.1 * F.mse_loss(shapes, targets.shape),
        "joints2d": 100 * _loss_2d(joints2d, targets.joints2d),
        **{f"moved_{name}": onward[name] + backward[name] for name in onward},
        **{f"fused_{name}": loss for name, loss in fused.items()},
    }


def maxmse_weights(predicted: Tensor, truth: Tensor) -> Tensor:
    """What each point of (..., N, 3) counts in `maxmse`: (..., N), of sum 1, as its share of all squared errors.

    Where nothing is wrong, nothing counts.
    """
    squared = (predicted - truth).square().sum(-1)
    total = squared.sum(-1, keepdim=True)
    return squared / torch.where(total > 0, total, 1)


def maxmse(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean over leading dims of squared distances of points (..., N, 3), each weighed by its share of their sum.

    Points that are far off count most, so that finger tips are not left behind by the palm. Differentiated as it
    stands, weights too: errors below half of the loss are let grow. It is 0 where all is right, where the released
    code divides by 0.
    """
    return (maxmse_weights(predicted, truth) * (predicted - truth).square().sum(-1)).sum(-1).mean()


def rate_of_epoch(epoch: int, rate: float = RATE) -> float:
    """Learning rate of an epoch, from 0, of the network or of its discriminator.

    >>> [f"{rate_of_epoch(epoch):.2e}" for epoch in (0, 9, 10, 99)]
    ['1.00e-05', '1.00e-05', '7.00e-06', '4.04e-07']
    """
    return rate * 0.7 ** (epoch // 10)


@dataclass(frozen=True)
class WindowAugmentation:
    """How all crops of a window are changed.

    Attributes:
        shift: of the box's centre, x and y, as part of its side.
        scale: of the box.
        rotation_rad: of the crop, as in `crop_square`. The wrist turns with what is shown: `handoccnet.turned` by as
            many degrees, or, on HO-3D, whose y and z point the other way, by minus as many.
        blur_px: radius.
        gains: of brightness, saturation and contrast.
        hue: in turns.
    """

    shift: tuple[float, float]
    scale: float
    rotation_rad: float
    blur_px: float
    gains: tuple[float, float, float]
    hue: float


def draw_window_augmentation(rng: np.random.Generator) -> WindowAugmentation:
    """As published; a hand is never mirrored."""
    x, y = rng.uniform(-0.1, 0.1, 2).tolist()
    scale = 1 + min(max(0.2 * rng.normal(), -0.2), 0.2)
    brightness, saturation, contrast = rng.uniform(0.5, 1.5, 3).tolist()
    return WindowAugmentation(
        (x, y),
        scale,
        rng.uniform(-torch.pi, torch.pi),
        0.5 * rng.uniform(),
        (brightness, saturation, contrast),
        rng.uniform(-0.15, 0.15),
    )


def _hand_losses(predicted: Hands, truth: Hands, points_loss: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
    return {
        "vertices": 1e4 * points_loss(predicted.vertices, truth.vertices),
        "joints": 1e4 * points_loss(predicted.joints, truth.joints),
        "pose": 10 * F.mse_loss(predicted.rotations, truth.rotations),
    }


def _loss_2d(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of the coordinates that the box shows."""
    seen = truth > 0
    return ((predicted - truth).square() * seen).sum() / seen.sum().clamp(min=1)


def _windows(hands: Hands, frames: int) -> Hands:
    return Hands(*(values.unflatten(0, (-1, frames)) for values in hands))


def _part(hands: Hands, frames: slice) -> Hands:
    return Hands(*(values[:, frames] for values in hands))
