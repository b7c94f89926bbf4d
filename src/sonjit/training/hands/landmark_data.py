"""Hands cut out of annotated images as the detector cuts them, with a margin to rotate and shift them in; their losses.

Outputs without annotation are held to the network's outputs before training, or left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonjit.arrays import BoolArray, Float32Array, Image, RealArray
from sonjit.datasets.sample import Instance, Sample, Side
from sonjit.detectors.kinds.hands import BOX_KEYPOINTS, box_around_hand
from sonjit.errors import InputError
from sonjit.geometry.boxes import RotatedBox, crop, crop_on_grid, points_into_crop
from sonjit.metrics import mnae
from sonjit.networks.mediapipe.hand_landmark import PUBLISHED_KEYPOINTS, HandLandmarkNetwork
from sonjit.skeletons import load_skeleton
from sonjit.training.augment import OTHER_SIDE, Augmentation

PUBLISHED_SIZE = 224
_MARGIN = 0.25
"""Around a crop, in its sides: of whole pixels, so that the middle of the larger crop is the detector's own."""

_REACH = 0.9
"""How far a rotated, scaled and shifted crop may reach from its centre, in its sides."""

_SKIN = 0.15
"""How far a hand may reach out of its annotated box, which may be that of its keypoints, in its sides."""

_NOBODY = -1  # in place of a hand's number
_TRIES = 10  # places for a crop without a hand before an image is given up


@dataclass(frozen=True, eq=False)
class LandmarkCrop:
    """One hand, or none.

    Attributes:
        wide: (1.5 S, 1.5 S, 3) uint8 RGB, the crop of side S with a quarter of S around it.
        keypoints: (K, 2) in pixels of the crop; undefined without a hand.
        known: (K,) whether each is annotated.
        metres: (K, 3) in the crop's axes, from anywhere; NaN where unknown.
        side: whose hand it is, the person's own; None where unknown or there is none.
        present: there is a hand; None where that is not to be trained on.
    """

    wide: NDArray[np.uint8]
    keypoints: Float32Array
    known: BoolArray
    metres: Float32Array
    side: Side | None = None
    present: bool | None = None

    @property
    def size(self) -> int:
        """Side S of the crop in pixels."""
        return 2 * self.wide.shape[0] // 3

    def image(self) -> Image:
        """(S, S, 3): the crop itself."""
        margin = (self.wide.shape[0] - self.size) // 2
        return self.wide[margin:-margin, margin:-margin]


