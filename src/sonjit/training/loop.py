"""The one training loop, with checkpoints from which a run continues exactly.

All random numbers of a step depend on the seed and the step's number alone, so that a checkpoint holds nothing but
weights and the optimizer's state.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sonjit.errors import InputError, JobError
from sonjit.networks import save_checkpoint
from sonjit.training.batches import made_ahead, seeds_of
from sonjit.training.distributed import broadcast, mean_over_all, rank, share_of, synchronised, without_sync
from sonjit.training.recipes import Progress, no_progress
from sonjit.training.run_folder import BEST, CHECKPOINT, LOG, SETTINGS, WEIGHTS, LogRow, RunFolder, RunState
from sonjit.training.settings import (
    TrainingSettings,
    fold,
    freeze,
    initialise,
    is_folded,
    make_optimizer,
    schedule_factor,
)

__all__ = ["BEST", "CHECKPOINT", "LOG", "SETTINGS", "WEIGHTS", "TrainingSettings", "schedule_factor", "train"]

T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)


def train(
    network: N,
    batch: Callable[[np.random.Generator], T],
    losses: Callable[[N, T], Mapping[str, Tensor]],
    settings: TrainingSettings,
    *,
    out: Path | None = None,
    inputs: Mapping[str, object] | None = None,
    progress: Progress = no_progress,
    evaluate: Callable[[N], Mapping[str, float]] | None = None,
    higher_is_better: bool = False,
    kept: Callable[[N], nn.Module] = lambda network: network,
) -> dict[str, float]:
    """Train a network in place.

    Args:
        network: in the state, device and mode (train or eval) in which it is to be trained.
        batch: draws the batch of one step, with tensors on the CPU; by the generator that it is given, or by torch's.
            It is called in the run's workers, and must not change what it uses.
        losses: scalars by name, whose sum is minimised, of the batch on the network's device.
        settings: of the loop; all fields, those of a recipe's own class too, identify the run, but for those that
            change nothing in what is trained.
        out: the run's folder, made where it is missing; None keeps nothing. A run that was stopped continues from its
            last checkpoint as if it had not been; a finished one is only read.
        inputs: what else the run depends on, in JSON's types, such as its data and the weights that it begins with.
        progress: called after each step.
        evaluate: metrics of the network, in eval mode and without gradients; the weights with the best first metric
            are kept as `best.safetensors`.
        higher_is_better: of the first metric.
        kept: what of the network is written as weights, where not all of it.

    Returns:
        The last evaluation; nothing without `evaluate`.

    Raises:
        InputError: the folder holds a run with other settings, or a setting has no effect here.
        JobError: a loss is not finite, the network cannot be compiled, or the disk refuses.
    """
    if evaluate is None and (settings.evaluate_every or settings.patience):
        raise InputError("evaluate_every and patience: there is no evaluation during this training; leave them out")
    freeze(network, settings.freeze)
    initialise(network, settings.initialise, settings.seed)
    own_batches, accumulate = share_of(settings.accumulate)
    optimizer = make_optimizer(network, settings)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema)) if settings.ema else None
    parts: dict[str, _Stateful] = {"network": network, "optimizer": optimizer}
    if average:
        parts["average"] = average
    run = None
    if out is not None and not rank():
        identity = {name: value for name, value in asdict(settings).items() if name not in WITHOUT_EFFECT}
        run = RunFolder(out, {**identity, **(inputs or {}), "accumulate": accumulate}, board=settings.tensorboard)
    state = broadcast(None if run is None else run.restore()) or _BEGINNING
    for name, part_state in state["parts"].items():
        parts[name].load_state_dict(part_state)
    done = settings.steps if state["stopped"] else state["step"]
    best, waited, metrics = state["best"], state["waited"], state["evaluation"]
    model = _NetworkWithLosses(network, losses)
    if settings.compile:
        model.compile()
    model = synchronised(model)
    places = ((step, number) for step in range(done, settings.steps) for number in own_batches)
    device = next(network.parameters()).device
    drawn = made_ahead(batch, places, seed=settings.seed, workers=settings.workers, device=device)
    with _deterministic(network), closing(drawn):
        for step in range(done, settings.steps):
            row = _step(network, model, drawn, settings, optimizer, step, own_batches)
            if average:
                average.update_parameters(network)
            last, stopped = step + 1 == settings.steps, False
            if evaluate and (last or _due(step, settings.evaluate_every)):
                if not rank():
                    evaluated = cast("N", average.module) if average else network
                    row["evaluation"] = metrics = _evaluate(evaluated, evaluate)
                    metric = next(iter(metrics.values()))
                    if best is None or (metric > best if higher_is_better else metric < best):
                        best, waited = metric, 0
                        if run:
                            save_checkpoint(_plain(kept(evaluated)), run.folder / BEST)
                    else:
                        waited += 1
                stopped = broadcast(0 < settings.patience <= waited)
            if run:
                run.log(row)
                if last or stopped or _due(step, settings.save_every):
                    states = {name: part.state_dict() for name, part in parts.items()}
                    run.save(
                        {
                            "step": step + 1, "stopped": stopped, "best": best, "waited": waited,
                            "evaluation": metrics, "parts": states,
                        }
                    )  # fmt: skip
            if not rank():
                progress(step + 1, settings.steps, row["losses"])
            if stopped:
                break
    if average:
        network.load_state_dict(average.module.state_dict())
    if run:
        save_checkpoint(_plain(kept(network)), run.folder / WEIGHTS)
        run.close()
    return metrics


WITHOUT_EFFECT = ("workers", "tensorboard")
"""Settings that change nothing in what is trained: a run may go on with others."""

_BEGINNING: RunState = {"step": 0, "stopped": False, "best": None, "waited": 0, "evaluation": {}, "parts": {}}


def _plain(network: nn.Module) -> nn.Module:
    """The network as it is used, in which what helps in training is folded."""
    if is_folded(network):
        return network
    plain = copy.deepcopy(network).eval()
    fold(plain)
    return plain


class _Stateful(Protocol):
    """What a checkpoint keeps the state of."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any, /) -> object: ...  # noqa: ANN401  # modules and optimizers differ


