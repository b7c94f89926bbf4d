"""Train a network, with checkpoints from which an interrupted run continues exactly.

All random numbers of a step depend only on the seed and the step. A checkpoint therefore contains only the weights and
the optimizer state.
"""

import copy
import math
import os
import shutil
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sonjit._util import Image, InputError, JobError
from sonjit_lab.networks import modes, save_checkpoint
from sonjit_lab.networks.checkpoints import WEIGHTS
from sonjit_lab.training import processes
from sonjit_lab.training.batches import prefetch, seeds_of
from sonjit_lab.training.plan import plan_training
from sonjit_lab.training.recipes import Progress, TrainingRequest, no_progress
from sonjit_lab.training.run_folder import BEST, CHECKPOINT, LOG, SETTINGS, LogRow, RunFolder, RunState
from sonjit_lab.training.settings import TrainingSettings, create_optimizer, freeze, schedule_factor
from sonjit_lab.training.signals import SaveRequests, end_process, ends_training

__all__ = ["BEST", "CHECKPOINT", "LOG", "SETTINGS", "WEIGHTS", "TrainingSettings", "schedule_factor", "train"]
T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)
RUNTIME_SETTINGS = ("workers", "loggers", "evaluate_first")
"""Settings that do not change the trained weights: an interrupted run may continue with other values."""
_INITIAL_STATE: RunState = {"step": 0, "stopped": False, "best": None, "waited": 0, "evaluation": {}, "parts": {}}


class NormedConv(nn.Sequential):
    """A convolution followed by a batch norm of its channels (Ioffe and Szegedy 2015, section 3.1)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv, nn.BatchNorm2d(conv.out_channels))


class ScaledHead(nn.Module):
    """A layer that is trained with outputs in a scaled unit.

    Adam moves every weight by about the learning rate in a step, which is too little for a head with outputs in pixels
    and too much for one with outputs in metres. The outputs of the scaled head are those of the layer.
    """

    def __init__(self, head: nn.Linear | nn.Conv2d, unit: float) -> None:
        super().__init__()
        self.head = _multiply_weights(head, 1 / unit)
        self._unit = unit

    def forward(self, values: Tensor) -> Tensor:
        """Return the outputs (..., O) of the layer for values (..., I), in the unit of the layer."""
        return self.head(values) * self._unit

    def folded(self) -> nn.Linear | nn.Conv2d:
        """Return the layer without the scale."""
        return _multiply_weights(self.head, self._unit)


def add_batch_norms(network: nn.Module, without: Collection[nn.Module] = ()) -> None:
    """Add a batch norm after every convolution that has a bias, except in the modules of `without`, in place."""
    excluded = {id(module) for part in without for module in part.modules()}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and child.bias is not None and id(child) not in excluded:
                setattr(parent, name, NormedConv(child))


def scale_head(parent: nn.Module, name: str, unit: float) -> None:
    """Replace a head of a network by a `ScaledHead` with the given unit, in place."""
    head = getattr(parent, name)
    assert isinstance(head, nn.Linear | nn.Conv2d)
    setattr(parent, name, ScaledHead(head, unit))


def fold(network: nn.Module) -> None:
    """Undo `add_batch_norms` and `scale_head` in place; in eval mode, the outputs stay the same."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NormedConv):
                conv, norm = child.eval()
                assert isinstance(conv, nn.Conv2d)
                assert isinstance(norm, nn.BatchNorm2d)
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
            elif isinstance(child, ScaledHead):
                setattr(parent, name, child.folded())