class LandmarkCrops(Sequence[LandmarkCrop]):
    """Every hand of a data set whose palm and first joints are annotated; its image is read when it is asked for.

    Args:
        samples: of any data set whose hands have keypoints of MediaPipe's names, in any order.
        extra_keypoints: names of keypoints that follow the 21.
        size: side of the crops in pixels, a multiple of 4.
        limit: of hands, the first ones; 0 for all.
        without_hands: also one crop of each image in which no annotated hand is, where there is room for one, after
            all hands; so that presence can be trained.

    Raises:
        InputError: no hand has these keypoints, or none is annotated well enough.
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
        for place, sample in enumerate(samples):
            named = [number for number, one in enumerate(sample.instances) if one.places_of(self._names)]
            has_names = has_names or bool(named)
            hands += [(place, number) for number in named if self._labels(sample.instances[number])]
            if without_hands and _empty_box(sample, place):
                empty.append((place, _NOBODY))
            if limit and len(hands) >= limit:
                break
        if not has_names:
            raise InputError(f"{_named(samples)}: no hand with the keypoints {', '.join(self._names)}")
        if not hands:
            raise InputError(f"{_named(samples)}: no hand with wrist, palm and first joints annotated")
        self._places = np.array(hands[: limit or None] + empty, np.int32).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> LandmarkCrop: ...
    @overload
    def __getitem__(self, index: slice) -> LandmarkCrops: ...
    def __getitem__(self, index: int | slice) -> LandmarkCrop | LandmarkCrops:
        """One crop, or a part of them."""
        return self.part(self._places[index]) if isinstance(index, slice) else self._crop(*self._places[index].tolist())

    @property
    def hands(self) -> LandmarkCrops:
        """Those with a hand."""
        return self.part(self._places[self._places[:, 1] != _NOBODY])

    @property
    def empty(self) -> LandmarkCrops:
        """Those without one."""
        return self.part(self._places[self._places[:, 1] == _NOBODY])

    def part(self, places: NDArray[np.int32]) -> LandmarkCrops:
        """Some of the crops: (N, 2) numbers of images and of the instances in them."""
        one = copy(self)
        one._places = places
        return one

    def parted(self, share: float) -> tuple[LandmarkCrops, LandmarkCrops]:
        """All but the last share, of hands and of crops without one alike, and that."""
        parts = [(one, len(one) - int(share * len(one))) for one in (self.hands._places, self.empty._places)]
        first, last = [one[:end] for one, end in parts], [one[end:] for one, end in parts]
        return self.part(np.concatenate(first)), self.part(np.concatenate(last))

    def without_scores(self) -> LandmarkCrops:
        """The hands alone, for keypoints: neither handedness nor presence is trained on them."""
        one = self.hands
        one._has_presence = one._trains_scores = False
        return one

    def _labels(self, hand: Instance) -> tuple[RotatedBox, Float32Array, BoolArray] | None:
        """A hand's box, keypoints (K, 2) in pixels of the image and which are known; None where too few are."""
        places = hand.places_of(self._names)
        assert places is not None
        assert hand.keypoints_px is not None
        points = hand.keypoints_px[places].astype(np.float32)
        known = np.asarray(np.isfinite(points).all(1), np.bool_)
        if hand.valid_px is not None:
            known &= hand.valid_px[places]
        if not known[BOX_KEYPOINTS].all():
            return None
        points[~known] = 0
        box = box_around_hand(points)
        return (box, points, known) if box.width >= 1 else None

    def _crop(self, place: int, number: int) -> LandmarkCrop:
        sample, count = self._samples[place], len(self._names)
        if number == _NOBODY:
            box = _empty_box(sample, place)
            assert box is not None
            nothing, unknown = np.full((count, 3), np.nan, np.float32), np.zeros(count, np.bool_)
            wide = cut_wide(sample.rgb(), box, self._size)
            return LandmarkCrop(wide, np.zeros((count, 2), np.float32), unknown, nothing, None, present=False)
        hand = sample.instances[number]
        labels = self._labels(hand)
        assert labels is not None
        box, points, known = labels
        metres = np.full((count, 3), np.nan)
        if hand.keypoints_m is not None:
            metres = hand.keypoints_m[hand.places_of(self._names)]
        return LandmarkCrop(
            cut_wide(sample.rgb(), box, self._size),
            points_into_crop(points, box, self._size).astype(np.float32),
            known,
            _turned(metres, box),
            hand.side if self._trains_scores else None,
            present=True if self._has_presence else None,
        )


def augmented(hand: LandmarkCrop, change: Augmentation) -> LandmarkCrop:
    """The same hand augmented; its mirror image shows a hand of the other side."""
    size, whole = hand.size, hand.wide.shape[0]
    box = change.box(RotatedBox(whole / 2, whole / 2, size, size))
    points = points_into_crop(hand.keypoints + (whole - size) // 2, box, size)
    metres, side = _turned(hand.metres, box), hand.side
    if change.mirror:
        metres, side = metres * np.array([-1, 1, 1], np.float32), OTHER_SIDE.get(side)
    return replace(
        hand,
        wide=change.image(crop(hand.wide, _wider(box), whole, whole)),
        keypoints=change.points(points, size).astype(np.float32),
        metres=metres,
        side=side,
    )


def _named(samples: Sequence[Sample]) -> str:
    return samples[0].source or samples[0].dataset


def _empty_box(sample: Sample, seed: int) -> RotatedBox | None:
    """A box of any place, size and rotation that no hand's box reaches into; None where there is no room."""
    rng, height, width = np.random.default_rng(seed), sample.height, sample.width
    boxes = np.array([box for one in sample.instances if (box := one.bounds())]).reshape(-1, 4)
    margin = _SKIN * np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])[:, None]
    boxes = boxes + margin * np.array([-1, -1, 1, 1])
    for _ in range(_TRIES):
        side = min(height, width) * rng.uniform(0.15, 0.6)
        cx, cy, reach = rng.uniform(0, width), rng.uniform(0, height), side * _REACH
        apart = (boxes[:, 0] > cx + reach) | (boxes[:, 2] < cx - reach)
        apart |= (boxes[:, 1] > cy + reach) | (boxes[:, 3] < cy - reach)
        if apart.all():
            return RotatedBox(cx, cy, side, side, rng.uniform(-np.pi, np.pi))
    return None


def cut_wide(rgb: Image, box: RotatedBox, size: int) -> Image:
    """The crop of a box in `size` pixels with a quarter of it around: `LandmarkCrop.wide`."""
    whole = size + 2 * round(_MARGIN * size)
    wide = np.empty((whole, whole, 3), np.uint8)
    crop_on_grid(rgb, _wider(box), wide)
    return wide


