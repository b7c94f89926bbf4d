"""Servers in this process, asked through the app itself or through a real port."""

import contextlib
import json
import socket
import struct
import threading
import time

import cv2
import pytest
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sonjit.server.app import create_app
from sonjit.server.run import make_server
from sonjit.server.settings import Settings


@pytest.fixture
def ask():
    """`ask(**settings)`: a client of a new server; its parts are `client.app.state.service`."""
    with contextlib.ExitStack() as stack:

        def get(**settings):
            app = create_app(Settings(**{"workers": 2} | settings))
            return stack.enter_context(TestClient(app, "http://127.0.0.1", raise_server_exceptions=False))

        yield get


@pytest.fixture
def listen():
    """`listen(**settings)`: a server behind a real port; `.port`, `.service` and `.stop()`."""
    made = []

    def get(**settings):
        made.append(Live(Settings(**{"workers": 2} | settings)))
        return made[-1]

    yield get
    for one in made:
        one.stop()


class Live:
    """A server in a thread."""

    def __init__(self, settings):
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._socket.getsockname()[1]
        started = threading.Event()
        self._server = make_server(settings, self._socket, started=lambda _: started.set())
        self.service = self._server.config.app.state.service
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        started.wait()

    def stop(self):
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


def jpeg_of(rgb):
    return cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()


def frame_message(number, data, *, time=0.0, kind=0, size=(0, 0), magic=b"SNJ1"):
    """A binary message of a stream."""
    return struct.pack("<4sIdB3x2H", magic, number, time, kind, *size) + data


@contextlib.contextmanager
def open_stream(live, query="", origin=None):
    """A stream of a client's own, to a server behind a real port."""
    address = f"ws://127.0.0.1:{live.port}/v1/stream{query}"
    with connect(address, origin=origin, compression=None, max_size=None) as socket:
        yield Socket(socket)


class Socket:
    """A client's side of a stream."""

    def __init__(self, socket):
        self._socket = socket
        self.send = socket.send  # text or bytes

    def receive(self):
        return json.loads(self._socket.recv(timeout=60))

    def end(self):
        """The close frame, after everything before it."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.receive()
        return self._socket.protocol.close_rcvd


def settled(is_so):
    """Wait until something is so that other threads bring about."""
    for _ in range(2000):
        if is_so():
            return True
        time.sleep(0.01)
    return False


def configure(socket, *detectors, **others):
    """What is answered to a `configure` message, the last message last."""
    socket.send(json.dumps({"type": "configure", "detectors": list(detectors)} | others))
    answers = [socket.receive()]
    while answers[-1]["type"] == "loading":
        answers.append(socket.receive())
    return answers


def refusal(response, status, code):
    """The line of a refusal, after a look at its shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["code"] == code
    assert "\n" not in error["message"]
    return error["message"]
