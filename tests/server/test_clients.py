"""Many clients of the stream: queues that drop the oldest, shares that are fair, nothing left when they leave."""

import gc
import json
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from sonjit.server import stream as messages
from sonjit.server.stream import Configure

from .conftest import configure, frame_message, jpeg_of, open_stream, settled

LITE = {"kind": "hands", "model": "lite"}


@pytest.fixture
def frames(demo_clip):
    """Frames with hands in them, encoded."""
    return [jpeg_of(rgb) for rgb in demo_clip[1][100:106]]


@pytest.fixture
def hold_decoding(listen, monkeypatch):  # after `listen`: the gate opens before the servers have to stop
    """Images wait before they are decoded until the gate is set; `begun` is set once one does."""
    begun, gate, decode = threading.Event(), threading.Event(), messages.Image.decode

    def wait(image, *limits):
        begun.set()
        gate.wait()
        return decode(image, *limits)

    monkeypatch.setattr(messages.Image, "decode", wait)
    yield begun, gate
    gate.set()


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
        assert settled(lambda: any(isinstance(one, Configure) for one in list(stream._waiting)))
        gate.set()
        got = [socket.receive() for _ in range(queue + 2)]
    assert [one.get("frame") for one in got] == [0, *range(11 - queue, 11), None]
    assert [one.get("dropped") for one in got[1:-1]] == [10 - queue] * queue
    assert got[-1] == {"type": "ready", "detectors": []}


def test_clients_beyond_the_limit_are_sent_away_and_may_come_later(listen):
    client = listen(max_clients=2)
    with open_stream(client) as one, open_stream(client) as two:
        assert configure(one)[-1]["type"] == configure(two)[-1]["type"] == "ready"
        assert len(client.service.streams) == 2
        with open_stream(client) as three:
            closed = three.end()
        assert closed.code == 1013
        assert "2 clients" in closed.reason
    assert settled(lambda: not client.service.streams)
    with open_stream(client) as three:
        assert configure(three)[-1]["type"] == "ready"


@pytest.mark.slow
def test_a_client_that_leaves_leaves_nothing(weights, listen, frames, hold_decoding):
    client = listen()
    service = client.service
    begun, gate = hold_decoding
    with open_stream(client) as socket:
        configure(socket, LITE)
        assert service.detectors.lent == 1
        (stream,) = service.streams
        held = [weakref.ref(stream), weakref.ref(stream._lane)]
        del stream
        for number in range(4):
            socket.send(frame_message(number, frames[0]))
        begun.wait()
        gate.set()
    assert settled(lambda: service.detectors.lent == 0 and not service.streams)
    assert settled(lambda: gc.collect() is not None and [one() for one in held] == [None, None])


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


def test_the_server_stops_with_a_word(weights, listen, frames):
    live = listen()
    with open_stream(live) as socket:
        configure(socket, LITE)
        socket.send(frame_message(1, frames[0]))
        live.stop()
        assert socket.end().code == 1001
    assert live.service.detectors.lent == 0
    assert not any(thread.name.startswith("sonjit-worker") for thread in threading.enumerate())


@pytest.mark.slow
def test_eight_busy_clients_are_served_alike(weights, listen, frames):
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
