"""The recipes `face-mesh` and `pose-*`: MediaPipe's face and body networks, fine-tuned on keypoints of other sets.

A face mesh learns from the points that 300W (68) and WFLW (98) label, read off its contours, or from meshes; a body
from the keypoints that BlazePose and the labels share. What is not labelled is held to the outputs of the network that
training began with. Each face or body is cut out about as the detector would.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sonjit.arrays import FloatArray
from sonjit.datasets import Instance, Sample
from sonjit.detectors.kinds.body import box_from_alignment
from sonjit.detectors.kinds.face import box_around_face
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox, points_into_crop
from sonjit.metrics import outer_corner_distances
from sonjit.networks import create_network
from sonjit.networks.registry import Network
from sonjit.skeletons import load_skeleton
from sonjit.skeletons.face_points import face_weights
from sonjit.training.augment import Augmentation, draw_augmentation, mirrored_order
from sonjit.training.hands.landmark_data import LandmarkCrop, augmented, cut_wide
from sonjit.training.hands.samples import HandSettings, draw_examples, exported, hand_data
from sonjit.training.loop import WEIGHTS, train
from sonjit.training.recipes import TrainingRequest, settings_from
from sonjit.training.settings import check_at_least

_SIZES = {"face": 192, "pose": 256}
_FOREHEAD = 0.8
"""From the eyes up, in parts of the way from the chin to them: 68 and 98 points end at the brows, a mesh does not."""
_BODY_MARGIN = 1.1
"""The circle around a body reaches a little beyond its keypoints."""
_BODY = load_skeleton("body_blazepose33").keypoints
_TORSO = ("left_hip", "right_hip", "left_shoulder", "right_shoulder")


@dataclass(frozen=True)
class PointSettings(HandSettings):
    """Settings of the recipes.

    Attributes:
        network: which to fine-tune.
        keep: weight of the loss that holds all outputs to those before training; 0 for none.
    """

    learning_rate: float = 1e-4
    warmup: int = 5
    batch: int = 8
    network: Literal["face-mesh", "pose-lite", "pose-full", "pose-heavy"] = "face-mesh"
    keep: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        super().__post_init__()
        check_at_least(self, keep=0)
        if self.kind == "face" and (chance := self.augmentation.mirror):
            raise InputError(
                f"augmentation.mirror={chance}: a face's points have no names that tell its sides; leave it out"
            )

    @property
    def kind(self) -> str:
        """What the network sees."""
        return "face" if self.network == "face-mesh" else "body"

    @property
    def size(self) -> int:
        """Side of its crops in pixels."""
        return _SIZES[self.network.partition("-")[0]]


class LabelledCrop(NamedTuple):
    """A face or body, its labels' skeleton, and what errors are parts of, in pixels of the crop."""

    crop: LandmarkCrop
    skeleton: str
    length: float


class PointBatch(NamedTuple):
    """The batch of a step; lengths in pixels of the crops.

    Attributes:
        images: (B, 3, S, S) in 0..1.
        points: (B, K, 2), zeros where they are not labelled, K the most of the batch.
        known: (B, K) 1 or 0.
        lengths: (B,) of which errors are parts: between the eyes' outer corners, or of the torso.
        skeletons: (B,) of the labels.
    """

    images: Tensor
    points: Tensor
    known: Tensor
    lengths: Tensor
    skeletons: tuple[str, ...]


def train_points(request: TrainingRequest) -> Mapping[str, object]:
    """The recipe: see the module.

    Args:
        request: with the root of a data set of faces or bodies.

    Returns:
        "weights"; "error_before" and "error" on images held out: mean distances in per cent of the eyes' distance (NME)
        or of the torso; how many faces or bodies those are; and the path of the "export".

    Raises:
        InputError: settings or data that cannot be used.
    """
    settings = settings_from(PointSettings, request.settings)
    if request.data is None:
        raise InputError(f"{request.recipe}: give the root of a data set of faces or bodies with --data")
    data = hand_data(request, settings, lambda sample: bool(_labelled(sample, settings)))
    network = create_network(settings.network, request.weights or "published").to(request.device)
    held_out = [one for sample in data.held_out for one in labelled_crops(sample, settings)]
    before = point_error(network.eval(), held_out, request.device)
    metrics = train(
        network.eval(),  # its batch norms are folded away
        partial(_draw, samples=data.training, settings=settings),
        point_losses(copy.deepcopy(network).eval().requires_grad_(False), settings.keep),
        settings,
        out=request.out,
        inputs=request.inputs(),
        progress=request.progress,
        evaluate=lambda network: {"error": point_error(network, held_out, request.device)},
    )
    results: dict[str, object] = {"weights": request.out / WEIGHTS, "held_out": len(held_out), "error_before": before}
    return results | metrics | exported(network, settings.network, settings.size, request)


