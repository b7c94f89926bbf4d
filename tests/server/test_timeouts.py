"""Time limits of connections, with a clock that tests control."""

import asyncio
import time
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import uvicorn
from starlette.websockets import WebSocketState
from uvicorn.server import ServerState

from sonjit.server import stream as stream_module
from sonjit.server.protocols import http_protocol
from sonjit.server.service import Service
from sonjit.server.settings import Settings
from sonjit.server.stream import Stream

HEADER_S, READ_S = 20, 600


class Clock:
    """Clock and timers of an event loop."""

    def __init__(self):
        self.now_s = 0.0
        self._timers = []

    def call_later(self, delay_s, callback):
        timer = SimpleNamespace(due_s=self.now_s + delay_s, callback=callback)
        timer.cancel = lambda: timer in self._timers and self._timers.remove(timer)
        self._timers.append(timer)
        return timer

    def create_task(self, work, **_):
        work.close()
        return Mock()

    def advance(self, seconds):
        self.now_s += seconds
        for timer in [timer for timer in self._timers if timer.due_s <= self.now_s]:
            self._timers.remove(timer)
            timer.callback()


class Transport:
    """Server side of a connection."""

    ends = ""

    def close(self):
        self.ends = self.ends or "closed"

    def abort(self):
        self.ends = self.ends or "aborted"

    def is_closing(self):
        return bool(self.ends)

    def get_extra_info(self, name):
        return None

    def set_protocol(self, protocol):
        pass

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


@pytest.fixture
def connection():
    """Return clock, protocol and transport of a connection to the server."""

    async def app(scope, receive, send):
        raise AssertionError

    clock, transport = Clock(), Transport()
    config = uvicorn.Config(app, log_config=None)
    config.load()
    protocol = http_protocol(HEADER_S, READ_S)(config, ServerState(), {}, _loop=clock)
    protocol.connection_made(transport)
    return SimpleNamespace(clock=clock, protocol=protocol, transport=transport)


def test_headers_that_drip_are_no_way_to_stay(connection):
    connection.protocol.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    for _ in range(HEADER_S - 1):
        connection.clock.advance(1)
        connection.protocol.data_received(b"x: y\r\n")
    assert connection.transport.ends == ""
    connection.clock.advance(1)
    assert connection.transport.ends == "closed"


def test_a_pause_between_requests_on_one_connection_is_no_fault(connection):
    connection.protocol.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    connection.clock.advance(10 * HEADER_S)
    connection.protocol.data_received(b"GET / HTTP/1.1\r\n")
    connection.clock.advance(HEADER_S - 1)
    assert connection.transport.ends == ""
    connection.clock.advance(1)
    assert connection.transport.ends == "closed"


@pytest.mark.parametrize("reads_on", [True, False])
def test_an_answer_waits_only_so_long_for_its_reader(connection, reads_on):
    connection.protocol.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    connection.protocol.pause_writing()
    connection.clock.advance(READ_S - 1)
    if reads_on:
        connection.protocol.resume_writing()
    connection.clock.advance(1)
    assert connection.transport.ends == ("" if reads_on else "aborted")


def test_every_message_of_a_stream_restarts_the_idle_time(monkeypatch):
    now_s, slept, closed = 0.0, [], []

    class Socket:
        scope = {"subprotocols": []}  # noqa: RUF012
        client_state = WebSocketState.CONNECTED

        def __init__(self):
            self.messages = asyncio.Queue()

        async def accept(self, subprotocol):
            pass

        async def receive(self):
            return await self.messages.get()

        async def close(self, code, reason):
            closed.append((code, reason))

    async def go():
        nonlocal now_s
        service, socket, sleep = Service(Settings(workers=1, idle_minutes=1)), Socket(), asyncio.sleep

        async def move_clock(seconds):
            nonlocal now_s
            slept.append(seconds)
            if len(slept) == 1:
                now_s += 50
                socket.messages.put_nowait({"type": "websocket.receive", "text": '{"type": "reset"}'})
                for _ in range(10):
                    await sleep(0)
                seconds -= 50
            now_s += seconds

        clock = SimpleNamespace(monotonic=lambda: now_s, perf_counter=time.perf_counter)
        monkeypatch.setattr(stream_module, "time", clock)
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", move_clock)
            await Stream(socket, service).run()
        await service.stop()

    asyncio.run(go())
    assert slept == [60, 50]
    ((code, reason),) = closed
    assert (code, "--idle-minutes" in reason) == (4408, True)
