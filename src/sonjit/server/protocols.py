"""HTTP and WebSocket protocols of Uvicorn with additional limits for slow clients."""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

_MAX_HEADER_BYTES = 65_536
"""Maximum size of the headers of a request."""
_MAX_PIECES = 10_000
"""Maximum number of fragments of a WebSocket message."""
_TOO_LARGE = 1009
"""Close code of a message that is too large."""
_LINGER_S = 1.0
"""Time for which a closing connection waits for the client."""


def http_protocol(header_timeout_s: float, read_timeout_s: float) -> type[asyncio.Protocol]:
    """Return an HTTP protocol that closes the connections of clients that are too slow.

    Args:
        header_timeout_s: Maximum time for the headers of a request in seconds.
        read_timeout_s: Maximum time in which a client reads nothing of an answer in seconds.
    """

    class Protocol(HttpToolsProtocol):
        """Connection of a client."""

        _header_timer: TimerHandle | None = None
        _read_timer: TimerHandle | None = None
        _header_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            super().connection_made(transport)
            self._start_header_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_header_timer()
            self._stop_read_timer()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._read_timer = self.loop.call_later(read_timeout_s, self.transport.abort)

        def resume_writing(self) -> None:
            self._stop_read_timer()
            super().resume_writing()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._header_bytes += len(data)
            if self._header_timer is not None and self._header_bytes > _MAX_HEADER_BYTES:
                self._close()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self._header_timer is None:  # another request on the same connection
                self._start_header_timer()

        def on_header(self, name: bytes, value: bytes) -> None:
            if self._header_timer is not None:  # otherwise it is a trailer, which nothing reads or limits
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._stop_header_timer()
            super().on_headers_complete()

        def _start_header_timer(self) -> None:
            self._header_bytes = 0
            self._header_timer = self.loop.call_later(header_timeout_s, self._close)

        def _stop_header_timer(self) -> None:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None

        def _stop_read_timer(self) -> None:
            if self._read_timer is not None:
                self._read_timer.cancel()
                self._read_timer = None

        def _close(self) -> None:
            self._stop_header_timer()
            self.transport.close()

    return Protocol


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket protocol that reports why it closes, even while the client sends."""

    def data_received(self, data: bytes) -> None:
        """Process incoming bytes. The rest of a failed connection is ignored."""
        if self.conn.parser_exc is None:
            super().data_received(data)

    def keepalive_timeout(self) -> None:
        """Close a connection whose client answers no ping, even if it reads nothing."""
        super().keepalive_timeout()
        self.transport.abort()

    async def run_asgi(self) -> None:
        """Serve the connection. Then give the client a moment to read the last bytes."""
        await super().run_asgi()
        self.loop.call_later(self.close_timeout + _LINGER_S, self.transport.abort)

    def handle_ping(self) -> None:
        """Answer a ping. Skip the answer while the client reads nothing, which RFC 6455, 5.5.3 allows."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        """Process the next piece of a message. The library limits bytes, but pieces may be empty."""
        if len(self.frames) < _MAX_PIECES:
            super().handle_cont(event)
        elif not self.close_sent:
            self.frames = []
            self.conn.fail(_TOO_LARGE, f"a message comes in {_MAX_PIECES} pieces at most")
            self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """Send the close frame, and close the connection a moment later.

        Closing at once would reset the connection and lose the frame if bytes of the client are unread.
        """
        sent: Any = self.conn.close_sent
        self.queue.put_nowait({"type": "websocket.disconnect", "code": sent.code, "reason": sent.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_LINGER_S, self.transport.close)
