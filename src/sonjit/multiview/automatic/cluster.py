"""Who does the chunks of a job: this process, a pool of processes here, or Ray on a cluster.

A function is called with plain arguments and gives a plain result; what it shares with others is the disk.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sonjit.errors import InputError, JobError, SonjitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
Workers = Literal["pool", "ray"]


def run_all(
    function: Callable[..., T], calls: Sequence[tuple[Any, ...]], *, jobs: int = 1, workers: Workers = "pool"
) -> Iterator[T]:
    """Do all calls; gives results as they are finished, in any order.

    Args:
        function: a module's own function.
        calls: the arguments of each.
        jobs: processes of a pool; 1 does them here. Ray takes as many as the cluster has.
        workers: `pool`, or `ray` on the cluster that `ray start` or RAY_ADDRESS names.

    Raises:
        InputError: fewer than one process, or Ray is not installed.
        JobError: a worker was ended from outside.
    """
    if jobs < 1:
        raise InputError(f"--jobs {jobs}: give at least 1")
    if workers == "ray":
        yield from _on_ray(function, calls)
    elif jobs == 1 or len(calls) < 2:
        for call in calls:
            yield function(*call)
    else:
        yield from _in_pool(function, calls, jobs)


def _in_pool(function: Callable[..., T], calls: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[T]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(calls)), mp_context=context, initializer=_begin)
    try:
        for future in as_completed([pool.submit(_attempt, function, call) for call in calls]):
            yield _result(future.result())
    except BrokenProcessPool:
        raise JobError("a worker process was ended from outside (out of memory?); run it again to go on") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _on_ray(function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[T]:
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise InputError("--workers ray: Ray is not installed; pip install ray, or leave --workers out") from None
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    remote = ray.remote(num_cpus=1)(_attempt)
    waiting: list[Any] = [remote.remote(function, call) for call in calls]
    while waiting:
        done, waiting = ray.wait(waiting)
        for one in done:
            yield _result(ray.get(one))


def _attempt(function: Callable[..., T], call: tuple[Any, ...]) -> T | SonjitError:
    """One call; what failed is a result, of a kind that comes through the border between processes."""
    try:
        return function(*call)
    except InputError as error:
        return InputError(str(error))
    except SonjitError as error:
        return JobError(str(error))


def _result(result: T | SonjitError) -> T:
    if isinstance(result, SonjitError):
        raise result
    return result


def _begin() -> None:
    """Ctrl-C is for the parent; where the parent is gone, nobody waits for this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
