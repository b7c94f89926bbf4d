"""The heads of `detectors.hand_heads` as a module to train, and their conversion to calibrated arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from sonjit.detectors.kinds.hand_heads import BEFORE, BEHIND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sonjit.training.hand_heads.data import HandFeatures

_KEYPOINTS = 21
_LEAST_SPREAD = 1e-2
_CALIBRATION_STEPS = 100


class HeadNetwork(nn.Module):
    """Both heads of one network.

    Args:
        local: channels that are read at each keypoint.
        mean: channels of the network's last map.
        hidden: width of all layers.
        dropout: of the layers that visibility is computed by.
        side_dropout: of all inputs of the handedness.
    """

    local_middle: Tensor
    local_spread: Tensor
    mean_middle: Tensor
    mean_spread: Tensor

    def __init__(self, local: int, mean: int, hidden: int, dropout: float, side_dropout: float) -> None:
        super().__init__()
        for name, count in (("local", local), ("mean", mean)):
            self.register_buffer(f"{name}_middle", torch.zeros(count))
            self.register_buffer(f"{name}_spread", torch.ones(count))
        self.dropout, self.side_dropout = nn.Dropout(dropout), nn.Dropout(side_dropout)
        self.local = nn.Linear(local, hidden, bias=False)
        self.keypoint = nn.Parameter(torch.zeros(_KEYPOINTS, hidden))
        self.own, self.before, self.behind, self.all = (nn.Linear(hidden, hidden, bias=False) for _ in range(4))
        self.keypoint_wide = nn.Parameter(torch.zeros(_KEYPOINTS, hidden))
        self.common = nn.Parameter(torch.randn(hidden) / hidden**0.5)
        self.each = nn.Parameter(torch.zeros(_KEYPOINTS, hidden))
        self.bias = nn.Parameter(torch.zeros(_KEYPOINTS))
        self.side_mean = nn.Linear(mean, hidden)
        self.side_shape = nn.Linear(3 * _KEYPOINTS, hidden, bias=False)
        self.side_near = nn.Linear(_KEYPOINTS * hidden, hidden, bias=False)
        self.side = nn.Linear(hidden, 1)

    @torch.no_grad()
    def fit_normalisation(self, features: HandFeatures) -> None:
        """Take over mean and deviation of the inputs, by which they are normalised."""
        for name in ("local", "mean"):
            values = np.asarray(getattr(features, name), np.float32)
            values = values.reshape(-1, values.shape[-1])
            getattr(self, f"{name}_middle").copy_(torch.from_numpy(values.mean(0)))
            getattr(self, f"{name}_spread").copy_(torch.from_numpy(values.std(0) + _LEAST_SPREAD))

    def forward(self, local: Tensor, shape: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Logits: (B, 21) that a keypoint is seen, and (B,) of the person's own right hand.

        Args:
            local: (B, 21, L).
            shape: (B, 63).
            mean: (B, C).
        """
        local = (local - self.local_middle) / self.local_spread
        first = relu(self.local(local) + self.keypoint)  # (B, 21, H)
        near = self.dropout(first)
        around = self.before(near[:, BEFORE]) + self.behind(near[:, BEHIND]) + self.all(near.mean(1, keepdim=True))
        wide = self.dropout(relu(self.own(near) + around + self.keypoint_wide))  # (B, 21, H)
        seen = (wide * (self.common + self.each)).sum(-1) + self.bias
        mean = self.side_dropout((mean - self.mean_middle) / self.mean_spread)
        side = self.side_mean(mean) + self.side_shape(shape) + self.side_near(self.side_dropout(first.flatten(1)))
        return seen, self.side(self.side_dropout(relu(side)))[:, 0]

    @torch.no_grad()
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The same heads, in eval mode, as `detectors.hand_heads.HandHeads` takes them."""
        weights: dict[str, Tensor] = {}
        for name, layer, middle, spread in (
            ("local", self.local, self.local_middle, self.local_spread),
            ("side_mean", self.side_mean, self.mean_middle, self.mean_spread),
        ):
            weights[name] = (layer.weight / spread).T  # (inputs, H)
            weights[f"{name}_shift"] = -middle @ weights[name]
        weights["keypoint"] = self.keypoint + weights.pop("local_shift")
        for name in ("own", "before", "behind", "all", "side_shape", "side_near"):
            weights[name] = getattr(self, name).weight.T
        weights["keypoint_wide"] = self.keypoint_wide
        weights["seen"], weights["seen_bias"] = self.common + self.each, self.bias
        weights["side_context"] = self.side_mean.bias + weights.pop("side_mean_shift")
        weights["side"], weights["side_bias"] = self.side.weight[0], self.side.bias
        return {name: np.ascontiguousarray(value.numpy()) for name, value in weights.items()}


def calibrated(
    arrays: Mapping[str, NDArray[np.float32]],
    logits: tuple[NDArray[np.float32], NDArray[np.float32]],
    features: HandFeatures,
) -> dict[str, NDArray[np.float32]]:
    """The same heads with logits that are turned into calibrated probabilities by Platt scaling.

    Source: Platt 1999, Probabilistic outputs for support vector machines.

    Args:
        arrays: of the heads.
        logits: of these heads on hands that they were not trained on, (N, 21) and (N,).
        features: of those hands, with the ground truth.
    """
    (scale, shift), (side_scale, side_shift) = platt(logits[0], features.seen), platt(logits[1], features.right)
    changed = dict(arrays)
    for name, times, plus in (("seen", scale, shift), ("side", side_scale, side_shift)):
        changed[name] = np.asarray(arrays[name] * times, np.float32)
        changed[f"{name}_bias"] = np.asarray(arrays[f"{name}_bias"] * times + plus, np.float32)
    return changed


def platt(logits: NDArray[np.float32], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """What to multiply logits with and add to them, so that cross entropy is least; Newton's method in float64."""
    x, y = logits.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    design = np.stack([x, np.ones_like(x)])  # (2, N)
    found = np.array([1.0, 0.0])
    for _ in range(_CALIBRATION_STEPS):
        predicted = 1 / (1 + np.exp(-(found @ design)))
        curvature = (design * (predicted * (1 - predicted))) @ design.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, design @ (y - predicted))
        found = found + step * min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return float(found[0]), float(found[1])