def _multiply_weights(layer: nn.Linear | nn.Conv2d, factor: float) -> nn.Linear | nn.Conv2d:
    with torch.no_grad():
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.mul_(factor)
    return layer


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
    pictures: Callable[[N], Mapping[str, Image]] | None = None,
    saved_module: Callable[[N], nn.Module] = lambda network: network,
    describe: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Train a network in place.

    Args:
        network: Network in the initial state, device and mode (train or eval) for training.
        batch: Function that draws the batch of one step, with tensors on the CPU. It draws random numbers from the
            given generator or from torch. It runs in the worker processes and must not change its data.
        losses: Function that returns scalars by name for a batch on the device of the network. Their sum is minimised.
        settings: Settings of the loop. All fields identify the run, also those of a recipe's own class, except
            `RUNTIME_SETTINGS`.
        out: Folder of the run. It is created if necessary. None saves nothing. An interrupted run continues from its
            last checkpoint with the same result as an uninterrupted run. A finished run is only read.
        inputs: Other inputs that identify the run, as JSON values, such as its data and its initial weights.
        progress: Callback that runs after each step, and before the first one if that is evaluated. Its values are the
            losses, `images/s`, and metrics with the prefix `validation `.
        evaluate: Function that returns metrics of the network in eval mode and without gradients. The weights with the
            best first metric are saved as `best.safetensors`.
        higher_is_better: True if a higher first metric is better.
        pictures: Function that returns RGB images (H, W, 3) uint8 by caption, such as predictions on held-out images.
            It runs with each evaluation and at the end. The last ones are in the report.
        saved_module: Function that returns the part of the network whose weights are saved. Default: all of it.
        describe: Function that writes a recipe's own files into the folder. It runs after the folder is accepted.

    Returns:
        Metrics of the last evaluation, or an empty dict without `evaluate`.

    Raises:
        InputError: The folder contains a run with other settings, or a setting has no effect in this training.
        KeyboardInterrupt: The process received SIGINT. A checkpoint was saved.
        SystemExit: The process received SIGTERM. A checkpoint was saved.
        JobError: The disk is too full, a loss is not finite, the network cannot be compiled, or a file cannot be
            written.
    """
    if evaluate is None and (settings.evaluate_every or settings.patience):
        raise InputError("evaluate_every and patience apply only to recipes that evaluate during training")
    freeze(network, settings.freeze)
    run = _open_run(out, network, settings, inputs or {}, describe)
    state = processes.same_everywhere(network, (run and run.restore()) or _INITIAL_STATE)
    parts = _Parts.create(network, settings)
    parts.load(state)
    validation = _Validation(
        network=parts.averaged_network(),
        evaluate=evaluate,
        pictures=pictures,
        higher_is_better=higher_is_better,
        saved_module=saved_module,
        run=run,
        best=state["best"],
        waited=state["waited"],
        metrics=state["evaluation"],
    )
    done = settings.steps if state["stopped"] else state["step"]
    finished = done
    compute = torch.compile(losses) if settings.compile else losses
    batches = _batches(batch, settings, done, next(network.parameters()).device)
    with _deterministic(network), closing(batches), SaveRequests() as requests:
        before: dict[str, float] = {}
        if evaluate and done == 0 and settings.evaluate_first:
            before = validation.measure()
            progress(0, settings.steps, _validation_values(before))
            validation.save_pictures(0)
        for step in range(done, settings.steps):
            finished = step + 1
            row = _train_step(network, compute, batches, settings, parts.optimizer, step)
            if before and step == 0:
                row["evaluation_before"] = before
            parts.update_average()
            stopped, ends = False, finished == settings.steps
            if evaluate and (ends or _due(step, settings.evaluate_every)):
                row["evaluation"] = validation.update()
                stopped = 0 < settings.patience <= validation.waited
                ends = ends or stopped
                if not ends:
                    validation.save_pictures(finished)
            requested = processes.largest_everywhere(requests.take())
            if run:
                run.log(row)
                if ends or requested or _due(step, settings.save_every):
                    run.save(_state_after(finished, parts, validation, stopped=stopped))
            progress(finished, settings.steps, _progress_values(row))
            if ends_training(requested) and not ends:
                end_process(requested)
            if stopped:
                break
    parts.use_average()
    if run:
        if finished > done:
            validation.save_pictures(finished)
        save_checkpoint(_fold(saved_module(network)), run.folder / WEIGHTS)
        if validation.metrics:
            run.save_held_out(validation.metrics, higher_is_better=higher_is_better)
        run.close()
    return validation.metrics


@dataclass
class _Parts(Generic[N]):
    """The parts of a training whose states are in a checkpoint."""

    network: N
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None  # moving average of the weights

    @classmethod
    def create(cls, network: N, settings: TrainingSettings) -> Self:
        """Return the parts of a training from its first step."""
        optimizer = create_optimizer(network, settings)
        if not settings.ema:
            return cls(network, optimizer, None)
        return cls(network, optimizer, AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema)))

    def by_name(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Return the parts by their names in a checkpoint."""
        parts: dict[str, nn.Module | torch.optim.Optimizer] = {"network": self.network, "optimizer": self.optimizer}
        return parts | {"average": self.average} if self.average else parts

    def load(self, state: RunState) -> None:
        """Load the states of a checkpoint."""
        parts = self.by_name()
        for name, part_state in state["parts"].items():
            parts[name].load_state_dict(part_state)

    def averaged_network(self) -> N:
        """Return the network with averaged weights, which is the trained network without an average."""
        return cast("N", self.average.module) if self.average else self.network

    def update_average(self) -> None:
        """Add the weights of the network after a step to their average."""
        if self.average:
            self.average.update_parameters(self.network)

    def use_average(self) -> None:
        """Replace the weights of the network by their average."""
        if self.average:
            self.network.load_state_dict(self.average.module.state_dict())


