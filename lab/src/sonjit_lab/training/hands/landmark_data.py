"""Cut hands out of annotated images as the detector does, and compute the losses and metrics of landmark networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit._util import BoolArray, Float32Array, Image, InputError, IntArray, RealArray
from sonjit.detectors.kinds.hands import BOX_KEYPOINTS, box_around_hand
from sonjit.geometry.boxes import RotatedBox, crop, crop_on_grid, points_into_crop
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets.dataset import Dataset, Identity, identity_of
from sonjit_lab.datasets.sample import Instance, Sample, Side, name_of, ordered_hand
from sonjit_lab.metrics import mnae
from sonjit_lab.networks.modes import evaluates
from sonjit_lab.networks.registry import Network
from sonjit_lab.training.augment import OTHER_SIDE, Augmentation
from sonjit_lab.training.losses import PointLoss, point_loss

PALM_M = 0.09  # length from the wrist to the middle finger's knuckle, as a unit of errors in metres
_Z_SCALE = 0.4  # ratio of the network's depth to a length in the crop

PUBLISHED_SIZE = 224
_PUBLISHED_KEYPOINTS = 21  # which come before extra ones
_MARGIN = 0.25  # around a crop, as a share of its side, so that it contains the detector's crop

_MAX_REACH = 0.9  # of a changed crop from its centre, as a share of its side

_SKIN_MARGIN = 0.15  # around an annotated box, which may be that of keypoints, as a share of the side

_NO_HAND = -1  # instance index of a crop without a hand
_MAX_TRIES = 10  # maximum number of boxes that are tried for a crop without a hand

_WRIST, _MIDDLE_MCP = 0, 9
_MIN_PROBABILITY = 1e-6  # minimum distance of a probability from 0 and 1 before its logarithm is taken
LandmarkLosses: TypeAlias = "Callable[[Network, Batch], Mapping[str, Tensor]]"
_BATCH = 32


@dataclass(frozen=True, eq=False)
class LandmarkCrop:
    """A crop with one hand or none."""

    wide: NDArray[np.uint8]  # (1.5 S, 1.5 S, 3) uint8 RGB, the crop of side S with a margin of a quarter of S
    keypoints: Float32Array  # (K, 2) in pixels of the crop; undefined without a hand
    known: BoolArray  # (K,) True for annotated keypoints
    metres: Float32Array  # (K, 3) in the crop's axes, with any origin; NaN where unknown
    side: Side | None = None  # the person's own hand; None if it is unknown or there is no hand
    present: bool | None = None  # true with a hand, False without one, None if presence is not trained on the crop

    @property
    def size(self) -> int:
        """Side S of the crop in pixels."""
        return 2 * self.wide.shape[0] // 3

    def image(self) -> Image:
        """Return the crop itself (S, S, 3)."""
        margin = (self.wide.shape[0] - self.size) // 2
        return self.wide[margin:-margin, margin:-margin]


class LandmarkCrops(Sequence[LandmarkCrop]):
    """All hands of a data set whose palm and first joints are annotated; images are read on access.

    Args:
        samples: Samples of any data set whose hands have keypoints of MediaPipe's names, in any order.
        extra_keypoints: Names of keypoints after the 21.
        size: Side of the crops in pixels, a multiple of 4.
        limit: Maximum number of hands, the first ones; 0 for all.
        without_hands: True to add, after all hands, a crop without an annotated hand of each image that has room for
            one, so that presence can be trained.

    Raises:
        InputError: No hand has these keypoints, or none is annotated well enough.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        extra_keypoints: Sequence[str] = (),
        *,
        size: int = PUBLISHED_SIZE,
        limit: int = 0,
        without_hands: bool = False,
    ) -> None:
        self._samples, self._size = samples, size
        self._names = (*load_skeleton("hand_mediapipe21").keypoints, *extra_keypoints)
        self._has_presence, self._trains_scores = without_hands, True
        hands: list[tuple[int, int]] = []
        empty: list[tuple[int, int]] = []
        has_names = False
        for index, sample in enumerate(samples):
            named = [
                number
                for number, instance in enumerate(sample.instances)
                if ordered_hand(instance, name_of(sample)) and instance.keypoint_indices(self._names)
            ]
            has_names = has_names or bool(named)
            hands += [(index, number) for number in named if self._labels(sample.instances[number])]
            if without_hands and _empty_box(sample, index):
                empty.append((index, _NO_HAND))
            if limit and len(hands) >= limit:
                break
        if not has_names:
            raise InputError(f"{_source_name(samples)}: no hand with the keypoints {', '.join(self._names)}")
        if not hands:
            raise InputError(f"{_source_name(samples)}: no hand with wrist, palm and first joints annotated")
        self._indices = np.array(hands[: limit or None] + empty, np.int32).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> LandmarkCrop: ...
    @overload
    def __getitem__(self, index: slice) -> LandmarkCrops: ...
    def __getitem__(self, index: int | slice) -> LandmarkCrop | LandmarkCrops:
        """Return one crop, or the crops of a slice."""
        if isinstance(index, slice):
            return self.subset(self._indices[index])
        return self._crop(*self._indices[index].tolist())

    @property
    def hands(self) -> LandmarkCrops:
        """The crops with a hand."""
        return self.subset(self._indices[self._indices[:, 1] != _NO_HAND])

    @property
    def empty(self) -> LandmarkCrops:
        """The crops without a hand."""
        return self.subset(self._indices[self._indices[:, 1] == _NO_HAND])

    @property
    def states_sides(self) -> bool:
        """Whether a hand states its side."""
        return self._trains_scores and any(
            number != _NO_HAND and self._samples[index].instances[number].side is not None
            for index, number in self._indices.tolist()
        )

    def subset(self, indices: NDArray[np.int32]) -> LandmarkCrops:
        """Return some of the crops by (N, 2) indices of images and of the instances in them."""
        crops = copy(self)
        crops._indices = indices
        return crops

    def identities(self) -> list[Identity]:
        """Return the identity of each image with a crop, see `parted`."""
        images = np.unique(self._indices[:, 0]).tolist()
        if isinstance(self._samples, Dataset):
            return [self._samples.identity(index) for index in images]
        return [identity_of(self._samples[index]) for index in images]

    def parted(self, held_out: IntArray) -> tuple[LandmarkCrops, LandmarkCrops]:
        """Return the crops of the other images and those of held-out ones, which are indices into `identities`."""
        chosen = np.isin(self._indices[:, 0], np.unique(self._indices[:, 0])[held_out])
        return self.subset(self._indices[~chosen]), self.subset(self._indices[chosen])

    def without_scores(self) -> LandmarkCrops:
        """Return only the hands, for keypoints: neither handedness nor presence is trained on them."""
        crops = self.hands
        crops._has_presence = crops._trains_scores = False
        return crops

    def _labels(self, hand: Instance) -> tuple[RotatedBox, Float32Array, BoolArray] | None:
        """Return a hand's box, keypoints (K, 2) in pixels of the image and which are known; None if too few are."""
        indices = hand.keypoint_indices(self._names)
        assert indices is not None
        assert hand.keypoints_px is not None
        points = hand.keypoints_px[indices].astype(np.float32)
        labelled = np.asarray(np.isfinite(points).all(1), np.bool_)
        if hand.valid_px is not None:
            labelled &= hand.valid_px[indices]
        if not labelled[BOX_KEYPOINTS].all():
            return None
        points[~labelled] = 0
        box = box_around_hand(points)
        return (box, points, labelled) if box.width >= 1 else None

    def _crop(self, index: int, number: int) -> LandmarkCrop:
        sample, count = self._samples[index], len(self._names)
        if number == _NO_HAND:
            box = _empty_box(sample, index)
            assert box is not None
            nothing, unknown = np.full((count, 3), np.nan, np.float32), np.zeros(count, np.bool_)
            wide = cut_wide(sample.rgb(), box, self._size)
            return LandmarkCrop(wide, np.zeros((count, 2), np.float32), unknown, nothing, None, present=False)
        hand = sample.instances[number]
        labels = self._labels(hand)
        assert labels is not None
        box, points, labelled = labels
        metres = np.full((count, 3), np.nan)
        if hand.keypoints_m is not None:
            metres = hand.keypoints_m[hand.keypoint_indices(self._names)]
        return LandmarkCrop(
            cut_wide(sample.rgb(), box, self._size),
            points_into_crop(points, box, self._size).astype(np.float32),
            labelled,
            _rotate_points(metres, box),
            hand.side if self._trains_scores else None,
            present=True if self._has_presence else None,
        )


