"""Training data and losses of the palm detector: images with palms, their augmentation, and targets of its anchors.

A palm is the square around seven keypoints: wrist, four knuckles, and the two lower joints of the thumb; so the
published detector's own boxes lie (their side is within 3 % of the longer side of the seven's bounds, on average).
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

from sonjit.arrays import BoolArray, Float32Array, FloatArray, Image
from sonjit.datasets import Dataset, Instance
from sonjit.detectors.kinds.hands import PALM_KEYPOINTS, palm_squares
from sonjit.detectors.ssd import AnchorGrid
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox, crop, letterbox, letterbox_box, points_into_crop
from sonjit.training.augment import Augmentation
from sonjit.training.losses import cross_entropy, focal
from sonjit.training.sequences import LazySequence


@dataclass(frozen=True, eq=False)
class PalmSample:
    """One image, square.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        palms: (P, 7, 2) keypoints in its pixels.
        unsure: (Q, 4) x_min, y_min, x_max, y_max of hands whose palms are not known: ignored, whether found or not.
    """

    image: Image
    palms: Float32Array
    unsure: Float32Array


class PalmSamples(LazySequence[PalmSample]):
    """Every image of a data set, those without a hand too, as input of the detector; each is read when it is asked for.

    Args:
        samples: of any data set whose hands have a palm's keypoints by MediaPipe's names.
        size: of the images that come back.

    Raises:
        InputError: no hand has a palm's keypoints.
    """

    def __init__(self, samples: Dataset, size: int) -> None:
        self.size = size
        self._samples = samples
        instances = (one for sample in samples for one in sample.instances)
        first = next(instances, None)
        if first is not None and not any(one.places_of(PALM_KEYPOINTS) for one in chain([first], instances)):
            where = samples[0].source or samples[0].dataset
            raise InputError(f"{where}: no hand with a palm's keypoints; needed are {', '.join(PALM_KEYPOINTS)}")

    def __len__(self) -> int:
        return len(self._samples)

    def item(self, index: int) -> PalmSample:
        """One image, read and letterboxed."""
        sample = self._samples[index]
        whole = letterbox_box(sample.width, sample.height, self.size, self.size)
        palms: list[FloatArray] = []
        unsure: list[FloatArray] = []
        for one in sample.instances:
            points = _palm_of(one)
            if points is not None:
                palms.append(points_into_crop(points.astype(np.float32), whole, self.size))
            elif one.kind == "hand":
                box = one.bounds() or (0, 0, sample.width, sample.height)
                unsure.append(points_into_crop(np.reshape(box, (2, 2)), whole, self.size).reshape(4))
        image = letterbox(sample.rgb(), self.size, self.size)
        return PalmSample(image, _stacked(palms, (7, 2)), _stacked(unsure, (4,)))

    def has_palms(self) -> bool:
        """Whether any image has a palm; no image is read."""
        return any(_palm_of(one) is not None for sample in self._samples for one in sample.instances)


def _palm_of(one: Instance) -> FloatArray | None:
    """The keypoints (7, 2) of a palm, in pixels, where all are known."""
    places = one.places_of(PALM_KEYPOINTS)
    if places is None or one.keypoints_px is None:
        return None
    points = one.keypoints_px[places]
    return points if np.isfinite(points).all() else None


def augmented(sample: PalmSample, change: Augmentation) -> PalmSample:
    """The image and its palms augmented; a palm that has left the image is unsure."""
    size = sample.image.shape[0]
    box = change.box(RotatedBox(size / 2, size / 2, size, size))
    image = change.image(crop(sample.image, box, size, size, border="zero"))
    corners = sample.unsure[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    palms, corners = (
        change.points(points_into_crop(points, box, size), size) for points in (sample.palms, corners)
    )  # fmt: skip
    unsure = np.concatenate([corners.min(1), corners.max(1)], 1)
    inside = ((palm_squares(palms)[:, :2] > 0) & (palm_squares(palms)[:, :2] < size)).all(1)
    cut = corners_of(palm_squares(palms[~inside]))
    return PalmSample(image, palms[inside].astype(np.float32), np.concatenate([unsure, cut]).astype(np.float32))


def _stacked(parts: Sequence[FloatArray], shape: tuple[int, ...]) -> Float32Array:
    return np.array(parts, np.float32).reshape(-1, *shape)


ScoreLoss = Literal["focal", "cross-entropy"]

_NEAR, _FAR = 0.4, 0.3
"""IoU from which an anchor is a palm's, and below which it is none's; those between are ignored."""

_PLACED = 0.2
"""IoU from which an anchor's box is trained, its own palm or not: the detector blends all that overlap."""

_BOXES, _KEYPOINTS = 4.0, 2.0
"""Weights beside the scores."""


