"""Fine-tune a hand landmark network on hands with keypoints in COCO's format, and teach it keypoints of one's own.

Each hand is cut out as the detector would cut it out of a video, from the box around its keypoints. What the
annotations do not say (depth, presence, handedness, metres) is held to what the network said before.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sonjit.errors import InputError
from sonjit.networks import create_network, network_entry
from sonjit.networks.export import ENDINGS, export_network
from sonjit.networks.hand_landmark import PUBLISHED_KEYPOINTS, HandLandmarkNetwork
from sonjit.training.landmark_crops import LandmarkCrop, augmented, landmark_crops
from sonjit.training.loop import WEIGHTS, LoopOptions, train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sonjit.training.recipes import TrainingRequest

_WRIST, _MIDDLE_MCP = 0, 9
_PALM_M = 0.09
"""From the wrist to the middle finger's knuckle, as a unit for what is in metres."""


@dataclass(frozen=True)
class LandmarkSettings(LoopOptions):
    """What `--set` changes; the first are those of every loop.

    Attributes:
        batch: hands a step.
        augment: turn, scale, shift and light each crop anew every time.
        keep: weight of holding what is not annotated to what the network said before; 0 lets it go.
        held_out: part of the hands, the last ones, that are only measured.
        extra_keypoints: names of keypoints to add after the 21.
        limit: first so many hands; 0 for all.
    """

    rate: float = 3e-4
    warmup: int = 5
    batch: int = 8
    augment: bool = True
    keep: float = 0.1
    held_out: float = 0.1
    extra_keypoints: tuple[str, ...] = ()
    limit: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that train nothing."""
        super().__post_init__()
        if self.batch < 1 or self.limit < 0 or self.keep < 0 or not 0 <= self.held_out < 1:
            raise InputError("batch must be at least 1, limit and keep 0 or more, held_out from 0 to below 1")


class Batch(NamedTuple):
    """What one step learns from; keypoints in pixels of the crops."""

    images: Tensor  # (B, 3, S, S) in 0..1
    keypoints: Tensor  # (B, K, 2)
    known: Tensor  # (B, K)
    palm: Tensor  # (B,) from wrist to the middle finger's knuckle


def train_landmarks(request: TrainingRequest) -> Mapping[str, object]:
    """The recipe: see the module.

    Raises:
        InputError: settings or annotations that cannot be used.
    """
    from sonjit.training.recipes import settings_from

    settings = settings_from(LandmarkSettings, request.settings)
    if request.data is None:
        raise InputError(f"{request.recipe}: give the annotations, a COCO keypoints JSON, with --data")
    crops = landmark_crops(request.data, request.images, settings.extra_keypoints)[: settings.limit or None]
    first_held_out = len(crops) - int(settings.held_out * len(crops))
    learned, held_out = crops[:first_held_out], crops[first_held_out:]
    count = PUBLISHED_KEYPOINTS + len(settings.extra_keypoints)
    network = create_network(request.recipe, request.weights or "published", keypoints=count)
    assert isinstance(network, HandLandmarkNetwork)
    network.to(request.device)
    begin_at_the_nearest(network, learned)
    before = mean_error_px(network, learned, request.device)
    fine_tune(network, learned, settings, request)
    told: dict[str, object] = {
        "weights": request.out / WEIGHTS,
        "hands": len(learned),
        "error_before_px": before,
        "error_px": mean_error_px(network, learned, request.device),
    }
    if held_out:
        told |= {"held_out": len(held_out), "held_out_error_px": mean_error_px(network, held_out, request.device)}
    if request.export:
        file = request.out / f"{request.recipe}{ENDINGS[request.export]}"
        told["export"] = export_network(network.cpu(), network_entry(request.recipe).inputs, file).path
    return told


def begin_at_the_nearest(network: HandLandmarkNetwork, crops: Sequence[LandmarkCrop]) -> None:
    """Let each new keypoint begin as the published one that it is nearest to on average, moved by their distance."""
    head = network.keypoints
    points = np.stack([crop.keypoints for crop in crops])  # (N, K, 2)
    known = np.stack([crop.known for crop in crops])  # (N, K)
    for index in range(PUBLISHED_KEYPOINTS, points.shape[1]):
        if head.weight[3 * index : 3 * index + 3].any():
            continue  # it was taught before
        both = known[:, index, None] & known[:, :PUBLISHED_KEYPOINTS]  # (N, 21)
        away = np.where(both[..., None], points[:, index, None] - points[:, :PUBLISHED_KEYPOINTS], np.nan)
        seen = both.any(axis=0)
        if not seen.any():
            raise InputError(f"the extra keypoint {index - PUBLISHED_KEYPOINTS + 1} is annotated nowhere")
        distances = np.full(PUBLISHED_KEYPOINTS, np.inf)
        distances[seen] = np.nanmean(np.linalg.norm(away[:, seen], axis=2), axis=0)
        nearest = int(distances.argmin())
        offset = torch.from_numpy(np.nanmean(away[:, nearest], axis=0))
        with torch.no_grad():
            head.weight[3 * index : 3 * index + 2] = head.weight[3 * nearest : 3 * nearest + 2]
            head.bias[3 * index : 3 * index + 2] = head.bias[3 * nearest : 3 * nearest + 2] + offset.to(head.bias)


def fine_tune(
    network: HandLandmarkNetwork, crops: Sequence[LandmarkCrop], settings: LandmarkSettings, request: TrainingRequest
) -> None:
    """Train a network on crops, into the request's folder."""
    before = copy.deepcopy(network).eval().requires_grad_(False)
    count = min(settings.batch, len(crops))

    def draw(rng: np.random.Generator) -> Batch:
        chosen = [crops[index] for index in rng.choice(len(crops), count, replace=False)]
        return to_batch([augmented(crop, rng) for crop in chosen] if settings.augment else chosen, request.device)

    train(
        network,
        draw,
        _losses(before, settings.keep),
        settings,
        out=request.out,
        settings={"recipe": request.recipe, "data": str(request.data), "weights": request.weights, **asdict(settings)},
        progress=request.progress,
    )


