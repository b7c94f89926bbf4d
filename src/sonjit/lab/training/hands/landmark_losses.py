"""Compute the losses and metrics of landmark networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sonjit._util.arrays import Float32Array
from sonjit.lab.metrics import mnae
from sonjit.lab.networks.mediapipe.hand_landmark import PUBLISHED_KEYPOINTS
from sonjit.lab.networks.registry import Network
from sonjit.lab.training.hands.landmark_data import PALM_M, Batch, LandmarkCrop, to_batch
from sonjit.lab.training.losses import point_loss

_MIN_PROBABILITY = 1e-6
"""Minimum distance of a probability from 0 and 1 before its logarithm is taken."""
_BATCH = 32


def landmark_losses(
    before: Network | None, keep: float, loss: str = "l1"
) -> Callable[[Network, Batch], Mapping[str, Tensor]]:
    """Return a function that computes losses by name: distances in palm lengths, and scores.

    Args:
        before: Copy of the network before training, whose outputs are the targets where there is no annotation; None
            for no such loss.
        keep: Weight of that loss.
        loss: Loss of the keypoints, one of `losses.POINT_LOSSES`.
    """
    error_of = point_loss(loss)

    def losses(network: Network, batch: Batch) -> Mapping[str, Tensor]:
        outputs = network(batch.images)
        points = outputs["keypoints"].unflatten(1, (-1, 3))  # (B, K, 3)
        metres = outputs["keypoints_3d"].unflatten(1, (-1, 3))[:, :PUBLISHED_KEYPOINTS]
        errors = error_of((points[..., :2] - batch.keypoints) / batch.palm[:, None, None])  # (B, K)
        # NaN in the ground truth would cause a NaN gradient, even where the mask excludes it.
        depth_errors = (points[:, :PUBLISHED_KEYPOINTS, 2] - batch.depth.nan_to_num()).abs() / batch.palm[:, None]
        metres_errors = (metres - batch.metres.nan_to_num()).abs() / PALM_M
        parts = {
            "keypoints": _masked_mean(errors, batch.known > 0),
            "depth": 0.5 * _masked_mean(depth_errors, batch.depth.isfinite()),
            "metres": 0.5 * _masked_mean(metres_errors, batch.metres.isfinite()),
            "presence": 0.2 * _log_loss(outputs["presence"][:, 0], batch.present),
            "handedness": 0.2 * _log_loss(outputs["handedness"][:, 0], batch.left),
        }
        if before is not None and keep:
            parts |= _change_losses(before(batch.images), outputs, batch, keep)
        return parts

    return losses


def _change_losses(
    before: Mapping[str, Tensor], outputs: Mapping[str, Tensor], batch: Batch, keep: float
) -> dict[str, Tensor]:
    """Return how far the outputs without annotation are from those before training."""
    unannotated = batch.depth.isnan() & (batch.present != 0)[:, None]  # (B, 21)
    points, points_before = (
        values["keypoints"].unflatten(1, (-1, 3))[:, :PUBLISHED_KEYPOINTS] for values in (outputs, before)
    )
    metres, metres_before = (
        values["keypoints_3d"].unflatten(1, (-1, 3))[:, :PUBLISHED_KEYPOINTS] for values in (outputs, before)
    )
    depth = _masked_mean((points[..., 2] - points_before[..., 2]).abs() / batch.palm[:, None], unannotated)
    positions = _masked_mean((metres - metres_before).abs() / PALM_M, unannotated[..., None].expand_as(metres))
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


def landmark_metrics(network: Network, crops: Sequence[LandmarkCrop], device: str = "cpu") -> dict[str, float]:
    """Return the errors without augmentation.

    Args:
        network: Network in eval mode.
        crops: Crops with at least one hand.
        device: Device of the network.

    Returns:
        "error_px": Mean distance of known keypoints from the ground truth in pixels of the crops. "mnae": Mean distance
        of the 21 keypoints in percent of each hand's palm (wrist to the middle finger's knuckle). "handedness" and
        "presence", where crops are labelled: Accuracy in percent at a threshold of 0.5.
    """
    outputs = _outputs(network, crops, device)
    points = outputs["keypoints"].reshape(len(crops), -1, 3)[..., :2]
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
            metrics[name] = 100 * float(((outputs[name][labelled, 0] > 0.5) == (true[labelled] > 0.5)).mean())
    return metrics


def predicted_points(network: Network, crops: Sequence[LandmarkCrop], device: str = "cpu") -> Float32Array:
    """Return the predicted keypoints (N, K, 2) in pixels of the crops."""
    return _outputs(network, crops, device)["keypoints"].reshape(len(crops), -1, 3)[..., :2]


def _outputs(network: Network, crops: Sequence[LandmarkCrop], device: str) -> dict[str, Float32Array]:
    """Return the network's outputs (N, ...) by name."""
    with torch.inference_mode():
        parts = [
            network(to_batch(crops[start : start + _BATCH]).images.to(device)) for start in range(0, len(crops), _BATCH)
        ]
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
