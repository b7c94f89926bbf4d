"""Prefetch batches in worker processes.

A batch depends only on the seed of the run and the index of its step. The number of workers and the step at which a run
continues do not change it. Examples are those of shuffled epochs, in each of which every example is used once.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sonjit._util import InputError, IntArray, JobError, SonjitError
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
    batches_in_step: int = 1,
) -> Generator[T]:
    """Yield the batches of steps in order, on a device; workers are forked where possible, which copies no data."""
    forks = "fork" in multiprocessing.get_all_start_methods()
    workers = min(workers, os.cpu_count() or 1)
    loader = DataLoader(
        _Batches(batch, seed, batches_in_step),
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
                error.__traceback__ = None  # it would keep the iterator, and with it the other workers
                raise JobError(f"a worker process was killed ({reason}); set fewer than workers={workers}") from None
            if isinstance(item, SonjitError):
                raise item
            yield to_device(item, device)
    finally:
        del iterator  # which ends its workers


class BatchGenerator(np.random.Generator):
    """Random numbers of a batch that know which batch of the run it is; those that are spawned from it do not."""

    seed = 0
    index: int | None = None  # of the batch in the run


def epoch_indices(rng: np.random.Generator, length: int, count: int, *, first: int | None = None) -> IntArray:
    """Return the indices (count,) of a batch's examples: the next ones of shuffled epochs of `length` examples.

    Args:
        rng: Generator that the training loop gives to a batch. Another one draws without a shuffled order.
        length: Number of examples, at least 1.
        count: Number of examples in the batch.
        first: Number of examples in all batches before. Default: `count` each.

    >>> rngs = [seeds_of(0, step, 0)[0] for step in range(3)]
    >>> sorted(np.concatenate([epoch_indices(rng, 6, 2) for rng in rngs]).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    if not isinstance(rng, BatchGenerator) or rng.index is None:
        return np.asarray(rng.integers(length, size=count), np.int64)
    places = np.arange(count) + (rng.index * count if first is None else first)
    return np.array([_order_of_epoch(rng.seed, place // length, length)[place % length] for place in places], np.int64)


@lru_cache(maxsize=4)
def _order_of_epoch(seed: int, epoch: int, length: int) -> IntArray:
    return np.random.default_rng((seed, epoch, length, 1)).permutation(length)


def seeds_of(seed: int, step: int, number: int, batches_in_step: int = 1) -> tuple[BatchGenerator, int]:
    """Return the generator of a step's batch and the seed of the numbers that its network draws."""
    rng = BatchGenerator(np.random.PCG64((seed, step, number) if number else (seed, step)))
    rng.seed, rng.index = seed, step * batches_in_step + number
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

    def __init__(self, batch: Callable[[np.random.Generator], object], seed: int, batches_in_step: int) -> None:
        self._batch, self._seed, self._batches_in_step = batch, seed, batches_in_step

    def __getitem__(self, index: BatchIndex) -> object:
        """Return a batch or a SonjitError; an error raised in a worker would turn its line into a traceback."""
        rng, network_seed = seeds_of(self._seed, *index, self._batches_in_step)
        torch.manual_seed(network_seed ^ 1)  # not the numbers that the network draws
        try:
            return self._batch(rng)
        except SonjitError as error:
            return error


def _identity(value: T) -> T:
    return value
