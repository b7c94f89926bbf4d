"""Run the app until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import uvicorn

from sonjit.errors import InputError, JobError
from sonjit.server.app import create_app
from sonjit.server.protocols import WebSocketProtocol, http_protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sonjit.server.service import Service
    from sonjit.server.settings import Settings

_HEADER_BYTES = 24  # of a frame, beside the picture
_STOP_S = 2


class _Server(uvicorn.Server):
    """Uvicorn that lets the service say good-bye before it closes connections."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._on_start = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop at once: streams are closed, jobs are cancelled."""
        await self._service.stop()
        await super().shutdown(sockets)


def serve(
    settings: Settings,
    port: int,
    *,
    verbose: bool = False,
    started: Callable[[str], None] = lambda _: None,
    project: Path | None = None,
) -> None:
    """Serve until Ctrl-C.

    Args:
        settings: where and how.
        port: 0 for any that is free.
        verbose: log every request.
        started: called with the address of the page once the server listens.
        project: folder of an annotation project to serve as well.

    Raises:
        InputError: the host or port is no such thing, or the folder holds no project.
        JobError: the port is taken or cannot be had.
    """
    with _listen(settings.host, port) as listener:
        server = make_server(settings, listener, verbose=verbose, started=started, project=project)
        # Uvicorn raises KeyboardInterrupt anew once all is closed.
        with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve([listener]))


def make_server(
    settings: Settings,
    listener: socket.socket,
    *,
    verbose: bool = False,
    started: Callable[[str], None] = lambda _: None,
    project: Path | None = None,
) -> uvicorn.Server:
    """A server for a socket that listens already."""
    app = create_app(settings, project)
    config = uvicorn.Config(
        app,
        http=http_protocol(settings.read_timeout_s),
        ws=WebSocketProtocol,
        ws_max_size=settings.max_body_bytes + _HEADER_BYTES,
        ws_per_message_deflate=False,  # pictures are compressed already, and answers go a short way
        log_config=None,
        access_log=verbose,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_STOP_S,
    )
    address = page_address(settings, listener.getsockname()[1])
    return _Server(config, app.state.service, lambda: started(address))


def page_address(settings: Settings, port: int) -> str:
    """Where a browser on this machine finds the page, with the token."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{port}/" + (f"?token={quote(settings.token, safe='')}" if settings.token else "")


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:
        raise InputError(f"--port {port}: give a number from 0 to 65535")
    try:
        (family, *_, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise InputError(
            f"--host {host}: no address is known for it; give 127.0.0.1 or an address of this machine"
        ) from None
    try:
        return socket.create_server(address[:2], family=family, backlog=512)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        raise JobError(_complaint(error, host, port)) from None


def _complaint(error: OSError, host: str, port: int) -> str:
    said: dict[int | None, Any] = {
        errno.EADDRINUSE: f"port {port} of {host} is taken: stop what uses it, or give another --port",
        errno.EACCES: f"port {port} may not be used by this account: give a --port above 1023",
        errno.EADDRNOTAVAIL: f"{host} is no address of this machine: give another --host",
    }
    return said.get(error.errno, f"cannot listen on {host}:{port}: {error.strerror}")