def augment(hand: LandmarkCrop, change: Augmentation) -> LandmarkCrop:
    """Return the same hand augmented; its mirror image shows a hand of the other side."""
    size, wide_size = hand.size, hand.wide.shape[0]
    box = change.box(RotatedBox(wide_size / 2, wide_size / 2, size, size))
    points = points_into_crop(hand.keypoints + (wide_size - size) // 2, box, size)
    metres, side = _rotate_points(hand.metres, box), hand.side
    if change.mirror:
        metres, side = metres * np.array([-1, 1, 1], np.float32), OTHER_SIDE.get(side)
    return replace(
        hand,
        wide=change.image(crop(hand.wide, _add_margin(box), wide_size, wide_size)),
        keypoints=change.points(points, size).astype(np.float32),
        metres=metres,
        side=side,
    )


def _source_name(samples: Sequence[Sample]) -> str:
    return samples[0].source or samples[0].dataset


def _empty_box(sample: Sample, seed: int) -> RotatedBox | None:
    """Return a random box that no hand's box reaches into, or None if there is no room."""
    rng = np.random.default_rng(seed)
    height = sample.height
    width = sample.width
    boxes = np.array([box for instance in sample.instances if (box := instance.bounds())]).reshape(-1, 4)
    margin = _SKIN_MARGIN * np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])[:, None]
    boxes = boxes + margin * np.array([-1, -1, 1, 1])
    for _ in range(_MAX_TRIES):
        side = min(height, width) * rng.uniform(0.15, 0.6)
        cx = rng.uniform(0, width)
        cy = rng.uniform(0, height)
        reach = side * _MAX_REACH
        is_free = (boxes[:, 0] > cx + reach) | (boxes[:, 2] < cx - reach)
        is_free |= (boxes[:, 1] > cy + reach) | (boxes[:, 3] < cy - reach)
        if is_free.all():
            return RotatedBox(cx, cy, side, side, rng.uniform(-np.pi, np.pi))
    return None


