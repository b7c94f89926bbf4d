"""Fine-tune MediaPipe's face and body networks (recipes `face-mesh` and `pose-*`) on keypoints of other data sets.

A face mesh is trained on the points of 300W (68) and WFLW (98), which are interpolated along its contours, or on
meshes. A body is trained on the keypoints that BlazePose and the labels share. Unlabelled outputs are trained to stay
as they were before training. Crops are like those of the detector.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sonjit._util import FloatArray, InputError
from sonjit.detectors.kinds import body, face
from sonjit.geometry.boxes import RotatedBox, points_into_crop
from sonjit.results.skeletons import load_skeleton, mirrored_order
from sonjit_lab.datasets import Instance, Sample, face_labels
from sonjit_lab.metrics import outer_corner_distances
from sonjit_lab.networks import backbones, create_network, keypoint_detector, modes, registry
from sonjit_lab.training.augment import Augmentation, draw_augmentation
from sonjit_lab.training.building_blocks import export_trained
from sonjit_lab.training.hands.landmark_data import LandmarkCrop, augment, cut_wide
from sonjit_lab.training.hands.samples import HandSettings, draw_examples, hand_data
from sonjit_lab.training.loop import WEIGHTS, fit
from sonjit_lab.training.losses import PointLoss, distance, point_loss
from sonjit_lab.training.recipes import TrainingRequest, settings_from
from sonjit_lab.training.settings import Count, ImageBatch, Weight

_SIZES = {"face": 192, "pose": 256}
_FOREHEAD = 0.8  # height above the eyes relative to eyes above the chin: 68 and 98 points end at brows
_BODY_MARGIN = 1.1  # radius of the circle around a body, relative to the farthest keypoint
_BODY = load_skeleton("body_blazepose33").keypoints
_POSE_POINTS = 39  # of the published body networks, with five numbers each; the last six are not keypoints
_TORSO = ("left_hip", "right_hip", "left_shoulder", "right_shoulder")

_FACE = {68: (36, 45, 8), 98: (60, 72, 16), 468: (33, 263, 152), 478: (33, 263, 152)}
"""Indices of the outer corners of the right and left eye and of the chin, by the number of points."""
_BATCH = 16


@dataclass(frozen=True)
class PointSettings(HandSettings):
    """Settings of the recipes."""

    learning_rate: float = 1e-5  # for published weights; a backbone from scratch needs about 1e-3
    warmup: Count = 5
    batch: ImageBatch = 8
    network: Literal["face-mesh", "pose-lite", "pose-full", "pose-heavy"] = "face-mesh"  # network to fine-tune
    loss: PointLoss = "distance"  # loss of the points: `l1`, `l2`, `smooth-l1`, `wing` or `distance`
    # weight of the loss that keeps all outputs as they were before training; 0 disables it, as does a backbone
    keep: Weight = 0.1
    # network of timm that predicts the labelled points instead, such as `mobilenet_v2`; "" for `network`
    backbone: str = ""
    # True to start mobilenet_v2 or efficientnet_lite0 with weights of ImageNet, of `sonjit models pull classifiers`
    pretrained: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "face" and (chance := self.augmentation.mirror):
            raise InputError(f"augmentation.mirror={chance} does not apply to faces, whose points have no sides")

    @property
    def kind(self) -> str:
        """Kind of the network's instances."""
        return "face" if self.network == "face-mesh" else "body"

    @property
    def size(self) -> int:
        """Side of the crops in pixels."""
        return _SIZES[self.network.partition("-")[0]]


class LabelledCrop(NamedTuple):
    """A labelled face or body."""

    crop: LandmarkCrop  # crop with the labelled points
    skeleton: str  # skeleton of the labels
    length: float  # unit of errors in pixels of the crop


class PointBatch(NamedTuple):
    """The batch of a step; lengths in pixels of the crops."""

    images: Tensor  # (B, 3, S, S) in 0..1
    points: Tensor  # (B, K, 2), zeros where they are not labelled; K is the maximum of the batch
    known: Tensor  # (B, K) 1 or 0
    lengths: Tensor  # (B,) unit of errors: the distance of the eyes' outer corners, or the length of the torso
    skeletons: tuple[str, ...]  # (B,) skeletons of the labels