def to_batch(crops: Sequence[LandmarkCrop], device: str = "cpu") -> Batch:
    """Crops as tensors."""
    images = torch.from_numpy(np.stack([crop.image() for crop in crops])).to(device)  # (B, S, S, 3)
    keypoints = torch.from_numpy(np.stack([crop.keypoints for crop in crops])).to(device)  # (B, K, 2)
    known = torch.from_numpy(np.stack([crop.known for crop in crops])).to(device)
    palm = (keypoints[:, _WRIST] - keypoints[:, _MIDDLE_MCP]).norm(dim=1)
    return Batch(images.permute(0, 3, 1, 2) / 255, keypoints, known.float(), palm)


def _losses(before: HandLandmarkNetwork, keep: float) -> Callable[[HandLandmarkNetwork, Batch], Mapping[str, Tensor]]:
    """Distances on the crop in palms, and what is kept of the network as it was."""

    def losses(network: HandLandmarkNetwork, batch: Batch) -> Mapping[str, Tensor]:
        seen = network(batch.images)
        points = seen["keypoints"].unflatten(1, (-1, 3))  # (B, K, 3)
        off = (points[..., :2] - batch.keypoints).abs().mean(2) / batch.palm[:, None]  # (B, K)
        parts = {"keypoints": (off * batch.known).sum() / batch.known.sum()}
        if keep:
            said = before(batch.images)
            was = said["keypoints"].unflatten(1, (-1, 3))
            depth = (points[..., 2] - was[..., 2])[:, :PUBLISHED_KEYPOINTS].abs() / batch.palm[:, None]
            metres = (seen["keypoints_3d"] - said["keypoints_3d"])[:, : 3 * PUBLISHED_KEYPOINTS].abs() / _PALM_M
            parts["kept_points"] = keep * (depth.mean() + metres.mean())
            parts["kept_scores"] = keep * sum(
                (F.mse_loss(seen[name], said[name]) for name in ("presence", "handedness")), torch.zeros(())
            )
        return parts

    return losses


def mean_error_px(network: HandLandmarkNetwork, crops: Sequence[LandmarkCrop], device: str = "cpu") -> float:
    """Mean distance of known keypoints from where they are, in pixels of crops of 224 px, without augmentation."""
    errors: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(crops), 32):
            batch = to_batch(crops[start : start + 32], device)
            points = network(batch.images)["keypoints"].unflatten(1, (-1, 3))[..., :2]
            errors.append((points - batch.keypoints).norm(dim=2)[batch.known > 0])
    return float(torch.cat(errors).mean())
