"""How to train: what every loop has, by its textbook name.

Optimizers by their textbook names; all are PyTorch's.

How the learning rate changes on the way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from torch import optim

from sonjit.errors import InputError

if TYPE_CHECKING:
    from torch import nn

OptimizerName = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]

ScheduleName = Literal["constant", "step", "1/t", "cosine"]

InitialisationName = Literal["own", "xavier", "he", "normal", "zeros", "orthogonal"]


@dataclass(frozen=True)
class LoopOptions:
    """How to train.

    Attributes:
        steps: of the optimizer.
        rate: learning rate at its highest.
        rate_factors: what parts of the network multiply it with, by the beginnings of their weights' names.
        weight_decay: of the optimizer.
        warmup: steps in which the rate rises.
        clip_norm: to which longer gradients are cut; inf leaves them.
        seed: of everything that is drawn.
        save_every: steps between checkpoints.
        optimizer: by name; `sgd` is the plain one.
        momentum: of `momentum` and `nesterov`, and how slowly `rmsprop` forgets is torch's own.
        schedule: of the rate after the warm start.
        decay_at: parts of the way, 0..1: where `step` lowers the rate; where `1/t` has halved it, the first.
        decay: what `step` multiplies the rate with.
        precision: bf16 multiplies in bfloat16 where that is safe (autocast); weights stay float32.
        ema: how much of the mean of all weights stays in a step; 0 keeps no mean. The mean is what is kept at the end.
        accumulate: batches whose gradients are averaged in one step; they are spread over the processes.
        freeze: beginnings of the names of what is not trained, such as `features`.
        initialise: with what the weights begin; `own` is what the network does itself, or was loaded.
        evaluate_every: steps between evaluations, where there is one; 0 for the end alone.
        gradients_every: steps between norms of gradients by layer in the log; 0 for a hundredth of the way.
    """

    steps: int = 300
    rate: float = 1e-3
    rate_factors: Mapping[str, float] = field(default_factory=dict[str, float])
    weight_decay: float = 1e-2
    warmup: int = 20
    clip_norm: float = 1.0
    seed: int = 0
    save_every: int = 50
    optimizer: OptimizerName = "adamw"
    momentum: float = 0.9
    schedule: ScheduleName = "cosine"
    decay_at: tuple[float, ...] = (0.5, 0.75)
    decay: float = 0.1
    precision: Literal["f32", "bf16"] = "f32"
    ema: float = 0.0
    accumulate: int = 1
    freeze: tuple[str, ...] = ()
    initialise: InitialisationName = "own"
    evaluate_every: int = 0
    gradients_every: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that train nothing."""
        for name in ("steps", "save_every", "accumulate"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: give at least 1")
        if not (self.rate > 0 and self.clip_norm > 0 and self.weight_decay >= 0 and self.warmup >= 0):
            raise InputError("rate and clip_norm must be above 0, weight_decay and warmup 0 or more")
        for name in ("momentum", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: give 0 to below 1")
        if not all(0 < part <= 1 for part in self.decay_at) or not 0 < self.decay <= 1:
            raise InputError("decay_at and decay must be above 0 and at most 1")
        if self.schedule == "1/t" and not self.decay_at:
            raise InputError("schedule=1/t: give decay_at, the part of the way where the rate has halved")
        if self.evaluate_every < 0 or self.gradients_every < 0:
            raise InputError("evaluate_every and gradients_every must be 0 or more")
        for name in ("optimizer", "schedule", "precision", "initialise"):
            if getattr(self, name) not in (known := get_args(get_type_hints(LoopOptions)[name])):
                raise InputError(f"{name}={getattr(self, name)}: give one of {', '.join(known)}")
        if not all(factor > 0 for factor in self.rate_factors.values()):
            raise InputError("rate_factors must be above 0")
        if not math.isfinite(self.rate):
            raise InputError(f"rate={self.rate}: give a number")


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


def rate_at(step: int, options: LoopOptions) -> float:
    """Part of the highest learning rate in a step, from 0: a straight rise, then as the schedule says.

    >>> from sonjit.training.options import LoopOptions
    >>> for name in ("constant", "step", "1/t", "cosine"):
    ...     options = LoopOptions(steps=9, warmup=1, schedule=name)
    ...     print([round(rate_at(step, options), 2) for step in range(9)])
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    [1.0, 1.0, 0.8, 0.67, 0.57, 0.5, 0.44, 0.4, 0.36]
    [1.0, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04]
    """
    if step < options.warmup:
        return (step + 1) / options.warmup
    part = (step - options.warmup) / max(options.steps - options.warmup, 1)
    match options.schedule:
        case "constant":
            return 1.0
        case "step":
            return options.decay ** sum(part >= at for at in options.decay_at)
        case "1/t":
            return 1 / (1 + part / options.decay_at[0])
        case "cosine":
            return (1 + math.cos(math.pi * part)) / 2
