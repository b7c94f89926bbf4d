"""Call one function many times with plain arguments and results, and report the progress.

The calls run in this process, also in several threads, in a pool of processes, or on a cluster with Ray. Processes
share nothing but the disk, and each call returns a plain result.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from sonjit._util import signals
from sonjit._util.errors import InputError, JobError, SonjitError
from sonjit._util.extensions import LoadedExtensions
from sonjit._util.extras import MissingExtraError
from sonjit._util.version import __version__

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")
_AHEAD: Final = 4
"""Pending calls per core: no worker waits for its next call, and a million calls do not become a million tasks."""
_RETRIES: Final = 3  # number of times that Ray repeats a call whose process or machine was lost
_CONNECT_S: Final = 10.0  # time limit of the connection to a cluster, and of its running calls after Ctrl-C
_THREADS: Final = ("SONJIT_THREADS", "OPENCV_FOR_THREADS_NUM")
"""Environment variables with the number of threads of a network and of OpenCV, which reads it at import."""
_CRASHES: Final = frozenset(
    int(getattr(signal, name)) for name in ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV") if hasattr(signal, name)
)
"""Signals that end a process after an error in native code."""
_Call = TypeVar("_Call")


class Progress:
    """Receiver of the progress of an operation. This class ignores it; subclasses show or send it.

    An exception of a method ends the operation.
    """

    def start(self, total: int | None) -> None:
        """Set the expected number of steps, or None if it is unknown."""

    def advance(self, count: int = 1, *, instances: int = 0) -> None:
        """Add finished steps."""


def per_process(factory: Callable[[*Arguments], Result]) -> Callable[[*Arguments], Result]:
    """Return a function that keeps the newest object of a factory in each process.

    It calls the factory only if the arguments, which need not be hashable, are not equal to those of the call before. A
    worker process loads its networks with it once, for the many calls of `run_calls`.

    >>> letters = per_process(list)
    >>> letters("ab") is letters("ab")
    True
    """
    kept: list[tuple[tuple[*Arguments], Result]] = []

    @wraps(factory)
    def find(*arguments: *Arguments) -> Result:
        if not kept or kept[0][0] != arguments:
            kept.clear()  # frees the old object before the new one is made
            kept.append((arguments, factory(*arguments)))
        return kept[0][1]

    return find


def check_workers(workers: str, jobs: int) -> None:
    """Check the workers (`pool`, `ray` or `ray:ADDRESS`) and their number before any work."""
    if jobs < 1:
        raise InputError(f"--jobs {jobs}: give at least 1")
    name, _, address = workers.partition(":")
    if name not in ("pool", "ray") or (name == "pool" and address) or workers == "ray:":
        raise InputError(f"--workers {workers}: give pool, ray, or ray:ADDRESS such as ray:10.0.0.1:6379")
    if name == "ray":
        if jobs > 1:
            raise InputError(f"--jobs {jobs} with --workers {workers}: Ray uses all cores. Use only one of the options")
        _ray()


def run_calls(
    function: Callable[[*Arguments], Result],
    calls: Sequence[tuple[*Arguments]],
    *,
    jobs: int = 1,
    workers: str = "pool",
    threads: int = 1,
) -> Generator[tuple[int, Result]]:
    """Call a function with each of many arguments; gives each call's number and result as soon as it is available.

    Ctrl-C while waiting starts no more calls, gives the results of those that still finish, and is raised then. A pool
    and threads finish the calls under way; on Ray they have ten seconds. Workers know the kinds, formats and other
    extensions that this process knows. Ray's see the same files under the same paths, and start from this process's
    folder; a call whose process or machine is lost is done again. A pool repeats the calls under way once after a
    worker has crashed.

    Args:
        function: Function of a module. An error of Sonjit ends the run. A call that may fail separately returns its
            error instead.
        jobs: Processes of a pool; 1 calls the function in this process.
        workers: `pool`; `ray` for the cluster of RAY_ADDRESS, or without it one on this machine, which the call starts
            and stops; or `ray:ADDRESS` from `ray start`.
        threads: Threads of this process that call the function, if it has one job.

    Raise InputError if no cluster answers, or workers cannot know what the program registered, and JobError if a worker
    was ended, crashed again, cannot import an extension, or does not see the folder.
    """
    check_workers(workers, jobs)
    if workers != "pool" and calls:
        yield from _on_ray(function, calls, workers.partition(":")[2])
    elif jobs == 1 and threads > 1 and len(calls) > 1:
        yield from _in_threads(function, calls, threads)
    elif jobs == 1 or len(calls) < 2:
        for number, call in enumerate(calls):
            yield number, function(*call)
    else:
        yield from _in_pool(function, calls, jobs)


def _in_threads(
    function: Callable[[*Arguments], Result], calls: Sequence[tuple[*Arguments]], threads: int
) -> Generator[tuple[int, Result]]:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="sonjit-call")

    def start(call: tuple[*Arguments]) -> Future[Result | _Failure]:
        return pool.submit(function, *call)

    def stop(futures: Sequence[Future[Result | _Failure]]) -> None:
        for future in futures:
            future.cancel()

    try:
        yield from _results(calls, start, lambda: _AHEAD * threads, stop)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_pool(
    function: Callable[[*Arguments], Result], calls: Sequence[tuple[*Arguments]], jobs: int
) -> Generator[tuple[int, Result]]:
    import multiprocessing  # slow to import, and most runs have one process
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    extensions = LoadedExtensions.snapshot()
    context = multiprocessing.get_context("spawn")  # a fork would copy running threads half, and share OpenGL
    count = min(jobs, len(calls))
    threads = max(1, (os.cpu_count() or 1) // count)
    unfinished = dict(enumerate(calls))
    retried: set[int] = set()
    before = {process.pid for process in multiprocessing.active_children()}
    processes: dict[int | None, BaseProcess] = {}
    while unfinished:
        with signals.hold(signals.INTERRUPTS):
            pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(threads,))

        def start(call: tuple[*Arguments], pool: ProcessPoolExecutor = pool) -> Future[Result | _Failure]:
            try:
                if len(processes) == count:  # none is left to start
                    return pool.submit(_attempt, extensions, function, pickle.dumps(call))
                with signals.hold(signals.INTERRUPTS), _main_importable():
                    future = pool.submit(_attempt, extensions, function, pickle.dumps(call))
                children = {process.pid: process for process in multiprocessing.active_children()}
                processes.update({pid: process for pid, process in children.items() if pid not in before})
                return future
            except BrokenProcessPool as error:  # after the results that are already in the queue, which count
                failed = Future[Result | _Failure]()
                failed.set_exception(error)
                return failed

        # The pool cancels its calls itself. If a signal also ends the workers, its thread fails at a call that this
        # thread has cancelled, and no call would finish. `shutdown(wait=False)` could not be waited for later.
        end = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True}, daemon=True)

        def stop(_: Sequence[object] = (), end: threading.Thread = end) -> None:
            if end.ident is None:
                end.start()

        numbers = list(unfinished)
        try:
            for position, result in _results(list(unfinished.values()), start, lambda: _AHEAD * jobs, stop):
                del unfinished[numbers[position]]
                yield numbers[position], result
        except BrokenProcessPool:
            stop()
            end.join()
            running = set(list(unfinished)[:count])  # calls start in order, one in each process
            _check_crash([process.exitcode or 0 for process in processes.values()], is_retry=bool(retried & running))
            processes.clear()
            retried |= running
        finally:
            stop()
            end.join()


def _check_crash(exit_codes: Sequence[int], *, is_retry: bool) -> None:
    """Raise JobError unless a worker crashed in a call that was not retried before."""
    signals = {-code for code in exit_codes} & _CRASHES
    if not signals:
        raise JobError(
            "a worker process was ended from outside (out of memory?); run again with fewer --jobs to continue"
        ) from None
    if is_retry:
        raise JobError(
            f"a worker process crashed ({signal.Signals(min(signals)).name}) in a call that was retried after a crash; "
            "run it again to continue"
        ) from None


@contextmanager
def _main_importable() -> Generator[None]:
    """Let processes start from a program on standard input, whose `__file__` they would otherwise look for and die."""
    main = vars(sys.modules["__main__"])
    if main.get("__file__") != "<stdin>":
        yield
        return
    file = main.pop("__file__")
    try:
        yield
    finally:
        main["__file__"] = file


def _on_ray(
    function: Callable[[*Arguments], Result], calls: Sequence[tuple[*Arguments]], address: str
) -> Generator[tuple[int, Result]]:
    ray, extensions = _ray(), LoadedExtensions.snapshot()
    settings = {name: value for name, value in os.environ.items() if name.startswith("SONJIT_")}
    state = str(Path.cwd()), dict.fromkeys(_THREADS, "1") | settings, __version__  # a worker has one core and thread
    references: dict[Future[Result | _Failure], Any] = {}

    def start(call: tuple[*Arguments]) -> Future[Result | _Failure]:
        reference = remote.remote(state, extensions, function, ray.cloudpickle.dumps(call))
        future: Future[Result | _Failure] = reference.future()
        references[future] = reference
        future.add_done_callback(lambda done: references.pop(done, None))
        return future

    def stop(futures: Sequence[Future[Result | _Failure]]) -> None:
        for future in futures:
            if reference := references.get(future):
                ray.cancel(reference)

    with _connected(ray, address):
        remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(_attempt_on_ray)
        try:
            yield from _results(calls, start, _calls_ahead(ray), stop, _CONNECT_S)
        except ray.exceptions.RayTaskError:
            raise  # an error of the function's own
        except ray.exceptions.RayError as error:
            raise JobError(
                f"--workers ray: a call was lost {_RETRIES + 1} times, with its process or machine (out of memory?); "
                f"run it again to continue ({type(error).__name__})"
            ) from None


def _calls_ahead(ray: Any) -> Callable[[], int]:  # noqa: ANN401
    """Return a function that asks the cluster, at most every five seconds, for calls to submit for all cores."""
    ahead, until_s = 0, 0.0

    def count() -> int:
        nonlocal ahead, until_s
        if time.monotonic() > until_s:
            ahead = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
            until_s = time.monotonic() + 5
        return ahead

    return count


def _ray() -> Any:  # noqa: ANN401  # it has no stubs
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise MissingExtraError("--workers ray", "ray") from None


@contextmanager
def _connected(ray: Any, address: str) -> Generator[None]:  # noqa: ANN401
    """Connect to the cluster for a block. Keep a connection that the program already has."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"  # Ray itself would look for a minute for a cluster
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        try:  # Ray would try for two minutes and log each attempt
            socket.create_connection((host, int(port)), _CONNECT_S).close()
        except (OSError, OverflowError) as error:
            raise InputError(
                f"--workers ray:{address}: no cluster answers there ({error}); ray start --head prints its address"
            ) from None
    elif address not in ("auto", "local"):
        raise InputError(f"--workers ray:{address}: not an address such as 10.0.0.1:6379, which ray start prints")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports from a cluster that this call starts
    try:
        dashboard = {"include_dashboard": False} if address == "local" else {}
        ray.init(address, log_to_driver=False, logging_level="ERROR", **dashboard)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"--workers ray: no cluster at {address}: {reason}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _results(
    calls: Sequence[_Call],
    start: Callable[[_Call], Future[Result | _Failure]],
    count: Callable[[], int],
    stop: Callable[[Sequence[Future[Result | _Failure]]], object],
    stop_s: float | None = None,
) -> Generator[tuple[int, Result]]:
    """Yield the number and result of each call as it finishes. After Ctrl-C, running calls have `stop_s` to finish.

    `stop` cancels calls that have not started.
    """
    numbers: dict[Future[Result | _Failure], int] = {}
    done: SimpleQueue[Future[Result | _Failure]] = SimpleQueue()
    waiting = iter(enumerate(calls))
    try:
        while True:
            for number, call in islice(waiting, max(0, count() - len(numbers))):
                future = start(call)
                numbers[future] = number
                future.add_done_callback(done.put)
            if not numbers:
                return
            future = done.get()
            result = future.result()
            if isinstance(result, _Failure):
                raise result.error
            yield numbers.pop(future), result
    except KeyboardInterrupt:  # some calls still finish, and one result may have been taken from the queue
        stop(list(numbers))
        for future in _ended(numbers, stop_s):
            if not future.cancelled() and future.exception() is None:
                result = future.result()
                if not isinstance(result, _Failure):
                    yield numbers[future], result
        raise
    finally:
        if numbers:
            stop(list(numbers))


