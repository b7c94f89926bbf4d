"""Several processes, on one machine or more, as `torchrun` starts them: PyTorch's DistributedDataParallel.

`torchrun --nproc-per-node 2 -m sonjit train cam --out runs/cam` trains with two. Each process draws batches of its own;
gradients are averaged, so that every network stays the same. The first process alone writes.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sonjit.errors import InputError

T = TypeVar("T")


@contextmanager
def processes(device: str = "cpu") -> Generator[str]:
    """Join the processes that torchrun started, where it did.

    Args:
        device: that was asked for; of several GPUs, each process takes its own.

    Yields:
        The device of this process.

    Raises:
        InputError: more processes than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield device
        return
    if device == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise InputError(f"{torch.cuda.device_count()} GPUs for process {local + 1}: give fewer --nproc-per-node")
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """This process' number, from 0, which is the one that writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def share_of(accumulate: int) -> tuple[Sequence[int], int]:
    """The batches of a step that are this process's, and how many there are; at least one for each process.

    Raises:
        InputError: they cannot be shared evenly.
    """
    count = distributed.get_world_size() if distributed.is_initialized() else 1
    total = max(accumulate, count)
    if total % count:
        raise InputError(f"accumulate={accumulate}: give a multiple of the {count} processes")
    return range(rank(), total, count), total


def synchronised(module: nn.Module) -> nn.Module:
    """A module whose gradients are averaged over all processes; it starts with the first process's weights."""
    if not distributed.is_initialized():
        return module
    return DistributedDataParallel(module, find_unused_parameters=True)


def without_sync(module: nn.Module) -> AbstractContextManager[None]:
    """A context in which the gradients of a `synchronised` module are accumulated and not yet averaged."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def broadcast(value: T) -> T:
    """The first process's value, in all of them."""
    if not distributed.is_initialized():
        return value
    values: list[T] = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def mean_over_all(values: Tensor) -> Tensor:
    """The mean over all processes."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
        values /= distributed.get_world_size()
    return values
