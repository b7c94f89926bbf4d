"""The recipe `keypoint-detector`: the 2D detector of the annotation studio, keypoints of one hand from its crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sonjit.arrays import BoolArray, Float32Array, FloatArray, Image
from sonjit.datasets import Instance, Sample
from sonjit.geometry.boxes import RotatedBox, crop, points_into_crop
from sonjit.networks import create_network
from sonjit.networks.checkpoints import save_description
from sonjit.networks.keypoint_detector import (
    KeypointDetector,
    KeypointHeatmaps,
    area_of_box,
    cell_from_px,
    sigma_of,
)
from sonjit.results import Box
from sonjit.training.augment import Augmentation, AugmentationSettings, draw_augmentation
from sonjit.training.hands.samples import CropSettings, ExampleBatches, exported, hand_data
from sonjit.training.loop import WEIGHTS, train
from sonjit.training.recipes import TrainingRequest, settings_from

_NEAR = 0.1  # of the longer side of a hand's box: within it a keypoint counts as found


@dataclass(frozen=True)
class KeypointDetectorSettings(CropSettings):
    """Settings of the recipe.

    Attributes:
        backbone: an EfficientNet of timm.
        backbone_weights: file of timm's weights for it; "" initialises it at random.
        channels: of the maps that are read.
    """

    backbone: str = "tf_efficientnet_b0"
    backbone_weights: str = ""
    channels: int = 128


class HeatmapTargets(NamedTuple):
    """Ground truth of a batch; see `HeatmapExample`."""

    keypoints: Tensor  # (B, 21, 2) pixels of the crop
    known: Tensor  # (B, 21)
    visible: Tensor  # (B, 21)
    labelled: Tensor  # (B, 21)


def train_keypoint_detector(request: TrainingRequest) -> Mapping[str, object]:
    """The recipe: see the module.

    Returns:
        The weights' path; on hands held out `error_px`, the mean distance in pixels of the images, `error_of_hand`,
        the same in longer sides of the hand's box, `mean_pose_error_of_hand`, what the mean pose has in its place,
        `found`, the share within a tenth of a side, and `visible_right`, the share of keypoints whose
        visibility is predicted right, where it is labelled.
    """
    settings = settings_from(KeypointDetectorSettings, request.settings)
    options = {"backbone": settings.backbone, "channels": settings.channels}
    torch.manual_seed(settings.seed)
    begin = {"backbone_weights": settings.backbone_weights} if settings.backbone_weights else {}
    network = create_network("keypoint-detector", request.weights, **options, **begin).to(request.device).train()
    data = hand_data(request, settings, lambda sample: bool(labelled_hands(sample)))
    make = partial(example_from_sample, side=settings.side, augmentation=settings.augmentation)
    batch = ExampleBatches(data.training, make, tensors_from_examples, settings.batch)

    def losses(model: KeypointHeatmaps, drawn: tuple[Tensor, HeatmapTargets]) -> Mapping[str, Tensor]:
        return heatmap_losses(model(drawn[0]), drawn[1])

    assert isinstance(network, KeypointHeatmaps)
    save_description(request.out, {"network": "keypoint-detector", "options": options, "side": settings.side})
    mean = mean_pose(data.training)

    def judged(model: KeypointHeatmaps) -> dict[str, float]:
        return evaluate(KeypointDetector.of_network(model, settings.side, request.device), mean, data.held_out)

    inputs = request.inputs(data.name)
    metrics = train(
        network, batch, losses, settings, out=request.out, inputs=inputs, progress=request.progress, evaluate=judged
    )
    results: dict[str, object] = {"weights": request.out / WEIGHTS, "training_images": len(data.training), **metrics}
    results |= exported(network, "keypoint-detector", settings.side, request)
    return results


def heatmap_losses(outputs: Mapping[str, Tensor], targets: HeatmapTargets) -> dict[str, Tensor]:
    """Losses of the heatmaps against Gaussians around the keypoints, and of the predicted visibility.

    Returns:
        `heatmaps`: cross entropy of the maps' distributions, the mean over known keypoints, less what a perfect map
        has, so that 0 is the best; `visible`: binary cross entropy where it is known.
    """
    logits = outputs["heatmaps"]
    wanted = _gaussians(cell_from_px(targets.keypoints), logits.shape[-1])  # (B, 21, h * w)
    off = F.kl_div(logits.flatten(2).log_softmax(2), wanted, reduction="none").sum(2)
    seen = F.binary_cross_entropy_with_logits(outputs["visible_logits"], targets.visible, reduction="none")
    return {
        "heatmaps": (off * targets.known).sum() / targets.known.sum().clamp(min=1),
        "visible": (seen * targets.labelled).sum() / targets.labelled.sum().clamp(min=1),
    }


def _gaussians(places: Tensor, cells: int) -> Tensor:
    """Distributions (B, K, cells * cells) around places (B, K, 2) in cells."""
    line = torch.arange(cells, device=places.device)
    off = (line - places[..., None]) / sigma_of(cells)  # (B, K, 2, cells)
    x, y = (-off.square() / 2).unbind(2)
    return (y[..., :, None] + x[..., None, :]).flatten(2).softmax(2)


def tensors_from_examples(examples: Sequence[HeatmapExample]) -> tuple[Tensor, HeatmapTargets]:
    """Crops (B, 3, S, S) in 0..1 and their ground truth."""
    images = torch.from_numpy(np.stack([one.image for one in examples]))
    fields = ("keypoints", "known", "visible", "labelled")
    targets = (torch.from_numpy(np.stack([getattr(one, name) for one in examples])) for name in fields)
    return images.permute(0, 3, 1, 2).float() / 255, HeatmapTargets(*targets)


def evaluate(detector: KeypointDetector, mean: FloatArray, held_out: Sequence[Sample]) -> dict[str, float]:
    """Metrics on hands held out; see `train_keypoint_detector`. `mean` is what `mean_pose` gives."""
    px: list[float] = []
    shares: list[float] = []
    of_mean: list[float] = []
    right: list[bool] = []
    for sample in held_out:
        hands = labelled_hands(sample)
        for (hand, box), found in zip(hands, detector.detect(sample.rgb(), [box for _, box in hands]), strict=True):
            area = area_of_box(box)
            truth = example_from_hand(sample.rgb(), hand, area, detector.side)
            known = truth.known > 0
            hand_side = max(box[2] - box[0], box[3] - box[1])
            off = np.linalg.norm(found.keypoints - points_of(hand), axis=1)[known]
            px += off.tolist()
            shares += (off / hand_side).tolist()
            by_mean = np.linalg.norm(mean - truth.keypoints / detector.side, axis=1)[known] * area.width
            of_mean += (by_mean / hand_side).tolist()
            right += ((found.visible > 0.5) == (truth.visible > 0.5))[truth.labelled > 0].tolist()
    metrics = {
        "error_px": float(np.mean(px)),
        "error_of_hand": float(np.mean(shares)),
        "mean_pose_error_of_hand": float(np.mean(of_mean)),
        "found": float(np.mean(np.array(shares) < _NEAR)),
    }
    return metrics | ({"visible_right": float(np.mean(right))} if right else {})


def mean_pose(samples: Sequence[Sample], most: int = 200) -> FloatArray:
    """Where keypoints are on average, (21, 2) as parts of the crop; in its middle where none is known."""
    total, count = np.zeros((21, 2)), np.zeros((21, 1))
    for index in range(0, len(samples), max(len(samples) // most, 1)):
        for hand, box in labelled_hands(samples[index]):
            area = area_of_box(box)
            place = (points_of(hand) - (area.cx, area.cy)) / area.width
            known = np.isfinite(place).all(1, keepdims=True)
            total += np.where(known, place, 0)
            count += known
    return total / np.maximum(count, 1) + 0.5


_KEYPOINTS = 21
_AS_IS = Augmentation()


@dataclass(frozen=True, eq=False)
class HeatmapExample:
    """A crop and its ground truth.

    Attributes:
        image: (S, S, 3) uint8.
        keypoints: (21, 2) pixels of the crop; 0 where unknown.
        known: (21,) 1 where one is known and in the crop.
        visible: (21,) 1 seen, 0 hidden.
        labelled: (21,) 1 where that is known.
    """

    image: Image
    keypoints: Float32Array
    known: Float32Array
    visible: Float32Array
    labelled: Float32Array


def labelled_hands(sample: Sample) -> list[tuple[Instance, Box]]:
    """Hands with known keypoints, and the boxes around these, in pixels; hardly any keypoints make no box."""
    found: list[tuple[Instance, Box]] = []
    for one in sample.instances:
        points = points_of(one)
        points = points[np.isfinite(points).all(1)]
        if one.kind == "hand" and len(points) >= 2 and (np.ptp(points, 0) >= 1).all():
            (x_min, y_min), (x_max, y_max) = points.min(0).tolist(), points.max(0).tolist()
            found.append((one, (x_min, y_min, x_max, y_max)))
    return found


def example_from_sample(
    sample: Sample, rng: np.random.Generator, side: int, augmentation: AugmentationSettings
) -> HeatmapExample | None:
    """One hand of an image, augmented; None where none is labelled."""
    hands = labelled_hands(sample)
    if not hands:
        return None
    hand, box = hands[int(rng.integers(len(hands)))]
    return example_from_hand(sample.rgb(), hand, area_of_box(box), side, draw_augmentation(augmentation, rng))


def example_from_hand(
    rgb: Image, hand: Instance, area: RotatedBox, side: int, change: Augmentation = _AS_IS
) -> HeatmapExample:
    """A hand as it is in an area of an image (H, W, 3), cropped to `side` pixels; its side is not a label here."""
    area = change.box(area)
    image = change.image(crop(rgb, area, side, side, border="zero"))
    points = change.points(points_into_crop(points_of(hand), area, side), side)
    known: BoolArray = np.asarray(((points >= 0) & (points <= side - 1)).all(1))  # NaN is neither
    labelled = known if hand.visible is not None else np.zeros(_KEYPOINTS, np.bool_)
    visible = np.zeros(_KEYPOINTS, np.bool_) if hand.visible is None else hand.visible
    return HeatmapExample(
        image,
        np.asarray(np.where(known[:, None], points, 0), np.float32),
        known.astype(np.float32),
        visible.astype(np.float32),
        labelled.astype(np.float32),
    )


def points_of(hand: Instance) -> FloatArray:
    """Keypoints (21, 2) in pixels, NaN where unknown."""
    if hand.keypoints_px is None or len(hand.keypoints_px) != _KEYPOINTS:
        return np.full((_KEYPOINTS, 2), np.nan)
    known = np.ones(_KEYPOINTS, np.bool_) if hand.valid_px is None else hand.valid_px
    return np.where(known[:, None], hand.keypoints_px, np.nan)
