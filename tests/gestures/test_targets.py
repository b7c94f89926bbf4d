"""Receivers that are slow, stop or return delay nothing and lose only messages that are out of date."""

import socket
import sys
import threading
import time
from functools import partial
from queue import Queue
from unittest.mock import Mock

import pytest
from pythonosc.osc_packet import OscPacket
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.sync.client import connect

from sonjit.gestures import targets
from sonjit.gestures.control import Command, Rule
from sonjit.gestures.outlets import Outlets
from sonjit.gestures.outlets.osc import osc_bundles, osc_message
from sonjit.gestures.outlets.websocket import WebSocketClient
from sonjit.gestures.targets import Target


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(targets, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(targets, "_RETRY_S", 0.05)


class Receiver:
    """Receiver that waits for `permit` before it takes a message."""

    def __init__(self):
        self.got, self.permit, self.began = [], threading.Semaphore(0), threading.Semaphore(0)

    def send(self, message):
        self.began.release()
        self.permit.acquire()
        if isinstance(message, Exception):
            raise message
        self.got.append(message)


def lines(caplog):
    return [record.getMessage() for record in caplog.records]


def wait_for(condition):
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    pytest.fail("nothing happened within 10 s")


def test_only_the_newest_message_waits_for_a_slow_receiver(caplog):
    receiver = Receiver()
    with Target("slow", receiver.send) as target:
        target.put(0)
        receiver.began.acquire()
        for message in range(1, 50):
            target.put(message)
        receiver.permit.release(2)
        wait_for(lambda: len(receiver.got) == 2)
    assert receiver.got == [0, 49]
    assert lines(caplog) == ["slow: slow; left out 48 messages"]


def test_a_receiver_that_is_free_gets_every_message(caplog):
    got = []
    with Target("fast", got.append) as target:
        for message in range(200):
            wait_for(lambda least=message - 1: len(got) >= least)
            target.put(message)
    assert got == list(range(200))
    assert lines(caplog) == []


def test_a_stop_and_a_return_are_one_line_each(caplog):
    receiver = Receiver()
    with Target("post x", receiver.send) as target:
        target.put(0)
        receiver.began.acquire()
        wait_for(lambda: target.put(1) or lines(caplog))  # returns at once each time
        target.put(2)
        assert lines(caplog) == ["post x: it does not receive"]
        receiver.permit.release(2)
        wait_for(lambda: len(lines(caplog)) == 2)
    assert receiver.got == [0, 2]
    assert "post x: receives again; left out" in lines(caplog)[1]


@pytest.mark.parametrize("error", [OSError("refused"), ValueError("refused"), RuntimeError("refused")])
def test_any_failure_is_reported_once_and_tried_again(caplog, error):
    receiver = Receiver()
    receiver.permit.release(100)
    with Target("x", receiver.send) as target:
        for _ in range(3):
            target.put(error)
            receiver.began.acquire()
        target.put("fine")
        wait_for(lambda: receiver.got)
    assert receiver.got == ["fine"]
    assert lines(caplog) == ["x: refused", "x: receives again; left out 3 messages"]


def test_the_end_does_not_wait_for_a_receiver_that_stopped(caplog):
    receiver = Receiver()
    target = Target("x", receiver.send, abort=receiver.permit.release)
    target.put(0)
    receiver.began.acquire()
    target.close()
    assert lines(caplog) == ["x: it does not receive"]
    assert not target._thread.is_alive()


def receive(server, resume, got):
    """Answer the handshake of a WebSocket, and read its messages after `resume`."""
    connection, _ = server.accept()
    protocol = ServerProtocol(max_size=None)
    while protocol.state is not State.CLOSED and (data := connection.recv(65536)):
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Request):
                protocol.send_response(protocol.accept(event))
                connection.sendall(b"".join(protocol.data_to_send()))
                resume.wait(30)
            else:
                got.put(event.data[:9].strip())
    connection.close()