def _open_run(
    out: Path | None,
    network: nn.Module,
    settings: TrainingSettings,
    inputs: Mapping[str, object],
    describe: Callable[[], None],
) -> RunFolder | None:
    """Open and describe the folder of a run, identified by settings and inputs, or return None without a folder."""
    processes.check_processes(settings.accumulate)
    if out is None:
        return None
    _check_space(out, network)
    identity = {name: value for name, value in asdict(settings).items() if name not in RUNTIME_SETTINGS}
    run = RunFolder(out, {**identity, **inputs}, loggers=settings.loggers)
    describe()
    return run


def _batches(
    batch: Callable[[np.random.Generator], T], settings: TrainingSettings, done: int, device: torch.device
) -> Generator[T]:
    """Yield the batches of the steps after the first `done` ones."""
    numbers = processes.batches_of_process(settings.accumulate)
    indices = ((step, number) for step in range(done, settings.steps) for number in numbers)
    return prefetch(
        batch,
        indices,
        seed=settings.seed,
        workers=settings.workers,
        device=device,
        batches_in_step=settings.accumulate,
    )


def _progress_values(row: LogRow) -> dict[str, float]:
    """Return the losses, the speed and the metrics of a step for the progress callback."""
    speed = {"images/s": row["images"] / max(row["seconds"], 1e-9)} if "images" in row else {}
    return {**row["losses"], **speed, **_validation_values(row.get("evaluation", {}))}


def _check_space(out: Path, network: nn.Module) -> None:
    """Check that the disk has space for the weights, the best weights, and a checkpoint and the one that replaces it.

    A checkpoint contains up to four numbers per weight: itself, its average, and two moments of the optimizer.
    """
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    needed = (4 if (out / CHECKPOINT).exists() else 10) * weights
    folder = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if (free := shutil.disk_usage(folder).free) < needed:
        raise JobError(f"{out}: the run needs {needed / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are free")


@dataclass
class _Validation(Generic[N]):
    """Metrics and pictures of a network (the average of the weights if there is one), and its best weights."""

    network: N
    evaluate: Callable[[N], Mapping[str, float]] | None
    pictures: Callable[[N], Mapping[str, Image]] | None
    higher_is_better: bool
    saved_module: Callable[[N], nn.Module]
    run: RunFolder | None
    best: float | None
    waited: int
    metrics: dict[str, float]

    def measure(self) -> dict[str, float]:
        """Return the metrics of the network."""
        assert self.evaluate is not None
        return {name: float(value) for name, value in _call_in_eval_mode(self.network, self.evaluate).items()}

    def update(self) -> dict[str, float]:
        """Evaluate the network, and save its weights if its first metric is the best one."""
        self.metrics = self.measure()
        metric = next(iter(self.metrics.values()))
        if self.best is None or math.isnan(self.best):
            is_best = self.best is None or not math.isnan(metric)
        else:
            is_best = metric > self.best if self.higher_is_better else metric < self.best
        if is_best:
            self.best, self.waited = metric, 0
            if self.run:
                save_checkpoint(_fold(self.saved_module(self.network)), self.run.folder / BEST)
        else:
            self.waited += 1
        return self.metrics

    def save_pictures(self, step: int) -> None:
        """Save pictures of the network in the folder of the run."""
        if self.run and self.pictures:
            self.run.save_pictures(step, _call_in_eval_mode(self.network, self.pictures))


def _state_after(finished: int, parts: _Parts[N], validation: _Validation[N], *, stopped: bool) -> RunState:
    """Return the state of a run after a number of steps."""
    return {
        "step": finished,
        "stopped": stopped,
        "best": validation.best,
        "waited": validation.waited,
        "evaluation": validation.metrics,
        "parts": {name: part.state_dict() for name, part in parts.by_name().items()},
    }


def _fold(network: nn.Module) -> nn.Module:
    """Return the network for inference, without the layers that were added for training."""
    if not any(isinstance(module, NormedConv | ScaledHead) for module in network.modules()):
        return network
    inference = copy.deepcopy(network).eval()
    fold(inference)
    return inference


