"""How far a hand landmark network is from the truth of crops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sonjit.metrics import mnae
from sonjit.networks.hand_landmark import PUBLISHED_KEYPOINTS
from sonjit.training.landmark_losses import to_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sonjit.networks.hand_landmark import HandLandmarkNetwork
    from sonjit.training.landmark_crops import LandmarkCrop

_BATCH = 32


def landmark_figures(
    network: HandLandmarkNetwork, crops: Sequence[LandmarkCrop], device: str = "cpu"
) -> dict[str, float]:
    """Errors without augmentation.

    Args:
        network: in eval mode.
        crops: with at least one hand.
        device: where the network is.

    Returns:
        "error_px": mean distance of known keypoints from where they are, in pixels of the crops; "mnae": that of the
        21, in percent of each hand's palm (wrist to the middle finger's knuckle); and, where crops tell it,
        "handedness" and "presence": percent that is right at a threshold of a half.
    """
    seen = _seen(network, crops, device)
    points = seen["keypoints"].reshape(len(crops), -1, 3)[..., :2]
    truth = np.stack([crop.keypoints for crop in crops])
    known = np.stack([crop.known for crop in crops])
    hands, count = known.any(1), PUBLISHED_KEYPOINTS
    figures = {
        "error_px": float(np.linalg.norm(points - truth, axis=2)[known].mean()),
        "mnae": 100 * mnae(points[hands, :count], truth[hands, :count], known[hands, :count]).mean,
    }
    sides = np.array([{"Left": 0.0, "Right": 1.0, None: np.nan}[crop.side] for crop in crops])
    present = np.array([np.nan if crop.present is None else float(crop.present) for crop in crops])
    for name, true in (("handedness", sides), ("presence", present)):
        told = np.isfinite(true)
        if told.any():
            figures[name] = 100 * float(((seen[name][told, 0] > 0.5) == (true[told] > 0.5)).mean())
    return figures


def _seen(network: HandLandmarkNetwork, crops: Sequence[LandmarkCrop], device: str) -> dict[str, NDArray[np.float32]]:
    """The network's outputs (N, ...) by name."""
    with torch.inference_mode():
        parts = [
            network(to_batch(crops[start : start + _BATCH], device).images) for start in range(0, len(crops), _BATCH)
        ]
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
