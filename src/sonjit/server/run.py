"""Run the server until it is stopped."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from sonjit._util.errors import InputError, JobError
from sonjit.server.addresses import page_addresses
from sonjit.server.app import create_app
from sonjit.server.protocols import WebSocketProtocol, http_protocol
from sonjit.server.service import Service
from sonjit.server.settings import Settings

_HEADER_BYTES = 24  # header of a stream's image
_STOP_S = 2
"""Time in which open connections end when the server stops."""


class _Server(uvicorn.Server):
    """Uvicorn server that lets the service close its connections first."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._on_start = started
        self._certificate: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        settings = self._service.settings
        if self.config.ssl is not None and settings.tls_cert is not None and settings.tls_key is not None:
            from sonjit.server.certificate import keep_valid  # slow to import, and most servers use http

            self._certificate = asyncio.create_task(keep_valid(self.config.ssl, settings.tls_cert, settings.tls_key))
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close streams and cancel or suspend jobs at once."""
        if self._certificate is not None:
            self._certificate.cancel()
        await self._service.stop()
        await super().shutdown(sockets)


def serve(
    settings: Settings,
    port: int,
    *,
    verbose: bool = False,
    started: Callable[[list[str]], None] = lambda _: None,
    project: Path | None = None,
) -> None:
    """Serve until Ctrl-C.

    Args:
        settings: Settings of the server.
        port: Port to listen on; 0 for any free port.
        verbose: If True, log every request.
        started: Function that is called with the page's addresses when the server listens, first the one for this
            machine.
        project: Folder of an annotation project to serve in addition.

    Raises:
        InputError: The host or port cannot be used, or the folder is not a project.
        JobError: The port is in use or not allowed.
    """
    with _listen(settings.host, port) as listener:
        server = make_server(settings, listener, verbose=verbose, started=started, project=project)
        # Uvicorn raises KeyboardInterrupt again when everything is closed.
        with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve([listener]))


def make_server(
    settings: Settings,
    listener: socket.socket,
    *,
    verbose: bool = False,
    started: Callable[[list[str]], None] = lambda _: None,
    project: Path | None = None,
) -> uvicorn.Server:
    """Return a server for a socket that already listens."""
    app = create_app(settings, project)
    config = uvicorn.Config(
        app,
        http=http_protocol(settings.read_timeout_s, 60 * settings.idle_minutes),
        ws=WebSocketProtocol,
        ws_max_size=settings.max_body_bytes + _HEADER_BYTES,
        ws_per_message_deflate=False,  # images are already compressed, and answers stay in the local network
        log_config=None,
        access_log=verbose,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_STOP_S,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    addresses = page_addresses(settings, listener.getsockname()[1])
    return _Server(config, app.state.service, lambda: started(addresses))


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
        raise JobError(_listen_error(error, host, port)) from None


def _listen_error(error: OSError, host: str, port: int) -> str:
    known: dict[int | None, str] = {
        errno.EADDRINUSE: f"port {port} of {host} is taken: stop what uses it, or give another --port",
        errno.EACCES: f"port {port} may not be used by this account: give a --port above 1023",
        errno.EADDRNOTAVAIL: f"{host} is not an address of this machine: give another --host",
    }
    return known.get(error.errno, f"cannot listen on {host}:{port}: {error.strerror}")