def cut_wide(rgb: Image, box: RotatedBox, size: int) -> Image:
    """Return the crop of a box of an image (H, W, 3) at `size` pixels with a margin of a quarter.

    See `LandmarkCrop.wide`.
    """
    wide_size = size + 2 * round(_MARGIN * size)
    wide = np.empty((wide_size, wide_size, 3), np.uint8)
    crop_on_grid(rgb, _add_margin(box), wide)
    return wide


def _add_margin(box: RotatedBox) -> RotatedBox:
    scale = 1 + 2 * _MARGIN
    return box._replace(width=box.width * scale, height=box.height * scale)


def _rotate_points(metres: RealArray, box: RotatedBox) -> Float32Array:
    """Rotate points (K, 3) from an image's axes into those of a box."""
    cos, sin = np.cos(box.rotation), np.sin(box.rotation)
    return (metres @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])).astype(np.float32)


class Batch(NamedTuple):
    """The batch of a step; lengths in pixels of the crops, NaN and 0 in `known` where nothing is annotated."""

    images: Tensor  # (B, 3, S, S) in 0..1
    keypoints: Tensor  # (B, K, 2)
    known: Tensor  # (B, K) 1 or 0
    palm: Tensor  # (B,) length from the wrist to the middle finger's knuckle
    depth: Tensor  # (B, 21) depth relative to the wrist, in the network's scale
    metres: Tensor  # (B, 21, 3) in the crop's axes, relative to the middle finger's knuckle, the published origin
    present: Tensor  # (B,) 1 with a hand, 0 without, NaN if presence is not trained
    left: Tensor  # (B,) 1 for a left hand in a selfie view, which is a right hand in the image, 0 for the other


