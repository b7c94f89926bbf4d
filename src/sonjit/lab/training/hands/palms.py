"""Train the palm detector (recipe `palm`) on images with and without hands, evaluated by COCO's average precision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from sonjit._util.arrays import Float32Array, FloatArray, RealArray
from sonjit._util.errors import InputError
from sonjit.detectors.kinds.hands import palm_squares
from sonjit.detectors.ssd import blend_overlapping
from sonjit.lab.metrics import coco_precision
from sonjit.lab.networks import create_network
from sonjit.lab.networks.mediapipe.palm_detection import Head, PalmDetectionNetwork
from sonjit.lab.training.augment import AugmentedSettings, draw_augmentation
from sonjit.lab.training.folding import add_batch_norms, fold, scale_head
from sonjit.lab.training.hands.palm_data import (
    PalmSample,
    PalmSamples,
    PalmTargets,
    ScoreLoss,
    augment,
    corners_of,
    palm_anchors,
    palm_losses,
    palm_targets,
)
from sonjit.lab.training.hands.samples import open_source_samples
from sonjit.lab.training.loop import WEIGHTS, train
from sonjit.lab.training.recipes import TrainingRequest, settings_from
from sonjit.lab.training.sequences import Concat
from sonjit.lab.training.settings import MAX_COUNT, MAX_DEPTH, MAX_IMAGES, MAX_WIDTH, check_range, check_side

_PRIOR = 0.01
"""Initial score of every anchor, so that the many negatives do not dominate the first steps (Lin et al. 2017, section
4.1); for both losses."""


_MIN_SCORE, _BATCH = 0.02, 32
_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)
_CATEGORY = 1


@dataclass(frozen=True)
class PalmSettings(AugmentedSettings):
    """Settings of the recipe.

    Attributes:
        batch: Number of images in a step.
        size: Side of the network's square input in pixels; the published network has 192.
        depth: Number of blocks after each halving.
        channels: Channels of the stem and after each further halving.
        decoder: True for a network with the upward path of a feature pyramid.
        loss: Loss of the scores.
        gamma: Exponent of the focal loss.
        score_weight: Weight of the loss of the scores, relative to those of boxes and keypoints.
        dataset: Kind of data set of `--data`, by its name in `sonjit datasets list`; `folder` reads COCO's format and
            other own files.
        split: Split to train on; "" is the first split of the data set.
        sources: Annotations or their folders, relative to `--data`, such as `hands,without_hands`. A folder with the
            name of a data set is that data set, any other is of `dataset`. Empty: `--data` itself.
        test: Sources of images to evaluate on, as in `sources`; empty holds out the last tenth of each source.
        limit: Maximum number of images of each source, the first ones; 0 for all.
    """

    batch: int = 32
    size: int = 192
    depth: int = 4
    channels: tuple[int, ...] = (32, 64, 128, 256, 256)
    decoder: bool = True
    loss: ScoreLoss = "focal"
    gamma: float = 2.0
    score_weight: float = 1.0
    dataset: str = "folder"
    split: str = ""
    sources: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    limit: int = 0

    def __post_init__(self) -> None:
        """Check that values are in range."""
        super().__post_init__()
        check_range(self, batch=(1, MAX_IMAGES), limit=(0, MAX_COUNT), depth=(0, MAX_DEPTH))
        check_range(self, gamma=(0, 1e6), score_weight=(0, 1e6))
        check_side(self, "size")
        channels = list(self.channels)
        if len(channels) != 5 or channels != sorted(channels) or not 1 <= channels[0] <= channels[-1] <= MAX_WIDTH:
            raise InputError(
                f"channels={','.join(map(str, channels))}: must be 5 numbers from 1 to {MAX_WIDTH} that do not decrease"
            )


def train_palms(request: TrainingRequest) -> Mapping[str, object]:
    """Train the palm detector; see `PalmSettings`.

    Args:
        request: Training request. Its data are COCO keypoint annotations; its weights are for the network of the
            settings.

    Returns:
        "weights", "images", "held_out" (number of images), "parameters", and "ap" and "ap_strict" of `palm_precision`.

    Raises:
        InputError: Settings or annotations cannot be used.
    """
    settings = settings_from(PalmSettings, request.settings)
    if request.data is None:
        raise InputError("palm requires --data, a COCO keypoints JSON file")
    training, held_out = _images(request, settings)
    anchors = palm_anchors(settings.size)
    network = palm_network(settings, anchors, request.weights).to(request.device)
    metrics = fit_palms(network, training, held_out, anchors=anchors, settings=settings, request=request)
    fold(network.eval())
    return {
        "weights": request.out / WEIGHTS,
        "images": len(training),
        "held_out": len(held_out),
        "parameters": sum(part.numel() for part in network.parameters()),
        **metrics,
    }


def palm_network(settings: PalmSettings, anchors: FloatArray, weights: str | None = None) -> PalmDetectionNetwork:
    """Return the network to train: with given weights, or random ones, batch norms and heads with a low first score."""
    options = {"depth": settings.depth, "channels": settings.channels, "decoder": settings.decoder}
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.seed)
        network = create_network("palm-full", weights, **options)
    assert isinstance(network, PalmDetectionNetwork)
    if weights is None:
        heads = (network.fine_head, network.coarse_head)
        add_batch_norms(network, without=heads)
        cells = (settings.size // 8) ** 2 * network.fine_head.scores.out_channels
        for head, part in zip(heads, (anchors[:cells], anchors[cells:]), strict=True):
            _initialise_head(head, part)
            scale_head(head, "boxes", settings.size / 16)
    return network.train().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # twice as fast


def _initialise_head(head: Head, anchors: FloatArray) -> None:
    """Initialise the boxes of a head's anchors (N, 4) with their sizes, and all keypoints with their centres."""
    assert head.scores.bias is not None
    assert head.boxes.bias is not None
    bias = torch.zeros(head.scores.out_channels, len(head.boxes.bias) // head.scores.out_channels)  # (A, 18)
    bias[:, 2:4] = torch.from_numpy(anchors[: len(bias), 2:])
    with torch.no_grad():
        head.scores.bias.fill_(-math.log((1 - _PRIOR) / _PRIOR))
        head.boxes.bias.copy_(bias.flatten())


def fit_palms(
    network: PalmDetectionNetwork,
    samples: Sequence[PalmSample],
    held_out: Sequence[PalmSample],
    *,
    anchors: FloatArray,
    settings: PalmSettings,
    request: TrainingRequest,
) -> dict[str, float]:
    """Train a network on images in the request's folder and return `palm_precision` on the held-out images."""

    def losses(network: PalmDetectionNetwork, batch: PalmTargets) -> Mapping[str, torch.Tensor]:
        parts = palm_losses(network(batch.images), batch, settings.loss, settings.gamma)
        return {**parts, "scores": settings.score_weight * parts["scores"]}

    return train(
        network, partial(draw_palms, samples=samples, anchors=anchors, settings=settings), losses, settings,
        out=request.out, inputs=request.inputs(), progress=request.progress, higher_is_better=True,
        evaluate=partial(palm_precision, samples=held_out, anchors=anchors, device=request.device),
    )  # fmt: skip


def draw_palms(
    rng: np.random.Generator, samples: Sequence[PalmSample], anchors: FloatArray, settings: PalmSettings
) -> PalmTargets:
    """Return the batch of a step, in which each image occurs once."""
    chosen = [samples[index] for index in rng.choice(len(samples), min(settings.batch, len(samples)), replace=False)]
    return palm_targets(
        anchors, [augment(sample, draw_augmentation(settings.augmentation, rng)) for sample in chosen]
    )  # fmt: skip


def _images(request: TrainingRequest, settings: PalmSettings) -> tuple[Sequence[PalmSample], Sequence[PalmSample]]:
    """Return the training images and the held-out images."""
    data = request.data
    assert data is not None
    folder = data if data.is_dir() else data.parent
    for name in (*settings.sources, *settings.test):
        if not (folder / name).exists():
            raise InputError(f"{name}: no such file or folder: {folder / name}")
    training: list[PalmSamples] = []
    held_out: list[PalmSamples] = []
    for path in [folder / name for name in settings.sources] or [data]:
        samples = open_source_samples(path, request, settings.dataset, settings.split)[: settings.limit or None]
        count = 0 if settings.test else max(len(samples) // 10, 1)
        training.append(PalmSamples(samples[: len(samples) - count], settings.size))
        held_out.append(PalmSamples(samples[len(samples) - count :], settings.size))
    for name in settings.test:
        samples = open_source_samples(folder / name, request, settings.dataset, settings.split)
        held_out.append(PalmSamples(samples, settings.size))
    if not any(part.has_palms() for part in training) or not any(part.has_palms() for part in held_out):
        raise InputError(f"{data}: no hand with a fully annotated palm to train on and to evaluate on")
    return Concat(training), Concat(held_out)


def palm_precision(
    network: PalmDetectionNetwork, samples: Sequence[PalmSample], anchors: FloatArray, device: str = "cpu"
) -> dict[str, float]:
    """Return the average precision over images.

    Args:
        network: Network in eval mode.
        samples: Images of one size.
        anchors: (N, 4) anchors of that size.
        device: Device of the network.

    Returns:
        "ap": Average precision in percent at an IoU of 0.5; "ap_strict": mean over IoU 0.5 to 0.95.
    """
    results: list[Mapping[str, object]] = []
    truths: list[PalmSample] = []
    with torch.inference_mode():
        for start in range(0, len(samples), _BATCH):
            chunk = samples[start : start + _BATCH]
            truths += [replace(sample, image=_NO_IMAGE) for sample in chunk]
            images = np.stack([sample.image for sample in chunk])  # (B, S, S, 3)
            outputs = network(torch.from_numpy(images).to(device).permute(0, 3, 1, 2) / 255)
            scores, boxes = outputs["scores"][..., 0].sigmoid().cpu().numpy(), outputs["boxes"].cpu().numpy()
            for number, (score, box) in enumerate(zip(scores, boxes, strict=True)):
                results += _detections(score, box, anchors, start + number)
    stats = coco_precision(_truth(truths, samples[0].image.shape[0]), results, "bbox").stats
    return {"ap": 100 * stats["AP50"], "ap_strict": 100 * stats["AP"]}


def _detections(
    scores: Float32Array, boxes: Float32Array, anchors: FloatArray, sample: int
) -> list[Mapping[str, object]]:
    """Return the detections of one image's scores (N,) and boxes (N, 18) in COCO's results format."""
    chosen = (scores >= _MIN_SCORE) & (boxes[:, 2:4] > 0).all(1)
    centre, half = boxes[chosen, :2] + anchors[chosen, :2], boxes[chosen, 2:4] / 2
    corners = np.concatenate([centre - half, centre + half], 1)
    points = boxes[chosen, 4:].reshape(-1, 7, 2) + anchors[chosen, None, :2]
    return [
        {"image_id": sample, "category_id": _CATEGORY, "score": palm.score, "bbox": _corner_and_size(palm.box)}
        for palm in blend_overlapping(scores[chosen].astype(np.float64), corners, points)
    ]


def _truth(samples: Sequence[PalmSample], size: int) -> dict[str, object]:
    """Return palms in COCO's format; ignored regions are crowds."""
    annotations: list[Mapping[str, object]] = []
    for number, sample in enumerate(samples):
        for crowd, boxes in ((0, corners_of(palm_squares(sample.palms))), (1, sample.ignored)):
            for box in boxes:
                x, y, width, height = _corner_and_size(box)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": _CATEGORY,
                        "iscrowd": crowd,
                        "bbox": [x, y, width, height],
                        "area": width * height,
                    }
                )
    images = [{"id": number, "width": size, "height": size} for number in range(len(samples))]
    return {"images": images, "annotations": annotations, "categories": [{"id": _CATEGORY, "name": "palm"}]}


def _corner_and_size(box: RealArray) -> list[float]:
    x_min, y_min, x_max, y_max = box.tolist()
    return [x_min, y_min, x_max - x_min, y_max - y_min]
