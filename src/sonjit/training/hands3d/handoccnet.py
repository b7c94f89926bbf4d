"""The recipe `handoccnet`: HandOccNet on images with MANO's parameters, with the published losses and augmentation.

Source: Park et al. 2022, HandOccNet, section 3.5 and the authors' code.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sonjit.arrays import Float32Array, FloatArray
from sonjit.datasets import Instance, Sample
from sonjit.errors import InputError
from sonjit.geometry.boxes import clamped_box, crop, points_into_crop, rotated_box_around, square_box
from sonjit.hand_models import Mano
from sonjit.hand_models.rotations import axis_angle_from_matrix, matrix_from_6d, matrix_from_axis_angle
from sonjit.networks import create_network, load_checkpoint
from sonjit.networks.hands3d.handoccnet import SIZES, HandOccNetwork
from sonjit.training.augment import NO_AUGMENTATION, Augmentation, AugmentationSettings, draw_augmentation
from sonjit.training.batches import moved
from sonjit.training.hands.samples import ExampleBatches, known_hands, refuse_export
from sonjit.training.hands3d.mano_data import (
    ManoSettings,
    aligned_errors,
    mano_data,
    mano_from_setting,
    pose_in_camera,
)
from sonjit.training.loop import WEIGHTS, train
from sonjit.training.recipes import TrainingRequest, settings_from


class HandOccTargets(NamedTuple):
    """Ground truth of a batch; metres."""

    vertices: Tensor  # (B, 778, 3)
    joints: Tensor  # (B, 21, 3)
    rotations: Tensor  # (B, 16, 3, 3), without MANO's mean pose, as the network gives them
    shape: Tensor  # (B, 10)
    joints_img: Tensor  # (B, 21, 2) in 0..1 of the crop


def targets_from_mano(mano: Mano, pose: Tensor, shape: Tensor, joints_img: Tensor) -> HandOccTargets:
    """Ground truth from MANO's parameters; joints that a data set gives otherwise are not used in 3D.

    Args:
        mano: the right hand.
        pose: (B, 48) axis-angles without the mean pose.
        shape: (B, 10).
        joints_img: (B, 21, 2) in 0..1 of the crop.
    """
    with torch.no_grad():
        vertices, joints = mano(pose, shape, flat_hand_mean=False, tips="handoccnet")
        rotations = matrix_from_axis_angle(pose.unflatten(1, (-1, 3)))
    return HandOccTargets(vertices, joints, rotations, shape, joints_img)


def handoccnet_losses(outputs: Mapping[str, Tensor], targets: HandOccTargets) -> dict[str, Tensor]:
    """Mean squared errors times the published weights, by name; their sum is minimised."""
    rotations = matrix_from_6d(outputs["pose6d"].unflatten(1, (-1, 6)))
    return {
        "vertices": 1e4 * F.mse_loss(outputs["mesh_coord_cam"], targets.vertices),
        "joints": 1e4 * F.mse_loss(outputs["joints_coord_cam"], targets.joints),
        "pose": 10 * F.mse_loss(rotations, targets.rotations),
        "shape": 0.1 * F.mse_loss(outputs["mano_shape"], targets.shape),
        "joints_img": 100 * F.mse_loss(outputs["joints_coord_img"], targets.joints_img),
    }


def rotated(pose: Tensor, rotation_deg: float) -> Tensor:
    """Poses (B, 48) of hands whose crop was rotated: the wrist turns the other way about the axis of view."""
    around = matrix_from_axis_angle(pose.new_tensor([0.0, 0.0, -math.radians(rotation_deg)]))
    root = axis_angle_from_matrix(around @ matrix_from_axis_angle(pose[:, :3]))
    return torch.cat([root, pose[:, 3:]], 1)


def mirrored(pose: Tensor) -> Tensor:
    """Poses (B, 48) of left hands as those of right ones in the mirrored image, and back."""
    return pose * pose.new_tensor([1.0, -1.0, -1.0]).repeat(pose.shape[1] // 3)


_AROUND = 1.5  # a crop's sides in those of the box around the joints

_AS_IS = Augmentation()

_MM = 1000.0


@dataclass(frozen=True)
class HandOccSettings(ManoSettings):
    """Settings of the recipe.

    Attributes:
        size: full, small for a try on a CPU, or tiny for tests.
        trunk_weights: torchvision's ResNet-50 for ImageNet, to begin with; "" initialises it at random.
        fit: what becomes of hidden places: full, as published; softmax, without the sigmoid; gate, spatial attention
            alone; none.
        refine: with SET.
    """

    WITHOUT: ClassVar[tuple[str, ...]] = ("mirror", "reverse")  # the network knows right hands alone

    size: Literal["full", "small", "tiny"] = "full"
    trunk_weights: str = ""
    fit: Literal["full", "softmax", "gate", "none"] = "full"
    refine: bool = True


class OccludedHand(NamedTuple):
    """One crop and its ground truth."""

    image: Float32Array  # (S, S, 3) in 0..1
    pose: FloatArray  # (48,) from MANO's mean pose, of a right hand as the crop shows it
    shape: FloatArray  # (10,)
    joints: FloatArray  # (21, 2) in 0..1 of the crop
    hidden: FloatArray  # (21,) 1 where the data set says that a joint is hidden, else 0


def train_handoccnet(request: TrainingRequest) -> Mapping[str, object]:
    """The recipe: see the module.

    Returns:
        The weights' path, and on hands held out: `mpjpe_mm`, joints from the wrist by MANO; `pa_mpjpe_mm`, the same
        Procrustes aligned, as published, and `hidden_mm` of hidden joints, where there are any; `mean_pose_mpjpe_mm`,
        the error of the mean hand of the training set.

    Raises:
        InputError: no MANO, no data or data without MANO's parameters, or weights that do not fit.
    """
    refuse_export(request)
    settings = settings_from(HandOccSettings, request.settings)
    mano = mano_from_setting("handoccnet", "mano", settings.mano)
    data = mano_data(request, settings)
    torch.manual_seed(settings.seed)
    own_mano = copy.deepcopy(mano)  # goes to the network's device; the other one makes examples on the CPU
    network = create_network(
        "handoccnet", request.weights, mano=own_mano, size=settings.size, fit=settings.fit, refine=settings.refine
    )
    assert isinstance(network, HandOccNetwork)
    if settings.trunk_weights:
        network.backbone.load_imagenet(load_checkpoint(Path(settings.trunk_weights)))
    network.to(request.device).train()
    side = SIZES[settings.size].image
    make = partial(example_from_sample, mano=mano, side=side, augmentation=settings.augmentation)
    batch = ExampleBatches(data.training, make, _tensors, settings.batch)

    def losses(model: HandOccNetwork, batch: HandOccBatch) -> Mapping[str, Tensor]:
        return handoccnet_losses(model(batch.images), _targets(model, batch))

    metrics = train(
        network, batch, losses, settings, out=request.out, inputs=request.inputs(data.name), progress=request.progress,
        evaluate=partial(evaluate, held_out=data.held_out, mano=mano, side=side, device=request.device),
    )  # fmt: skip
    results: dict[str, object] = {"weights": request.out / WEIGHTS, "training_images": len(data.training)}
    return results | metrics | {"mean_pose_mpjpe_mm": mean_pose_error(data.training, data.held_out, mano, side)}


def example_from_sample(
    sample: Sample,
    rng: np.random.Generator | None,
    mano: Mano,
    side: int,
    augmentation: AugmentationSettings = NO_AUGMENTATION,
) -> OccludedHand | None:
    """A hand of an image, augmented where there is a generator; None where none has MANO's parameters."""
    hands = [one for one in known_hands(sample) if one.mesh is not None]
    if not hands:
        return None
    hand = hands[0 if rng is None else int(rng.integers(len(hands)))]
    change = _AS_IS if rng is None else draw_augmentation(augmentation, rng)
    return _example(sample, hand, mano, side, change)


