"""The one training loop: AdamW, a warm start and a cosine to nothing, and checkpoints from which a run goes on exactly.

Whatever is drawn in a step depends on the seed and the step's number alone, so that nothing but weights and the
optimizer's state must be kept.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from sonjit.errors import InputError, JobError
from sonjit.networks import save_checkpoint
from sonjit.training.recipes import no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from sonjit.training.recipes import Progress

T = TypeVar("T")
N = TypeVar("N", bound="nn.Module")

WEIGHTS, CHECKPOINT, LOG, SETTINGS = "weights.safetensors", "checkpoint.pt", "log.jsonl", "settings.json"
"""What stands in a run's folder."""


@dataclass(frozen=True)
class LoopOptions:
    """How to train.

    Attributes:
        steps: of the optimizer.
        rate: learning rate at its highest.
        weight_decay: AdamW's.
        warmup: steps in which the rate rises.
        clip_norm: to which longer gradients are cut.
        seed: of everything that is drawn.
        save_every: steps between checkpoints.
    """

    steps: int = 300
    rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: int = 20
    clip_norm: float = 1.0
    seed: int = 0
    save_every: int = 50

    def __post_init__(self) -> None:
        """Refuse numbers that train nothing."""
        for name in ("steps", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: give at least 1")
        if not (self.rate > 0 and self.clip_norm > 0 and self.weight_decay >= 0 and self.warmup >= 0):
            raise InputError("rate and clip_norm must be above 0, weight_decay and warmup 0 or more")


def train(
    network: N,
    batch: Callable[[np.random.Generator], T],
    losses: Callable[[N, T], Mapping[str, Tensor]],
    options: LoopOptions,
    *,
    out: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
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

    Raises:
        InputError: the folder holds a run with other settings.
        JobError: a loss is no number any more, or the disk refuses.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=options.weight_decay)
    run = None if out is None else _Run(out, {**asdict(options), **(settings or {})})
    done = 0 if run is None else run.restore(network, optimizer)
    devices = range(torch.cuda.device_count()) if next(network.parameters()).is_cuda else ()
    with torch.random.fork_rng(devices):
        for step in range(done, options.steps):
            told = _step(network, batch, losses, options, optimizer, step)
            if run is not None:
                run.log({"step": step + 1, **told})
                if (step + 1) % options.save_every == 0:
                    run.save(network, optimizer, step + 1)
            progress(step + 1, options.steps, told)
    if run is not None:
        run.save(network, optimizer, options.steps)
        save_checkpoint(network, run.folder / WEIGHTS)
    return network


def _step(
    network: N,
    batch: Callable[[np.random.Generator], T],
    losses: Callable[[N, T], Mapping[str, Tensor]],
    options: LoopOptions,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> dict[str, float]:
    """One step; the losses before it."""
    rng = np.random.default_rng((options.seed, step))
    torch.manual_seed(int(rng.integers(2**63)))
    for group in optimizer.param_groups:
        group["lr"] = options.rate * rate_at(step, options)
    optimizer.zero_grad(set_to_none=True)
    parts = losses(network, batch(rng))
    total = torch.stack(list(parts.values())).sum()
    if not math.isfinite(total.item()):
        raise JobError(f"step {step + 1}: the loss is {total.item()}; try a smaller rate than {options.rate:g}")
    total.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm)
    optimizer.step()
    return {name: value.item() for name, value in parts.items()}


def rate_at(step: int, options: LoopOptions) -> float:
    """Part of the highest learning rate in a step: a straight rise, then half a cosine.

    >>> [round(rate_at(step, LoopOptions(steps=9, warmup=4)), 2) for step in range(9)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.9, 0.65, 0.35, 0.1]
    """
    if step < options.warmup:
        return (step + 1) / options.warmup
    passed = (step - options.warmup) / max(options.steps - options.warmup, 1)
    return (1 + math.cos(math.pi * passed)) / 2


class _Run:
    """A run's folder."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / SETTINGS
            if file.exists() and file.read_text("utf-8") != text:
                raise InputError(f"{folder}: holds a run with other settings ({SETTINGS}); give another folder")
            file.write_text(text, "utf-8")
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror}") from None

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Take up the last checkpoint, if there is one; how many steps are done."""
        file = self.folder / CHECKPOINT
        kept: list[str] = []
        done = 0
        if file.exists():
            try:
                state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            except Exception as error:  # torch's reader fails in any way on what is damaged
                raise InputError(
                    f"{file}: a damaged checkpoint ({type(error).__name__}); remove it to begin anew"
                ) from None
            done = int(state["step"])
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            kept = (self.folder / LOG).read_text("utf-8").splitlines(keepends=True)[:done]
        (self.folder / LOG).write_text("".join(kept), "utf-8")
        return done

    def log(self, line: Mapping[str, float]) -> None:
        """Add one line of JSON to the log."""
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, done: int) -> None:
        """Write a checkpoint; the one before stays until this one is whole."""
        file = self.folder / CHECKPOINT
        draft = file.with_suffix(".part")
        try:
            torch.save({"step": done, "network": network.state_dict(), "optimizer": optimizer.state_dict()}, draft)
            draft.replace(file)
        except (OSError, RuntimeError) as error:
            draft.unlink(missing_ok=True)
            raise JobError(f"writing {file} failed: {error}") from None
