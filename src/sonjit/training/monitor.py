"""Norms of gradients by layer: whether what stands at the bottom of a network still learns."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

VANISHED = 1e-3
"""Below this part of the upper layers' gradients, those of the lower ones have vanished."""


def layer_gradients(network: nn.Module) -> dict[str, float]:
    """Root mean square of each layer's gradient, from the bottom up: its norm over the root of its number of weights.

    A layer is a module that has a weight matrix or kernel of its own; norms and biases are left out, as they have few.
    """
    return {
        name.removesuffix(".weight"): weight.grad.norm().item() / math.sqrt(weight.numel())
        for name, weight in network.named_parameters()
        if weight.grad is not None and weight.ndim > 1
    }


def vanishing(layers: Mapping[str, float]) -> float | None:
    """Gradients of the lower third of the layers as a part of those of the upper third, where they have vanished.

    Args:
        layers: from the bottom up, as `layer_gradients` gives them; medians of the thirds are compared.

    >>> vanishing({"a": 1e-6, "b": 1e-4, "c": 1e-1})
    1e-05
    >>> vanishing({"a": 1e-2, "b": 1e-4, "c": 1e-1}) is None
    True
    """
    values = list(layers.values())
    third = len(values) // 3
    if third == 0:
        return None
    low, high = median(values[:third]), median(values[-third:])
    if high == 0 or low / high >= VANISHED:
        return None
    return round(low / high, 12)