@pytest.mark.parametrize("reads_again", [True, False])
def test_a_websocket_that_does_not_read_gets_the_newest_message_when_it_reads_again(caplog, reads_again):
    got, resume = Queue(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        thread = threading.Thread(target=receive, args=(server, resume, got))
        thread.start()
        client = WebSocketClient(f"ws://127.0.0.1:{server.getsockname()[1]}")
        client.connect()
        target = Target("ws", client.send, client.abort)
        wait_for(lambda: target.put("old".ljust(900_000)) or lines(caplog))
        assert lines(caplog) == ["ws: it does not receive"]
        target.put("newest")
        if reads_again:
            resume.set()
            wait_for(lambda: got.get(timeout=10) == b"newest")
            wait_for(lambda: len(lines(caplog)) == 2)
            assert "ws: receives again; left out" in lines(caplog)[1]
        target.close()
        client.close()
        assert not target._thread.is_alive()
        resume.set()
        thread.join()


def test_a_reader_that_answers_no_ping_is_one_line(caplog, monkeypatch):
    monkeypatch.setattr("websockets.sync.client.connect", partial(connect, ping_interval=0.05, ping_timeout=0.05))
    with socket.create_server(("127.0.0.1", 0)) as server:
        resume = threading.Event()
        thread = threading.Thread(target=receive, args=(server, resume, Queue()), daemon=True)
        thread.start()
        client = WebSocketClient(f"ws://127.0.0.1:{server.getsockname()[1]}")
        client.connect()
        with Target("ws", client.send, client.abort) as target:
            wait_for(lambda: target.put("x") or lines(caplog))
        client.close()
        resume.set()
    (line,) = lines(caplog)  # and none of the library
    assert line.startswith("ws: ")


def test_a_silent_server_delays_no_other_rule(caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket(type=socket.SOCK_DGRAM) as osc:
        osc.bind(("127.0.0.1", 0))
        osc.settimeout(10)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        post = Rule.from_table({"measure": "x", "post": address})
        other = Rule.from_table({"measure": "x", "osc": f"127.0.0.1:{osc.getsockname()[1]}/v"})
        with Outlets([post, other]) as outlets:
            for index in range(20):
                outlets.send(Command(post, index, {}))
                outlets.send(Command(other, index, {}))
                assert osc.recv(100) == osc_message("/v", index)
            assert lines(caplog) in ([], [f"post {address}: it does not receive"])
    assert lines(caplog) == [f"post {address}: it does not receive"]


@pytest.mark.parametrize("count", [1, 55, 400])
def test_bundles_have_all_messages_in_order(count):
    messages = [osc_message(f"/VMC/Ext/Bone/Pos{number}", "Hips", *map(float, range(7))) for number in range(count)]
    packets = list(osc_bundles(messages))
    assert len(packets) == -(-count // 100)
    assert max(map(len, packets)) <= 8192
    got = [timed.message for packet in packets for timed in OscPacket(packet).messages]
    assert [message.address for message in got] == [f"/VMC/Ext/Bone/Pos{number}" for number in range(count)]
    assert all(message.params == ["Hips", 0, 1, 2, 3, 4, 5, 6] for message in got)


def test_a_broker_that_stops_gets_no_growing_queue(monkeypatch, caplog):
    paho = Mock(MQTT_ERR_SUCCESS=0)
    client = paho.Client.return_value
    for name, module in (("paho", Mock()), ("paho.mqtt", Mock()), ("paho.mqtt.client", paho)):
        monkeypatch.setitem(sys.modules, name, module)
    stuck = Mock(rc=0)
    stuck.is_published.return_value = False
    client.publish.return_value = stuck
    one = Rule.from_table({"measure": "x", "mqtt": "127.0.0.1:1883/x"})
    with Outlets([one]) as outlets:
        outlets.send(Command(one, 0.0, {}))
        for value in range(1, 4):
            outlets.send(Command(one, value, {}))
            wait_for(lambda least=value: stuck.wait_for_publish.call_count > least)
        assert client.publish.call_count == 1
        assert lines(caplog) == ["mqtt 127.0.0.1:1883/x: it does not receive"]
        stuck.is_published.return_value = True
        outlets.send(Command(one, 9.0, {}))
        wait_for(lambda: client.publish.call_count == 2)
    assert client.publish.call_args.args == ("x", '{"value":9.0}')