def _ended(futures: Collection[Future[Result]], limit_s: float | None) -> Generator[Future[Result]]:
    """Yield futures as they finish or are cancelled, for a limited time. `wait` ignores some of the cancelled ones."""
    ended: SimpleQueue[Future[Result]] = SimpleQueue()
    until_s = None if limit_s is None else time.monotonic() + limit_s
    for future in futures:
        future.add_done_callback(ended.put)
    for _ in range(len(futures)):
        with suppress(Empty):
            yield ended.get(timeout=None if until_s is None else max(0.0, until_s - time.monotonic()))


@dataclass(frozen=True)
class _Failure:
    """Error that ended a call, unlike an error that a call returns."""

    error: SonjitError


def unpickle(data: bytes) -> Any:  # noqa: ANN401  # any object
    """Return what the process that started this one pickled. Raise JobError if its types cannot be imported."""
    try:
        return pickle.loads(data)  # noqa: S301  # from the process that started this one
    except (AttributeError, ImportError) as error:
        raise JobError(
            f"a worker process cannot import what the program defines ({error}). Move it into a module and call "
            "sonjit.load_extension with its name"
        ) from None


def _attempt(extensions: LoadedExtensions, function: Callable[..., Result], call: bytes) -> Result | _Failure:
    """Call a function with pickled arguments, whose types the extensions may define."""
    try:
        extensions.load()
        return function(*unpickle(call))
    except InputError as error:
        return _Failure(InputError(str(error)))
    except SonjitError as error:
        return _Failure(JobError(str(error)))


def _attempt_on_ray(
    state: tuple[str, Mapping[str, str], str],
    extensions: LoadedExtensions,
    function: Callable[..., Result],
    call: bytes,
) -> Result | _Failure:
    """Attempt a call with the folder, the variables and the version of Sonjit of the process that submitted it."""
    folder, variables, version = state
    host = socket.gethostname()
    if version != __version__:
        return _Failure(JobError(f"Sonjit {__version__} on {host}, {version} here: install the same"))
    try:
        os.chdir(folder)
    except OSError as error:
        advice = "all machines of the cluster must see the files under the same path"
        return _Failure(JobError(f"{folder} on {host}: {error.strerror}; {advice}"))
    os.environ.update(variables)
    return _attempt(extensions, function, call)


def _begin(threads: int) -> None:
    """Prepare a worker process: ignore Ctrl-C and a closed terminal, and end when the parent process ends.

    Networks and OpenCV use `threads` threads by default. Workers that each used all cores would wait for one another.
    """
    import multiprocessing
    from multiprocessing.connection import wait

    for variable in _THREADS:
        os.environ.setdefault(variable, str(threads))
    signals.ignore(signals.INTERRUPTS)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
