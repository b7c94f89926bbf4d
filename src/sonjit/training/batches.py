"""Batches made ahead of the network by worker processes, as `torch.utils.data` runs them.

A batch follows from the run's seed and the number of its step alone: however many workers make them, and wherever a
run goes on, the batches are the same.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter  # pyright: ignore[reportPrivateUsage]

from sonjit.errors import InputError, JobError, SonjitError

T = TypeVar("T")

Place = tuple[int, int]
"""A step from 0, and which of its batches."""


def made_ahead(
    batch: Callable[[np.random.Generator], T],
    places: Iterable[Place],
    *,
    seed: int,
    workers: int,
    device: torch.device,
) -> Generator[T]:
    """The batches of steps, in order, on a device.

    Workers are forked where the system can, so that a data set is not copied; elsewhere they are started anew, and
    `batch` is pickled.

    Args:
        batch: makes one, with tensors on the CPU.
        places: of the batches.
        seed: of the run.
        workers: processes, of which each has two batches ready; 0 makes each batch when it is asked for. There are
            never more of them than cores.
        device: to which tensors are moved.

    Raises:
        InputError: `batch` cannot be given to processes that are started anew.
        JobError: a worker was ended from outside.
        SonjitError: whatever `batch` raises.
    """
    forks = "fork" in multiprocessing.get_all_start_methods()
    workers = min(workers, os.cpu_count() or 1)
    loader = DataLoader(
        _Batches(batch, seed),
        batch_size=None,
        sampler=cast("Any", places),
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=device.type == "cuda",
        multiprocessing_context=("fork" if forks else "spawn") if workers else None,
    )
    try:
        with _one_thread_of_opencv():
            drawn = iter(loader)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"workers={workers}: they cannot be sent this recipe's data ({error}); set 0") from None
    try:
        while True:
            try:
                one = next(drawn)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise JobError(
                    f"a process that makes batches was ended from outside ({error}; out of memory?); set fewer than "
                    f"workers={workers}"
                ) from None
            if isinstance(one, SonjitError):
                raise one
            yield moved(one, device)
    finally:
        _end_workers(drawn)


def seeds_of(seed: int, step: int, number: int) -> tuple[np.random.Generator, int]:
    """The generator of a step's batch, and the seed of what its network draws.

    Args:
        seed: of the run.
        step: from 0.
        number: of the batch among those of the step.
    """
    rng = np.random.default_rng((seed, step, number) if number else (seed, step))
    return rng, int(rng.integers(2**63))


def moved(value: T, device: torch.device) -> T:
    """A batch on a device: a tensor, or tuples, lists and mappings of tensors; all else stays as it is."""
    return cast("T", _moved(value, device))


def _moved(value: Any, device: torch.device) -> Any:  # noqa: ANN401  # whatever a batch holds
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {name: _moved(one, device) for name, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(one, device) for one in value))
    if isinstance(value, list | tuple):
        return type(value)(_moved(one, device) for one in value)
    return value


class _Batches(Dataset[Any], Generic[T]):
    """Batches by their place."""

    def __init__(self, batch: Callable[[np.random.Generator], T], seed: int) -> None:
        self._batch, self._seed = batch, seed

    def __getitem__(self, place: Place) -> T | SonjitError:
        """An error of Sonjit's is given, not raised: on its way from a worker its line would become a traceback."""
        rng, network_seed = seeds_of(self._seed, *place)
        torch.manual_seed(network_seed ^ 1)  # not the numbers that the network draws
        try:
            return self._batch(rng)
        except SonjitError as error:
            return error


def _end_workers(drawn: object) -> None:
    """End them now: left to the garbage collector they live as long as the error that ended the run is kept.

    What becomes of a worker whose batches are no longer wanted is no error.
    """
    if isinstance(drawn, _MultiProcessingDataLoaderIter):
        with suppress(RuntimeError):
            drawn._shutdown_workers()  # pyright: ignore[reportPrivateUsage]  # PyTorch has no public way


def _as_it_is(value: T) -> T:
    return value


@contextmanager
def _one_thread_of_opencv() -> Generator[None]:
    """Without the threads of OpenCV's pool, which a forked process would wait for though it has not got them."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