def train_points(request: TrainingRequest) -> Mapping[str, object]:
    """Fine-tune a face or body network; see the module.

    The results are "weights"; "error_before" and "error" on "held_out" faces or bodies, mean distances in per cent of
    the eyes' distance (NME) or of the torso; and the path of the "export".
    """
    settings = settings_from(PointSettings, request.settings)
    data = hand_data(request, settings, lambda sample: bool(_labelled_instances(sample, settings)))
    if settings.backbone or settings.pretrained:
        crops = (crop for sample in data.training for crop in labelled_crops(sample, settings))
        if (first := next(crops, None)) is None:
            raise InputError(f"{data.name}: none of the {len(data.training)} training images has a usable label")
        network = _backbone_network(request, settings, first.skeleton)
    else:
        network = create_network(settings.network, request.weights or "published").eval()  # its norms are folded
    network.to(request.device).side = settings.size
    held_out = [crop for sample in data.held_out for crop in labelled_crops(sample, settings)]
    published = copy.deepcopy(network).eval().requires_grad_(False)
    before = point_error(published, held_out)
    losses = point_losses(published, 0.0 if settings.backbone else settings.keep, settings.loss)
    metrics = fit(
        request,
        network,
        partial(_draw, samples=data.training, settings=settings),
        losses,
        settings,
        inputs=data.inputs(request),
        evaluate=lambda network: {"error": point_error(network, held_out)},
    )
    exported = export_trained(network, request, "timm-landmarks" if settings.backbone else settings.network)
    counts = {"held_out": len(held_out), "split": data.split.text}
    results: dict[str, object] = {"weights": request.out / WEIGHTS, **counts, "error_before": before}
    return {**results, **metrics, **exported}


def _backbone_network(request: TrainingRequest, settings: PointSettings, skeleton: str) -> registry.Network:
    """Return a network of timm that predicts the points of a skeleton."""
    options = {"keypoints": len(load_skeleton(skeleton).keypoints), "size": settings.size}
    backbone = backbones.timm_name(settings.backbone, pretrained=settings.pretrained)
    torch.manual_seed(settings.seed)
    network = create_network("timm-landmarks", request.weights, backbone=backbone, **options)
    assert isinstance(network, keypoint_detector.TimmLandmarks)
    if settings.pretrained and request.weights is None:
        backbones.start_pretrained(network.backbone, settings.backbone)
    return network.train()


def labelled_crops(sample: Sample, settings: PointSettings) -> list[LabelledCrop]:
    """Return crops of the faces or bodies of an image that have enough labels."""
    instances = _labelled_instances(sample, settings)
    rgb = sample.rgb() if instances else np.zeros((0, 0, 3), np.uint8)
    crops: list[LabelledCrop] = []
    for instance, points, box, length in instances:
        labelled = np.asarray(np.isfinite(points).all(1), np.bool_)
        in_crop = points_into_crop(np.where(labelled[:, None], points, 0).astype(np.float32), box, settings.size)
        unknown = np.full((len(points), 3), np.nan, np.float32)
        crop = LandmarkCrop(cut_wide(rgb, box, settings.size), in_crop.astype(np.float32), labelled, unknown)
        crops.append(LabelledCrop(crop, instance.skeleton or "", length * settings.size / box.width))
    return crops


def _labelled_instances(
    sample: Sample, settings: PointSettings
) -> list[tuple[Instance, FloatArray, RotatedBox, float]]:
    """Return instances of the network's kind with their points (NaN unknown), box, and unit of errors."""
    instances: list[tuple[Instance, FloatArray, RotatedBox, float]] = []
    for instance in sample.instances:
        points = instance.labelled_px
        if instance.kind != settings.kind or instance.crowd or not instance.skeleton or points is None:
            continue
        box_and_length = _face_box(points) if instance.kind == "face" else _body_box(points, instance)
        if box_and_length is not None and box_and_length[0].width >= 1:
            instances.append((instance, points, *box_and_length))
    return instances


def _face_box(points: FloatArray) -> tuple[RotatedBox, float] | None:
    """Return the box of a face with all points (K, 2) labelled, and the distance of its eyes' outer corners."""
    if not np.isfinite(points).all():
        return None
    right, left, chin = (points[index] for index in _FACE[len(points)])
    outline = points
    if len(points) < 468:
        eyes = (right + left) / 2
        outline = np.concatenate([points, [eyes + _FOREHEAD * (eyes - chin)]])
    corners = [*outline.min(0).tolist(), *outline.max(0).tolist()]
    box = face.box_around_face(corners, right.tolist(), left.tolist())
    return box, float(outer_corner_distances(points[None])[0])


def _body_box(points: FloatArray, instance: Instance) -> tuple[RotatedBox, float] | None:
    """Return the box of a body with a labelled torso, and the torso's diagonal."""
    indices = instance.keypoint_indices(_TORSO)
    if indices is None or not np.isfinite(points[indices]).all():
        return None
    left_hip, right_hip, left_shoulder, right_shoulder = points[indices]
    hips, shoulders = (left_hip + right_hip) / 2, (left_shoulder + right_shoulder) / 2
    reach = _BODY_MARGIN * float(np.nanmax(np.linalg.norm(points - hips, axis=1)))
    up = (shoulders - hips) / max(float(np.linalg.norm(shoulders - hips)), 1e-6)
    box = body.box_from_alignment(np.stack([hips, hips + reach * up]))
    return box, float(np.linalg.norm(left_shoulder - right_hip))


