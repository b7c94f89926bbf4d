"""Run the app until it is stopped.

Uvicorn's two protocols with what they lack: an end to waiting for headers, and close frames that arrive.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from asyncio import TimerHandle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from sonjit.errors import InputError, JobError
from sonjit.server.addresses import page_addresses
from sonjit.server.app import create_app
from sonjit.server.service import Service
from sonjit.server.settings import Settings

_HEADER_BYTES = 24  # of a frame, beside the image
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
    started: Callable[[list[str]], None] = lambda _: None,
    project: Path | None = None,
) -> None:
    """Serve until Ctrl-C.

    Args:
        settings: where and how.
        port: 0 for any that is free.
        verbose: log every request.
        started: called with the addresses of the page once the server listens, that for this machine first.
        project: folder of an annotation project to serve as well.

    Raises:
        InputError: the host or port cannot be used, or the folder holds no project.
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
    started: Callable[[list[str]], None] = lambda _: None,
    project: Path | None = None,
) -> uvicorn.Server:
    """A server for a socket that listens already."""
    app = create_app(settings, project)
    config = uvicorn.Config(
        app,
        http=http_protocol(settings.read_timeout_s, 60 * settings.idle_minutes),
        ws=WebSocketProtocol,
        ws_max_size=settings.max_body_bytes + _HEADER_BYTES,
        ws_per_message_deflate=False,  # images are compressed already, and answers go a short way
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
        raise JobError(_complaint(error, host, port)) from None


def _complaint(error: OSError, host: str, port: int) -> str:
    known: dict[int | None, str] = {
        errno.EADDRINUSE: f"port {port} of {host} is taken: stop what uses it, or give another --port",
        errno.EACCES: f"port {port} may not be used by this account: give a --port above 1023",
        errno.EADDRNOTAVAIL: f"{host} is not an address of this machine: give another --host",
    }
    return known.get(error.errno, f"cannot listen on {host}:{port}: {error.strerror}")


_MOST_HEADER_BYTES = 65_536
_MOST_PIECES = 10_000
_TOO_LARGE = 1009
_LINGER_S = 1.0


def http_protocol(header_timeout_s: float, deaf_timeout_s: float) -> type[asyncio.Protocol]:
    """HTTP whose connections are closed where the client holds them up.

    Args:
        header_timeout_s: until the headers of a request are whole.
        deaf_timeout_s: that an answer may wait for a client that reads none of it.
    """

    class Protocol(HttpToolsProtocol):
        """One connection."""

        _header_timer: TimerHandle | None = None
        _deaf_timer: TimerHandle | None = None
        _header_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            super().connection_made(transport)
            self._await_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._stop_waiting_for_reader()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._deaf_timer = self.loop.call_later(deaf_timeout_s, self.transport.abort)

        def resume_writing(self) -> None:
            self._stop_waiting_for_reader()
            super().resume_writing()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._header_bytes += len(data)
            if self._header_timer is not None and self._header_bytes > _MOST_HEADER_BYTES:
                self._give_up()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self._header_timer is None:  # of a further request on the same connection
                self._await_headers()

        def on_header(self, name: bytes, value: bytes) -> None:
            if self._header_timer is not None:  # else it stands behind the body, where nobody looks and nothing ends
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            super().on_headers_complete()

        def _await_headers(self) -> None:
            self._header_bytes = 0
            self._header_timer = self.loop.call_later(header_timeout_s, self._give_up)

        def _stop_waiting(self) -> None:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None

        def _stop_waiting_for_reader(self) -> None:
            if self._deaf_timer is not None:
                self._deaf_timer.cancel()
                self._deaf_timer = None

        def _give_up(self) -> None:
            self._stop_waiting()
            self.transport.close()

    return Protocol


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSockets that report why they close, even where the client is still sending."""

    def data_received(self, data: bytes) -> None:
        """What came in; nothing more is read of a connection that failed."""
        if self.conn.parser_exc is None:
            super().data_received(data)

    def keepalive_timeout(self) -> None:
        """End a connection whose client answers no ping, even where it takes no more bytes either."""
        super().keepalive_timeout()
        self.transport.abort()

    async def run_asgi(self) -> None:
        """Serve it; afterwards the client has a moment to read what it was sent last."""
        await super().run_asgi()
        self.loop.call_later(self.close_timeout + _LINGER_S, self.transport.abort)

    def handle_ping(self) -> None:
        """Answer it; answers that are not read would pile up, and need not be sent (RFC 6455, 5.5.3)."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        """Take one more piece of a message: its bytes are bounded elsewhere, but pieces may be empty."""
        if len(self.frames) < _MOST_PIECES:
            super().handle_cont(event)
        elif not self.close_sent:
            self.frames = []
            self.conn.fail(_TOO_LARGE, f"a message comes in {_MOST_PIECES} pieces at most")
            self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """Send the close frame, and close once the client had a moment to read it.

        Closed at once, with bytes of the client's unread, the connection would be reset and the frame lost.
        """
        sent: Any = self.conn.close_sent
        self.queue.put_nowait({"type": "websocket.disconnect", "code": sent.code, "reason": sent.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_LINGER_S, self.transport.close)