def _wider(box: RotatedBox) -> RotatedBox:
    scale = 1 + 2 * _MARGIN
    return box._replace(width=box.width * scale, height=box.height * scale)


def _turned(metres: RealArray, box: RotatedBox) -> Float32Array:
    """Points (K, 3) of an image's axes in those of a box."""
    cos, sin = np.cos(box.rotation), np.sin(box.rotation)
    return (metres @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])).astype(np.float32)


_WRIST, _MIDDLE_MCP = 0, 9
_PALM_M = 0.09
"""From the wrist to the middle finger's knuckle, as a unit for what is in metres."""

_Z_SCALE = 0.4
"""The network's depth is this part of a length in the crop."""

_SURE = 1e-6
"""How near a probability may come to 0 or 1 before its logarithm is cut."""


class Batch(NamedTuple):
    """The batch of a step; lengths in pixels of the crops, NaN and 0 in `known` where nothing is annotated.

    Attributes:
        images: (B, 3, S, S) in 0..1.
        keypoints: (B, K, 2).
        known: (B, K) 1 or 0.
        palm: (B,) from wrist to the middle finger's knuckle.
        depth: (B, 21) from the wrist, as the network has it.
        metres: (B, 21, 3) in the crop's axes, from the middle finger's knuckle, near which the published origin lies.
        present: (B,) 1 with a hand, 0 without, NaN where that is not to be trained on.
        left: (B,) 1 for a left hand in a selfie view, which is a right hand as it is, 0 for the other.
    """

    images: Tensor
    keypoints: Tensor
    known: Tensor
    palm: Tensor
    depth: Tensor
    metres: Tensor
    present: Tensor
    left: Tensor


def to_batch(crops: Sequence[LandmarkCrop]) -> Batch:
    """Crops as tensors."""
    images = torch.from_numpy(np.stack([crop.image() for crop in crops]))  # (B, S, S, 3)
    keypoints = torch.from_numpy(np.stack([crop.keypoints for crop in crops]))  # (B, K, 2)
    known = torch.from_numpy(np.stack([crop.known for crop in crops])).float()
    metres = torch.from_numpy(np.stack([crop.metres for crop in crops]))[:, :PUBLISHED_KEYPOINTS]
    sides = {"Left": 0.0, "Right": 1.0, None: np.nan}
    present = [np.nan if crop.present is None else float(crop.present) for crop in crops]
    # Where a palm is seen edge-on, a hand's length is the better measure of its size.
    lengths = (keypoints[:, _WRIST] - keypoints[:, _MIDDLE_MCP]).norm(dim=1)
    return Batch(
        images.permute(0, 3, 1, 2) / 255,
        keypoints,
        known,
        lengths.clamp(min=images.shape[1] / 16),
        _depth(keypoints[:, :PUBLISHED_KEYPOINTS], metres),
        metres - metres[:, _MIDDLE_MCP, None],
        torch.tensor(present),
        torch.tensor([sides[crop.side] for crop in crops]),
    )


def _depth(keypoints: Tensor, metres: Tensor) -> Tensor:
    """Depth (B, 21) of points in metres (B, 21, 3) in the scale in which they became keypoints (B, 21, 2)."""
    flat, seen = metres[..., :2] - metres[..., :2].mean(1, keepdim=True), keypoints - keypoints.mean(1, keepdim=True)
    px_per_m = (flat * seen).sum((1, 2)) / flat.square().sum((1, 2))  # (B,) least squares
    return _Z_SCALE * px_per_m[:, None] * (metres[..., 2] - metres[:, _WRIST, None, 2])


