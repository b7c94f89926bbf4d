"""Uvicorn's two protocols with what they lack: an end to waiting for headers, and close frames that arrive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from asyncio import TimerHandle

_MOST_HEADER_BYTES = 65_536
_LINGER_S = 1.0


def http_protocol(header_timeout_s: float) -> type[asyncio.Protocol]:
    """HTTP whose connections are closed where the headers of a request are not whole after so many seconds."""

    class Protocol(HttpToolsProtocol):
        """One connection."""

        _header_timer: TimerHandle | None = None
        _header_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            super().connection_made(transport)
            self._await_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._header_bytes += len(data)
            if self._header_timer is not None and self._header_bytes > _MOST_HEADER_BYTES:
                self._give_up()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self._header_timer is None:  # of a further request on the same connection
                self._await_headers()

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

        def _give_up(self) -> None:
            self._stop_waiting()
            self.transport.close()

    return Protocol


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSockets that tell why they close, even where the client is still sending."""

    def data_received(self, data: bytes) -> None:
        """What came in; nothing more is read of a connection that failed."""
        if self.conn.parser_exc is None:
            super().data_received(data)

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