def _draw(rng: np.random.Generator, samples: Sequence[Sample], settings: PointSettings) -> PointBatch:
    """Return the batch of a step."""

    def make_example(sample: Sample, generator: np.random.Generator) -> LabelledCrop | None:
        crops = labelled_crops(sample, settings)
        if not crops:
            return None
        return augmented_crop(
            crops[int(generator.integers(len(crops)))], draw_augmentation(settings.augmentation, generator)
        )

    return point_batch(draw_examples(samples, make_example, rng, settings.batch))


def augmented_crop(labelled: LabelledCrop, change: Augmentation) -> LabelledCrop:
    """Augment a face or body; left and right keypoints swap in a mirror."""
    crop = augment(labelled.crop, change)
    if change.mirror:
        order = mirrored_order(load_skeleton(labelled.skeleton).keypoints)
        crop = replace(crop, keypoints=crop.keypoints[order], known=crop.known[order])
    return labelled._replace(crop=crop, length=labelled.length / change.scale)


def point_batch(crops: Sequence[LabelledCrop]) -> PointBatch:
    """Convert crops to tensors."""
    count = max(len(labelled.crop.keypoints) for labelled in crops)
    points, is_labelled = np.zeros((len(crops), count, 2), np.float32), np.zeros((len(crops), count), np.float32)
    for row, labelled in enumerate(crops):
        points[row, : len(labelled.crop.keypoints)] = labelled.crop.keypoints
        is_labelled[row, : len(labelled.crop.known)] = labelled.crop.known
    images = torch.from_numpy(np.stack([labelled.crop.image() for labelled in crops])).permute(0, 3, 1, 2) / 255
    lengths = torch.tensor([labelled.length for labelled in crops])
    skeletons = tuple(labelled.skeleton for labelled in crops)
    return PointBatch(images, torch.from_numpy(points), torch.from_numpy(is_labelled), lengths, skeletons)


def point_losses(
    before: registry.Network, keep: float, loss: PointLoss = "distance"
) -> Callable[[registry.Network, PointBatch], Mapping[str, Tensor]]:
    """Return a function that computes losses by name: of the points in units of errors, and of changed outputs."""
    error_of = point_loss(loss)

    def losses(network: registry.Network, batch: PointBatch) -> Mapping[str, Tensor]:
        outputs = network(batch.images)
        errors = error_of(_offsets(outputs["keypoints"], batch))
        terms = {"points": (errors * batch.known).sum() / batch.known.sum().clamp(min=1)}
        if keep:
            with torch.no_grad():
                initial = before(batch.images)
            changes = [
                (outputs[name] - value).square().mean() / value.square().mean().clamp(min=1e-6)
                for name, value in initial.items()
            ]
            terms["kept"] = keep * torch.stack(changes).mean()
        return terms

    return losses


def _offsets(keypoints: Tensor, batch: PointBatch) -> Tensor:
    """Return the (B, K, 2) offsets of a network's keypoints from the labels, in units of errors."""
    is_pose = keypoints.shape[1] == 5 * _POSE_POINTS
    points = keypoints.unflatten(1, (-1, 5 if is_pose else 3))[:, : len(_BODY) if is_pose else None, :2]
    rows: list[Tensor] = []
    for image_points, skeleton in zip(points, batch.skeletons, strict=True):
        weights = torch.from_numpy(_weights(image_points.detach().double().cpu().numpy(), skeleton)).to(image_points)
        read = weights @ image_points
        missing = batch.points.shape[1] - len(read)
        rows.append(torch.nn.functional.pad(read, (0, 0, 0, missing)))
    return (torch.stack(rows) - batch.points) / batch.lengths[:, None, None]


def _weights(points: FloatArray, skeleton: str) -> FloatArray:
    """Return the weights by which a network's points (N, 2) are combined to a skeleton's."""
    if len(points) == len(load_skeleton(skeleton).keypoints):
        return np.eye(len(points))
    if skeleton in ("face_300w68", "face_wflw98"):
        return face_labels.face_weights(points, skeleton)
    if skeleton.startswith("face_"):
        return np.eye(len(load_skeleton(skeleton).keypoints), len(points))
    names = load_skeleton(skeleton).keypoints
    return np.array([[float(name == other) for other in _BODY] for name in names])


@modes.evaluates
def point_error(network: registry.Network, crops: Sequence[LabelledCrop]) -> float:
    """Return the mean distance in per cent of the unit of errors, averaged over faces or bodies; NaN without any."""
    means: list[float] = []
    for start in range(0, len(crops), _BATCH):
        batch = point_batch(crops[start : start + _BATCH])
        distances = distance(_offsets(network(batch.images.to(network.device))["keypoints"].cpu(), batch))
        means += ((distances * batch.known).sum(1) / batch.known.sum(1).clamp(min=1)).tolist()
    return 100 * float(np.mean(means)) if means else float("nan")
