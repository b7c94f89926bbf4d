"""Many clients of the stream: queues that drop the oldest image, fair shares, and no leftovers."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sonjit.server import stream as messages
from sonjit.server.stream import Configure

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .conftest import LITE, answer, configure, frame_message, open_stream


def test_streams_are_not_compressed(listen):
    """Images are compressed already, so compression would only take time."""
    with connect(f"ws://127.0.0.1:{listen().port}/v1/stream") as socket:  # this client asks for compression
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


@pytest.fixture
def hold_decoding(listen, monkeypatch):  # after `listen`: the gate opens before the servers have to stop
    """Delay decoding until the gate is set. `begun` is set when an image waits."""
    begun, gate, decode = threading.Event(), threading.Event(), messages.StreamImage.decode

    def wait(image, *limits):
        begun.set()
        gate.wait()
        return decode(image, *limits)

    monkeypatch.setattr(messages.StreamImage, "decode", wait)
    yield begun, gate
    gate.set()


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("queue", [1, 3])
def test_images_beyond_the_queue_push_out_the_oldest(queue, weights, listen, hold_decoding):
    begun, gate = hold_decoding
    pixel = frame_message(0, bytes(3), kind=2, size=(1, 1))[8:]
    live = listen(queue=queue)
    with open_stream(live) as socket:
        configure(socket, LITE)
        (stream,) = live.service.streams
        socket.send(b"SNJ1" + bytes(4) + pixel)
        begun.wait()  # the first is being decoded, so that all others wait
        for number in range(1, 11):
            socket.send(b"SNJ1" + number.to_bytes(4, "little") + pixel)
        socket.send(json.dumps({"type": "configure", "detectors": []}))  # in order, and never dropped
        wait_until(lambda: any(isinstance(one, Configure) for one in list(stream._waiting)))
        gate.set()
        got = [socket.receive() for _ in range(queue + 2)]
    assert [one.get("frame") for one in got] == [0, *range(11 - queue, 11), None]
    assert [one.get("dropped") for one in got[1:-1]] == [10 - queue] * queue
    assert got[-1] == {"type": "ready", "detectors": []}


def test_clients_beyond_the_limit_are_refused_and_can_retry(listen):
    client = listen(max_clients=2)
    with open_stream(client) as one, open_stream(client) as two:
        assert configure(one)[-1]["type"] == configure(two)[-1]["type"] == "ready"
        assert len(client.service.streams) == 2
        with open_stream(client) as three:
            closed = three.end()
        assert closed.code == 1013
        assert "2 clients" in closed.reason
    wait_until(lambda: not client.service.streams)
    with open_stream(client) as three:
        assert configure(three)[-1]["type"] == "ready"


def test_many_settings_at_once_are_no_way_to_fill_the_memory(listen, hold_decoding):
    begun, gate = hold_decoding
    with open_stream(listen()) as socket:
        socket.send(frame_message(0, bytes(3), kind=2, size=(1, 1)))
        begun.wait()
        with suppress(ConnectionClosed):  # the server may close before the last is sent
            for _ in range(100):
                socket.send(json.dumps({"type": "reset"}))
        gate.set()
        assert socket.end().code == 1008


def test_a_stopped_server_closes_its_streams_and_ends_its_threads(weights, listen, frames):
    before = set(threading.enumerate())
    live = listen()
    with open_stream(live) as socket:
        configure(socket, LITE)
        answer(socket, 1, frames[0])
        assert set(threading.enumerate()) - before
        live.stop()
        assert socket.end().code == 1001
    assert live.service.detectors.in_use == 0
    wait_until(lambda: not {thread for thread in threading.enumerate() if thread.name.startswith("AnyIO")} - before)


@pytest.mark.nightly
@pytest.mark.slow
def test_eight_busy_clients_get_equal_shares(weights, listen, frames):
    live, answered, enough = listen(workers=1), [0] * 8, threading.Event()

    def client(number):
        with open_stream(live) as socket:
            configure(socket, LITE)
            socket.send(frame_message(0, frames[0]))
            while not enough.is_set():
                socket.send(frame_message(1, frames[0]))
                assert socket.receive()["type"] == "frame"
                answered[number] += all(answered) or not answered[number]  # from when all are there
                if sum(answered) > 160:
                    enough.set()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    assert min(answered) > 0.5 * max(answered)
