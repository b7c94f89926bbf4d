"""What every network is: a `torch.nn.Module` whose forward gives a mapping from name to tensor.

Weights drawn from each key's name: the same on every machine, with no checkpoint at hand.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sonjit.errors import InputError
from sonjit.networks.checkpoints import fit_state_dict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor


class Network(nn.Module):
    """Base of the networks of this room.

    Attributes:
        name: under which it is registered; set by `create_network`.
    """

    name: str = "network"

    def load_official(self, state_dict: Mapping[str, Tensor], strict: bool = True) -> None:
        """Take over weights under the names of the official code.

        Args:
            state_dict: official key -> tensor; a leading "module." is dropped.
            strict: refuse missing and unexpected keys too, not only those of another shape.

        Raises:
            InputError: naming the keys that do not fit and the network that they would.
        """
        fit_state_dict(self, self.from_official(state_dict), strict=strict)

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Official keys and layouts as this module's own; what differs by network is overridden there."""
        return {key.removeprefix("module."): value for key, value in state_dict.items()}

    def load_tflite(self, path: Path) -> None:
        """Take over the weights of a published TFLite file.

        Raises:
            InputError: there is no such file for this network, or it holds another one.
        """
        raise InputError(f"{self.name} has no TFLite form: {path.name} cannot be loaded into it")

    if TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]: ...  # noqa: ANN401


def seeded_state_dict(network: nn.Module) -> dict[str, Tensor]:
    """A state_dict with one generator per key, seeded by its name's CRC-32.

    Scales of norms lie in 0.8..1.2, running variances in 0.5..1.5, weights have He's deviation; counters are zero.
    """
    return {
        key: torch.from_numpy(seeded_values(key, tuple(value.shape))).to(value.dtype)
        if value.is_floating_point()
        else torch.zeros_like(value, device="cpu")
        for key, value in network.state_dict().items()
    }


def seeded_values(key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The values of one entry of a state_dict.

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