def fit(
    request: TrainingRequest,
    network: N,
    batch: Callable[[np.random.Generator], T],
    losses: Callable[[N, T], Mapping[str, Tensor]],
    settings: TrainingSettings,
    *,
    inputs: Mapping[str, object] | None = None,
    folder: str = "",
    evaluate: Callable[[N], Mapping[str, float]] | None = None,
    higher_is_better: bool = False,
    pictures: Callable[[N], Mapping[str, Image]] | None = None,
    saved_module: Callable[[N], nn.Module] = lambda network: network,
    describe: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Train a network of a recipe with `train` in a folder of its run."""
    if request.plan:
        raise plan_training(network, batch, losses, settings, request.plan)
    if request.require_better and not folder and not (evaluate and settings.evaluate_first):
        raise InputError("--require-better requires held-out data that are evaluated before the first step")
    return train(
        network,
        batch,
        losses,
        settings,
        out=request.out / folder,
        progress=request.progress,
        evaluate=evaluate,
        inputs=request.inputs() if inputs is None else inputs,
        higher_is_better=higher_is_better,
        pictures=pictures,
        saved_module=saved_module,
        describe=describe,
    )


def _train_step(
    network: N,
    compute: Callable[[N, T], Mapping[str, Tensor]],
    batches: Iterator[T],
    settings: TrainingSettings,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> LogRow:
    """Take one optimizer step over the losses of its batches."""
    learning_rate = settings.learning_rate * schedule_factor(step, settings)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["factor"]
    optimizer.zero_grad(set_to_none=True)
    weights: list[nn.Parameter] = [weight for group in optimizer.param_groups for weight in group["params"]]
    by_batch: list[Tensor] = []
    names: list[str] = []
    advice = f"try a smaller learning rate than {settings.learning_rate:g}"
    start, waited_s = time.perf_counter(), 0.0
    for number in processes.batches_of_process(settings.accumulate):
        requested = time.perf_counter()
        batch = next(batches)
        waited_s += time.perf_counter() - requested
        torch.manual_seed(seeds_of(settings.seed, step, number)[1])
        with torch.autocast(weights[0].device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            losses = _losses(compute, network, batch)
        values = torch.stack([loss.float() for loss in losses.values()])
        total = values.sum()
        if not math.isfinite(total.item()):
            raise JobError(f"step {step + 1}: the loss is {total.item()}; {advice}")
        (total / settings.accumulate).backward()
        names = list(losses)
        by_batch.append(values.detach())
    processes.add_gradients(weights)
    processes.average_statistics(network)
    layers = _due(step, settings.gradients_every or max(settings.steps // 100, 1)) and layer_gradients(network)
    norm = nn.utils.clip_grad_norm_(weights, settings.clip_norm).item()
    if not math.isfinite(norm):
        raise JobError(f"step {step + 1}: the gradient is {norm}; {advice}")
    optimizer.step()
    means = dict(zip(names, processes.mean_everywhere(torch.stack(by_batch).mean(0)).tolist(), strict=True))
    row: LogRow = {
        "step": step + 1,
        "losses": means,
        "learning_rate": learning_rate,
        "gradient_norm": norm,
        "seconds": time.perf_counter() - start,
        "waited_seconds": waited_s,
    }
    if layers:
        row["layer_gradients"] = layers
    if images := getattr(settings, "batch", 0):
        row["images"] = images * settings.accumulate
    return row


def _losses(compute: Callable[[N, T], Mapping[str, Tensor]], network: N, batch: T) -> Mapping[str, Tensor]:
    try:
        return compute(network, batch)
    except RuntimeError as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise JobError(f"compile=true failed ({reason}); set compile=false") from None
        raise


def _call_in_eval_mode(network: N, compute: Callable[[N], T]) -> T:
    """Call a function with a network in eval mode without gradients, and restore all modes."""
    with modes.eval_mode(network), torch.no_grad():
        return compute(network)


def _validation_values(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics with the prefix that distinguishes them from losses."""
    return {f"validation {name}": value for name, value in metrics.items()}


def _due(step: int, every: int) -> bool:
    return every > 0 and (step + 1) % every == 0


@contextmanager
def _deterministic(network: nn.Module) -> Generator[None]:
    """Use deterministic algorithms where PyTorch has them. Restore the caller's generators and choice at the end."""
    cuda = next(network.parameters()).is_cuda
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if cuda:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, cuBLAS adds in any order
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if cuda else ()):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def layer_gradients(network: nn.Module) -> dict[str, float]:
    """Return the root mean square of the gradient of each layer with a weight matrix or kernel, from the input on."""
    return {
        name.removesuffix(".weight"): weight.grad.norm().item() / math.sqrt(weight.numel())
        for name, weight in network.named_parameters()
        if weight.grad is not None and weight.ndim > 1
    }
