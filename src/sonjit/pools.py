"""Many calls of one function: in this process, in a pool of processes, or on a cluster with Ray.

A function is called with plain arguments and gives a plain result; what it shares with others is the disk.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar, TypeVarTuple

from sonjit._version import __version__
from sonjit.errors import InputError, JobError, MissingExtraError, SonjitError
from sonjit.extensions import Known

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

_AHEAD: Final = 4
"""Calls given to the workers for each core, so that none waits for its next, and a million calls are few tasks."""

_RETRIES: Final = 3
"""How often Ray does a call again whose process or machine was lost."""

_CONNECT_S: Final = 10.0

_THREADS: Final = ("SONJIT_THREADS", "OPENCV_FOR_THREADS_NUM")
"""Of the environment: how many threads a network takes, and OpenCV, which reads it as it is imported."""


def check_workers(workers: str, jobs: int) -> None:
    """Refuse what `run_calls` could not do, before any work.

    Args:
        workers: `pool`, `ray` or `ray:ADDRESS`.
        jobs: processes of a pool.

    Raises:
        InputError: fewer than one process, unknown workers, or a number of processes on a cluster.
        MissingExtraError: Ray is not installed.
    """
    if jobs < 1:
        raise InputError(f"--jobs {jobs}: give at least 1")
    name, _, address = workers.partition(":")
    if name not in ("pool", "ray") or (name == "pool" and address) or workers == "ray:":
        raise InputError(f"--workers {workers}: give pool, ray, or ray:ADDRESS such as ray:10.0.0.1:6379")
    if name == "ray":
        if jobs > 1:
            raise InputError(f"--jobs {jobs} with --workers {workers}: Ray takes all cores there are; leave one out")
        _ray()


def run_calls(
    function: Callable[[*Arguments], Result],
    calls: Sequence[tuple[*Arguments]],
    *,
    jobs: int = 1,
    workers: str = "pool",
) -> Generator[tuple[int, Result]]:
    """Call a function with each of many arguments; gives each call's number and result as soon as it is there.

    Ctrl-C while waiting starts no more calls, gives the results of those that still finish, and is raised then. A pool
    finishes the calls under way; on Ray they see the interrupt themselves. Workers know the kinds, formats and other
    extensions that this process knows. Ray's see the same files under the same paths, and start from this process's
    folder; a call whose process or machine is lost is done again.

    Args:
        function: a module's own function. An error of Sonjit's ends the run; any call that may fail alone returns its
            error instead.
        calls: the arguments of each call.
        jobs: processes of a pool; 1 calls here.
        workers: `pool`; `ray` for the cluster of RAY_ADDRESS or of this machine; or `ray:ADDRESS`, as `ray start` says.

    Raises:
        InputError: see `check_workers`; no cluster at the address; workers cannot know what the program registered.
        JobError: a worker was ended from outside, cannot import an extension, or does not see the folder.
    """
    check_workers(workers, jobs)
    if workers != "pool" and calls:
        yield from _on_ray(function, calls, workers.partition(":")[2])
    elif jobs == 1 or len(calls) < 2:
        for number, call in enumerate(calls):
            yield number, function(*call)
    else:
        yield from _in_pool(function, calls, jobs)


def _in_pool(
    function: Callable[[*Arguments], Result], calls: Sequence[tuple[*Arguments]], jobs: int
) -> Generator[tuple[int, Result]]:
    known = Known.here(shares_main=True)
    context = multiprocessing.get_context("spawn")  # a fork would copy running threads half, and share OpenGL
    count = min(jobs, len(calls))
    threads = max(1, (os.cpu_count() or 1) // count)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(threads,))

    def start(call: tuple[*Arguments]) -> Future[Result | _Failure]:
        with _interrupts_held():
            return pool.submit(_attempt, known, function, call)

    try:
        yield from _Window(start, lambda: _AHEAD * jobs, Future.cancel).run(calls)
    except BrokenProcessPool:
        raise JobError(
            "a worker process was ended from outside (out of memory?); run it again with fewer --jobs to go on"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held() -> Generator[None]:
    """Processes that start inside do not see Ctrl-C before they ignore it, and this one sees it only afterwards."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its own start would unblock the signal
    came = list[int]()
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _on_ray(
    function: Callable[[*Arguments], Result], calls: Sequence[tuple[*Arguments]], address: str
) -> Generator[tuple[int, Result]]:
    ray, known = _ray(), Known.here(shares_main=False)
    begun = _Beginning.here()
    references: dict[Future[Result | _Failure], Any] = {}

    def start(call: tuple[*Arguments]) -> Future[Result | _Failure]:
        reference = remote.remote(begun, known, function, call)
        future: Future[Result | _Failure] = reference.future()
        references[future] = reference
        future.add_done_callback(lambda done: references.pop(done, None))
        return future

    def cancel(future: Future[Result | _Failure]) -> None:
        if reference := references.get(future):
            ray.cancel(reference)

    with _connected(ray, address):
        remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(_attempt_on_ray)
        try:
            yield from _Window(start, _Cores(ray).ahead, cancel).run(calls)
        except ray.exceptions.RayTaskError:
            raise  # an error of the function's own
        except ray.exceptions.RayError as error:
            raise JobError(
                f"--workers ray: a call was lost {_RETRIES + 1} times, with its process or machine (out of memory?); "
                f"run it again to go on ({type(error).__name__})"
            ) from None


