"""What a network begins with, and what of it stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sonjit.training.options import InitialisationName

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)  # pyright: ignore[reportPrivateUsage]  # the one base of convolutions


def initialise(network: nn.Module, name: InitialisationName, seed: int) -> None:
    """Draw the weights of convolutions and fully connected layers anew; their biases become 0.

    Args:
        network: changed in place; what is frozen, norms and embeddings stay.
        name: `xavier` and `he` are uniform and normal as in their papers (Glorot and Bengio 2010; He et al. 2015),
            `normal` has deviation 0.01, `own` leaves everything.
        seed: of what is drawn.
    """
    if name == "own":
        return
    drawn = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if not isinstance(layer, _LAYERS) or not layer.weight.requires_grad:
            continue
        weight = torch.empty(layer.weight.shape)
        match name:
            case "xavier":
                nn.init.xavier_uniform_(weight, generator=drawn)
            case "he":
                nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=drawn)
            case "normal":
                nn.init.normal_(weight, std=0.01, generator=drawn)
            case "zeros":
                nn.init.zeros_(weight)
            case "orthogonal":
                nn.init.orthogonal_(weight, generator=drawn)
        with torch.no_grad():
            layer.weight.copy_(weight)
            if layer.bias is not None:
                layer.bias.zero_()


def freeze(network: nn.Module, beginnings: Sequence[str]) -> None:
    """Keep weights from being trained, and norms among them from taking new statistics.

    Args:
        network: changed in place.
        beginnings: of names: `features` is all of `features.0.weight`, `features.1.bias`, ...

    Raises:
        InputError: a beginning that no name has.
    """
    for beginning in beginnings:
        found = [weight for name, weight in network.named_parameters() if _within(name, beginning)]
        if not found:
            known = dict.fromkeys(name.partition(".")[0] for name, _ in network.named_parameters())
            raise InputError(f"freeze={beginning}: no weight's name begins so; the network has {', '.join(known)}")
        for weight in found:
            weight.requires_grad_(False)
        for name, module in network.named_modules():
            if _within(name, beginning):
                module.eval()


def _within(name: str, beginning: str) -> bool:
    return name == beginning or name.startswith(f"{beginning}.")
