"""Protocols of connections: fragments of a message, and the time for the headers of a request."""

import asyncio
from types import SimpleNamespace

import h11
import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sonjit.server.protocols import WebSocketProtocol, http_protocol

PART, LAST = SimpleNamespace(fin=False), SimpleNamespace(fin=True)


def test_a_message_has_ten_thousand_fragments(monkeypatch):
    taken, aborted = [], []
    monkeypatch.setattr(WebSocketsSansIOProtocol, "handle_cont", lambda _, event: taken.append(event))
    protocol = object.__new__(WebSocketProtocol)
    protocol.transport = SimpleNamespace(abort=lambda: aborted.append(len(taken)))
    for _ in range(2):  # the next message has as many
        for event in [PART] * 9_999 + [LAST]:
            protocol.handle_cont(event)
    assert (len(taken), aborted) == (20_000, [])
    for event in [PART] * 10_001:
        protocol.handle_cont(event)
    assert (len(taken), aborted) == (29_999, [29_999, 29_999])


class Loop:
    """Loop with timers that the test lets run out."""

    def __init__(self):
        self.timers = []

    def call_later(self, seconds, call):
        timer = SimpleNamespace(seconds=seconds, call=call, is_active=True)
        timer.cancel = lambda: setattr(timer, "is_active", False)
        self.timers.append(timer)
        return timer

    @property
    def active(self):
        return [timer.seconds for timer in self.timers if timer.is_active]


@pytest.fixture
def protocol(monkeypatch):
    """Return a protocol whose parent notes its calls."""
    calls = []
    for name in ("connection_made", "data_received", "connection_lost", "on_response_complete"):
        monkeypatch.setattr(H11Protocol, name, lambda *arguments, name=name: calls.append((name, *arguments[1:])))
    protocol = object.__new__(http_protocol(7.5))
    protocol.calls, protocol.loop, protocol.headers = calls, Loop(), []
    protocol.conn = SimpleNamespace(their_state=h11.IDLE)
    protocol.transport = SimpleNamespace(abort="abort", close=lambda: calls.append("close"))
    return protocol


def test_headers_have_so_much_time_from_their_first_byte(protocol):
    protocol.connection_made("transport")
    protocol.data_received(b"GET")
    assert protocol.loop.active == [7.5]
    assert [timer.call for timer in protocol.loop.timers] == ["abort"]
    protocol.conn.their_state = h11.DONE
    protocol.data_received(b"headers")
    assert protocol.loop.active == []
    protocol.data_received(b"body")
    protocol.conn.their_state = h11.IDLE
    protocol.data_received(b"G")
    protocol.data_received(b"ET")
    assert protocol.loop.active == [7.5]
    protocol.connection_lost(None)
    protocol.connection_lost(None)
    assert (protocol.loop.active, len(protocol.loop.timers)) == ([], 2)
    assert [call[0] for call in protocol.calls] == ["connection_made", *["data_received"] * 5, *["connection_lost"] * 2]


@pytest.mark.parametrize(
    ("names", "closes"),
    [
        ([b"content-length", b"transfer-encoding"], True),
        ([b"transfer-encoding", b"host", b"content-length"], True),
        ([b"content-length", b"host"], False),
        ([b"transfer-encoding"], False),
        ([], False),
    ],
)
def test_a_connection_ends_after_a_request_of_two_lengths(protocol, names, closes):
    protocol.headers = [(name, b"") for name in names]
    protocol.on_response_complete()
    assert protocol.calls == [*["close"] * closes, ("on_response_complete",)]


@pytest.mark.parametrize("reads", [True, False])
def test_a_ping_is_answered_only_to_a_client_that_reads(monkeypatch, reads):
    calls = []
    monkeypatch.setattr(WebSocketsSansIOProtocol, "handle_ping", lambda _: calls.append("answered"))
    protocol = object.__new__(WebSocketProtocol)
    protocol.writable = asyncio.Event()
    protocol.conn = SimpleNamespace(data_to_send=lambda: calls.append("dropped"))
    if reads:
        protocol.writable.set()
    protocol.handle_ping()
    assert calls == ["answered" if reads else "dropped"]