class _Cores:
    """How many calls a cluster is given; asked for again as machines come and go."""

    def __init__(self, ray: Any) -> None:  # noqa: ANN401
        self._ray, self._ahead, self._until = ray, 0, 0.0

    def ahead(self) -> int:
        """For all its cores."""
        if time.monotonic() > self._until:
            self._ahead = _AHEAD * max(1, int(self._ray.cluster_resources().get("CPU", 1)))
            self._until = time.monotonic() + 5
        return self._ahead


def _ray() -> Any:  # noqa: ANN401  # it has no stubs
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise MissingExtraError("--workers ray", "ray") from None


@contextmanager
def _connected(ray: Any, address: str) -> Generator[None]:  # noqa: ANN401
    """A connection to the cluster for a block; one that the program has made already stays."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        _check_port(address, host, int(port))  # Ray would try for two minutes, and say so many times
    elif address not in ("", "auto", "local"):
        raise InputError(f"--workers ray:{address}: not an address such as 10.0.0.1:6379, which ray start prints")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that this call starts reports to nobody
    try:
        dashboard = {} if address else {"include_dashboard": False}
        ray.init(address or None, log_to_driver=False, logging_level="ERROR", **dashboard)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"--workers ray: no cluster at {address or 'this machine'}: {reason}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_port(address: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--workers ray:{address}: no cluster answers there ({error}); ray start --head prints its address"
        ) from None


_Call = TypeVar("_Call")


class _Window(Generic[_Call, Result]):
    """Calls under way, of which there are only so many at a time."""

    def __init__(
        self,
        start: Callable[[_Call], Future[Result | _Failure]],
        most: Callable[[], int],
        cancel: Callable[[Future[Result | _Failure]], object],
    ) -> None:
        self._start, self._most, self._cancel = start, most, cancel
        self._numbers: dict[Future[Result | _Failure], int] = {}
        self._done: queue.SimpleQueue[Future[Result | _Failure]] = queue.SimpleQueue()

    def run(self, calls: Sequence[_Call]) -> Generator[tuple[int, Result]]:
        """Each call's number and result; see `run_calls` for Ctrl-C."""
        left = iter(enumerate(calls))
        try:
            while self._fill(left):
                yield self._next()
        except KeyboardInterrupt:
            yield from self._finish()
            raise
        finally:
            for future in list(self._numbers):
                self._cancel(future)

    def _fill(self, left: Iterator[tuple[int, _Call]]) -> bool:
        """Start as many as there is room for; whether any is under way."""
        for number, call in islice(left, max(0, self._most() - len(self._numbers))):
            future = self._start(call)
            self._numbers[future] = number
            future.add_done_callback(self._done.put)
        return bool(self._numbers)

    def _next(self) -> tuple[int, Result]:
        future = self._done.get()
        result = future.result()
        if isinstance(result, _Failure):
            raise result.error
        return self._numbers.pop(future), result

    def _finish(self) -> Generator[tuple[int, Result]]:
        """What still finishes once the rest is cancelled; a stop may have come with a result taken from the queue."""
        for future in list(self._numbers):
            self._cancel(future)
        while self._numbers:
            future, number = self._numbers.popitem()
            if future.cancelled() or future.exception() is not None:
                continue
            result = future.result()
            if not isinstance(result, _Failure):
                yield number, result


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


@dataclass(frozen=True)
class _Beginning:
    """What a worker on another machine needs to read relative paths, and to work as this process does.

    Attributes:
        folder: that paths are relative to.
        variables: of the environment.
        version: of Sonjit.
    """

    folder: str
    variables: Mapping[str, str]
    version: str

    @classmethod
    def here(cls) -> Self:
        """Of this process; a worker is one core, and takes one thread."""
        own = {name: value for name, value in os.environ.items() if name.startswith("SONJIT_")}
        return cls(str(Path.cwd()), dict.fromkeys(_THREADS, "1") | own, __version__)

    def begin(self) -> None:
        """Take it over.

        Raises:
            JobError: the folder is not there, or another version of Sonjit is.
        """
        if self.version != __version__:
            raise JobError(f"Sonjit {__version__} on {socket.gethostname()}, {self.version} here: install the same")
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise JobError(
                f"{self.folder} on {socket.gethostname()}: {error.strerror}; "
                "all machines of the cluster must see the files under the same path"
            ) from None
        os.environ.update(self.variables)


def _attempt_on_ray(
    begun: _Beginning, known: Known, function: Callable[[*Arguments], Result], call: tuple[*Arguments]
) -> Result | _Failure:
    try:
        begun.begin()
    except JobError as error:
        return _Failure(error)
    return _attempt(known, function, call)


def _begin(threads: int) -> None:
    """Ctrl-C is for the parent; where the parent is gone, nobody waits for this process.

    Networks and OpenCV take so many threads where the user has not said how many: workers that each take all cores wait
    for one another.
    """
    for variable in _THREADS:
        os.environ.setdefault(variable, str(threads))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
