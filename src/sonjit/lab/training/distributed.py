"""Train in several processes that `torchrun` starts on one or more machines, with DistributedDataParallel.

`torchrun --nproc-per-node 2 -m sonjit train cam --out runs/cam` trains with two processes. Each process draws its own
batches. Gradients are averaged, so that every network stays the same. Only the first process writes files.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sonjit._util.errors import InputError

T = TypeVar("T")


@contextmanager
def processes(device: str = "cpu") -> Generator[str]:
    """Join the process group if torchrun started this process.

    Args:
        device: Requested device. With several GPUs, each process takes its own.

    Yields:
        The device of this process.

    Raises:
        InputError: There are more processes than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield device
        return
    if device == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise InputError(
                f"--nproc-per-node starts process {local + 1}, but there are {torch.cuda.device_count()} GPUs; "
                "set a smaller --nproc-per-node"
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Return the index of this process; process 0 writes the files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def own_batch_indices(accumulate: int) -> tuple[Sequence[int], int]:
    """Return the indices of this process's batches in a step, and the total number of batches, at least one a process.

    Raises:
        InputError: The batches cannot be divided evenly.
    """
    count = distributed.get_world_size() if distributed.is_initialized() else 1
    total = max(accumulate, count)
    if total % count:
        raise InputError(f"accumulate={accumulate}: must be a multiple of {count}, the number of processes")
    return range(rank(), total, count), total


def synchronise(module: nn.Module, *, find_unused: bool = False) -> nn.Module:
    """Return a module whose gradients are averaged over all processes, with the weights of the first process.

    Args:
        module: Network with its losses.
        find_unused: True to search the weights without a gradient in every step. Otherwise, such weights are an error.
    """
    if not distributed.is_initialized():
        return module
    return DistributedDataParallel(module, find_unused_parameters=find_unused)


def no_sync(module: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which the gradients of a `synchronise` module accumulate without being averaged."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def broadcast(value: T) -> T:
    """Return the first process's value in all processes."""
    if not distributed.is_initialized():
        return value
    values: list[T] = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def max_over_processes(value: int, device: torch.device) -> int:
    """Return the maximum of a value over all processes."""
    if not distributed.is_initialized():
        return value
    values = torch.tensor(value, device=device)
    distributed.all_reduce(values, distributed.ReduceOp.MAX)
    return int(values.item())


def mean_over_processes(values: Tensor) -> Tensor:
    """Return the mean over all processes."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
        values /= distributed.get_world_size()
    return values
