"""The parts that all endpoints share: workers, detectors, streams and jobs."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

from sonjit.server.decoding import Decoders
from sonjit.server.detector_pool import DetectorPool
from sonjit.server.errors import RefusedError
from sonjit.server.job_store import JobStore
from sonjit.server.saliency import ExplainerPool
from sonjit.server.settings import MB, Settings
from sonjit.server.workers import Workers

_TRIM_S = 1.0
"""Delay after which freed memory is returned to the system."""


class ByteBudget:
    """Memory for request bodies, shared by all requests.

    Args:
        max_bytes: Maximum size of all bodies together.

    Attributes:
        used: Bytes that are in use.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.used = 0

    @contextmanager
    def body(self) -> Generator[Callable[[int], None]]:
        """Provide a function that reserves bytes until the block ends; RefusedError `busy` if none are left."""
        own = 0

        def take(count: int) -> None:
            nonlocal own
            if self.used + count > self._max_bytes:
                raise RefusedError(
                    "busy", f"{self.used / MB:.0f} MB of images are coming in already: send this one again later"
                )
            self.used += count
            own += count

        try:
            yield take
        finally:
            self.used -= own


def trim_memory() -> None:
    """Return the memory of freed images to the system, 4 MB for a stream. glibc keeps it otherwise."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


class Service:
    """The parts of the server.

    Args:
        settings: Address and limits.

    Attributes:
        streams: Functions that close the open connections, by connection.
        image_bytes: Memory for the bodies of single images.
        stills: Queue of all single images; together they are one client of the workers.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.workers = Workers(settings.workers)
        self.decoders = Decoders(settings.max_pixels)
        self.detectors = DetectorPool(settings.max_models)
        self.explainers = ExplainerPool()
        self.jobs = JobStore(settings)
        self.streams: dict[object, Callable[[], Awaitable[None]]] = {}
        self.image_bytes = ByteBudget(settings.max_clients * settings.max_body_bytes)
        self.stills = self.workers.new_queue()
        self._images = 0
        self._timeouts: set[asyncio.Timeout] = set()
        self._trimming: asyncio.TimerHandle | None = None
        self._is_stopped = False

    @contextmanager
    def image(self) -> Generator[None]:
        """Count a single image that is processed in the block. Raise RefusedError `busy` if there are too many."""
        if self._images >= self.settings.max_clients:
            raise RefusedError(
                "busy",
                f"{self._images} images are at work: send this one again later, or raise --max-clients",
            )
        self._images += 1
        try:
            yield
        finally:
            self._images -= 1

    @asynccontextmanager
    async def at_most(self, seconds: float) -> AsyncGenerator[None]:
        """Raise TimeoutError in the block after a time, or when the server stops."""
        async with asyncio.timeout(0 if self._is_stopped else seconds) as timeout:
            self._timeouts.add(timeout)
            try:
                yield
            finally:
                self._timeouts.discard(timeout)

    def leave(self, stream: object) -> None:
        """Remove a stream that has ended, and return its memory to the system a moment later."""
        self.streams.pop(stream, None)
        if self._trimming is None and not self._is_stopped:
            self._trimming = asyncio.get_running_loop().call_later(_TRIM_S, self._trim)

    def _trim(self) -> None:
        self._trimming = None
        asyncio.get_running_loop().run_in_executor(None, trim_memory)

    async def stop(self) -> None:
        """Close all connections and release everything; may be called twice."""
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._trimming is not None:
            self._trimming.cancel()
        for timeout in list(self._timeouts):
            timeout.reschedule(asyncio.get_running_loop().time())
        await asyncio.gather(*(stop() for stop in list(self.streams.values())))
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.jobs.close()
        self.workers.close()
        self.decoders.close()
        self.explainers.close()
        self.detectors.close()
