"""Train the 2D keypoint detector of the annotation studio (recipe `keypoint-detector`) on crops of single hands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sonjit._util import BoolArray, Float32Array, FloatArray, Image, InputError
from sonjit.geometry.boxes import RotatedBox, crop, points_into_crop
from sonjit.results import Box
from sonjit_lab.datasets import Instance, Sample
from sonjit_lab.datasets.sample import name_of, ordered_hand
from sonjit_lab.networks import create_network
from sonjit_lab.networks import keypoint_detector as detectors
from sonjit_lab.networks.backbones import start_pretrained, timm_name
from sonjit_lab.networks.checkpoints import save_description
from sonjit_lab.training.augment import UNCHANGED, Augmentation, AugmentationSettings, draw_augmentation
from sonjit_lab.training.building_blocks import MAX_CROPS, PICTURE, draw_predictions, evenly_spaced, export_trained
from sonjit_lab.training.hands.samples import CropSettings, draw_batch, hand_data
from sonjit_lab.training.loop import WEIGHTS, fit
from sonjit_lab.training.losses import MapLoss, heatmap_cells
from sonjit_lab.training.recipes import TrainingRequest, settings_from
from sonjit_lab.training.settings import Width

_NEAR = 0.1  # maximum error of a found keypoint, as a fraction of the longer side of the hand's box

_KEYPOINTS = 21


@dataclass(frozen=True)
class KeypointDetectorSettings(CropSettings):
    """Settings of the recipe."""

    backbone: str = "tf_efficientnet_b0"  # name of a network of timm with feature maps at strides 4, 8, 16 and 32
    backbone_weights: str = ""  # file of timm's weights for the backbone; "" starts with random weights
    # True to start mobilenet_v2 or efficientnet_lite0 with weights of ImageNet, of `sonjit models pull classifiers`
    pretrained: bool = False
    channels: Width = 128  # channels of the feature maps
    loss: MapLoss = "kl"  # loss of the heatmaps: `kl`, `mse` or `adaptive-wing`


class HeatmapTargets(NamedTuple):
    """Ground truth of a batch; see `HeatmapExample`."""

    keypoints: Tensor  # (B, 21, 2) pixels of the crop
    known: Tensor  # (B, 21)
    visible: Tensor  # (B, 21)
    labelled: Tensor  # (B, 21)


def train_keypoint_detector(request: TrainingRequest) -> Mapping[str, object]:
    """Train the keypoint detector.

    The results are "weights", and on held-out hands "error_px", the mean distance in pixels of the images;
    "error_of_hand", the same in longer sides of the hand's box; "mean_pose_error_of_hand"; "found", the share of errors
    below a tenth of a side; and "visible_right", the share of keypoints whose visibility is predicted correctly, where
    it is labelled.
    """
    settings = settings_from(KeypointDetectorSettings, request.settings)
    backbone = timm_name(settings.backbone, pretrained=settings.pretrained)
    options = {"backbone": backbone, "channels": settings.channels}
    torch.manual_seed(settings.seed)
    initial = {"backbone_weights": settings.backbone_weights} if settings.backbone_weights else {}
    network = create_network("keypoint-detector", request.weights, **options, **initial).to(request.device).train()
    data = hand_data(request, settings, lambda sample: bool(labelled_hands(sample)))
    with_hands = [sample for sample in data.held_out if labelled_hands(sample)]
    if not with_hands:
        raise InputError(f"{data.name}: none of the {len(data.held_out)} held-out images has a labelled hand")
    make_example = partial(example_from_sample, side=settings.side, augmentation=settings.augmentation)
    batch = partial(
        draw_batch, samples=data.training, make_example=make_example, join=tensors_from_examples, count=settings.batch
    )

    def losses(model: detectors.KeypointHeatmaps, batch: tuple[Tensor, HeatmapTargets]) -> Mapping[str, Tensor]:
        return heatmap_losses(model(batch[0]), batch[1], settings.loss)

    assert isinstance(network, detectors.KeypointHeatmaps)
    if settings.pretrained and request.weights is None:
        start_pretrained(network.backbone, settings.backbone)
    network.side = settings.side
    description = {"network": "keypoint-detector", "options": options, "side": settings.side}
    mean = mean_pose(data.training)

    def evaluate_on_held_out(model: detectors.KeypointHeatmaps) -> dict[str, float]:
        return evaluate(detectors.KeypointDetector.from_network(model, settings.side), mean, data.held_out)

    def pictures(model: detectors.KeypointHeatmaps) -> dict[str, Image]:
        """Draw the predictions for the first hand of some images."""
        hands = [(item, *labelled_hands(item)[0]) for item in evenly_spaced(with_hands, MAX_CROPS)]
        crops = [
            example_from_hand(item.rgb(), hand, detectors.area_of_box(box), settings.side) for item, hand, box in hands
        ]
        maps = model(tensors_from_examples(crops)[0].to(model.device))["heatmaps"]
        points = detectors.px_from_cell(detectors.read_heatmaps(maps.float().cpu().numpy())[0])
        images, labels = [example.image for example in crops], [example.keypoints for example in crops]
        return {PICTURE: draw_predictions(images, list(points), labels, [example.known > 0 for example in crops])}

    inputs = data.inputs(request)
    metrics = fit(
        request,
        network,
        batch,
        losses,
        settings,
        inputs=inputs,
        evaluate=evaluate_on_held_out,
        pictures=pictures,
        describe=partial(save_description, request.out, description),
    )
    counts = {"training_images": len(data.training), "split": data.split.text}
    results: dict[str, object] = {"weights": request.out / WEIGHTS, **counts, **metrics}
    return results | export_trained(network, request)


def heatmap_losses(outputs: Mapping[str, Tensor], targets: HeatmapTargets, loss: MapLoss = "kl") -> dict[str, Tensor]:
    """Return the losses `heatmaps`, against Gaussians around known keypoints, and `visible`, where that is known."""
    logits = outputs["heatmaps"]
    centres, cells = detectors.cell_from_px(targets.keypoints), logits.shape[-1]
    offsets = torch.arange(cells, device=centres.device) - centres[..., None]  # (B, K, 2, cells)
    x, y = (-(offsets / detectors.sigma_of(cells)).square() / 2).unbind(2)
    expected = (y[..., :, None] + x[..., None, :]).flatten(2).softmax(2)  # Gaussians (B, 21, h * w)
    errors = heatmap_cells(logits.flatten(2), expected, loss)
    visibility = F.binary_cross_entropy_with_logits(outputs["visible_logits"], targets.visible, reduction="none")
    return {
        "heatmaps": (errors * targets.known).sum() / targets.known.sum().clamp(min=1),
        "visible": (visibility * targets.labelled).sum() / targets.labelled.sum().clamp(min=1),
    }


def tensors_from_examples(examples: "Sequence[HeatmapExample]") -> tuple[Tensor, HeatmapTargets]:
    """Return crops (B, 3, S, S) in 0..1 and their ground truth."""
    images, *targets = (torch.from_numpy(np.stack(column)) for column in zip(*examples, strict=True))
    return images.permute(0, 3, 1, 2).float() / 255, HeatmapTargets(*targets)


def evaluate(detector: detectors.KeypointDetector, mean: FloatArray, held_out: Sequence[Sample]) -> dict[str, float]:
    """Return metrics on held-out hands, see `train_keypoint_detector`.

    `mean` (21, 2) is the pose of `mean_pose` in fractions of the crop.
    """
    px: list[float] = []
    shares: list[float] = []
    of_mean: list[float] = []
    right: list[bool] = []
    for sample in held_out:
        hands = labelled_hands(sample)
        for (hand, box), detection in zip(hands, detector.detect(sample.rgb(), [box for _, box in hands]), strict=True):
            area = detectors.area_of_box(box)
            truth = example_from_hand(sample.rgb(), hand, area, detector.side)
            is_known = truth.known > 0
            hand_side = max(box[2] - box[0], box[3] - box[1])
            points_px = hand.labelled_px
            assert points_px is not None
            errors_px = np.linalg.norm(detection.keypoints - points_px, axis=1)[is_known]
            px += errors_px.tolist()
            shares += (errors_px / hand_side).tolist()
            by_mean = np.linalg.norm(mean - truth.keypoints / detector.side, axis=1)[is_known] * area.width
            of_mean += (by_mean / hand_side).tolist()
            right += ((detection.visible > 0.5) == (truth.visible > 0.5))[truth.labelled > 0].tolist()
    metrics = {
        "error_px": float(np.mean(px)),
        "error_of_hand": float(np.mean(shares)),
        "mean_pose_error_of_hand": float(np.mean(of_mean)),
        "found": float(np.mean(np.array(shares) < _NEAR)),
    }
    return metrics | ({"visible_right": float(np.mean(right))} if right else {})


def mean_pose(samples: Sequence[Sample]) -> FloatArray:
    """Return the mean position of each keypoint (21, 2) as fractions of the crop, or its middle if none is known.

    About 200 samples are read.
    """
    total, count = np.zeros((21, 2)), np.zeros((21, 1))
    for index in range(0, len(samples), max(len(samples) // 200, 1)):
        for hand, box in labelled_hands(samples[index]):
            area = detectors.area_of_box(box)
            points_px = hand.labelled_px
            assert points_px is not None
            points = (points_px - (area.cx, area.cy)) / area.width
            finite = np.isfinite(points).all(1, keepdims=True)
            total += np.where(finite, points, 0)
            count += finite
    return total / np.maximum(count, 1) + 0.5


class HeatmapExample(NamedTuple):
    """A crop and its ground truth."""

    image: Image  # (S, S, 3) uint8
    keypoints: Float32Array  # (21, 2) pixels of the crop; 0 where unknown
    known: Float32Array  # (21,) 1 for known keypoints in the crop
    visible: Float32Array  # (21,) 1 for visible keypoints, 0 for hidden ones
    labelled: Float32Array  # (21,) 1 where visibility is known


def labelled_hands(sample: Sample) -> list[tuple[Instance, Box]]:
    """Return hands with at least two known keypoints, and the boxes around these in pixels."""
    hands: list[tuple[Instance, Box]] = []
    for instance in (ordered_hand(item, name_of(sample)) for item in sample.instances):
        if instance is None or (points := instance.labelled_px) is None:
            continue
        points = points[np.isfinite(points).all(1)]
        if len(points) >= 2 and (np.ptp(points, 0) >= 1).all():
            (x_min, y_min), (x_max, y_max) = points.min(0).tolist(), points.max(0).tolist()
            hands.append((instance, (x_min, y_min, x_max, y_max)))
    return hands


def example_from_sample(
    sample: Sample, rng: np.random.Generator, side: int, augmentation: AugmentationSettings
) -> HeatmapExample | None:
    """Return one hand of an image, augmented, or None if none is labelled."""
    hands = labelled_hands(sample)
    if not hands:
        return None
    hand, box = hands[int(rng.integers(len(hands)))]
    return example_from_hand(sample.rgb(), hand, detectors.area_of_box(box), side, draw_augmentation(augmentation, rng))


def example_from_hand(
    rgb: Image, hand: Instance, area: RotatedBox, side: int, change: Augmentation = UNCHANGED
) -> HeatmapExample:
    """Return a hand in an area of an image (H, W, 3), cropped to `side` pixels; handedness is not a label."""
    area = change.box(area)
    image = change.image(crop(rgb, area, side, side, border="zero"))
    points_px = hand.labelled_px
    assert points_px is not None
    points = change.points(points_into_crop(points_px, area, side), side)
    in_crop: BoolArray = np.asarray(((points >= 0) & (points <= side - 1)).all(1))  # NaN is neither
    labelled = in_crop if hand.visible is not None else np.zeros(_KEYPOINTS, np.bool_)
    visible = np.zeros(_KEYPOINTS, np.bool_) if hand.visible is None else hand.visible
    labels = (values.astype(np.float32) for values in (in_crop, visible, labelled))
    return HeatmapExample(image, np.where(in_crop[:, None], points, 0).astype(np.float32), *labels)
