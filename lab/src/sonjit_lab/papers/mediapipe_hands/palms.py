"""Train the palm detector (recipe `palm`) on images with and without hands, evaluated by COCO's average precision.

A palm is the square around seven keypoints: the wrist, four knuckles and the two lower joints of the thumb. The
published detector's boxes are the same: their side is within 3 % of the longer side of the keypoints' bounds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torchvision.ops import box_iou

from sonjit._util import BoolArray, Float32Array, FloatArray, Image, InputError
from sonjit._util.settings import Range
from sonjit.detectors.kinds.hands import PALM_KEYPOINTS, palm_squares
from sonjit.detectors.ssd import AnchorGrid, blend_overlapping
from sonjit.geometry.boxes import RotatedBox, crop, letterbox, letterbox_box, points_into_crop
from sonjit_lab.datasets import Dataset, Instance
from sonjit_lab.datasets.sample import ordered_hand
from sonjit_lab.datasets.splits import SplitReport, hold_out, identities, split_report
from sonjit_lab.metrics import coco_precision
from sonjit_lab.networks import create_network, modes
from sonjit_lab.papers.mediapipe_hands.network import PalmDetectionNetwork
from sonjit_lab.training import building_blocks, loop
from sonjit_lab.training.augment import Augmentation, draw_augmentation
from sonjit_lab.training.hands.samples import DataSettings, open_source_samples, source_path, warn_if_shared
from sonjit_lab.training.losses import cross_entropy, focal
from sonjit_lab.training.recipes import TrainingRequest, settings_from
from sonjit_lab.training.settings import MAX_WIDTH, Count, ImageBatch, Side, Weight

ScoreLoss = Literal["focal", "cross-entropy"]
_POSITIVE_IOU, _NEGATIVE_IOU = 0.4, 0.3
"""IoU from which an anchor is positive, and below which it is negative; anchors between them are ignored."""
_BOX_IOU = 0.2  # from which an anchor trains its box: the detector blends all that overlap
_BOX_WEIGHT, _KEYPOINT_WEIGHT = 4.0, 2.0  # weights of the losses of boxes and keypoints; the scores have the weight 1
_PRIOR = 0.01  # initial score of anchors, against the many negatives (Lin et al. 2017, section 4.1)
_MIN_SCORE, _BATCH = 0.02, 32
_HELD_OUT = 0.1  # share of the images to evaluate on without sources for that
_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)
_CATEGORY = 1


@dataclass(frozen=True, eq=False)
class PalmSample:
    """One square image."""

    image: Image  # (S, S, 3) uint8 RGB
    palms: Float32Array  # (P, 7, 2) keypoints in pixels of the image
    # (Q, 4) x_min, y_min, x_max, y_max of hands whose palms are unknown; anchors in them are ignored
    ignored: Float32Array


class PalmSamples(building_blocks.LazySequence[PalmSample]):
    """Images with their palms."""

    def __init__(self, samples: Dataset, size: int) -> None:
        self.size = size
        self._samples = samples
        instances = (instance for sample in samples for instance in sample.instances)
        first = next(instances, None)
        if first is not None and not any(item.keypoint_indices(PALM_KEYPOINTS) for item in chain([first], instances)):
            source = samples[0].source or samples[0].dataset
            raise InputError(f"{source}: no hand has a palm's keypoints; required are {', '.join(PALM_KEYPOINTS)}")

    def __len__(self) -> int:
        return len(self._samples)

    def item(self, index: int) -> PalmSample:
        """Read and letterbox one image."""
        sample = self._samples[index]
        frame = letterbox_box(sample.width, sample.height, self.size, self.size)
        palms: list[FloatArray] = []
        ignored: list[FloatArray] = []
        for instance in sample.instances:
            points = _palm_of(instance)
            if points is not None:
                palms.append(points_into_crop(points.astype(np.float32), frame, self.size))
            elif instance.kind == "hand":
                box = instance.bounds() or (0, 0, sample.width, sample.height)
                ignored.append(points_into_crop(np.reshape(box, (2, 2)), frame, self.size).reshape(4))
        image = letterbox(sample.rgb(), self.size, self.size)
        return PalmSample(
            image, np.array(palms, np.float32).reshape(-1, 7, 2), np.array(ignored, np.float32).reshape(-1, 4)
        )

    def has_palms(self) -> bool:
        """Check whether any image has a palm, without reading images."""
        return any(_palm_of(instance) is not None for sample in self._samples for instance in sample.instances)


def _palm_of(hand: Instance) -> FloatArray | None:
    """Return the keypoints (7, 2) of a palm in pixels, or None if any is unknown."""
    ordered_hand(hand)  # refuses keypoints of an unknown order
    places = hand.keypoint_indices(PALM_KEYPOINTS)
    if places is None or hand.keypoints_px is None:
        return None
    points = hand.keypoints_px[places]
    return points if np.isfinite(points).all() else None


def augment(sample: PalmSample, change: Augmentation) -> PalmSample:
    """Augment an image and its palms; a palm outside the image becomes unsure."""
    size = sample.image.shape[0]
    box = change.box(RotatedBox(size / 2, size / 2, size, size))
    image = change.image(crop(sample.image, box, size, size, border="zero"))
    corners = sample.ignored[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    palms, corners = (change.points(points_into_crop(points, box, size), size) for points in (sample.palms, corners))
    ignored = np.concatenate([corners.min(1), corners.max(1)], 1)
    inside = ((palm_squares(palms)[:, :2] > 0) & (palm_squares(palms)[:, :2] < size)).all(1)
    cut = corners_of(palm_squares(palms[~inside]))
    return PalmSample(image, palms[inside].astype(np.float32), np.concatenate([ignored, cut]).astype(np.float32))


class PalmTargets(NamedTuple):
    """The batch of a step; lengths in pixels of the images."""

    images: Tensor  # (B, 3, S, S) in 0..1
    anchor_labels: Tensor  # (B, N) 1 for positive anchors, 0 for negative ones, -1 for ignored ones
    placed: Tensor  # (B, N) True if a palm is near enough to train the anchor's box on it
    boxes: Tensor  # (B, N, 18) as the network returns them, for anchors in `placed`
    sizes: Tensor  # (B, N) size of the palm


def palm_anchors(size: int) -> FloatArray:
    """Return the published anchors (N, 4): centre x, y in pixels, width and height, which serve to match."""
    grid = AnchorGrid(size, (8, 16, 16, 16), min_scale=0.1484375, max_scale=0.75, fixed_size=False)
    return grid.anchors().astype(np.float64) * size


def palm_targets(anchors: FloatArray, samples: Sequence[PalmSample]) -> PalmTargets:
    """Return the targets of images with anchors (N, 4), see `palm_anchors`.

    An anchor is positive if its IoU with a palm is at least `_POSITIVE_IOU`, or if it is the palm's best one.
    """
    matched = [_match_anchors(anchors, sample) for sample in samples]
    anchor_labels, placed, boxes, sizes = (torch.from_numpy(np.stack(part)) for part in zip(*matched, strict=True))
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))  # (B, S, S, 3)
    return PalmTargets(images.permute(0, 3, 1, 2) / 255, anchor_labels, placed, boxes, sizes)


def _match_anchors(
    anchors: FloatArray, sample: PalmSample
) -> tuple[Float32Array, BoolArray, Float32Array, Float32Array]:
    """Return the (N,), (N,), (N, 18) and (N,) of `PalmTargets` for one image."""
    count = len(anchors)
    anchor_labels, placed = np.zeros(count, np.float32), np.zeros(count, np.bool_)
    boxes, sizes = np.zeros((count, 18), np.float32), np.ones(count, np.float32)
    x, y = anchors[:, None, 0], anchors[:, None, 1]  # (N, 1)
    low_x, low_y, high_x, high_y = sample.ignored.T
    anchor_labels[((x > low_x) & (x < high_x) & (y > low_y) & (y < high_y)).any(1)] = -1
    if not len(sample.palms):
        return anchor_labels, placed, boxes, sizes
    squares = palm_squares(sample.palms)
    overlap = box_iou(torch.from_numpy(corners_of(anchors)), torch.from_numpy(corners_of(squares))).numpy()  # (N, P)
    nearest = overlap.argmax(1)
    best = overlap.max(1)
    anchor_labels[(best >= _NEGATIVE_IOU) & (best < _POSITIVE_IOU)] = -1
    anchor_labels[best >= _POSITIVE_IOU] = 1
    for palm, anchor in enumerate(overlap.argmax(0)):
        anchor_labels[anchor], nearest[anchor] = 1, palm
    placed[:] = (best >= _BOX_IOU) | (anchor_labels > 0)
    centre = anchors[:, None, :2]
    points = np.concatenate([squares[nearest, None, :2], sample.palms[nearest]], 1) - centre  # (N, 8, 2)
    boxes[:, :2] = points[:, 0]
    boxes[:, 2:4] = squares[nearest, 2:]
    boxes[:, 4:] = points[:, 1:].reshape(count, 14)
    sizes[:] = squares[nearest, 2]
    return anchor_labels, placed, boxes, sizes


def palm_losses(
    outputs: Mapping[str, Tensor], targets: PalmTargets, loss: ScoreLoss, gamma: float = 2.0
) -> dict[str, Tensor]:
    """Return the losses of boxes (B, N, 18) and scores (B, N, 1) by name.

    "scores", by focal loss (Lin et al. 2017, alpha 0.25) or cross-entropy, is summed over all anchors and divided by
    the number of positive ones; "boxes" and "keypoints" are in palm sizes, means over the anchors in `placed`.
    """
    counted, is_palm = targets.anchor_labels >= 0, targets.anchor_labels > 0
    logits, truth = outputs["scores"][..., 0][counted].float(), is_palm[counted].float()
    count = truth.sum().clamp(min=1)
    scores = focal(logits, truth, gamma=gamma) if loss == "focal" else cross_entropy(logits, truth) * len(truth) / count
    near = targets.placed
    errors = (outputs["boxes"][near].float() - targets.boxes[near]) / targets.sizes[near][:, None]  # (n, 18)
    errors = F.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none", beta=0.1).sum(0)  # (18,)
    errors = errors / near.sum().clamp(min=1)
    return {
        "scores": scores,
        "boxes": _BOX_WEIGHT * errors[:4].mean(),
        "keypoints": _KEYPOINT_WEIGHT * errors[4:].mean(),
    }


def corners_of(boxes: FloatArray) -> FloatArray:
    """Convert boxes (N, 4) of centre and size to x_min, y_min, x_max, y_max, in the same unit."""
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)


@dataclass(frozen=True)
class PalmSettings(DataSettings):
    """Settings of the recipe."""

    batch: ImageBatch = 32  # number of images in a step
    size: Side = 192  # side of the network's square input in pixels; the published network has 192
    depth: Annotated[int, Range(0, 1000)] = 4  # number of blocks after each halving
    channels: tuple[int, ...] = (32, 64, 128, 256, 256)  # channels of the stem and after each further halving
    decoder: bool = True  # True for a network with the upward path of a feature pyramid
    loss: ScoreLoss = "focal"  # loss of the scores
    gamma: Weight = 2.0  # exponent of the focal loss
    score_weight: Weight = 1.0  # weight of the loss of the scores, relative to those of boxes and keypoints
    # Annotations or their folders, relative to `--data`, such as `hands,without_hands`. A folder with the name of a
    # data set is that data set, any other is of `dataset`. Empty: `--data` itself
    sources: tuple[str, ...] = ()
    # sources of images to evaluate on, as in `sources`; empty holds out a tenth of the images: those of some subjects,
    # else of some recordings, else the last ones of each source
    test: tuple[str, ...] = ()
    limit: Count = 0  # maximum number of images of each source, the first ones; 0 for all

    def __post_init__(self) -> None:
        super().__post_init__()
        channels = list(self.channels)
        if len(channels) != 5 or channels != sorted(channels) or not 1 <= channels[0] <= channels[-1] <= MAX_WIDTH:
            raise InputError(
                f"channels={','.join(map(str, channels))}: must be 5 numbers from 1 to {MAX_WIDTH} that do not decrease"
            )


def train_palms(request: TrainingRequest) -> Mapping[str, object]:
    """Train the palm detector; see `PalmSettings`.

    The results are "weights", "images", "held_out", "parameters", "ap" and "ap_strict" of `palm_precision`, and
    "export".
    """
    settings = settings_from(PalmSettings, request.settings)
    training, held_out, split = _images(request, settings)
    anchors = palm_anchors(settings.size)
    network = palm_network(settings, anchors, request.weights).to(request.device)
    metrics = fit_palms(network, training, held_out, anchors=anchors, settings=settings, request=request, split=split)
    loop.fold(network.eval())
    return {
        "weights": request.out / loop.WEIGHTS,
        "images": len(training),
        "held_out": len(held_out),
        "split": split.text,
        "parameters": sum(part.numel() for part in network.parameters()),
        **metrics,
        **building_blocks.export_trained(network, request),
    }


def palm_network(settings: PalmSettings, anchors: FloatArray, weights: str | None = None) -> PalmDetectionNetwork:
    """Return the network to train: with given weights, or random ones, batch norms and heads with a low first score.

    With random weights, the first boxes have the sizes of the anchors (N, 4) in pixels, see `palm_anchors`.
    """
    options = {"depth": settings.depth, "channels": settings.channels, "decoder": settings.decoder}
    with torch.random.fork_rng([]):
        torch.manual_seed(settings.seed)
        network = create_network("palm-full", weights, **options)
    assert isinstance(network, PalmDetectionNetwork)
    network.side = settings.size
    if weights is None:
        heads = (network.fine_head, network.coarse_head)
        loop.add_batch_norms(network, without=heads)
        cells = (settings.size // 8) ** 2 * network.fine_head.scores.out_channels
        for head, part in zip(heads, (anchors[:cells], anchors[cells:]), strict=True):
            assert head.scores.bias is not None
            assert head.boxes.bias is not None
            count = head.scores.out_channels
            bias = torch.zeros(count, len(head.boxes.bias) // count)  # (A, 18): anchors' sizes, keypoints in the centre
            bias[:, 2:4] = torch.from_numpy(part[:count, 2:])
            with torch.no_grad():
                head.scores.bias.fill_(-math.log((1 - _PRIOR) / _PRIOR))
                head.boxes.bias.copy_(bias.flatten())
            loop.scale_head(head, "boxes", settings.size / 16)
    return network.train().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # twice as fast


def fit_palms(
    network: PalmDetectionNetwork,
    samples: Sequence[PalmSample],
    held_out: Sequence[PalmSample],
    *,
    anchors: FloatArray,
    settings: PalmSettings,
    request: TrainingRequest,
    split: SplitReport,
) -> dict[str, float]:
    """Train a network on images in the request's folder and return `palm_precision` on the held-out images.

    The anchors (N, 4) are those of `palm_anchors`, in pixels.
    """

    def losses(network: PalmDetectionNetwork, batch: PalmTargets) -> Mapping[str, torch.Tensor]:
        terms = palm_losses(network(batch.images), batch, settings.loss, settings.gamma)
        return {**terms, "scores": settings.score_weight * terms["scores"]}

    draw = partial(draw_palms, samples=samples, anchors=anchors, settings=settings)
    return loop.fit(
        request,
        network,
        draw,
        losses,
        settings,
        inputs=request.inputs() | split.inputs(),
        higher_is_better=True,
        evaluate=partial(palm_precision, samples=held_out, anchors=anchors),
    )


def draw_palms(
    rng: np.random.Generator, samples: Sequence[PalmSample], anchors: FloatArray, settings: PalmSettings
) -> PalmTargets:
    """Return the batch of a step, in which each image occurs once, for anchors (N, 4) in pixels."""
    chosen = [samples[index] for index in rng.choice(len(samples), min(settings.batch, len(samples)), replace=False)]
    changes = (draw_augmentation(settings.augmentation, rng) for _ in chosen)
    return palm_targets(anchors, [*map(augment, chosen, changes)])


def _images(
    request: TrainingRequest, settings: PalmSettings
) -> tuple[Sequence[PalmSample], Sequence[PalmSample], SplitReport]:
    """Return the training images, the held-out images, and what separates them."""
    assert request.data is not None
    paths, test = ([source_path(request, name) for name in names] for names in (settings.sources, settings.test))
    sources = [
        open_source_samples(path, request, settings)[: settings.limit or None] for path in paths or [request.data]
    ]
    if test:
        sides = [sources, [open_source_samples(path, request, settings) for path in test]]
    else:
        chosen = hold_out([identities(samples) for samples in sources], _HELD_OUT)
        rest = [
            np.setdiff1d(np.arange(len(part)), held_out_indices)
            for part, held_out_indices in zip(sources, chosen, strict=True)
        ]
        sides = [
            [part.subset(indices.tolist()) for part, indices in zip(sources, side, strict=True)]
            for side in (rest, chosen)
        ]
    split = warn_if_shared(split_report(*([item for part in side for item in identities(part)] for side in sides)))
    training, held_out = ([PalmSamples(part, settings.size) for part in side] for side in sides)
    if not any(part.has_palms() for part in training) or not any(part.has_palms() for part in held_out):
        raise InputError(f"{request.data}: no hand with a fully annotated palm to train on and to evaluate on")
    return building_blocks.Concat(training), building_blocks.Concat(held_out), split


@modes.evaluates
def palm_precision(
    network: PalmDetectionNetwork, samples: Sequence[PalmSample], anchors: FloatArray
) -> dict[str, float]:
    """Return "ap", average precision in per cent at an IoU of 0.5, and "ap_strict", its mean over IoU 0.5 to 0.95.

    The anchors (N, 4) are those of `palm_anchors`, in pixels.
    """
    results: list[Mapping[str, object]] = []
    truths: list[PalmSample] = []
    for start in range(0, len(samples), _BATCH):
        chunk = samples[start : start + _BATCH]
        truths += [replace(sample, image=_NO_IMAGE) for sample in chunk]
        images = np.stack([sample.image for sample in chunk])  # (B, S, S, 3)
        outputs = network(torch.from_numpy(images).to(network.device).permute(0, 3, 1, 2) / 255)
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
    palms = blend_overlapping(scores[chosen].astype(np.float64), corners, points)
    common = {"image_id": sample, "category_id": _CATEGORY}
    return [{**common, "score": palm.score, "bbox": [*palm.box[:2], *(palm.box[2:] - palm.box[:2])]} for palm in palms]


def _truth(samples: Sequence[PalmSample], size: int) -> dict[str, object]:
    """Return palms in COCO's format; ignored regions are crowds."""
    annotations: list[Mapping[str, object]] = []
    for number, sample in enumerate(samples):
        for crowd, boxes in ((0, corners_of(palm_squares(sample.palms))), (1, sample.ignored)):
            for x_min, y_min, x_max, y_max in boxes.tolist():
                place = {"id": len(annotations) + 1, "image_id": number, "category_id": _CATEGORY, "iscrowd": crowd}
                wide, high = x_max - x_min, y_max - y_min
                annotations.append({**place, "bbox": [x_min, y_min, wide, high], "area": wide * high})
    images = [{"id": number, "width": size, "height": size} for number in range(len(samples))]
    return {"images": images, "annotations": annotations, "categories": [{"id": _CATEGORY, "name": "palm"}]}