def to_batch(crops: Sequence[LandmarkCrop]) -> Batch:
    """Convert crops to tensors."""
    images = torch.from_numpy(np.stack([crop.image() for crop in crops]))  # (B, S, S, 3)
    keypoints = torch.from_numpy(np.stack([crop.keypoints for crop in crops]))  # (B, K, 2)
    labelled = torch.from_numpy(np.stack([crop.known for crop in crops])).float()
    metres = torch.from_numpy(np.stack([crop.metres for crop in crops]))[:, :_PUBLISHED_KEYPOINTS]
    # If a palm is edge-on, its length measures its size better than its width.
    lengths = (keypoints[:, _WRIST] - keypoints[:, _MIDDLE_MCP]).norm(dim=1)
    scores = _true_scores(crops)
    return Batch(
        images=images.permute(0, 3, 1, 2) / 255,
        keypoints=keypoints,
        known=labelled,
        palm=lengths.clamp(min=images.shape[1] / 16),
        depth=_depth(keypoints[:, :_PUBLISHED_KEYPOINTS], metres),
        metres=metres - metres[:, _MIDDLE_MCP, None],
        present=torch.tensor(scores["presence"]),
        left=torch.tensor(scores["handedness"]),
    )


def _true_scores(crops: Sequence[LandmarkCrop]) -> dict[str, list[float]]:
    """Return the true handedness and presence of each crop, NaN where unknown."""
    sides = {"Left": 0.0, "Right": 1.0, None: math.nan}
    present = [math.nan if crop.present is None else float(crop.present) for crop in crops]
    return {"handedness": [sides[crop.side] for crop in crops], "presence": present}


def _depth(keypoints: Tensor, metres: Tensor) -> Tensor:
    """Return the depth (B, 21) of points in metres (B, 21, 3), in the scale of their keypoints (B, 21, 2)."""
    flat = metres[..., :2] - metres[..., :2].mean(1, keepdim=True)
    pixels = keypoints - keypoints.mean(1, keepdim=True)
    px_per_m = (flat * pixels).sum((1, 2)) / flat.square().sum((1, 2))  # (B,) least squares
    return _Z_SCALE * px_per_m[:, None] * (metres[..., 2] - metres[:, _WRIST, None, 2])


def landmark_losses(before: Network | None, keep: float, loss: PointLoss = "l1") -> LandmarkLosses:
    """Return a function that computes losses by name: distances in palm lengths, and scores.

    Args:
        before: Copy of the network before training, whose outputs are the targets where there is no annotation; None
            for no such loss.
        keep: Weight of that loss.
        loss: Loss of the keypoints, one of `losses.PointLoss`.
    """
    error_of = point_loss(loss)

    def losses(network: Network, batch: Batch) -> Mapping[str, Tensor]:
        outputs = network(batch.images)
        points = outputs["keypoints"].unflatten(1, (-1, 3))  # (B, K, 3)
        metres = outputs["keypoints_3d"].unflatten(1, (-1, 3))[:, :_PUBLISHED_KEYPOINTS]
        errors = error_of((points[..., :2] - batch.keypoints) / batch.palm[:, None, None])  # (B, K)
        # NaN in the ground truth would cause a NaN gradient, even where the mask excludes it.
        depth_errors = (points[:, :_PUBLISHED_KEYPOINTS, 2] - batch.depth.nan_to_num()).abs() / batch.palm[:, None]
        metres_errors = (metres - batch.metres.nan_to_num()).abs() / PALM_M
        terms = {
            "keypoints": _masked_mean(errors, batch.known > 0),
            "depth": 0.5 * _masked_mean(depth_errors, batch.depth.isfinite()),
            "metres": 0.5 * _masked_mean(metres_errors, batch.metres.isfinite()),
            "presence": 0.2 * _log_loss(outputs["presence"][:, 0], batch.present),
            "handedness": 0.2 * _log_loss(outputs["handedness"][:, 0], batch.left),
        }
        if before is not None and keep:
            terms |= _change_losses(before(batch.images), outputs, batch, keep)
        return terms

    return losses


