"""The settings of every training, and the optimizer, learning-rate schedule and initial weights that they name.

Optimizers go by their textbook names; all are PyTorch's. Batch norms and heads in units of their own help a network
that is trained from scratch: both are added before training and folded into the weights after it, so that the plain
network is what is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, get_args, get_type_hints

import torch
from torch import Tensor, nn, optim
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sonjit.errors import InputError

OptimizerName = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]

ScheduleName = Literal["constant", "step", "1/t", "cosine"]

InitialisationName = Literal["own", "xavier", "he", "normal", "zeros", "orthogonal"]


@dataclass(frozen=True)
class TrainingSettings:
    """Hyperparameters of the training loop; a recipe's settings class derives from this one.

    Attributes:
        steps: of the optimizer.
        learning_rate: at its highest.
        learning_rate_factors: by prefix of a weight's name, what the learning rate is multiplied with.
        weight_decay: of the optimizer.
        warmup: steps in which the learning rate rises.
        clip_norm: to which longer gradients are clipped; inf leaves them.
        seed: of all random numbers.
        save_every: steps between checkpoints.
        optimizer: by name; `sgd` is the plain one.
        momentum: of `momentum` and `nesterov`; the smoothing constant of `rmsprop` is torch's own.
        schedule: of the learning rate after the warm-up.
        decay_at: fractions of the run, 0..1, where `step` lowers the learning rate; `1/t` has halved it at the first.
        decay: what `step` multiplies the learning rate with.
        precision: bf16 computes in bfloat16 where that is safe (autocast); weights stay float32.
        ema: decay of the exponential moving average of the weights, which is evaluated and kept; 0 for none.
        accumulate: batches whose gradients are averaged in one step; they are spread over the processes.
        freeze: prefixes of the names of weights that are not trained, such as `features`.
        initialise: how the weights are initialised; `own` is what the network does itself, or was loaded.
        evaluate_every: steps between evaluations on what is held out; 0 for the end alone.
        patience: evaluations in a row without a better first metric after which the run ends; 0 for none.
        gradients_every: steps between gradient norms by layer in the log; 0 for a hundredth of the run.
        workers: processes that read data and make batches ahead, at most as many as there are cores; 0 makes each
            batch when its step begins. What is trained is the same.
        compile: compile network and losses by `torch.compile`, which takes a while at first.
        tensorboard: also write the log for TensorBoard, into `tensorboard/` of the run's folder.
    """

    steps: int = 300
    learning_rate: float = 1e-3
    learning_rate_factors: Mapping[str, float] = field(default_factory=dict[str, float])
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
    patience: int = 0
    gradients_every: int = 0
    workers: int = 0
    compile: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_at_least(self, steps=1, save_every=1, accumulate=1, warmup=0, workers=0)
        check_at_least(self, evaluate_every=0, patience=0, gradients_every=0)
        if self.patience and not self.evaluate_every:
            raise InputError(f"patience={self.patience}: set evaluate_every, the steps between evaluations, too")
        if not (self.learning_rate > 0 and self.clip_norm > 0 and self.weight_decay >= 0):
            raise InputError("learning_rate and clip_norm must be above 0, weight_decay 0 or more")
        for name in ("momentum", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: give 0 to below 1")
        if not all(0 < part <= 1 for part in self.decay_at) or not 0 < self.decay <= 1:
            raise InputError("decay_at and decay must be above 0 and at most 1")
        if self.schedule == "1/t" and not self.decay_at:
            raise InputError("schedule=1/t: give decay_at, the fraction of the run where the learning rate has halved")
        for name in ("optimizer", "schedule", "precision", "initialise"):
            if getattr(self, name) not in (known := get_args(get_type_hints(TrainingSettings)[name])):
                raise InputError(f"{name}={getattr(self, name)}: give one of {', '.join(known)}")
        if not all(factor > 0 for factor in self.learning_rate_factors.values()):
            raise InputError("learning_rate_factors must be above 0")
        if not math.isfinite(self.learning_rate):
            raise InputError(f"learning_rate={self.learning_rate}: give a number")


def check_at_least(settings: object, **least: int) -> None:
    """Refuse settings that are below their least value.

    Raises:
        InputError: naming the first one.
    """
    for name, value in least.items():
        if getattr(settings, name) < value:
            raise InputError(f"{name}={getattr(settings, name)}: give at least {value}")


def check_side(settings: object, name: str) -> None:
    """Refuse an image side in pixels that a backbone cannot halve five times.

    Raises:
        InputError: naming it.
    """
    side = getattr(settings, name)
    if side < 32 or side % 32:
        raise InputError(f"{name}={side}: give a multiple of 32")


def make_optimizer(network: nn.Module, settings: TrainingSettings) -> optim.Optimizer:
    """The optimizer of a network's trainable weights.

    Raises:
        InputError: there are none.
    """
    groups = _parameter_groups(network, settings.learning_rate_factors)
    if not groups:
        raise InputError(f"freeze={','.join(settings.freeze)}: leaves nothing to train")
    with_momentum = partial(optim.SGD, momentum=settings.momentum)
    kinds: dict[OptimizerName, Callable[..., optim.Optimizer]] = {
        "sgd": optim.SGD,
        "momentum": with_momentum,
        "nesterov": partial(with_momentum, nesterov=True),
        "adagrad": optim.Adagrad,
        "rmsprop": optim.RMSprop,
        "adam": optim.Adam,
        "adamw": optim.AdamW,
    }
    return kinds[settings.optimizer](groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def _parameter_groups(network: nn.Module, factors: Mapping[str, float]) -> list[dict[str, object]]:
    """The trainable weights by their factor, as `torch.optim` takes them; the loop sets each group's learning rate.

    Raises:
        InputError: a prefix that no weight's name has.
    """
    named = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
    for prefix in factors:
        if not any(name.startswith(prefix) for name, _ in named):
            raise InputError(f"learning_rate_factors: no trainable weight's name begins with {prefix!r}")
    groups: dict[float, list[nn.Parameter]] = {}
    for name, weight in named:
        factor = next((factor for prefix, factor in factors.items() if name.startswith(prefix)), 1.0)
        groups.setdefault(factor, []).append(weight)
    return [{"params": weights, "factor": factor} for factor, weights in groups.items()]


def schedule_factor(step: int, settings: TrainingSettings) -> float:
    """The learning rate of a step (from 0) as a fraction of the highest: a linear warm-up, then the schedule.

    >>> from sonjit.training.settings import TrainingSettings
    >>> for name in ("constant", "step", "1/t", "cosine"):
    ...     settings = TrainingSettings(steps=9, warmup=1, schedule=name)
    ...     print([round(schedule_factor(step, settings), 2) for step in range(9)])
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    [1.0, 1.0, 0.8, 0.67, 0.57, 0.5, 0.44, 0.4, 0.36]
    [1.0, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04]
    """
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    part = (step - settings.warmup) / max(settings.steps - settings.warmup, 1)
    match settings.schedule:
        case "constant":
            return 1.0
        case "step":
            return settings.decay ** sum(part >= at for at in settings.decay_at)
        case "1/t":
            return 1 / (1 + part / settings.decay_at[0])
        case "cosine":
            return (1 + math.cos(math.pi * part)) / 2


_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)  # pyright: ignore[reportPrivateUsage]  # the one base of convolutions


def _zeros(weight: Tensor, generator: torch.Generator) -> Tensor:
    return nn.init.zeros_(weight)


_DRAWS: dict[str, Callable[..., Tensor]] = {
    "xavier": nn.init.xavier_uniform_,
    "he": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "normal": partial(nn.init.normal_, std=0.01),
    "zeros": _zeros,
    "orthogonal": nn.init.orthogonal_,
}


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
    draw = _DRAWS[name]
    for layer in network.modules():
        if not isinstance(layer, _LAYERS) or not layer.weight.requires_grad:
            continue
        with torch.no_grad():
            layer.weight.copy_(draw(torch.empty(layer.weight.shape), generator=drawn))
            if layer.bias is not None:
                layer.bias.zero_()


def freeze(network: nn.Module, prefixes: Sequence[str]) -> None:
    """Keep weights from being trained, and norms among them from updating their statistics.

    Args:
        network: changed in place.
        prefixes: of names: `features` is all of `features.0.weight`, `features.1.bias`, ...

    Raises:
        InputError: a prefix that no name has.
    """
    for prefix in prefixes:
        found = [weight for name, weight in network.named_parameters() if _within(name, prefix)]
        if not found:
            known = dict.fromkeys(name.partition(".")[0] for name, _ in network.named_parameters())
            raise InputError(f"freeze={prefix}: no weight's name begins with it; the network has {', '.join(known)}")
        for weight in found:
            weight.requires_grad_(False)
        for name, module in network.named_modules():
            if _within(name, prefix):
                module.eval()


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


class NormedConv(nn.Sequential):
    """A convolution and the batch norm of its channels (Ioffe and Szegedy 2015, section 3.1)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv, nn.BatchNorm2d(conv.out_channels))


