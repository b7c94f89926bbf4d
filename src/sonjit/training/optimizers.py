"""Optimizers by their textbook names; all are PyTorch's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import optim

from sonjit.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from sonjit.training.options import LoopOptions


def make_optimizer(network: nn.Module, options: LoopOptions) -> optim.Optimizer:
    """The optimizer of what is to be trained in a network.

    Raises:
        InputError: nothing is.
    """
    weights = [weight for weight in network.parameters() if weight.requires_grad]
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
