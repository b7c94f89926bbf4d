"""The moving mean of a network's weights, which is steadier than the weights themselves; PyTorch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

if TYPE_CHECKING:
    from torch import nn


def moving_mean(network: nn.Module, decay: float) -> AveragedModel | None:
    """A mean that keeps `decay` of itself in a step; None for 0. Statistics of norms are the network's own."""
    if decay == 0:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