class ScaledHead(nn.Module):
    """A layer whose outputs are in other units than those in which it is trained.

    Adam moves every weight by about the learning rate in a step, which is too little for a head with outputs in
    pixels and too much for one with outputs in metres.

    Args:
        head: the layer, changed so that the outputs stay as they are.
        unit: of the outputs, by which they are divided in training.
    """

    def __init__(self, head: nn.Linear | nn.Conv2d, unit: float) -> None:
        super().__init__()
        self.head = _times(head, 1 / unit)
        self._unit = unit

    def forward(self, values: Tensor) -> Tensor:
        """As the layer."""
        return self.head(values) * self._unit

    def folded(self) -> nn.Linear | nn.Conv2d:
        """The plain layer."""
        return _times(self.head, self._unit)


def add_batch_norms(network: nn.Module, without: Collection[nn.Module] = ()) -> None:
    """Follow every convolution that has a bias with a batch norm, in place.

    Args:
        network: whose convolutions without a bias stay as they are: folding could not keep them so.
        without: parts that stay as they are, such as heads.
    """
    spared = {id(module) for part in without for module in part.modules()}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and child.bias is not None and id(child) not in spared:
                setattr(parent, name, NormedConv(child))


def scale_head(parent: nn.Module, name: str, unit: float) -> None:
    """Train a head of a network in a unit of its own, in place."""
    head = getattr(parent, name)
    assert isinstance(head, nn.Linear | nn.Conv2d)
    setattr(parent, name, ScaledHead(head, unit))


def is_folded(network: nn.Module) -> bool:
    """Whether `fold` would change nothing."""
    return not any(isinstance(module, NormedConv | ScaledHead) for module in network.modules())


def fold(network: nn.Module) -> None:
    """Undo `add_batch_norms` and `scale_head` in place; in eval mode the outputs stay the same."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NormedConv):
                conv, norm = child.eval()
                assert isinstance(conv, nn.Conv2d)
                assert isinstance(norm, nn.BatchNorm2d)
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
            elif isinstance(child, ScaledHead):
                setattr(parent, name, child.folded())


def _times(layer: nn.Linear | nn.Conv2d, factor: float) -> nn.Linear | nn.Conv2d:
    with torch.no_grad():
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.mul_(factor)
    return layer
