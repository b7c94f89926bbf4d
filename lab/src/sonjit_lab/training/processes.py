"""Share the batches of each step among the processes of `torchrun`.

Each process computes the gradients of some of the `accumulate` batches of a step. Their sums are those of one process,
so the number of processes does not change a training, apart from rounding and the running statistics of batch norms,
which are averaged. The first process writes the run; the others write into temporary folders.
"""

import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from sonjit._util import InputError
from sonjit_lab.training.recipes import TrainingRequest, no_progress

_T = TypeVar("_T")


@contextmanager
def joined(request: TrainingRequest) -> Generator[TrainingRequest]:
    """Join the processes of `torchrun`, and yield the request of this one; without `torchrun`, the request as it is."""
    if _requested() == 1:
        yield request
        return
    is_cuda = request.device.startswith(("cuda", "gpu"))
    if is_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if is_cuda else "gloo")
    try:
        if distributed.get_rank() == 0:
            yield request
            return
        with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            request_of_process = replace(request, out=Path(folder) / "run", progress=no_progress)
            with redirect_stdout(nowhere), redirect_stderr(nowhere):
                yield request_of_process
    finally:
        distributed.destroy_process_group()


def check_processes(accumulate: int) -> None:
    """Refuse batches that the processes cannot share equally, and processes that were not joined."""
    count = _requested()
    if count > 1 and not _is_joined():
        raise InputError(f"WORLD_SIZE={count}: start such a training with torchrun -m sonjit train, or in one process")
    if accumulate % process_count():
        raise InputError(
            f"{count} processes share the batches of each step: set accumulate={count}, or a multiple, and a batch "
            f"that is {count} times smaller"
        )


def process_count() -> int:
    """Return the number of processes that share a training."""
    return distributed.get_world_size() if _is_joined() else 1


def batches_of_process(accumulate: int) -> range:
    """Return the numbers of the batches of a step that this process computes."""
    return range(distributed.get_rank() if _is_joined() else 0, accumulate, process_count())


def same_everywhere(network: nn.Module, state: _T) -> _T:
    """Return the first process's state, and give its weights to the network of each process."""
    if not _is_joined():
        return state
    for value in network.state_dict().values():
        distributed.broadcast(value, 0)
    states: list[_T] = [state]
    distributed.broadcast_object_list(states, 0)
    return states[0]


def add_gradients(weights: Sequence[nn.Parameter]) -> None:
    """Replace the gradients of weights by their sums over all processes; those that no process has stay None."""
    if not _is_joined() or not weights:
        return
    has_gradient = torch.tensor(
        [weight.grad is not None for weight in weights], dtype=torch.uint8, device=weights[0].device
    )
    distributed.all_reduce(has_gradient, distributed.ReduceOp.MAX)
    for weight, is_known in zip(weights, has_gradient.tolist(), strict=True):
        if is_known:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad.contiguous()
            distributed.all_reduce(weight.grad)


def average_statistics(network: nn.Module) -> None:
    """Average the running statistics of batch norms over all processes."""
    if not _is_joined():
        return
    for values in network.buffers():
        if values.is_floating_point():
            distributed.all_reduce(values)
            values /= process_count()


def mean_everywhere(values: Tensor) -> Tensor:
    """Return the mean of values over all processes."""
    if _is_joined():
        distributed.all_reduce(values)
    return values / process_count()


def largest_everywhere(value: int) -> int:
    """Return the largest value of all processes."""
    if not _is_joined():
        return value
    shared = torch.tensor(value, device="cuda" if distributed.get_backend() == "nccl" else "cpu")
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return int(shared.item())


def _is_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _requested() -> int:
    """Return the number of processes that `torchrun` started."""
    return int(os.environ.get("WORLD_SIZE") or 1) if "LOCAL_RANK" in os.environ else 1
