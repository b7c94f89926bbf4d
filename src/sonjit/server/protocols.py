"""Uvicorn's protocols with limits for slow clients, requests of two lengths, and messages of endless fragments."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

_MAX_FRAGMENTS = 10_000  # maximum number of fragments of a WebSocket message


def http_protocol(timeout_s: float) -> type[asyncio.Protocol]:
    """Return an HTTP protocol that closes connections when the headers of a request take longer than a limit."""

    class Protocol(H11Protocol):
        """Uvicorn's protocol with a time limit."""

        _timer: asyncio.TimerHandle | None = None  # runs while headers are incomplete

        def connection_made(self, transport: asyncio.Transport) -> None:
            """Start the time limit of the first request."""
            super().connection_made(transport)
            self._start()

        def data_received(self, data: bytes) -> None:
            """Stop the time limit when the headers are complete. Start it with the first bytes of a later request."""
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            elif self._timer is None:
                self._start()

        def on_response_complete(self) -> None:
            """End a connection whose request states two lengths, as RFC 9112, 6.1 requires.

            A proxy may have used the other length, and what follows is then a request that it did not check.
            """
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in self.headers}:
                self.transport.close()
            super().on_response_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            """Stop the time limit."""
            self._stop()
            super().connection_lost(exc)

        def _start(self) -> None:
            self._timer = self.loop.call_later(timeout_s, self.transport.abort)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Protocol


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol with limits in memory. The library limits the bytes of a message, not its fragments."""

    _fragments = 0  # number of fragments of the message that is coming in

    def handle_cont(self, event: Frame) -> None:
        """Process the next fragment of a message, which may be empty. End the connection if there are too many."""
        self._fragments = 0 if event.fin else self._fragments + 1
        if self._fragments < _MAX_FRAGMENTS:
            super().handle_cont(event)
        else:
            self.transport.abort()

    def handle_ping(self) -> None:
        """Answer a ping. Omit the answer while the client reads nothing, which RFC 6455, 5.5.3 allows."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()
