"""Losses and metrics of the hand landmark network on crops.

Outputs without annotation are held to the network's outputs before training, or left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sonjit.metrics import mnae
from sonjit.networks.mediapipe.hand_landmark import PUBLISHED_KEYPOINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.networks.mediapipe.hand_landmark import HandLandmarkNetwork
    from sonjit.training.hands.landmark_data import LandmarkCrop

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


def to_batch(crops: Sequence[LandmarkCrop], device: str = "cpu") -> Batch:
    """Crops as tensors."""
    images = torch.from_numpy(np.stack([crop.image() for crop in crops])).to(device)  # (B, S, S, 3)
    keypoints = torch.from_numpy(np.stack([crop.keypoints for crop in crops])).to(device)  # (B, K, 2)
    known = torch.from_numpy(np.stack([crop.known for crop in crops])).float().to(device)
    metres = torch.from_numpy(np.stack([crop.metres for crop in crops]))[:, :PUBLISHED_KEYPOINTS].to(device)
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
        torch.tensor(present, device=device),
        torch.tensor([sides[crop.side] for crop in crops], device=device),
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


def _outputs(
    network: HandLandmarkNetwork, crops: Sequence[LandmarkCrop], device: str
) -> dict[str, NDArray[np.float32]]:
    """The network's outputs (N, ...) by name."""
    with torch.inference_mode():
        parts = [
            network(to_batch(crops[start : start + _BATCH], device).images) for start in range(0, len(crops), _BATCH)
        ]
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
