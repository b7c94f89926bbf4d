"""The parts that all endpoints share: worker threads, decoders, detectors, streams and jobs."""

import asyncio
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from sonjit._util import SonjitError
from sonjit.detectors import Detector, create
from sonjit.detectors.kinds import KINDS
from sonjit.engines import shared_networks
from sonjit.server import errors, job_store, middleware, processes
from sonjit.server.options import SessionOptions
from sonjit.server.settings import MB, Settings
from sonjit.weights.catalog import has_weight

T = TypeVar("T")


def require_weights(kind: str, model: str) -> None:
    """Raise RefusedError `missing_weights` if a file is missing or damaged. Its message names the remedy."""
    if missing := missing_weights(kind, model):
        raise errors.RefusedError(
            "missing_weights",
            f"{kind}-{model} needs weights that are not on this machine ({', '.join(missing)}); "
            f"type: sonjit models pull {' '.join(KINDS[kind].weight_groups)}",
        )


def missing_weights(kind: str, model: str) -> list[str]:
    """Return the catalogue names of missing files that a model and its search need."""
    required = (*KINDS[kind].models[model].weights.values(), *KINDS[kind].search_weights)
    return [name for name in required if not has_weight(name)]


class DetectorPool:
    """Detectors for clients. All detectors share their networks, so that another one needs only buffers."""

    def __init__(self, max_idle: int) -> None:
        self._max_idle = max_idle
        self._idle: OrderedDict[SessionOptions, Detector[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._is_closed = False
        self.in_use = 0

    def has(self, options: SessionOptions) -> bool:
        """Check whether `take` returns a detector without loading anything."""
        with self._lock:
            return options.key in self._idle

    def take(self, options: SessionOptions) -> Detector[Any]:
        """Return a detector without tracked instances. Load its networks if none is idle."""
        with self._lock:
            detector = self._idle.pop(options.key, None)
        if detector is None:
            require_weights(options.kind, options.detector.model)
            try:
                with shared_networks():
                    detector = create.detector_from(replace(options.detector, shared=True))
            except SonjitError as error:
                raise errors.RefusedError("bad_option", f"{options.name}: {error}") from error
        with self._lock:
            self.in_use += 1
        return detector

    def give_back(self, options: SessionOptions, detector: Detector[Any]) -> None:
        """Return a detector to the pool."""
        detector.reset()
        with self._lock:
            self.in_use -= 1
            replaced = self._idle.pop(options.key, None)
            surplus = [] if replaced is None else [replaced]
            self._idle[options.key] = detector
            while len(self._idle) > (0 if self._is_closed else self._max_idle):
                surplus.append(self._idle.popitem(last=False)[1])
        for detector in surplus:
            detector.close()

    def close(self) -> None:
        """Close all idle detectors. Detectors in use are closed when they return."""
        with self._lock:
            self._is_closed = True
            idle = list(self._idle.values())
            self._idle.clear()
        for detector in idle:
            detector.close()


class Service:
    """The parts of the server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        workers = settings.workers or os.cpu_count() or 1
        self.threads = CapacityLimiter(workers)  # each call of `run` takes one
        self.decoders = processes.Decoders(settings.max_pixels)
        self.detectors = DetectorPool(settings.max_models)
        self.jobs = job_store.JobStore(settings)
        self.streams: dict[object, Callable[[], Awaitable[None]]] = {}  # what closes each connection
        self.body_bytes = 0  # size of the bodies in memory
        self._turns = asyncio.Semaphore(max(1, workers - 1))  # single images leave a thread for streams
        self._images = 0
        self._is_stopped = False

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function on a worker thread. A task of an AnyIO group that is cancelled ends after its function."""
        return await to_thread.run_sync(work, limiter=self.threads)

    @asynccontextmanager
    async def detector(self, options: SessionOptions) -> AsyncGenerator[Detector[Any]]:
        """Take a detector from the pool for a block."""
        detector = await to_thread.run_sync(self.detectors.take, options)
        try:
            yield detector
        finally:
            self.detectors.give_back(options, detector)

    @contextmanager
    def body(self, request: Request) -> Generator[Request]:
        """Limit a request whose body is in memory until the block ends. Reading it may raise RefusedError."""
        settings, request_bytes = self.settings, 0

        def take(count: int) -> None:
            nonlocal request_bytes
            if self.body_bytes + count > settings.max_clients * settings.max_body_bytes:
                raise errors.RefusedError(
                    "busy", f"{self.body_bytes / MB:.0f} MB of images are coming in already: send this one again later"
                )
            self.body_bytes += count
            request_bytes += count

        try:
            yield middleware.limited(request, settings.max_body_bytes, "--max-body-mb", take)
        finally:
            self.body_bytes -= request_bytes

    @asynccontextmanager
    async def image(self) -> AsyncGenerator[None]:
        """Wait for the turn of a single image that the block processes. Raise RefusedError `busy` if too many wait."""
        if self._images >= self.settings.max_clients:
            raise errors.RefusedError(
                "busy", f"{self._images} images are at work: send this one again later, or raise --max-clients"
            )
        self._images += 1
        try:
            async with self._turns:
                yield
        finally:
            self._images -= 1

    async def stop(self) -> None:
        """Close all connections and release everything; may be called twice."""
        if self._is_stopped:
            return
        self._is_stopped = True
        await asyncio.gather(*(stop() for stop in list(self.streams.values())))
        for _ in range(int(self.threads.total_tokens)):  # the calls under way end, and no further ones begin
            await self.threads.acquire_on_behalf_of(object())
        await to_thread.run_sync(self._close)

    def _close(self) -> None:
        self.jobs.close()
        self.decoders.close()
        self.detectors.close()
