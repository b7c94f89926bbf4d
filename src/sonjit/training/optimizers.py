"""Optimizers by their textbook names; all are PyTorch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import optim

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from sonjit.training.options import LoopOptions


def make_optimizer(network: nn.Module, options: LoopOptions) -> optim.Optimizer:
    """The optimizer of what is to be trained in a network.

    Raises:
        InputError: nothing is.
    """
    weights = _groups(network, options.rate_factors)
    if not weights:
        raise InputError(f"freeze={','.join(options.freeze)}: leaves nothing to train")
    rate, decay = options.rate, options.weight_decay
    match options.optimizer:
        case "sgd":
            return optim.SGD(weights, rate, weight_decay=decay)
        case "momentum":
            return optim.SGD(weights, rate, momentum=options.momentum, weight_decay=decay)
        case "nesterov":
            return optim.SGD(weights, rate, momentum=options.momentum, weight_decay=decay, nesterov=True)
        case "adagrad":
            return optim.Adagrad(weights, rate, weight_decay=decay)
        case "rmsprop":
            return optim.RMSprop(weights, rate, weight_decay=decay)
        case "adam":
            return optim.Adam(weights, rate, weight_decay=decay)
        case "adamw":
            return optim.AdamW(weights, rate, weight_decay=decay)


def _groups(network: nn.Module, factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """What is to be trained, in groups of the same `factor` to the rate; the loop sets each group's rate.

    Raises:
        InputError: a beginning of names that no weight has.
    """
    named = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
    for part in factors:
        if not any(name.startswith(part) for name, _ in named):
            raise InputError(f"rate_factors: no weight to train begins with {part!r}")
    groups: dict[float, list[nn.Parameter]] = {}
    for name, weight in named:
        factor = next((factor for part, factor in factors.items() if name.startswith(part)), 1.0)
        groups.setdefault(factor, []).append(weight)
    return [{"params": some, "factor": factor} for factor, some in groups.items()]