def _example(sample: Sample, hand: Instance, mano: Mano, side: int, change: Augmentation) -> OccludedHand | None:
    """A hand as the network sees it; None where it lies outside the image."""
    assert hand.mesh is not None
    assert hand.keypoints_px is not None
    rgb, joints = sample.rgb(), hand.keypoints_px.copy()
    pose = torch.from_numpy(pose_in_camera(hand.mesh, sample.camera, mano, flat_mean=False))[None]
    if hand.side == "Left":
        rgb, pose = np.ascontiguousarray(rgb[:, ::-1]), mirrored(pose)
        joints[:, 0] = sample.width - 1 - joints[:, 0]
    around = rotated_box_around(joints, 0.0)
    wide = around._replace(width=around.width * _AROUND, height=around.height * _AROUND)
    seen = clamped_box(wide, sample.width, sample.height)
    if seen is None or min(seen.width, seen.height) < 1:
        return None
    area = change.box(square_box(seen, scale=1.0))
    image = change.coloured(crop(rgb, area, side, side, border="zero").astype(np.float32)) / np.float32(255)
    pose = rotated(pose, math.degrees(change.rotation_rad))
    return OccludedHand(
        image,
        pose[0].numpy(),
        hand.mesh.betas,
        points_into_crop(joints, area, side) / side,
        np.zeros(len(joints)) if hand.visible is None else np.asarray(~hand.visible, np.float64),
    )


