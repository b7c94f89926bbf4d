"""Detectors for clients: which have their weights here; made when first asked for, kept for the next client.

Worker threads that serve clients in turns, so that a busy one never holds up the others.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

from sonjit.detectors import Detector
from sonjit.detectors.create import detector_from
from sonjit.detectors.kinds import KINDS
from sonjit.detectors.options import filter_from_name
from sonjit.engines import shared_networks
from sonjit.errors import SonjitError
from sonjit.server.errors import RefusedError
from sonjit.server.options import SessionOptions
from sonjit.weights import find_weight


def missing_models() -> list[str]:
    """Models (`<kind>-<model>`) that cannot run here, for want of weights."""
    models = [(kind, model) for kind, entry in KINDS.items() for model in entry.models]
    return [f"{kind}-{model}" for kind, model in models if missing_weights(kind, model)]


def require_weights(kind: str, model: str) -> None:
    """RefusedError `missing_weights` that says what to type, where a file is missing or damaged."""
    if missing := missing_weights(kind, model):
        raise RefusedError(
            "missing_weights",
            f"{kind}-{model} needs weights that are not on this machine ({', '.join(missing)}); "
            f"type: sonjit models pull {' '.join(KINDS[kind].weight_groups)}",
        )


def missing_weights(kind: str, model: str) -> list[str]:
    """Names in the catalogue of the files that a model and its search need and that are not on this machine."""
    needed = (*KINDS[kind].models[model].weights.values(), *KINDS[kind].search_weights)
    return [name for name in needed if not _is_there(name)]


def _is_there(name: str) -> bool:
    try:
        find_weight(name)
    except SonjitError:
        return False
    return True


class DetectorPool:
    """Lends detectors; all of them share their networks, so that one more costs its buffers only.

    Args:
        most: how many to keep that nobody uses, the longest unused ones going first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: OrderedDict[SessionOptions, Detector[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._is_closed = False
        self.lent = 0

    def has(self, options: SessionOptions) -> bool:
        """Whether `take` gives one without loading anything."""
        with self._lock:
            return options.key in self._idle

    def take(self, options: SessionOptions) -> Detector[Any]:
        """A detector that has seen nothing yet; loads its networks where need be.

        Raises:
            RefusedError: weights are missing, or an option cannot be had.
        """
        with self._lock:
            detector = self._idle.pop(options.key, None)
        if detector is None:
            require_weights(options.kind, options.detector.model)
            try:
                smoothing = filter_from_name(options.smoothing)
                with shared_networks():
                    detector = detector_from(replace(options.detector, smoothing=smoothing, shared=True))
            except SonjitError as error:
                raise RefusedError("bad_option", f"{options.name}: {error}") from error
        with self._lock:
            self.lent += 1
        return detector

    def give_back(self, options: SessionOptions, detector: Detector[Any]) -> None:
        """What `take` gave."""
        detector.reset()
        with self._lock:
            self.lent -= 1
            old = self._idle.pop(options.key, None)
            gone = [] if old is None else [old]
            self._idle[options.key] = detector
            while len(self._idle) > (0 if self._is_closed else self._most):
                gone.append(self._idle.popitem(last=False)[1])
        for one in gone:
            one.close()

    def close(self) -> None:
        """Free every detector; those lent go when they come back."""
        with self._lock:
            self._is_closed = True
            gone = list(self._idle.values())
            self._idle.clear()
        for one in gone:
            one.close()


T = TypeVar("T")

_Work = tuple["Future[Any]", "Callable[[], Any]"]


class Workers:
    """A fixed number of threads; each takes the next piece of work of the lane whose turn it is.

    Args:
        workers: threads.
    """

    def __init__(self, workers: int) -> None:
        self._turn: deque[Lane] = deque()  # lanes with work that waits, the next one first
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"sonjit-worker-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def lane(self) -> Lane:
        """A queue of a client's own."""
        return Lane(self)

    def close(self) -> None:
        """End the threads once what they do now is done; work that waits is cancelled."""
        with self._changed:
            self._is_closed = True
            lanes = list(self._turn)
            self._turn.clear()
            self._changed.notify_all()
        for lane in lanes:
            lane.cancel_waiting()
        for thread in self._threads:
            thread.join()

    def add(self, lane: Lane, work: _Work) -> None:
        """Queue a piece of work in a lane."""
        with self._changed:
            if self._is_closed:
                work[0].cancel()
                return
            if not lane.waiting:
                self._turn.append(lane)
            lane.waiting.append(work)
            self._changed.notify()

    def _next(self) -> _Work | None:
        with self._changed:
            while not self._turn:
                if self._is_closed:
                    return None
                self._changed.wait()
            lane = self._turn.popleft()
            work = lane.waiting.popleft()
            if lane.waiting:
                self._turn.append(lane)
            return work

    def _serve(self) -> None:
        while work := self._next():
            _do(*work)
            del work  # holds an image, and the next may be long in coming


class Lane:
    """One client's work: in order, but several pieces of it may run at once.

    Attributes:
        waiting: what no thread has taken yet; belongs to the workers.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.waiting: deque[_Work] = deque()
        self._under_way: set[Future[Any]] = set()

    async def run(self, work: Callable[[], T]) -> T:
        """What a piece of work gives, done by one of the worker threads."""
        future: Future[T] = Future()
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        self._workers.add(self, (future, work))
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Cancel what waits, and wait for what runs."""
        self.cancel_waiting()
        running = [asyncio.wrap_future(future) for future in list(self._under_way)]
        await asyncio.gather(*running, return_exceptions=True)

    def cancel_waiting(self) -> None:
        """Cancel what no thread has begun."""
        for future in list(self._under_way):
            future.cancel()


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # it is raised where the result is waited for
        future.set_exception(error)
    else:
        future.set_result(result)