def _change_losses(
    before: Mapping[str, Tensor], outputs: Mapping[str, Tensor], batch: Batch, keep: float
) -> dict[str, Tensor]:
    """Return how far the outputs without annotation are from those before training."""
    unannotated = batch.depth.isnan() & (batch.present != 0)[:, None]  # (B, 21)
    moves, metres = (
        outputs[name].unflatten(1, (-1, 3))[:, :_PUBLISHED_KEYPOINTS]
        - before[name].unflatten(1, (-1, 3))[:, :_PUBLISHED_KEYPOINTS]
        for name in ("keypoints", "keypoints_3d")
    )
    depth = _masked_mean(moves[..., 2].abs() / batch.palm[:, None], unannotated)
    positions = _masked_mean(metres.abs() / PALM_M, unannotated[..., None].expand_as(metres))
    scores = torch.zeros_like(depth)
    for name, truth in (("presence", batch.present), ("handedness", batch.left)):
        scores = scores + _masked_mean(
            (outputs[name] - before[name])[:, 0].square(), truth.isnan() & (batch.present != 0)
        )
    return {"kept_points": keep * (depth + positions), "kept_scores": keep * scores}


def _log_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the cross-entropy of probabilities (B,) where the ground truth (B,) is not NaN."""
    clamped = predicted.float().clamp(_MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    true = truth.nan_to_num()
    return _masked_mean(-true * clamped.log() - (1 - true) * (1 - clamped).log(), truth.isfinite())


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean where a mask is True, or 0 if it is False everywhere; other values get no gradient."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def landmark_metrics(network: Network, crops: Sequence[LandmarkCrop]) -> dict[str, float]:
    """Return the errors without augmentation.

    Args:
        network: Network in eval mode.
        crops: Crops with at least one hand.

    Returns:
        "error_px": Mean distance of known keypoints from the ground truth in pixels of the crops. "mnae": Mean distance
        of the 21 keypoints in percent of each hand's palm (wrist to the middle finger's knuckle). "handedness" and
        "presence", where crops are labelled: Accuracy in percent at a threshold of 0.5.
    """
    outputs = _outputs(network, crops)
    points = outputs["keypoints"].reshape(len(crops), -1, 3)[..., :2]
    truth = np.stack([crop.keypoints for crop in crops])
    is_known = np.stack([crop.known for crop in crops])
    hands, count = is_known.any(1), _PUBLISHED_KEYPOINTS
    metrics = {
        "error_px": float(np.linalg.norm(points - truth, axis=2)[is_known].mean()),
        "mnae": 100 * mnae(points[hands, :count], truth[hands, :count], is_known[hands, :count]).mean,
    }
    for name, scores in _true_scores(crops).items():
        true = np.array(scores)
        labelled = np.isfinite(true)
        if labelled.any():
            metrics[name] = 100 * float(((outputs[name][labelled, 0] > 0.5) == (true[labelled] > 0.5)).mean())
    return metrics


def predicted_points(network: Network, crops: Sequence[LandmarkCrop]) -> Float32Array:
    """Return the predicted keypoints (N, K, 2) in pixels of the crops."""
    return _outputs(network, crops)["keypoints"].reshape(len(crops), -1, 3)[..., :2]


@evaluates
def _outputs(network: Network, crops: Sequence[LandmarkCrop]) -> dict[str, Float32Array]:
    """Return the network's outputs (N, ...) by name."""
    batches = [
        network(to_batch(crops[start : start + _BATCH]).images.to(network.device))
        for start in range(0, len(crops), _BATCH)
    ]
    return {name: torch.cat([part[name] for part in batches]).cpu().numpy() for name in batches[0]}