def labelled_crops(sample: Sample, settings: PointSettings) -> list[LabelledCrop]:
    """The faces or bodies of an image that are labelled well enough to be cut out."""
    found = _labelled(sample, settings)
    rgb = sample.rgb() if found else np.zeros((0, 0, 3), np.uint8)
    crops: list[LabelledCrop] = []
    for one, points, box, length in found:
        known = np.asarray(np.isfinite(points).all(1), np.bool_)
        seen = points_into_crop(np.where(known[:, None], points, 0).astype(np.float32), box, settings.size)
        unknown = np.full((len(points), 3), np.nan, np.float32)
        crop = LandmarkCrop(cut_wide(rgb, box, settings.size), seen.astype(np.float32), known, unknown)
        crops.append(LabelledCrop(crop, one.skeleton or "", length * settings.size / box.width))
    return crops


def _labelled(sample: Sample, settings: PointSettings) -> list[tuple[Instance, FloatArray, RotatedBox, float]]:
    """Instances of the network's kind with their points (NaN unknown), box, and the length that errors are parts of."""
    found: list[tuple[Instance, FloatArray, RotatedBox, float]] = []
    for one in sample.instances:
        if one.kind != settings.kind or one.crowd or one.keypoints_px is None:
            continue
        valid = np.ones(len(one.keypoints_px), np.bool_) if one.valid_px is None else one.valid_px
        points = np.where(valid[:, None], one.keypoints_px, np.nan)
        placed = _face_box(points) if one.kind == "face" else _body_box(points, one)
        if placed is not None and placed[0].width >= 1:
            found.append((one, points, *placed))
    return found


def _face_box(points: FloatArray) -> tuple[RotatedBox, float] | None:
    """The box of a face whose points (K, 2) are all labelled, and the distance of its eyes' outer corners."""
    if not np.isfinite(points).all():
        return None
    right, left, chin = (points[place] for place in _FACE[len(points)])
    whole = points
    if len(points) < 468:
        eyes = (right + left) / 2
        whole = np.concatenate([points, [eyes + _FOREHEAD * (eyes - chin)]])
    corners = [*whole.min(0).tolist(), *whole.max(0).tolist()]
    box = box_around_face(corners, right.tolist(), left.tolist())
    return box, float(outer_corner_distances(points[None])[0])


_FACE = {68: (36, 45, 8), 98: (60, 72, 16), 468: (33, 263, 152), 478: (33, 263, 152)}
"""Outer corners of the right and left eye, and the chin, by the number of points."""


def _body_box(points: FloatArray, one: Instance) -> tuple[RotatedBox, float] | None:
    """The box of a body whose torso is labelled, and the torso's diagonal."""
    places = one.places_of(_TORSO)
    if places is None or not np.isfinite(points[places]).all():
        return None
    left_hip, right_hip, left_shoulder, right_shoulder = points[places]
    hips, shoulders = (left_hip + right_hip) / 2, (left_shoulder + right_shoulder) / 2
    reach = _BODY_MARGIN * float(np.nanmax(np.linalg.norm(points - hips, axis=1)))
    up = (shoulders - hips) / max(float(np.linalg.norm(shoulders - hips)), 1e-6)
    box = box_from_alignment(np.stack([hips, hips + reach * up]))
    return box, float(np.linalg.norm(left_shoulder - right_hip))


def _draw(rng: np.random.Generator, samples: Sequence[Sample], settings: PointSettings) -> PointBatch:
    """The batch of a step."""

    def make(sample: Sample, own: np.random.Generator) -> LabelledCrop | None:
        crops = labelled_crops(sample, settings)
        if not crops:
            return None
        return changed(crops[int(own.integers(len(crops)))], draw_augmentation(settings.augmentation, own))

    return point_batch(draw_examples(samples, make, rng, settings.batch))


