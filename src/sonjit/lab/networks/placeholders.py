"""Generate placeholder weights: random weights of the right shape."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor, nn

from sonjit._util.arrays import Float32Array


def placeholder_state_dict(network: nn.Module) -> dict[str, Tensor]:
    """Return placeholder weights: a state_dict with one generator per key, whose seed is the CRC-32 of the key.

    Scales of norms are in 0.8..1.2, running variances in 0.5..1.5, weights have He's deviation; counters are zero.
    """
    return {
        key: torch.from_numpy(seeded_values(key, tuple(value.shape))).to(value.dtype)
        if value.is_floating_point()
        else torch.zeros_like(value, device="cpu")
        for key, value in network.state_dict().items()
    }


def seeded_values(key: str, shape: tuple[int, ...]) -> Float32Array:
    """Return the values of one entry of a state_dict.

    >>> [f"{value:.2f}" for value in seeded_values("layer.weight", (2, 3)).flat]
    ['0.11', '-0.12', '-0.07', '0.95', '-1.48', '0.17']
    """
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        values = rng.normal(0, 0.1, shape)
    elif len(shape) == 1 and key.endswith("weight"):
        values = rng.uniform(0.8, 1.2, shape)
    elif len(shape) <= 1:
        values = rng.normal(0, 0.02, shape)
    else:
        values = rng.normal(0, math.sqrt(2 / max(math.prod(shape[1:]), 1)), shape)
    return values.astype(np.float32)
