"""Prepare training data of the palm detector and compute its losses: images with palms, augmentation and targets.

A palm is the square around seven keypoints: the wrist, four knuckles and the two lower joints of the thumb. The
published detector's boxes are the same: their side is within 3 % of the longer side of the keypoints' bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torchvision.ops import box_iou

from sonjit._util.arrays import BoolArray, Float32Array, FloatArray, Image
from sonjit._util.errors import InputError
from sonjit.detectors.kinds.hands import PALM_KEYPOINTS, palm_squares
from sonjit.detectors.ssd import AnchorGrid
from sonjit.geometry.boxes import RotatedBox, crop, letterbox, letterbox_box, points_into_crop
from sonjit.lab.datasets import Dataset, Instance
from sonjit.lab.training.augment import Augmentation
from sonjit.lab.training.losses import cross_entropy, focal
from sonjit.lab.training.sequences import LazySequence

ScoreLoss = Literal["focal", "cross-entropy"]
_POSITIVE_IOU, _NEGATIVE_IOU = 0.4, 0.3
"""IoU from which an anchor is positive, and below which it is negative; anchors between them are ignored."""
_BOX_IOU = 0.2
"""IoU from which an anchor's box is trained, also for another anchor's palm: the detector blends all that overlap."""
_BOX_WEIGHT, _KEYPOINT_WEIGHT = 4.0, 2.0
"""Weights of the losses of boxes and keypoints; the scores have the weight 1."""


@dataclass(frozen=True, eq=False)
class PalmSample:
    """One square image.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        palms: (P, 7, 2) keypoints in pixels of the image.
        ignored: (Q, 4) x_min, y_min, x_max, y_max of hands whose palms are unknown; anchors in them are ignored.
    """

    image: Image
    palms: Float32Array
    ignored: Float32Array


class PalmSamples(LazySequence[PalmSample]):
    """All images of a data set as input of the detector, also those without a hand; each is read on access.

    Args:
        samples: Data set whose hands have a palm's keypoints by MediaPipe's names.
        size: Side of the square images in pixels.

    Raises:
        InputError: No hand has a palm's keypoints.
    """

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
        return PalmSample(image, _stack(palms, (7, 2)), _stack(ignored, (4,)))

    def has_palms(self) -> bool:
        """Check whether any image has a palm, without reading images."""
        return any(_palm_of(instance) is not None for sample in self._samples for instance in sample.instances)


def _palm_of(hand: Instance) -> FloatArray | None:
    """Return the keypoints (7, 2) of a palm in pixels, or None if any is unknown."""
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
    palms, corners = (
        change.points(points_into_crop(points, box, size), size) for points in (sample.palms, corners)
    )  # fmt: skip
    ignored = np.concatenate([corners.min(1), corners.max(1)], 1)
    inside = ((palm_squares(palms)[:, :2] > 0) & (palm_squares(palms)[:, :2] < size)).all(1)
    cut = corners_of(palm_squares(palms[~inside]))
    return PalmSample(image, palms[inside].astype(np.float32), np.concatenate([ignored, cut]).astype(np.float32))


def _stack(parts: Sequence[FloatArray], shape: tuple[int, ...]) -> Float32Array:
    return np.array(parts, np.float32).reshape(-1, *shape)


class PalmTargets(NamedTuple):
    """The batch of a step; lengths in pixels of the images.

    Attributes:
        images: (B, 3, S, S) in 0..1.
        found: (B, N) 1 for positive anchors, 0 for negative ones, -1 for ignored ones.
        placed: (B, N) True if a palm is near enough to train the anchor's box on it.
        boxes: (B, N, 18) as the network returns them, for anchors in `placed`.
        sizes: (B, N) size of the palm.
    """

    images: Tensor
    found: Tensor
    placed: Tensor
    boxes: Tensor
    sizes: Tensor


def palm_anchors(size: int) -> FloatArray:
    """Return the anchors of the published detector as (N, 4) centre x, y, width, height in pixels of a square input.

    Their sizes matter only for matching; predictions are relative to the centres.
    """
    grid = AnchorGrid(size, (8, 16, 16, 16), min_scale=0.1484375, max_scale=0.75, fixed_size=False)
    return grid.anchors().astype(np.float64) * size


def palm_targets(anchors: FloatArray, samples: Sequence[PalmSample]) -> PalmTargets:
    """Return the targets of images.

    An anchor is positive if its IoU with a palm is at least `_POSITIVE_IOU`, or if it is the palm's best one.
    """
    matched = [_match_anchors(anchors, sample) for sample in samples]
    found, placed, boxes, sizes = (torch.from_numpy(np.stack(part)) for part in zip(*matched, strict=True))
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))  # (B, S, S, 3)
    return PalmTargets(images.permute(0, 3, 1, 2) / 255, found, placed, boxes, sizes)


def _match_anchors(
    anchors: FloatArray, sample: PalmSample
) -> tuple[Float32Array, BoolArray, Float32Array, Float32Array]:
    """Return the (N,), (N,), (N, 18) and (N,) of `PalmTargets` for one image."""
    count = len(anchors)
    found, placed = np.zeros(count, np.float32), np.zeros(count, np.bool_)
    boxes, sizes = np.zeros((count, 18), np.float32), np.ones(count, np.float32)
    x, y = anchors[:, None, 0], anchors[:, None, 1]  # (N, 1)
    low_x, low_y, high_x, high_y = sample.ignored.T
    found[((x > low_x) & (x < high_x) & (y > low_y) & (y < high_y)).any(1)] = -1
    if not len(sample.palms):
        return found, placed, boxes, sizes
    squares = palm_squares(sample.palms)
    overlap = box_iou(torch.from_numpy(corners_of(anchors)), torch.from_numpy(corners_of(squares))).numpy()  # (N, P)
    nearest = overlap.argmax(1)
    best = overlap.max(1)
    found[(best >= _NEGATIVE_IOU) & (best < _POSITIVE_IOU)] = -1
    found[best >= _POSITIVE_IOU] = 1
    for palm, anchor in enumerate(overlap.argmax(0)):
        found[anchor], nearest[anchor] = 1, palm
    placed[:] = (best >= _BOX_IOU) | (found > 0)
    centre = anchors[:, None, :2]
    points = np.concatenate([squares[nearest, None, :2], sample.palms[nearest]], 1) - centre  # (N, 8, 2)
    boxes[:, :2], boxes[:, 2:4], boxes[:, 4:] = points[:, 0], squares[nearest, 2:], points[:, 1:].reshape(count, 14)
    sizes[:] = squares[nearest, 2]
    return found, placed, boxes, sizes


def palm_losses(
    outputs: Mapping[str, Tensor], targets: PalmTargets, loss: ScoreLoss, gamma: float = 2.0
) -> dict[str, Tensor]:
    """Return the losses by name.

    Args:
        outputs: Outputs of the network: "boxes" (B, N, 18) and "scores" (B, N, 1).
        targets: Ground truth.
        loss: Loss of the scores, summed over all anchors: focal (Lin et al. 2017, alpha 0.25) or cross-entropy.
        gamma: Exponent of the focal loss.

    Returns:
        "scores" divided by the number of positive anchors; "boxes" and "keypoints" in palm sizes, divided by the number
        of anchors in `placed`.
    """
    counted, is_palm = targets.found >= 0, targets.found > 0
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
    """Convert (N, 4) centre and size to x_min, y_min, x_max, y_max."""
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
