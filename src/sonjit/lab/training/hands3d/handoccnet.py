"""Train HandOccNet (recipe `handoccnet`) on images with MANO parameters, with the published losses and augmentation.

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

from sonjit._util.arrays import Float32Array, FloatArray
from sonjit._util.errors import InputError
from sonjit.geometry.boxes import clamped_box, crop, points_into_crop, rotated_box_around, square_box
from sonjit.lab.datasets import Instance, Sample
from sonjit.lab.hand_models import Mano
from sonjit.lab.hand_models.rotations import axis_angle_from_matrix, matrix_from_6d, matrix_from_axis_angle
from sonjit.lab.networks import create_network, load_checkpoint
from sonjit.lab.networks.hands3d.handoccnet import SIZES, HandOccNetwork
from sonjit.lab.training.augment import Augmentation, AugmentationSettings, draw_augmentation
from sonjit.lab.training.batches import to_device
from sonjit.lab.training.export import refuse_export
from sonjit.lab.training.hands.samples import draw_batch, known_hands
from sonjit.lab.training.hands3d.mano_data import (
    ManoSettings,
    aligned_errors,
    mano_data,
    mano_from_setting,
    pose_in_camera,
)
from sonjit.lab.training.loop import WEIGHTS, train
from sonjit.lab.training.recipes import TrainingRequest, settings_from

_CROP_SCALE = 1.5  # sides of a crop relative to the box around the joints
_UNCHANGED = Augmentation()
_MM = 1000.0


class HandOccTargets(NamedTuple):
    """Ground truth of a batch; metres."""

    vertices: Tensor  # (B, 778, 3)
    joints: Tensor  # (B, 21, 3)
    rotations: Tensor  # (B, 16, 3, 3), without MANO's mean pose, as the network returns them
    shape: Tensor  # (B, 10)
    joints_img: Tensor  # (B, 21, 2) in 0..1 of the crop


def targets_from_mano(mano: Mano, pose: Tensor, shape: Tensor, joints_img: Tensor) -> HandOccTargets:
    """Compute the ground truth from MANO's parameters; other 3D joints of a data set are not used.

    Args:
        mano: Model of the right hand.
        pose: (B, 48) axis-angles without the mean pose.
        shape: (B, 10) shape parameters.
        joints_img: (B, 21, 2) in 0..1 of the crop.
    """
    with torch.no_grad():
        vertices, joints = mano(pose, shape, flat_hand_mean=False, tips="handoccnet")
        rotations = matrix_from_axis_angle(pose.unflatten(1, (-1, 3)))
    return HandOccTargets(vertices, joints, rotations, shape, joints_img)


def handoccnet_losses(outputs: Mapping[str, Tensor], targets: HandOccTargets) -> dict[str, Tensor]:
    """Return the mean squared errors times the published weights, by name; their sum is minimised."""
    rotations = matrix_from_6d(outputs["pose6d"].unflatten(1, (-1, 6)))
    return {
        "vertices": 1e4 * F.mse_loss(outputs["mesh_coord_cam"], targets.vertices),
        "joints": 1e4 * F.mse_loss(outputs["joints_coord_cam"], targets.joints),
        "pose": 10 * F.mse_loss(rotations, targets.rotations),
        "shape": 0.1 * F.mse_loss(outputs["mano_shape"], targets.shape),
        "joints_img": 100 * F.mse_loss(outputs["joints_coord_img"], targets.joints_img),
    }


def rotate_poses(pose: Tensor, rotation_deg: float) -> Tensor:
    """Return poses (B, 48) of hands in a rotated crop: the wrist rotates the other way about the optical axis."""
    around = matrix_from_axis_angle(pose.new_tensor([0.0, 0.0, -math.radians(rotation_deg)]))
    root = axis_angle_from_matrix(around @ matrix_from_axis_angle(pose[:, :3]))
    return torch.cat([root, pose[:, 3:]], 1)


def mirror_poses(pose: Tensor) -> Tensor:
    """Convert poses (B, 48) of left hands to those of right hands in the mirrored image, and back."""
    return pose * pose.new_tensor([1.0, -1.0, -1.0]).repeat(pose.shape[1] // 3)


@dataclass(frozen=True)
class HandOccSettings(ManoSettings):
    """Settings of the recipe.

    Attributes:
        size: Network size: full, small for a trial on a CPU, or tiny for tests.
        trunk_weights: File of torchvision's ResNet-50 for ImageNet; "" starts with random weights.
        fit: Handling of hidden regions: full, as published; softmax, without the sigmoid; gate, only spatial attention;
            none.
        refine: True for a network with SET.
    """

    UNSUPPORTED: ClassVar[tuple[str, ...]] = ("mirror", "reverse")  # the network sees only right hands

    size: Literal["full", "small", "tiny"] = "full"
    trunk_weights: str = ""
    fit: Literal["full", "softmax", "gate", "none"] = "full"
    refine: bool = True


class OccludedHand(NamedTuple):
    """One crop and its ground truth."""

    image: Float32Array  # (S, S, 3) in 0..1
    pose: FloatArray  # (48,) relative to MANO's mean pose, of the right hand in the crop
    shape: FloatArray  # (10,)
    joints: FloatArray  # (21, 2) in 0..1 of the crop
    hidden: FloatArray  # (21,) 1 for joints that are labelled as hidden, else 0


def train_handoccnet(request: TrainingRequest) -> Mapping[str, object]:
    """Train HandOccNet.

    Returns:
        "weights", and metrics on held-out hands: `mpjpe_mm`, joints by MANO relative to the wrist; `pa_mpjpe_mm`, the
        same Procrustes aligned, as published, and `hidden_mm` of hidden joints, if there are any;
        `mean_pose_mpjpe_mm`, the error of the training set's mean hand.

    Raises:
        InputError: MANO, the data or MANO parameters of the data are missing, or weights do not fit.
    """
    refuse_export(request)
    settings = settings_from(HandOccSettings, request.settings)
    mano = mano_from_setting("handoccnet", "mano", settings.mano)
    data = mano_data(request, settings)
    torch.manual_seed(settings.seed)
    own_mano = copy.deepcopy(mano)  # moves to the network's device; the other one makes examples on the CPU
    network = create_network(
        "handoccnet", request.weights, mano=own_mano, size=settings.size, fit=settings.fit, refine=settings.refine
    )
    assert isinstance(network, HandOccNetwork)
    if settings.trunk_weights:
        network.backbone.load_imagenet(load_checkpoint(Path(settings.trunk_weights)))
    network.to(request.device).train()
    side = SIZES[settings.size].image
    make_example = partial(example_from_sample, mano=mano, side=side, augmentation=settings.augmentation)
    batch = partial(draw_batch, samples=data.training, make_example=make_example, join=_tensors, count=settings.batch)

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
    augmentation: AugmentationSettings | None = None,
) -> OccludedHand | None:
    """Return a hand of an image, augmented if there is a generator, or None if no hand has MANO parameters."""
    hands = [hand for hand in known_hands(sample) if hand.mesh is not None]
    if not hands:
        return None
    hand = hands[0 if rng is None else int(rng.integers(len(hands)))]
    change = _UNCHANGED if rng is None else draw_augmentation(augmentation or AugmentationSettings(), rng)
    return _example(sample, hand, mano, side, change)


def _example(sample: Sample, hand: Instance, mano: Mano, side: int, change: Augmentation) -> OccludedHand | None:
    """Return a hand as input of the network, or None if it is outside the image."""
    assert hand.mesh is not None
    assert hand.keypoints_px is not None
    rgb, joints = sample.rgb(), hand.keypoints_px.copy()
    pose = torch.from_numpy(pose_in_camera(hand.mesh, sample.camera, mano, flat_mean=False))[None]
    if hand.side == "Left":
        rgb, pose = np.ascontiguousarray(rgb[:, ::-1]), mirror_poses(pose)
        joints[:, 0] = sample.width - 1 - joints[:, 0]
    around = rotated_box_around(joints, 0.0)
    wide = around._replace(width=around.width * _CROP_SCALE, height=around.height * _CROP_SCALE)
    clamped = clamped_box(wide, sample.width, sample.height)
    if clamped is None or min(clamped.width, clamped.height) < 1:
        return None
    area = change.box(square_box(clamped, scale=1.0))
    image = change.change_colours(crop(rgb, area, side, side, border="zero").astype(np.float32)) / np.float32(255)
    pose = rotate_poses(pose, math.degrees(change.rotation_rad))
    return OccludedHand(
        image,
        pose[0].numpy(),
        hand.mesh.betas,
        points_into_crop(joints, area, side) / side,
        np.zeros(len(joints)) if hand.visible is None else np.asarray(~hand.visible, np.float64),
    )


class HandOccBatch(NamedTuple):
    """The batch of a step; see `OccludedHand`."""

    images: Tensor  # (B, 3, S, S)
    pose: Tensor  # (B, 48)
    shape: Tensor  # (B, 10)
    joints: Tensor  # (B, 21, 2)
    hidden: Tensor  # (B, 21)


def _tensors(examples: Sequence[OccludedHand]) -> HandOccBatch:
    image, *others = (torch.from_numpy(np.stack(values)).float() for values in zip(*examples, strict=True))
    return HandOccBatch(image.permute(0, 3, 1, 2), *others)


def _targets(network: HandOccNetwork, batch: HandOccBatch) -> HandOccTargets:
    """Compute the ground truth of a batch on the device of the network."""
    assert network.mano is not None
    return targets_from_mano(network.mano, batch.pose, batch.shape, batch.joints)


@torch.inference_mode()
def evaluate(
    network: HandOccNetwork, held_out: Sequence[Sample], mano: Mano, side: int, device: str
) -> dict[str, float]:
    """Return metrics on held-out hands; see `train_handoccnet`.

    Args:
        network: Network in eval mode.
        held_out: Samples to evaluate on.
        mano: Model of the right hand, on the CPU.
        side: Side of the crops in pixels.
        device: Device of the network.
    """
    found: list[Tensor] = []
    truth: list[Tensor] = []
    hidden: list[Tensor] = []
    for examples in _chunks(held_out, mano, side):
        batch = to_device(_tensors(examples), torch.device(device))
        found.append(from_wrist(network(batch.images)["joints_coord_cam"]))
        truth.append(from_wrist(_targets(network, batch).joints))
        hidden.append(batch.hidden)
    if not truth:
        raise InputError("No hand with MANO parameters to evaluate on. Choose another data set.")
    aligned, behind = aligned_errors(torch.cat(found), torch.cat(truth)), torch.cat(hidden).cpu() > 0
    return {
        "mpjpe_mm": _MM * float((torch.cat(found) - torch.cat(truth)).norm(dim=2).mean()),
        "pa_mpjpe_mm": float(aligned.mean()),
        **({"hidden_mm": float(aligned[behind].mean())} if behind.any() else {}),
    }


def mean_pose_error(training: Sequence[Sample], held_out: Sequence[Sample], mano: Mano, side: int) -> float:
    """Return the MPJPE in mm of the training set's mean hand on held-out hands."""
    chosen = [training[index] for index in range(0, len(training), max(len(training) // 500, 1))]

    def joints(samples: Sequence[Sample]) -> list[Tensor]:
        batches = (_tensors(examples) for examples in _chunks(samples, mano, side))
        return [from_wrist(targets_from_mano(mano, batch.pose, batch.shape, batch.joints).joints) for batch in batches]

    training_joints, truth = joints(chosen), joints(held_out)
    if not training_joints:
        raise InputError("No hand with MANO parameters to train on. Choose another data set.")
    return _MM * float((torch.cat(training_joints).mean(0) - torch.cat(truth)).norm(dim=2).mean())


def _chunks(samples: Sequence[Sample], mano: Mano, side: int) -> Generator[list[OccludedHand]]:
    """Yield all hands without augmentation in chunks of ten."""
    examples = (hand for sample in samples if (hand := example_from_sample(sample, None, mano, side)) is not None)
    while chunk := list(islice(examples, 10)):
        yield chunk


def from_wrist(joints: Tensor) -> Tensor:
    """Return joints (..., 21, 3) relative to the wrist, which is the first joint."""
    return joints - joints[..., :1, :]