def landmark_losses(
    before: HandLandmarkNetwork | None, keep: float
) -> Callable[[HandLandmarkNetwork, Batch], Mapping[str, Tensor]]:
    """Losses by name: distances in palms, and scores.

    Args:
        before: the network as it was, to whose outputs those without annotation are held; None for no such loss.
        keep: weight of that loss.
    """

    def losses(network: HandLandmarkNetwork, batch: Batch) -> Mapping[str, Tensor]:
        seen = network(batch.images)
        points = seen["keypoints"].unflatten(1, (-1, 3))  # (B, K, 3)
        metres = seen["keypoints_3d"].unflatten(1, (-1, 3))[:, :PUBLISHED_KEYPOINTS]
        off = (points[..., :2] - batch.keypoints).abs().mean(2) / batch.palm[:, None]  # (B, K)
        # A NaN in the ground truth would make one of the gradient, even where the mask leaves it out.
        depth_off = (points[:, :PUBLISHED_KEYPOINTS, 2] - batch.depth.nan_to_num()).abs() / batch.palm[:, None]
        metres_off = (metres - batch.metres.nan_to_num()).abs() / _PALM_M
        parts = {
            "keypoints": _mean(off, batch.known > 0),
            "depth": 0.5 * _mean(depth_off, batch.depth.isfinite()),
            "metres": 0.5 * _mean(metres_off, batch.metres.isfinite()),
            "presence": 0.2 * _log_loss(seen["presence"][:, 0], batch.present),
            "handedness": 0.2 * _log_loss(seen["handedness"][:, 0], batch.left),
        }
        if before is not None and keep:
            parts |= _kept(before(batch.images), seen, batch, keep)
        return parts

    return losses


def _kept(was: Mapping[str, Tensor], seen: Mapping[str, Tensor], batch: Batch, keep: float) -> dict[str, Tensor]:
    """How far the outputs without annotation are from those before training."""
    unannotated = batch.depth.isnan() & (batch.present != 0)[:, None]  # (B, 21)
    points, points_before = (one["keypoints"].unflatten(1, (-1, 3))[:, :PUBLISHED_KEYPOINTS] for one in (seen, was))
    metres, metres_before = (one["keypoints_3d"].unflatten(1, (-1, 3))[:, :PUBLISHED_KEYPOINTS] for one in (seen, was))
    depth = _mean((points[..., 2] - points_before[..., 2]).abs() / batch.palm[:, None], unannotated)
    placed = _mean((metres - metres_before).abs() / _PALM_M, unannotated[..., None].expand_as(metres))
    scores = torch.zeros_like(depth)
    for name, truth in (("presence", batch.present), ("handedness", batch.left)):
        scores = scores + _mean((seen[name] - was[name])[:, 0].square(), truth.isnan() & (batch.present != 0))
    return {"kept_points": keep * (depth + placed), "kept_scores": keep * scores}


def _log_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy of probabilities (B,) where the ground truth (B,) is not NaN."""
    sure = predicted.float().clamp(_SURE, 1 - _SURE)
    true = truth.nan_to_num()
    return _mean(-true * sure.log() - (1 - true) * (1 - sure).log(), truth.isfinite())


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean where a mask is true, 0 where it is true nowhere; elsewhere there is no gradient."""
    return torch.where(where, values, 0).sum() / where.sum().clamp(min=1)


_BATCH = 32


def landmark_metrics(
    network: HandLandmarkNetwork, crops: Sequence[LandmarkCrop], device: str = "cpu"
) -> dict[str, float]:
    """Errors without augmentation.

    Args:
        network: in eval mode.
        crops: with at least one hand.
        device: where the network is.

    Returns:
        "error_px": mean distance of known keypoints from where they are, in pixels of the crops; "mnae": that of the
        21, in percent of each hand's palm (wrist to the middle finger's knuckle); and, where crops are labelled,
        "handedness" and "presence": percent right at a threshold of a half.
    """
    seen = _outputs(network, crops, device)
    points = seen["keypoints"].reshape(len(crops), -1, 3)[..., :2]
    truth = np.stack([crop.keypoints for crop in crops])
    known = np.stack([crop.known for crop in crops])
    hands, count = known.any(1), PUBLISHED_KEYPOINTS
    metrics = {
        "error_px": float(np.linalg.norm(points - truth, axis=2)[known].mean()),
        "mnae": 100 * mnae(points[hands, :count], truth[hands, :count], known[hands, :count]).mean,
    }
    sides = np.array([{"Left": 0.0, "Right": 1.0, None: np.nan}[crop.side] for crop in crops])
    present = np.array([np.nan if crop.present is None else float(crop.present) for crop in crops])
    for name, true in (("handedness", sides), ("presence", present)):
        labelled = np.isfinite(true)
        if labelled.any():
            metrics[name] = 100 * float(((seen[name][labelled, 0] > 0.5) == (true[labelled] > 0.5)).mean())
    return metrics


def _outputs(network: HandLandmarkNetwork, crops: Sequence[LandmarkCrop], device: str) -> dict[str, Float32Array]:
    """The network's outputs (N, ...) by name."""
    with torch.inference_mode():
        parts = [
            network(to_batch(crops[start : start + _BATCH]).images.to(device)) for start in range(0, len(crops), _BATCH)
        ]
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
