"""Time limit of silent streams, with a clock that tests control."""

import asyncio
import time
from types import SimpleNamespace

from starlette.websockets import WebSocketState

from sonjit.server import stream as stream_module
from sonjit.server.service import Service
from sonjit.server.settings import Settings
from sonjit.server.stream import Stream


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
