"""Compute the published losses of Deformer and its discriminator.

Source: Fu et al. 2023, Deformer, sections 3.4, 3.5 and 4, and the released code; Mao et al. 2017, Least Squares
Generative Adversarial Networks. Terms that the released code disables by default (smoothness in time, and regularisers
whose weights it reads but does not use) are not included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sonjit.lab.hand_models.rotations import matrix_from_axis_angle
from sonjit.lab.networks.hands3d.deformer import DeformerNetwork, rotations_from_6d
from sonjit.lab.training.losses import maxmse

ADVERSARIAL = 10.0
"""Weight of the discriminator's output in Deformer's losses."""


class HandGeometry(NamedTuple):
    """Hands of all frames of windows (B, T) or of their middle frames (B); metres in MANO's axes."""

    vertices: Tensor  # (..., 778, 3)
    joints: Tensor  # (..., 21, 3)
    rotations: Tensor  # (..., 16, 3, 3)
    pose: Tensor  # (..., 48)


class DeformerTargets(NamedTuple):
    """Ground truth of a batch of windows."""

    hands: HandGeometry  # (B, T)
    shape: Tensor  # (B, T, 10)
    side: Tensor  # (B, T), 0 for right and 1 for left
    joints2d: Tensor  # (B, T, 21, 2) in 0..1 of the hand's box; negative values are not trained


def targets_from_mano(
    network: DeformerNetwork, pose: Tensor, shape: Tensor, side: Tensor, joints2d: Tensor
) -> DeformerTargets:
    """Compute the ground truth from MANO parameters in the convention of the network's variant.

    Args:
        network: Network whose MANO models are used.
        pose: (B, T, 48) axis-angles.
        shape: (B, T, 10) shape parameters.
        side: (B, T) 0 for right and 1 for left.
        joints2d: (B, T, 21, 2) from `deformer_stream.joints_in_box`.
    """
    windows = pose.shape[:2]
    with torch.no_grad():
        meshes = network.hands(pose.flatten(0, 1), shape.flatten(0, 1), side.flatten())
        vertices, joints = (points.unflatten(0, windows) for points in meshes)
        rotations = matrix_from_axis_angle(pose.unflatten(2, (-1, 3)))
    return DeformerTargets(HandGeometry(vertices, joints, rotations, pose), shape, side, joints2d)


class PredictedHands(NamedTuple):
    """Predictions that the losses compare with the ground truth."""

    own: HandGeometry  # (B, T): hands of the frames
    next: HandGeometry  # (B, T): hands of the next frames, from each frame's forward motion
    before: HandGeometry  # (B, T): hands of the previous frames, from each frame's backward motion
    fused: HandGeometry  # (B)


def predicted_hands(network: DeformerNetwork, outputs: Mapping[str, Tensor], side: Tensor) -> PredictedHands:
    """Compute all predicted hands from the network's outputs, with one shape for each window; `side` is (B, T)."""
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
    """Return the published losses times their weights, by name; their sum is minimised.

    Args:
        outputs: Outputs of the network.
        predicted: Hands from `predicted_hands`.
        targets: Ground truth.
        points_loss: Loss of vertices and joints. Default: `maxmse`. `F.mse_loss` weights all points equally.
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
    """Return inputs (B, T, 46) of the discriminator from sides (B, T) and poses (B, T, 48), without the wrist."""
    return torch.cat([side[..., None], pose[..., 3:]], -1)


def generator_loss(fake: Tensor) -> Tensor:
    """Return the squared distance of scores (B, 1) of predicted motions from the score of real ones."""
    return (fake - 1).square().sum() / len(fake)


def discriminator_losses(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Return the squared distances of scores (B, 1) from 1 for real and from 0 for predicted motions."""
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
    """Return the mean squared error of the coordinates inside the box."""
    visible = truth > 0
    return ((predicted - truth).square() * visible).sum() / visible.sum().clamp(min=1)


def _windows(hands: HandGeometry, frames: int) -> HandGeometry:
    return HandGeometry(*(values.unflatten(0, (-1, frames)) for values in hands))


def _part(hands: HandGeometry, frames: slice) -> HandGeometry:
    return HandGeometry(*(values[:, frames] for values in hands))
