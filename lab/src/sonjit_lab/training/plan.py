"""Estimate time, memory and disk of a training from one step with a small batch, without writing a run."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from sonjit_lab.training.batches import seeds_of, to_device
from sonjit_lab.training.settings import TrainingSettings

T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)
PLANNED_BATCH: Final = 2
"""Number of examples of the step that is measured."""
_USED: Final = 0.35  # share of the peak that trainings of convolutional networks reach
_GPUS: Final[Mapping[str, tuple[float, float]]] = {
    "T4": (8.1, 65.0),
    "RTX 3090": (35.6, 71.0),
    "RTX 4090": (82.6, 165.0),
    "A100": (19.5, 312.0),
    "H100": (67.0, 989.0),
}
"""Peak of GPUs in TFLOPS with 32 and 16 bits, as their makers state it."""
_MOMENTS: Final = {"sgd": 0, "momentum": 1, "nesterov": 1, "adagrad": 1, "rmsprop": 1, "adam": 2, "adamw": 2}


@dataclass(frozen=True)
class Plan(Exception):  # noqa: N818  # ends a training before its first step
    """Estimate of a training.

    Attributes:
        steps: Number of optimizer steps.
        batch: Number of examples in a step.
        flops: Floating point operations of a step, forwards and backwards.
        memory_bytes: Memory of the device: weights, gradients, moments and what the backward pass reads.
        disk_bytes: Disk of the run.
        batch_seconds: Time in which one process makes the batch of a step.
        workers: Number of those processes.
        precision: Number format, f32 or bf16.
    """

    steps: int
    batch: int
    flops: float
    memory_bytes: float
    disk_bytes: float
    batch_seconds: float
    workers: int
    precision: str

    def __str__(self) -> str:
        """Return the plan as lines of text."""
        half = self.precision == "bf16"
        hours = {name: self.steps * self.flops / (_USED * peak[half] * 1e12) / 3600 for name, peak in _GPUS.items()}
        reading = self.steps * self.batch_seconds / max(self.workers, 1) / 3600
        return "\n".join([
            f"steps: {self.steps:,} of {self.batch} examples, {self.steps * self.batch:,} examples in all",
            f"computation: {self.flops / 1e12:.3g} TFLOP a step",
            *(f"hours on one {name}: {value:.3g}" for name, value in hours.items()),
            f"hours to read and augment with {max(self.workers, 1)} processes here: {reading:.3g}",
            f"memory of the device: {self.memory_bytes / 1e9:.3g} GB",
            f"disk: {self.disk_bytes / 1e9:.3g} GB",
            f"Hours of GPUs assume {_USED:.0%} of their stated peak; the larger of both times counts.",
        ])  # fmt: skip


def plan_training(
    network: N,
    batch: Callable[[np.random.Generator], T],
    losses: Callable[[N, T], Mapping[str, Tensor]],
    settings: TrainingSettings,
    planned_batch: int,
) -> Plan:
    """Return the plan of a training, from one step with the batch of the settings, scaled to the planned batch."""
    size = getattr(settings, "batch", planned_batch)
    scale = planned_batch / size * settings.accumulate
    start = time.perf_counter()
    item = to_device(batch(seeds_of(settings.seed, 0, 0)[0]), next(network.parameters()).device)
    seconds = time.perf_counter() - start
    saved: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return value

    weights = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in network.parameters()}
    with FlopCounterMode(display=False) as counter:
        with saved_tensors_hooks(pack, lambda value: value):
            total = torch.stack([value.float() for value in losses(network, item).values()]).sum()
        total.backward()
    activations = sum(count for place, count in saved.items() if place not in weights)
    own = sum(weights.values())
    copies = 2 + _MOMENTS[settings.optimizer] + bool(settings.ema)
    half = 0.5 if settings.precision == "bf16" else 1.0
    return Plan(
        steps=settings.steps,
        batch=planned_batch * settings.accumulate,
        flops=counter.get_total_flops() * scale,
        memory_bytes=copies * own + half * activations * planned_batch / size,
        disk_bytes=10 * own,
        batch_seconds=seconds * scale,
        workers=settings.workers,
        precision=settings.precision,
    )
