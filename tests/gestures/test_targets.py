"""Receivers that are slow, stop or return delay nothing and lose only messages that are out of date."""

import json
import socket
import sys
import threading
import time
from importlib.machinery import ModuleSpec
from queue import Queue
from types import ModuleType
from unittest.mock import Mock

import pytest
from pythonosc.osc_packet import OscPacket
from tests.gestures.conftest import Broker
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from sonjit.gestures import targets
from sonjit.gestures.control import Command, ControlMap, Rule
from sonjit.gestures.outlets import Outlets, mqtt
from sonjit.gestures.outlets.osc import osc_bundles, osc_message
from sonjit.gestures.outlets.websocket import WebSocketClient
from sonjit.gestures.targets import Target


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(targets, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(targets, "_RETRY_S", 0.05)


@pytest.fixture
def long_timeout(monkeypatch):
    """Let no receiver count as stopped, also on a loaded machine."""
    monkeypatch.setattr(targets, "TIMEOUT_S", 30)


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

    def wait(self):
        """Wait until it gets the next message."""
        assert self.began.acquire(timeout=30)


def lines(caplog):
    return [record.getMessage() for record in caplog.records]


def wait_for(condition):
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    pytest.fail("nothing happened within 10 s")


@pytest.mark.usefixtures("long_timeout")
def test_only_the_newest_message_waits_for_a_slow_receiver(caplog):
    receiver = Receiver()
    with Target("slow", receiver.send) as target:
        target.put(0)
        receiver.wait()
        for message in range(1, 50):
            target.put(message)
        receiver.permit.release(2)
        wait_for(lambda: len(receiver.got) == 2)
    assert receiver.got == [0, 49]
    assert lines(caplog) == ["slow: slow; left out 48 messages"]


@pytest.mark.usefixtures("long_timeout")
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
        receiver.wait()
        wait_for(lambda: target.put(1) or lines(caplog))  # returns at once each time
        target.put(2)
        assert lines(caplog) == ["post x: it does not receive"]
        receiver.permit.release(2)
        wait_for(lambda: len(lines(caplog)) == 2)
    assert receiver.got == [0, 2]
    assert "post x: receives again; left out" in lines(caplog)[1]


@pytest.mark.usefixtures("long_timeout")
@pytest.mark.parametrize("error", [OSError("refused"), ValueError("refused"), RuntimeError("refused")])
def test_any_failure_is_reported_once_and_tried_again(caplog, error):
    receiver = Receiver()
    receiver.permit.release(100)
    with Target("x", receiver.send) as target:
        for _ in range(3):
            target.put(error)
            receiver.wait()
        target.put("fine")
        wait_for(lambda: receiver.got)
    assert receiver.got == ["fine"]
    assert lines(caplog) == ["x: refused", "x: receives again; left out 3 messages"]


def test_the_end_does_not_wait_for_a_receiver_that_stopped(caplog):
    receiver = Receiver()
    target = Target("x", receiver.send, abort=receiver.permit.release)
    target.put(0)
    receiver.wait()
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


def test_a_silent_server_delays_no_other_rule(caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket(type=socket.SOCK_DGRAM) as osc:
        osc.bind(("127.0.0.1", 0))
        osc.settimeout(10)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        post = Rule.from_table({"measure": "x", "post": address})
        other = Rule.from_table({"measure": "x", "osc": f"127.0.0.1:{osc.getsockname()[1]}/v"})
        with Outlets(ControlMap([post, other])) as outlets:
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
    assert max(map(len, packets)) < 1400  # one datagram of Wi-Fi
    assert len(packets) <= -(-sum(len(one) + 4 for one in messages) // 1200)
    got = [timed.message for packet in packets for timed in OscPacket(packet).messages]
    assert [message.address for message in got] == [f"/VMC/Ext/Bone/Pos{number}" for number in range(count)]
    assert all(message.params == ["Hips", 0, 1, 2, 3, 4, 5, 6] for message in got)


@pytest.fixture
def broker(monkeypatch):
    pytest.importorskip("paho.mqtt.client", reason="paho is not installed; type: pip install paho-mqtt")
    monkeypatch.setattr(mqtt, "TIMEOUT_S", 0.2)
    broker = Broker()
    yield broker
    broker.close()


def values(broker):
    return [json.loads(message.text)["value"] for message in broker.got]


def stop_reading(broker, one, outlets, caplog):
    """Let the broker read no more, and send until this is reported."""
    broker.reads.clear()
    big = {"name": "x" * 1_000_000}  # fills the buffers of the connection
    wait_for(lambda: outlets.send(Command(one, 1, big)) or lines(caplog))
    assert lines(caplog) == [f"mqtt 127.0.0.1:{broker.port}/x: it does not receive"]


@pytest.mark.parametrize("how", ["reads again", "new connection"])
def test_a_broker_that_stops_reading_delays_nothing_and_gets_the_newest_value(broker, caplog, how):
    one = Rule.from_table({"measure": "x", "mqtt": f"127.0.0.1:{broker.port}/x"})
    with Outlets(ControlMap([one])) as outlets:
        outlets.send(Command(one, 0, {}))
        wait_for(lambda: values(broker) == [0])
        stop_reading(broker, one, outlets, caplog)
        for value in range(2, 50):
            outlets.send(Command(one, value, {}))
        if how == "new connection":
            broker.lose()
        broker.reads.set()
        wait_for(lambda: outlets.send(Command(one, 99, {})) or 99 in values(broker))
        wait_for(lambda: len(lines(caplog)) == 2)
    assert lines(caplog)[1].startswith(f"mqtt 127.0.0.1:{broker.port}/x: receives again; left out")


def test_the_end_does_not_wait_for_a_broker_that_stopped_reading(broker, caplog):
    one = Rule.from_table({"measure": "x", "mqtt": f"127.0.0.1:{broker.port}/x"})
    with Outlets(ControlMap([one])) as outlets:
        stop_reading(broker, one, outlets, caplog)
    wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("paho")])
    assert len(lines(caplog)) == 1


def test_a_synthesizer_that_stops_delays_no_other_rule_and_gets_its_notes_in_order(monkeypatch, caplog):
    receiver = Receiver()
    port = Mock(send=receiver.send)
    mido = Mock(Message=lambda kind, **values: (kind, *values.values()))
    mido.get_output_names.return_value = ["Synth"]
    mido.open_output.return_value = port
    monkeypatch.setitem(sys.modules, "mido", mido)
    volume = Rule.from_table({"measure": "x", "midi": "Synth/1/control/7"})
    pan = Rule.from_table({"measure": "y", "midi": "Synth/1/control/10"})
    with socket.socket(type=socket.SOCK_DGRAM) as osc:
        osc.bind(("127.0.0.1", 0))
        osc.settimeout(10)
        other = Rule.from_table({"measure": "x", "osc": f"127.0.0.1:{osc.getsockname()[1]}/v"})
        with Outlets(ControlMap([volume, pan, other])) as outlets:
            outlets.send(Command(volume, 0, {}))
            receiver.wait()  # it is stuck in this message
            for value in (0.0, 0.5, 1.0):
                outlets.send(Command(pan, value, {}))
                outlets.send(Command(volume, value, {}))
                outlets.send(Command(other, value, {}))
                assert osc.recv(100) == osc_message("/v", value)
            wait_for(lambda: outlets.send(Command(volume, 1, {})) or lines(caplog))
            assert lines(caplog) == ["midi Synth: it does not receive"]
            receiver.permit.release(9)
            wait_for(lambda: len(lines(caplog)) == 2)
    assert lines(caplog)[1].startswith("midi Synth: receives again; left out")
    assert receiver.got[:3] == [
        ("control_change", 0, 7, 0),
        ("control_change", 0, 10, 127),
        ("control_change", 0, 7, 127),
    ]
    port.close.assert_called_once_with()


def test_the_end_does_not_wait_for_a_synthesizer_that_stopped(monkeypatch, caplog):
    receiver = Receiver()
    port = Mock(send=receiver.send)
    mido = Mock()
    mido.get_output_names.return_value = []
    mido.open_output.return_value = port
    monkeypatch.setitem(sys.modules, "mido", mido)
    note = Rule.from_table({"on": "Wave", "midi": "Synth/1/note/60"})
    with Outlets(ControlMap([note])) as outlets:
        outlets.send(Command(note, 1, {}))
        receiver.wait()
    assert lines(caplog) == ["midi Synth: it does not receive"]
    port.close.assert_not_called()  # it would wait for the stuck message
    receiver.permit.release(9)
    wait_for(lambda: port.close.called)


def test_a_desktop_that_stops_gets_the_newest_position_and_every_key(monkeypatch, caplog):
    receiver = Receiver()
    pointer = type("Pointer", (), {"position": property(lambda _: (0, 0), lambda _, place: receiver.send(place))})()
    pointer.press, pointer.release = (lambda button: receiver.send(("press", button))), lambda _: receiver.send("free")
    mouse = Mock(Button={"left": "LEFT"})
    mouse.Controller.return_value = pointer
    package = ModuleType("pynput")
    package.__spec__ = ModuleSpec("pynput", None)
    for name, module in (("", package), (".mouse", mouse)):
        monkeypatch.setitem(sys.modules, f"pynput{name}", module)
    x = Rule.from_table({"measure": "x", "pointer": "x"})
    press = Rule.from_table({"on": "Pinch", "phase": "begin", "pointer": "press"})
    release = Rule.from_table({"on": "Pinch", "phase": "end", "pointer": "release"})
    with Outlets(ControlMap([x, press, release])) as outlets:
        outlets.send(Command(x, 1, {}))
        receiver.wait()
        wait_for(lambda: outlets.send(Command(x, 2, {})) or lines(caplog))
        assert lines(caplog) == ["keys and pointer: it does not receive"]
        for one in (x, press, release, press):
            outlets.send(Command(one, 3, {}))
        receiver.permit.release(9)
    assert receiver.got == [(1, 0), (3, 0), "free", ("press", "LEFT"), "free"]  # the last one at the end


def test_the_end_of_a_receiver_is_called_once_and_its_failure_is_a_line(caplog):
    calls = []

    def fail():
        calls.append("end")
        raise OSError("cannot be closed")

    with Target("x", calls.append, end=fail) as target:
        target.put("a")
    assert calls == ["a", "end"]
    assert lines(caplog) == ["x: cannot be closed"]


@pytest.mark.parametrize(("length", "count"), [(1392 - 16 - 4, 1), (1392 - 16, 2)])
def test_a_bundle_has_up_to_1392_bytes(length, count):
    first = osc_message("/a" + "b" * 93)
    assert len(first) == 100
    messages = [first, bytes(length - 104)]
    packets = list(osc_bundles(messages))
    assert len(packets) == count
    assert sum(map(len, packets)) == length + 4 + 16 * count
    assert [len(one) for one in osc_bundles([bytes(9000), first])] == [9020, 120]
    assert list(osc_bundles([])) == []


@pytest.mark.parametrize(
    ("address", "values", "message"),
    [
        ("/ab", (), b"/ab\0,\0\0\0"),
        ("/abc", (1.0, "xyz", "wxyz"), b"/abc\0\0\0\0,fss\0\0\0\0?\x80\0\0xyz\0wxyz\0\0\0\0"),
    ],
)
def test_a_message_is_padded_to_four_bytes(address, values, message):
    assert osc_message(address, *values) == message
