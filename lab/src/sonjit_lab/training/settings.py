"""Settings of every training, with the optimizers, learning-rate schedules and initial weights that they name."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Final, Literal, TypeAlias

from torch import nn, optim

from sonjit._util import InputError
from sonjit._util.settings import Range, check_settings

OptimizerName = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]

ScheduleName = Literal["constant", "step", "1/t", "cosine"]
MAX_WIDTH: Final = 16_384
Count: TypeAlias = Annotated[int, Range(0, 1_000_000_000)]  # of things that need no memory, such as images
Steps: TypeAlias = Annotated[int, Range(1, 1_000_000_000)]
SmallBatch: TypeAlias = Annotated[int, Range(1, 65_536)]  # of small examples, or of batches in a step
ImageBatch: TypeAlias = Annotated[int, Range(1, 4096)]
Width: TypeAlias = Annotated[int, Range(1, MAX_WIDTH)]  # channels of a layer
WideWidth: TypeAlias = Annotated[int, Range(8, MAX_WIDTH)]  # of a layer with group normalisation
Depth: TypeAlias = Annotated[int, Range(1, 1000)]
Copies: TypeAlias = Annotated[int, Range(0, 1000)]  # further crops of each hand
Side: TypeAlias = Annotated[int, Range(32, 4096, step=32)]  # in pixels, halved five times by backbones
Fraction: TypeAlias = Annotated[float, Range(0, 1, is_open=True)]
Weight: TypeAlias = Annotated[float, Range(0, 1e6)]  # of a loss
Decay: TypeAlias = Annotated[float, Range(0, 1e9)]  # of the weights, relative to the learning rate


@dataclass(frozen=True)
class TrainingSettings:
    """Hyperparameters of the training loop; a recipe's settings class derives from this one.

    Attributes:
        steps: Number of optimizer steps.
        learning_rate: Highest learning rate.
        learning_rate_factors: Factors of the learning rate by prefix of weight names.
        weight_decay: Weight decay of the optimizer.
        warmup: Number of steps in which the learning rate rises.
        clip_norm: Maximum gradient norm; longer gradients are clipped. inf disables clipping.
        seed: Seed of all random numbers.
        save_every: Steps between checkpoints.
        optimizer: Optimizer name; `sgd` has no momentum.
        momentum: Momentum of `momentum` and `nesterov`. The smoothing constant of `rmsprop` is torch's default.
        schedule: Learning-rate schedule after the warm-up.
        decay_at: Fractions of the run, 0..1, where `step` lowers the learning rate. `1/t` has halved it at the first.
        decay: Factor by which `step` multiplies the learning rate.
        precision: `bf16` computes in bfloat16 where that is safe (autocast); weights stay float32.
        ema: Decay of the exponential moving average of the weights, which is evaluated and saved. 0 disables it.
        accumulate: Number of batches whose gradients are averaged in one step.
        freeze: Prefixes of the names of weights that are not trained, such as `features`.
        evaluate_every: Steps between evaluations on held-out data; 0 evaluates only before and after the training.
        evaluate_first: True to evaluate also before the first step.
        patience: Number of successive evaluations without a better first metric after which the run ends. 0 disables
            early stopping.
        gradients_every: Steps between gradient norms by layer in the log; 0 for a hundredth of the run.
        workers: Number of processes that read data and prefetch batches, at most the number of cores. 0 makes each
            batch when its step starts. The trained weights are the same.
        compile: True to compile the network and its losses with `torch.compile`; the first steps then take longer.
        loggers: Trackers that receive the log: `tensorboard`, or a function as `module:function`.
    """

    steps: Steps = 300
    learning_rate: float = 1e-3
    learning_rate_factors: Mapping[str, float] = field(default_factory=dict[str, float])
    weight_decay: Decay = 1e-2
    warmup: Count = 20
    clip_norm: float = 1.0
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    save_every: Steps = 50
    optimizer: OptimizerName = "adamw"
    momentum: Fraction = 0.9
    schedule: ScheduleName = "cosine"
    decay_at: tuple[float, ...] = (0.5, 0.75)
    decay: float = 0.1
    precision: Literal["f32", "bf16"] = "f32"
    ema: Fraction = 0.0
    accumulate: SmallBatch = 1
    freeze: tuple[str, ...] = ()
    evaluate_every: Count = 0
    evaluate_first: bool = True
    patience: Count = 0
    gradients_every: Count = 0
    workers: Annotated[int, Range(0, 1024)] = 0
    compile: bool = False
    loggers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_settings(self)
        if self.patience and not self.evaluate_every:
            raise InputError(f"patience={self.patience} requires evaluate_every")
        if not (0 < self.learning_rate < math.inf and self.clip_norm > 0):
            raise InputError("learning_rate and clip_norm must be above 0, and learning_rate finite")
        if not all(0 < part <= 1 for part in self.decay_at) or not 0 < self.decay <= 1:
            raise InputError("decay_at and decay must be above 0 and at most 1")
        if self.schedule == "1/t" and not self.decay_at:
            raise InputError("schedule=1/t requires decay_at, where the learning rate has halved")
        if not all(0 < factor < math.inf for factor in self.learning_rate_factors.values()):
            raise InputError("learning_rate_factors must be above 0 and finite")


def create_optimizer(network: nn.Module, settings: TrainingSettings) -> optim.Optimizer:
    """Return the optimizer of a network's trainable weights, grouped by learning-rate factor."""
    named = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
    for prefix in settings.learning_rate_factors:
        if not any(name.startswith(prefix) for name, _ in named):
            raise InputError(f"learning_rate_factors: no trainable weight has a name that starts with {prefix!r}")
    if not named:
        raise InputError(f"freeze={','.join(settings.freeze)}: no weights are left to train")
    by_factor: dict[float, list[nn.Parameter]] = {}
    for name, weight in named:
        factors = (factor for prefix, factor in settings.learning_rate_factors.items() if name.startswith(prefix))
        by_factor.setdefault(next(factors, 1.0), []).append(weight)
    groups = [{"params": weights, "factor": factor} for factor, weights in by_factor.items()]
    with_momentum = partial(optim.SGD, momentum=settings.momentum)
    optimizers: dict[OptimizerName, Callable[..., optim.Optimizer]] = {
        "sgd": optim.SGD,
        "momentum": with_momentum,
        "nesterov": partial(with_momentum, nesterov=True),
        "adagrad": optim.Adagrad,
        "rmsprop": optim.RMSprop,
        "adam": optim.Adam,
        "adamw": optim.AdamW,
    }
    return optimizers[settings.optimizer](groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def schedule_factor(step: int, settings: TrainingSettings) -> float:
    """Return the learning rate of a step (from 0) as a fraction of the highest: a linear warm-up, then the schedule.

    >>> from sonjit_lab.training.settings import TrainingSettings
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


def freeze(network: nn.Module, prefixes: Sequence[str]) -> None:
    """Exclude weights from training and stop the norms among them from updating their statistics.

    Args:
        network: Network, changed in place.
        prefixes: Name prefixes. `features` matches `features.0.weight`, `features.1.bias`, ...
    """

    def matches(name: str, prefix: str) -> bool:
        return name == prefix or name.startswith(f"{prefix}.")

    for prefix in prefixes:
        weights = [weight for name, weight in network.named_parameters() if matches(name, prefix)]
        if not weights:
            top_names = dict.fromkeys(name.partition(".")[0] for name, _ in network.named_parameters())
            raise InputError(f"freeze={prefix}: no weight name starts with it. Choose from {', '.join(top_names)}")
        for weight in weights:
            weight.requires_grad_(False)
        for name, module in network.named_modules():
            if matches(name, prefix):
                module.eval()
