"""Prefetch batches in worker processes.

A batch depends only on the seed of the run and the index of its step. The number of workers and the step at which a run
continues do not change it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter  # pyright: ignore[reportPrivateUsage]

from sonjit._util import InputError, JobError, SonjitError
from sonjit_lab.training.signals import ignore_signals

T = TypeVar("T")

BatchIndex = tuple[int, int]  # index of the step from 0, and index of the batch in the step


def prefetch(
    batch: Callable[[np.random.Generator], T],
    indices: Iterable[BatchIndex],
    *,
    seed: int,
    workers: int,
    device: torch.device,
) -> Generator[T]:
    """Yield the batches of steps in order, on a device; workers are forked where possible, which copies no data."""
    forks = "fork" in multiprocessing.get_all_start_methods()
    workers = min(workers, os.cpu_count() or 1)
    loader = DataLoader(
        _Batches(batch, seed),
        batch_size=None,
        sampler=cast("Any", indices),
        num_workers=workers,
        collate_fn=_identity,
        pin_memory=device.type == "cuda",
        multiprocessing_context=("fork" if forks else "spawn") if workers else None,
        worker_init_fn=ignore_signals,
    )
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)  # a forked process does not have OpenCV's threads but would wait for them
        iterator = iter(loader)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"workers={workers}: its data cannot be pickled ({error}); set workers=0") from None
    finally:
        cv2.setNumThreads(threads)
    try:
        while True:
            try:
                item = next(iterator)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                reason = f"{error.__cause__ or error}; out of memory?"  # the cause names the signal
                raise JobError(f"a worker process was killed ({reason}); set fewer than workers={workers}") from None
            if isinstance(item, SonjitError):
                raise item
            yield to_device(item, device)
    finally:
        # The garbage collector would shut down the workers when the error that ended the run is released.
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            with suppress(RuntimeError):  # of workers whose batches are no longer needed
                iterator._shutdown_workers()  # pyright: ignore[reportPrivateUsage]  # PyTorch has no public function


def seeds_of(seed: int, step: int, number: int) -> tuple[np.random.Generator, int]:
    """Return the generator of a step's batch and the seed of the numbers that its network draws."""
    rng = np.random.default_rng((seed, step, number) if number else (seed, step))
    return rng, int(rng.integers(2**63))


def to_device(value: T, device: torch.device) -> T:
    """Move a batch to a device: a tensor, or tuples, lists and mappings of tensors. Other values stay as they are."""
    return cast("T", _to_device(value, device))


def _to_device(value: Any, device: torch.device) -> Any:  # noqa: ANN401  # any content of a batch
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {name: _to_device(item, device) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_to_device(item, device) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_to_device(item, device) for item in value)
    return value


class _Batches(Dataset[Any]):
    """Batches by their index."""

    def __init__(self, batch: Callable[[np.random.Generator], object], seed: int) -> None:
        self._batch, self._seed = batch, seed

    def __getitem__(self, index: BatchIndex) -> object:
        """Return a batch or a SonjitError; an error raised in a worker would turn its line into a traceback."""
        rng, network_seed = seeds_of(self._seed, *index)
        torch.manual_seed(network_seed ^ 1)  # not the numbers that the network draws
        try:
            return self._batch(rng)
        except SonjitError as error:
            return error


def _identity(value: T) -> T:
    return value
