"""Many calls of one function: in this process, in a pool of processes, or on a cluster with Ray.

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
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple

from sonjit.errors import InputError, JobError, SonjitError
from sonjit.extensions import Known

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")
Workers = Literal["pool", "ray"]


def run_calls(
    function: Callable[[*Arguments], Result],
    calls: Sequence[tuple[*Arguments]],
    *,
    jobs: int = 1,
    workers: Workers = "pool",
    ordered: bool = False,
) -> Generator[tuple[int, Result]]:
    """Call a function with each of many arguments; gives each call's number and result as soon as it is there.

    Ctrl-C while waiting lets the calls under way finish and starts no more. Workers know the kinds, formats and other
    extensions that this process knows.

    Args:
        function: a module's own function. An error of Sonjit's ends the run; any call that may fail alone returns its
            error instead.
        calls: the arguments of each call.
        jobs: processes of a pool; 1 calls here. Ray takes as many as the cluster has.
        workers: `pool`, or `ray` on the cluster that `ray start` or RAY_ADDRESS names.
        ordered: give the results in the order of the calls.

    Raises:
        InputError: fewer than one process, Ray is not installed, or workers cannot know what the program registered.
        JobError: a worker was ended from outside, or cannot import an extension.
    """
    if jobs < 1:
        raise InputError(f"--jobs {jobs}: give at least 1")
    if workers == "ray":
        yield from _on_ray(function, calls, ordered)
    elif jobs == 1 or len(calls) < 2:
        for number, call in enumerate(calls):
            yield number, function(*call)
    else:
        yield from _in_pool(function, calls, jobs, ordered)


def _in_pool(
    function: Callable[[*Arguments], Result], calls: Sequence[tuple[*Arguments]], jobs: int, ordered: bool
) -> Generator[tuple[int, Result]]:
    known = Known.here(shares_main=True)
    context = multiprocessing.get_context("spawn")  # a fork would copy running threads half, and share OpenGL
    pool = ProcessPoolExecutor(min(jobs, len(calls)), mp_context=context, initializer=_begin)
    try:
        numbers = {pool.submit(_attempt, known, function, call): number for number, call in enumerate(calls)}
        for future in numbers if ordered else as_completed(numbers):
            yield numbers[future], _result(future.result())
    except BrokenProcessPool:
        raise JobError(
            "a worker process was ended from outside (out of memory?); run it again with fewer --jobs to go on"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _on_ray(
    function: Callable[[*Arguments], Result], calls: Sequence[tuple[*Arguments]], ordered: bool
) -> Generator[tuple[int, Result]]:
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise InputError("--workers ray: Ray is not installed; pip install ray, or leave --workers out") from None
    known = Known.here(shares_main=False)
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    remote = ray.remote(num_cpus=1)(_attempt)
    numbers = {remote.remote(known, function, call): number for number, call in enumerate(calls)}
    waiting = list(numbers)
    while waiting:
        done, waiting = ([waiting[0]], waiting[1:]) if ordered else ray.wait(waiting)
        for one in done:
            yield numbers[one], _result(ray.get(one))


@dataclass(frozen=True)
class _Failure:
    """What ended a call: an error of a kind that comes through the border between processes."""

    error: SonjitError


def _attempt(known: Known, function: Callable[[*Arguments], Result], call: tuple[*Arguments]) -> Result | _Failure:
    try:
        known.load()
        return function(*call)
    except InputError as error:
        return _Failure(InputError(str(error)))
    except SonjitError as error:
        return _Failure(JobError(str(error)))


def _result(result: Result | _Failure) -> Result:
    if isinstance(result, _Failure):
        raise result.error
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