class HandOccBatch(NamedTuple):
    """What a step learns from; see `OccludedHand`."""

    images: Tensor  # (B, 3, S, S)
    pose: Tensor  # (B, 48)
    shape: Tensor  # (B, 10)
    joints: Tensor  # (B, 21, 2)
    hidden: Tensor  # (B, 21)


def _tensors(examples: Sequence[OccludedHand]) -> HandOccBatch:
    image, *others = (torch.from_numpy(np.stack(values)).float() for values in zip(*examples, strict=True))
    return HandOccBatch(image.permute(0, 3, 1, 2), *others)


def _targets(network: HandOccNetwork, batch: HandOccBatch) -> HandOccTargets:
    """The ground truth of a batch, computed where the network is."""
    assert network.mano is not None
    return targets_from_mano(network.mano, batch.pose, batch.shape, batch.joints)


@torch.inference_mode()
def evaluate(
    network: HandOccNetwork, held_out: Sequence[Sample], mano: Mano, side: int, device: str
) -> dict[str, float]:
    """Metrics on hands held out; see `train_handoccnet`.

    Args:
        network: in eval mode.
        held_out: to evaluate on.
        mano: the right hand, on the CPU.
        side: of the crops in pixels.
        device: where the network is.
    """
    found: list[Tensor] = []
    truth: list[Tensor] = []
    hidden: list[Tensor] = []
    for examples in _in_tens(held_out, mano, side):
        batch = moved(_tensors(examples), torch.device(device))
        found.append(from_wrist(network(batch.images)["joints_coord_cam"]))
        truth.append(from_wrist(_targets(network, batch).joints))
        hidden.append(batch.hidden)
    if not truth:
        raise InputError("no hand with MANO's parameters to evaluate on: give another data set")
    aligned, behind = aligned_errors(torch.cat(found), torch.cat(truth)), torch.cat(hidden).cpu() > 0
    return {
        "mpjpe_mm": _MM * float((torch.cat(found) - torch.cat(truth)).norm(dim=2).mean()),
        "pa_mpjpe_mm": float(aligned.mean()),
        **({"hidden_mm": float(aligned[behind].mean())} if behind.any() else {}),
    }


def mean_pose_error(training: Sequence[Sample], held_out: Sequence[Sample], mano: Mano, side: int) -> float:
    """MPJPE in mm of the mean hand of the training set, on hands held out."""
    some = [training[index] for index in range(0, len(training), max(len(training) // 500, 1))]

    def joints(samples: Sequence[Sample]) -> list[Tensor]:
        batches = (_tensors(examples) for examples in _in_tens(samples, mano, side))
        return [from_wrist(targets_from_mano(mano, one.pose, one.shape, one.joints).joints) for one in batches]

    known, wanted = joints(some), joints(held_out)
    if not known:
        raise InputError("no hand with MANO's parameters to train on: give another data set")
    return _MM * float((torch.cat(known).mean(0) - torch.cat(wanted)).norm(dim=2).mean())


def _in_tens(samples: Sequence[Sample], mano: Mano, side: int) -> Generator[list[OccludedHand]]:
    """Every hand as it is, by tens."""
    examples = (one for sample in samples if (one := example_from_sample(sample, None, mano, side)) is not None)
    while some := list(islice(examples, 10)):
        yield some


def from_wrist(joints: Tensor) -> Tensor:
    """Joints (..., 21, 3) from the first."""
    return joints - joints[..., :1, :]