class _NetworkWithLosses(nn.Module, Generic[N, T]):
    """A network and its losses as one module, so that processes are synchronised whatever the losses call."""

    def __init__(self, network: N, losses: Callable[[N, T], Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.network, self.losses = network, losses

    def forward(self, drawn: T) -> Mapping[str, Tensor]:
        return self.losses(self.network, drawn)


def _step(
    network: nn.Module,
    model: nn.Module,
    batches: Iterator[T],
    settings: TrainingSettings,
    optimizer: torch.optim.Optimizer,
    step: int,
    own_batches: Sequence[int],
) -> LogRow:
    """One step over this process's batches."""
    learning_rate = settings.learning_rate * schedule_factor(step, settings)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["factor"]
    optimizer.zero_grad(set_to_none=True)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    by_batch: list[Tensor] = []
    names: Sequence[str] = ()
    advice = f"try a smaller learning rate than {settings.learning_rate:g}"
    begun, waited_s = time.perf_counter(), 0.0
    for number in own_batches:
        asked = time.perf_counter()
        drawn = next(batches)
        waited_s += time.perf_counter() - asked
        torch.manual_seed(seeds_of(settings.seed, step, number)[1])
        with nullcontext() if number == own_batches[-1] else without_sync(model):
            with torch.autocast(weights[0].device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
                losses = _losses(model, drawn, compiled=settings.compile)
            values = torch.stack([loss.float() for loss in losses.values()])
            total = values.sum()
            if not math.isfinite(total.item()):
                raise JobError(f"step {step + 1}: the loss is {total.item()}; {advice}")
            (total / len(own_batches)).backward()
        names = list(losses)
        by_batch.append(values.detach())
    layers = _due(step, settings.gradients_every or max(settings.steps // 100, 1)) and layer_gradients(network)
    norm = nn.utils.clip_grad_norm_(weights, settings.clip_norm).item()
    if not math.isfinite(norm):
        raise JobError(f"step {step + 1}: the gradient is {norm}; {advice}")
    optimizer.step()
    means = dict(zip(names, mean_over_all(torch.stack(by_batch).mean(0)).tolist(), strict=True))
    row: LogRow = {
        "step": step + 1, "losses": means, "learning_rate": learning_rate, "gradient_norm": norm,
        "seconds": time.perf_counter() - begun, "waited_seconds": waited_s,
    }  # fmt: skip
    if layers:
        row["layer_gradients"] = layers
    return row


def _losses(model: nn.Module, drawn: object, *, compiled: bool) -> Mapping[str, Tensor]:
    try:
        return model(drawn)
    except RuntimeError as error:
        if compiled and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            raise JobError(f"compile=true: PyTorch cannot compile this network here ({reason}); leave it out") from None
        raise


def _evaluate(network: N, evaluate: Callable[[N], Mapping[str, float]]) -> dict[str, float]:
    """Metrics of a network, whose modules return to the modes that they were in."""
    modes = [(module, module.training) for module in network.modules()]
    with torch.no_grad():
        metrics = {name: float(value) for name, value in evaluate(network.eval()).items()}
    for module, training in modes:
        module.training = training
    return metrics


def _due(step: int, every: int) -> bool:
    return every > 0 and (step + 1) % every == 0


@contextmanager
def _deterministic(network: nn.Module) -> Generator[None]:
    """Deterministic algorithms, where PyTorch has them; the caller's generators and choice are restored."""
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


def layer_gradients(network: nn.Module) -> dict[str, float]:
    """Root mean square of each layer's gradient, from the bottom up: its norm over the root of its number of weights.

    A layer is a module that has a weight matrix or kernel of its own; norms and biases are left out, as they have few.
    """
    return {
        name.removesuffix(".weight"): weight.grad.norm().item() / math.sqrt(weight.numel())
        for name, weight in network.named_parameters()
        if weight.grad is not None and weight.ndim > 1
    }
