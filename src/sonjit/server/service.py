"""What all endpoints share: workers, detectors, streams and jobs; and how all of it ends."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from sonjit.server.decoding import Decoders
from sonjit.server.detector_pool import DetectorPool, Workers
from sonjit.server.errors import RefusedError
from sonjit.server.job_queue import Jobs
from sonjit.server.sessions import Explainers
from sonjit.server.settings import MB, Settings


class ByteBudget:
    """Memory for bodies, shared by all requests.

    Args:
        most: bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    @contextmanager
    def body(self) -> Generator[Callable[[int], None]]:
        """A function that takes so many bytes more until the block ends; RefusedError `busy` where none are left."""
        own = 0

        def take(count: int) -> None:
            nonlocal own
            if self.held + count > self._most:
                raise RefusedError(
                    "busy", f"{self.held / MB:.0f} MB of images are coming in already: send this one again later"
                )
            self.held += count
            own += count

        try:
            yield take
        finally:
            self.held -= own


def trim_memory() -> None:
    """Let the system have what the C library keeps of freed images, 4 MB for a stream; glibc does not by itself."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


_TRIM_S = 1.0


class Connection(Protocol):
    """A client's open connection."""

    async def stop(self) -> None:
        """Close it because the server stops."""


class Service:
    """The server's parts.

    Attributes:
        streams: the connections that are open.
        image_bytes: that the bodies of single images may hold.
        stills: the lane of single images, which take one turn together.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.workers = Workers(settings.workers)
        self.decoders = Decoders(settings.max_pixels)
        self.detectors = DetectorPool(settings.max_models)
        self.explainers = Explainers()
        self.jobs = Jobs(settings)
        self.streams: set[Connection] = set()
        self.image_bytes = ByteBudget(settings.max_clients * settings.max_body_bytes)
        self.stills = self.workers.lane()
        self._images = 0
        self._timeouts: set[asyncio.Timeout] = set()
        self._trimming: asyncio.TimerHandle | None = None
        self._is_stopped = False

    @contextmanager
    def image(self) -> Generator[None]:
        """One single image at work; RefusedError `busy` where there are too many."""
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
        """A wait for a client that TimeoutError ends: after so many seconds, or when the server stops."""
        async with asyncio.timeout(0 if self._is_stopped else seconds) as timeout:
            self._timeouts.add(timeout)
            try:
                yield
            finally:
                self._timeouts.discard(timeout)

    def leave(self, stream: Connection) -> None:
        """Forget a stream that has ended; what it took goes back to the system a moment later."""
        self.streams.discard(stream)
        if self._trimming is None and not self._is_stopped:
            self._trimming = asyncio.get_running_loop().call_later(_TRIM_S, self._trim)

    def _trim(self) -> None:
        self._trimming = None
        asyncio.get_running_loop().run_in_executor(None, trim_memory)

    async def stop(self) -> None:
        """Say good-bye to every client, and free everything; a second call does nothing."""
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._trimming is not None:
            self._trimming.cancel()
        for timeout in list(self._timeouts):
            timeout.reschedule(asyncio.get_running_loop().time())
        await asyncio.gather(*(stream.stop() for stream in list(self.streams)))
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.jobs.close()
        self.workers.close()
        self.decoders.close()
        self.detectors.close()