class PalmTargets(NamedTuple):
    """The batch of a step; lengths in pixels of the images.

    Attributes:
        images: (B, 3, S, S) in 0..1.
        found: (B, N) 1 where an anchor is a palm's, 0 where it is none's, -1 where it is ignored.
        placed: (B, N) whether a palm is near enough to train the anchor's box on it.
        boxes: (B, N, 18) as the network gives them, for anchors that are placed.
        sizes: (B, N) of the palm.
    """

    images: Tensor
    found: Tensor
    placed: Tensor
    boxes: Tensor
    sizes: Tensor


def palm_anchors(size: int) -> FloatArray:
    """(N, 4) centre x, y, width, height in pixels of a square input: the published detector's, with their sizes.

    Those matter for matching alone; predictions are relative to the centres.
    """
    grid = AnchorGrid(size, (8, 16, 16, 16), min_scale=0.1484375, max_scale=0.75, fixed_size=False)
    return grid.anchors().astype(np.float64) * size


def palm_targets(anchors: FloatArray, samples: Sequence[PalmSample]) -> PalmTargets:
    """The targets of images.

    An anchor is a palm's where they overlap by `_NEAR` or more, and the palm's best one always is.
    """
    matched = [_matched(anchors, sample) for sample in samples]
    found, placed, boxes, sizes = (torch.from_numpy(np.stack(part)) for part in zip(*matched, strict=True))
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))  # (B, S, S, 3)
    return PalmTargets(images.permute(0, 3, 1, 2) / 255, found, placed, boxes, sizes)


def _matched(anchors: FloatArray, sample: PalmSample) -> tuple[Float32Array, BoolArray, Float32Array, Float32Array]:
    """One image's (N,), (N,), (N, 18) and (N,) of `PalmTargets`."""
    count = len(anchors)
    found, placed = np.zeros(count, np.float32), np.zeros(count, np.bool_)
    boxes, sizes = np.zeros((count, 18), np.float32), np.ones(count, np.float32)
    x, y = anchors[:, None, 0], anchors[:, None, 1]  # (N, 1)
    low_x, low_y, high_x, high_y = sample.unsure.T
    found[((x > low_x) & (x < high_x) & (y > low_y) & (y < high_y)).any(1)] = -1
    if not len(sample.palms):
        return found, placed, boxes, sizes
    squares = palm_squares(sample.palms)
    overlap = box_iou(torch.from_numpy(corners_of(anchors)), torch.from_numpy(corners_of(squares))).numpy()  # (N, P)
    nearest = overlap.argmax(1)
    best = overlap.max(1)
    found[(best >= _FAR) & (best < _NEAR)] = -1
    found[best >= _NEAR] = 1
    for palm, anchor in enumerate(overlap.argmax(0)):
        found[anchor], nearest[anchor] = 1, palm
    placed[:] = (best >= _PLACED) | (found > 0)
    centre = anchors[:, None, :2]
    points = np.concatenate([squares[nearest, None, :2], sample.palms[nearest]], 1) - centre  # (N, 8, 2)
    boxes[:, :2], boxes[:, 2:4], boxes[:, 4:] = points[:, 0], squares[nearest, 2:], points[:, 1:].reshape(count, 14)
    sizes[:] = squares[nearest, 2]
    return found, placed, boxes, sizes


def palm_losses(
    outputs: Mapping[str, Tensor], targets: PalmTargets, loss: ScoreLoss, gamma: float = 2.0
) -> dict[str, Tensor]:
    """Losses by name.

    Args:
        outputs: "boxes" (B, N, 18) and "scores" (B, N, 1) of the network.
        targets: the ground truth.
        loss: of the scores, summed over all anchors: focal (Lin et al. 2017, alpha 0.25), or cross entropy.
        gamma: of focal.

    Returns:
        "scores" for each anchor that is a palm's; "boxes" and "keypoints", in palm sizes, for each that is placed.
    """
    counted, is_palm = targets.found >= 0, targets.found > 0
    logits, truth = outputs["scores"][..., 0][counted].float(), is_palm[counted].float()
    count = truth.sum().clamp(min=1)
    scores = focal(logits, truth, gamma=gamma) if loss == "focal" else cross_entropy(logits, truth) * len(truth) / count
    near = targets.placed
    off = (outputs["boxes"][near].float() - targets.boxes[near]) / targets.sizes[near][:, None]  # (n, 18)
    off = F.smooth_l1_loss(off, torch.zeros_like(off), reduction="none", beta=0.1).sum(0)  # (18,)
    off = off / near.sum().clamp(min=1)
    return {"scores": scores, "boxes": _BOXES * off[:4].mean(), "keypoints": _KEYPOINTS * off[4:].mean()}


def corners_of(boxes: FloatArray) -> FloatArray:
    """(N, 4) centre and size as x_min, y_min, x_max, y_max."""
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
