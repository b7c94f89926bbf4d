"""The one training loop, and checkpoints from which a run goes on exactly.

Whatever is drawn in a step depends on the seed and the step's number alone, so that nothing but weights and the
optimizer's state must be kept.

The moving mean of a network's weights, which is steadier than the weights themselves; PyTorch's own.

Norms of gradients by layer: whether what stands at the bottom of a network still learns.
"""

from __future__ import annotations

import math
import os
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sonjit.errors import JobError
from sonjit.networks import save_checkpoint
from sonjit.training.distributed import apart, from_first, in_step, mean_over_all, rank, share_of
from sonjit.training.initialise import freeze, initialise
from sonjit.training.options import LoopOptions, make_optimizer, rate_at
from sonjit.training.recipes import no_progress
from sonjit.training.run_folder import BEST, CHECKPOINT, LOG, SETTINGS, WEIGHTS, RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    from sonjit.training.recipes import Progress

__all__ = ["BEST", "CHECKPOINT", "LOG", "SETTINGS", "WEIGHTS", "LoopOptions", "rate_at", "train"]

T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)


def train(
    network: N,
    batch: Callable[[np.random.Generator], T],
    losses: Callable[[N, T], Mapping[str, Tensor]],
    options: LoopOptions,
    *,
    out: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
    evaluate: Callable[[N], Mapping[str, float]] | None = None,
    higher_is_better: bool = False,
) -> N:
    """Train a network in place.

    Args:
        network: in the state, device and mode (train or eval) in which it is to be trained.
        batch: draws what one step learns from; by the generator that it is given, or by torch's.
        losses: scalars by name, whose sum is to fall.
        options: how.
        out: the run's folder, made where it is missing; None keeps nothing. A run that was stopped goes on from its
            last checkpoint as if it had not been; a finished one is only read.
        settings: what else makes this run what it is, in JSON's types, so that no other one goes on with it.
        progress: told after each step.
        evaluate: figures of the network, in eval mode and without gradients; the weights with the best first figure
            are kept as `best.safetensors`.
        higher_is_better: of the first figure.

    Raises:
        InputError: the folder holds a run with other settings.
        JobError: a loss is no number any more, or the disk refuses.
    """
    freeze(network, options.freeze)
    initialise(network, options.initialise, options.seed)
    mine, accumulate = share_of(options.accumulate)
    optimizer = make_optimizer(network, options)
    mean = moving_mean(network, options.ema)
    kept: dict[str, Any] = {"network": network, "optimizer": optimizer} | ({"mean": mean} if mean else {})
    whole = {**asdict(options), **(settings or {}), "accumulate": accumulate}
    run = None if out is None or rank() else RunFolder(out, whole)
    state = from_first(None if run is None else run.restore())
    done, best = (state["step"], state["best"]) if state else (0, None)
    if state:
        for name, part in kept.items():
            part.load_state_dict(state[name])
    learner = in_step(_Learner(network, losses))
    with _deterministic(network):
        for step in range(done, options.steps):
            told, line = _step(network, learner, batch, options, optimizer, step, mine)
            if mean:
                mean.update_parameters(network)
            last = step + 1 == options.steps
            if evaluate and not rank() and (last or _due(step, options.evaluate_every)):
                judged: Any = mean.module if mean else network
                line["evaluation"] = figures = _evaluated(judged, evaluate)
                figure = next(iter(figures.values()))
                if best is None or (figure > best if higher_is_better else figure < best):
                    best = figure
                    if run:
                        save_checkpoint(judged, run.folder / BEST)
            if run:
                run.log({"step": step + 1, **told, **line})
                if last or _due(step, options.save_every):
                    run.save({"step": step + 1, "best": best} | {name: one.state_dict() for name, one in kept.items()})
            if not rank():
                progress(step + 1, options.steps, told)
    if mean:
        network.load_state_dict(mean.module.state_dict())
    if run:
        save_checkpoint(network, run.folder / WEIGHTS)
    return network


class _Learner(nn.Module, Generic[N, T]):
    """A network and its losses as one module, so that processes can keep in step whatever the losses call."""

    def __init__(self, network: N, losses: Callable[[N, T], Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.network, self.losses = network, losses

    def forward(self, drawn: T) -> Mapping[str, Tensor]:
        return self.losses(self.network, drawn)


def _step(
    network: nn.Module,
    learner: nn.Module,
    batch: Callable[[np.random.Generator], T],
    options: LoopOptions,
    optimizer: torch.optim.Optimizer,
    step: int,
    mine: Sequence[int],
) -> tuple[dict[str, float], dict[str, Any]]:
    """One step over this process' batches; the losses before it, and the rate and the gradient's norms."""
    rate = options.rate * rate_at(step, options)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    optimizer.zero_grad(set_to_none=True)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    seen: list[Tensor] = []
    names: Sequence[str] = ()
    for number in mine:
        rng = np.random.default_rng((options.seed, step, number) if number else (options.seed, step))
        torch.manual_seed(int(rng.integers(2**63)))
        drawn = batch(rng)
        with nullcontext() if number == mine[-1] else apart(learner):
            with torch.autocast(weights[0].device.type, torch.bfloat16, enabled=options.precision == "bf16"):
                parts: Mapping[str, Tensor] = learner(drawn)
            values = torch.stack([part.float() for part in parts.values()])
            total = values.sum()
            if not math.isfinite(total.item()):
                raise JobError(f"step {step + 1}: the loss is {total.item()}; try a smaller rate than {options.rate:g}")
            (total / len(mine)).backward()
        names = list(parts)
        seen.append(values.detach())
    layers = layer_gradients(network) if _due(step, options.gradients_every or max(options.steps // 100, 1)) else None
    norm = nn.utils.clip_grad_norm_(weights, options.clip_norm).item()
    if not math.isfinite(norm):
        raise JobError(f"step {step + 1}: the gradient is {norm}; try a smaller rate than {options.rate:g}")
    optimizer.step()
    told = dict(zip(names, mean_over_all(torch.stack(seen).mean(0)).tolist(), strict=True))
    return told, {"rate": rate, "gradient": norm} | ({"layers": layers} if layers else {})


def _evaluated(network: N, evaluate: Callable[[N], Mapping[str, float]]) -> dict[str, float]:
    """Figures of a network, which then goes on in the modes that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    with torch.no_grad():
        figures = {name: float(value) for name, value in evaluate(network.eval()).items()}
    for module, training in modes:
        module.training = training
    return figures


def _due(step: int, every: int) -> bool:
    return every > 0 and (step + 1) % every == 0


@contextmanager
def _deterministic(network: nn.Module) -> Generator[None]:
    """The same numbers each time, where PyTorch can; the caller's generators and choice come back."""
    cuda = next(network.parameters()).is_cuda
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if cuda:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS adds in any order
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if cuda else ()):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def moving_mean(network: nn.Module, decay: float) -> AveragedModel | None:
    """A mean that keeps `decay` of itself in a step; None for 0. Statistics of norms are the network's own."""
    if decay == 0:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))


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
