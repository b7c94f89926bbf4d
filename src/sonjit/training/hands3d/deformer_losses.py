"""Deformer's losses and its discriminator's, as published.

Source: Fu et al. 2023, Deformer, sections 3.4, 3.5 and 4, and the released code; Mao et al. 2017, Least Squares
Generative Adversarial Networks. What the code can add and leaves out by
default (terms for smoothness in time, and regularisers whose weights it reads and never uses) is left out here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sonjit.hand_models.rotations import matrix_from_axis_angle
from sonjit.networks.hands3d.deformer import DeformerNetwork, rotations_from_6d
from sonjit.training.losses import maxmse

ADVERSARIAL = 10.0
"""Weight of the discriminator's output among Deformer's losses."""


class HandGeometry(NamedTuple):
    """HandGeometry of all frames of windows (B, T) or of their middles (B); metres in MANO's axes."""

    vertices: Tensor  # (..., 778, 3)
    joints: Tensor  # (..., 21, 3)
    rotations: Tensor  # (..., 16, 3, 3)
    pose: Tensor  # (..., 48)


class DeformerTargets(NamedTuple):
    """Ground truth of a batch of windows."""

    hands: HandGeometry  # (B, T)
    shape: Tensor  # (B, T, 10)
    side: Tensor  # (B, T), 0 for right and 1 for left
    joints2d: Tensor  # (B, T, 21, 2) in 0..1 of the hand's box; negative where it is not to be trained on


def targets_from_mano(
    network: DeformerNetwork, pose: Tensor, shape: Tensor, side: Tensor, joints2d: Tensor
) -> DeformerTargets:
    """Ground truth from MANO's parameters, as the network's variant has them.

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
    return DeformerTargets(HandGeometry(vertices, joints, rotations, pose), shape, side, joints2d)


class PredictedHands(NamedTuple):
    """What the losses compare with the ground truth."""

    own: HandGeometry  # (B, T): each frame's
    next: HandGeometry  # (B, T): those of the frames after, by each frame's motion forward
    before: HandGeometry  # (B, T): those of the frames before, by its motion backward
    fused: HandGeometry  # (B)


def predicted_hands(network: DeformerNetwork, outputs: Mapping[str, Tensor], side: Tensor) -> PredictedHands:
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
    each, onward, backwards, fused = (HandGeometry(*part) for part in zip(*hands, strict=True))
    return PredictedHands(_windows(each, frames), _windows(onward, frames), _windows(backwards, frames), fused)


def deformer_losses(
    outputs: Mapping[str, Tensor],
    predicted: PredictedHands,
    targets: DeformerTargets,
    points_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """The published losses times their weights, by name; their sum is minimised.

    Args:
        outputs: of the network.
        predicted: of `predicted_hands`.
        targets: the ground truth.
        points_loss: of vertices and joints; `maxmse` where it is None. With `F.mse_loss` all points count alike.
    """
    points_loss = points_loss or maxmse
    windows, frames = targets.side.shape
    truth, after, before = targets.hands, slice(1, None), slice(None, -1)
    joints2d = outputs["joints2d"].unflatten(0, (windows, frames))
    shapes = outputs["mano_shape"][:, None].expand_as(targets.shape)
    onward = _hand_losses(_part(predicted.next, before), _part(truth, after), points_loss)
    backward = _hand_losses(_part(predicted.before, after), _part(truth, before), points_loss)
    middle = HandGeometry(*(values[:, frames // 2] for values in truth))
    fused = _hand_losses(predicted.fused, middle, points_loss)
    return {
        **_hand_losses(predicted.own, truth, points_loss),
        "shape": 0.1 * F.mse_loss(shapes, targets.shape),
        "joints2d": 100 * _loss_2d(joints2d, targets.joints2d),
        **{f"moved_{name}": onward[name] + backward[name] for name in onward},
        **{f"fused_{name}": loss for name, loss in fused.items()},
    }


def motions(side: Tensor, pose: Tensor) -> Tensor:
    """Inputs (B, T, 46) of the discriminator from sides (B, T) and poses (B, T, 48) without the wrist's rotation."""
    return torch.cat([side[..., None], pose[..., 3:]], -1)


def generator_loss(fake: Tensor) -> Tensor:
    """How far scores (B, 1) of a network's motions are from those of real ones."""
    return (fake - 1).square().sum() / len(fake)


def discriminator_losses(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """How far scores (B, 1) are from 1 for real motions and from 0 for a network's."""
    return {"real": (real - 1).square().sum() / len(real), "fake": fake.square().sum() / len(fake)}


def _hand_losses(
    predicted: HandGeometry, truth: HandGeometry, points_loss: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, Tensor]:
    return {
        "vertices": 1e4 * points_loss(predicted.vertices, truth.vertices),
        "joints": 1e4 * points_loss(predicted.joints, truth.joints),
        "pose": 10 * F.mse_loss(predicted.rotations, truth.rotations),
    }


def _loss_2d(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of the coordinates that the box shows."""
    seen = truth > 0
    return ((predicted - truth).square() * seen).sum() / seen.sum().clamp(min=1)


def _windows(hands: HandGeometry, frames: int) -> HandGeometry:
    return HandGeometry(*(values.unflatten(0, (-1, frames)) for values in hands))


def _part(hands: HandGeometry, frames: slice) -> HandGeometry:
    return HandGeometry(*(values[:, frames] for values in hands))