def changed(one: LabelledCrop, change: Augmentation) -> LabelledCrop:
    """The same face or body augmented; left and right keypoints change places in a mirror."""
    crop = augmented(one.crop, change)
    if change.mirror:
        order = mirrored_order(load_skeleton(one.skeleton).keypoints)
        crop = replace(crop, keypoints=crop.keypoints[order], known=crop.known[order])
    return one._replace(crop=crop, length=one.length / change.scale)


def point_batch(crops: Sequence[LabelledCrop]) -> PointBatch:
    """Crops as tensors."""
    most = max(len(one.crop.keypoints) for one in crops)
    points, known = np.zeros((len(crops), most, 2), np.float32), np.zeros((len(crops), most), np.float32)
    for row, one in enumerate(crops):
        points[row, : len(one.crop.keypoints)] = one.crop.keypoints
        known[row, : len(one.crop.known)] = one.crop.known
    images = torch.from_numpy(np.stack([one.crop.image() for one in crops])).permute(0, 3, 1, 2) / 255
    lengths = torch.tensor([one.length for one in crops])
    return PointBatch(
        images, torch.from_numpy(points), torch.from_numpy(known), lengths, tuple(one.skeleton for one in crops)
    )


def point_losses(before: Network, keep: float) -> Callable[[Network, PointBatch], Mapping[str, Tensor]]:
    """Losses by name: distances in parts of each face's or body's length, and how far outputs are from those before.

    Args:
        before: the network as it was.
        keep: weight of the second.
    """

    def losses(network: Network, batch: PointBatch) -> Mapping[str, Tensor]:
        seen = network(batch.images)
        off = _distances(seen["keypoints"], batch)
        parts = {"points": (off * batch.known).sum() / batch.known.sum().clamp(min=1)}
        if keep:
            with torch.no_grad():
                was = before(batch.images)
            kept = [
                (seen[name] - value).square().mean() / value.square().mean().clamp(min=1e-6)
                for name, value in was.items()
            ]
            parts["kept"] = keep * torch.stack(kept).mean()
        return parts

    return losses


def _distances(keypoints: Tensor, batch: PointBatch) -> Tensor:
    """(B, K) of a network's keypoints from the labels, in parts of each length."""
    count = 468 if keypoints.shape[1] == 3 * 468 else len(_BODY)
    points = keypoints.unflatten(1, (-1, keypoints.shape[1] // (468 if count == 468 else 39)))[:, :count, :2]
    rows: list[Tensor] = []
    for own, skeleton in zip(points, batch.skeletons, strict=True):
        weights = torch.from_numpy(_weights(own.detach().double().cpu().numpy(), skeleton)).to(own)
        read = weights @ own
        missing = batch.points.shape[1] - len(read)
        rows.append(torch.nn.functional.pad(read, (0, 0, 0, missing)))
    return (torch.stack(rows) - batch.points).norm(dim=2) / batch.lengths[:, None]


def _weights(points: FloatArray, skeleton: str) -> FloatArray:
    """By which a network's points (N, 2) become a skeleton's."""
    if skeleton in ("face_300w68", "face_wflw98"):
        return face_weights(points, skeleton)
    if skeleton.startswith("face_"):
        return np.eye(len(load_skeleton(skeleton).keypoints), len(points))
    names = load_skeleton(skeleton).keypoints
    return np.array([[float(name == other) for other in _BODY] for name in names])


_AT_ONCE = 16


def point_error(network: Network, crops: Sequence[LabelledCrop], device: str = "cpu") -> float:
    """Mean over faces or bodies of their mean distance, in per cent of their length; NaN without any."""
    means: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(crops), _AT_ONCE):
            batch = point_batch(crops[start : start + _AT_ONCE])
            off = _distances(network(batch.images.to(device))["keypoints"].cpu(), batch)
            means += ((off * batch.known).sum(1) / batch.known.sum(1).clamp(min=1)).tolist()
    return 100 * float(np.mean(means)) if means else float("nan")
