"""Servers in this process, called through the app or through a real port."""

import contextlib
import json
import socket
import struct
import tempfile
import threading
import zlib

import av
import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sonjit.server.app import create_app, make_server
from sonjit.server.job_files import run_detectors
from sonjit.server.processes import Decoders, Worker
from sonjit.server.settings import Settings
from sonjit.weights import verify_weights

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages

FRAMES = 12
LITE = {"kind": "hands", "model": "lite"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return the folder of temporary files, in which servers must leave none."""
    folder = tmp_path / "server"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def ask(place):
    """Return a function that gives the client of a new server. Its parts are in `client.app.state.service`."""
    with contextlib.ExitStack() as stack:

        def get(open_project=None, **settings):
            app = create_app(Settings(**{"workers": 2} | settings), open_project)
            return stack.enter_context(TestClient(app, "http://127.0.0.1", raise_server_exceptions=False))

        yield get


@pytest.fixture(scope="module")
def decoders():
    """Decoder processes for images of up to 10,000 pixels."""
    decoders = Decoders(10_000)
    yield decoders
    decoders.close()


@pytest.fixture
def frames(demo_clip):
    """Return encoded frames with hands."""
    return [jpeg_of(rgb) for rgb in demo_clip[1][100:106]]


@pytest.fixture(scope="module")
def all_weights():
    if verify_weights(["hands", "face", "body", "holistic"]):
        pytest.skip("weights are missing; type: sonjit models pull hands face body holistic")


@pytest.fixture
def listen(place):
    """Return a function that starts a server on a real port, with `.port`, `.service` and `.stop()`."""
    made = []

    def get(**settings):
        made.append(Live(Settings(**{"workers": 2} | settings)))
        return made[-1]

    yield get
    for one in made:
        one.stop()


class Live:
    """Server in a thread."""

    def __init__(self, settings):
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._socket.getsockname()[1]
        self._server = make_server(settings, self._socket)
        self.service = self._server.config.app.state.service
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        wait_until(lambda: self._server.started)

    @property
    def connections(self):
        return self._server.server_state.connections

    def should_stop(self):
        self._server.should_exit = True

    def stop(self):
        self.should_stop()
        self._thread.join()
        self._socket.close()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


def png_of(width, height):
    """Return a small PNG with a stated size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg_of(rgb):
    return cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()


def frame_message(number, data, *, time=0.0, kind=0, size=(0, 0), magic=b"SNJ1"):
    """Return a binary message of a stream."""
    return struct.pack("<4sIdB3x2H", magic, number, time, kind, *size) + data


@contextlib.contextmanager
def open_stream(live, origin=None, headers=None, subprotocols=None):
    """Open a stream to a server on a real port, with its own client."""
    address = f"ws://127.0.0.1:{live.port}/v1/stream"
    with connect(
        address, origin=origin, additional_headers=headers, subprotocols=subprotocols, compression=None, max_size=None
    ) as socket:
        yield Socket(socket)


class Socket:
    """Client side of a stream."""

    def __init__(self, socket):
        self._socket = socket

    def send(self, message):  # text or bytes
        with contextlib.suppress(ConnectionClosed):  # the server may close the stream before all is sent
            self._socket.send(message)

    def receive(self):
        return json.loads(self._socket.recv(timeout=60))

    def end(self):
        """Return the close frame after all messages."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.receive()
        return self._socket.protocol.close_rcvd


def configure(socket, *detectors, **others):
    """Send a `configure` message, and return the messages up to its answer."""
    socket.send(json.dumps({"type": "configure", "detectors": list(detectors)} | others))
    answers = [socket.receive()]
    while answers[-1]["type"] == "loading":
        answers.append(socket.receive())
    return answers


def answer(socket, number, data, **others):
    socket.send(frame_message(number, data, **others))
    return socket.receive()


def refusal(response, status, code):
    """Check the form of an error, and return its message."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["code"] == code
    assert "\n" not in error["message"]
    return error["message"]


@pytest.fixture(scope="module")
def media(tmp_path_factory, demo_clip, photo, weights):
    """Return `clip.mp4` of 12 frames, `photo.jpg`, and the folder `shots` with three images and a broken one."""
    folder = tmp_path_factory.mktemp("media")
    _, frames, truth = demo_clip
    start = next(i for i, record in enumerate(truth) if len(record["hands"]) == 2)
    with av.open(str(folder / "clip.mp4"), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.height, stream.width = photo.shape[:2]
        stream.pix_fmt = "yuv420p"
        for rgb in frames[start : start + FRAMES]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
        container.mux(stream.encode(None))
    (folder / "shots").mkdir()
    for name, rgb in (("9.jpg", photo), ("10.png", np.zeros_like(photo)), ("손.jpg", frames[start])):
        cv2.imencode(name[-4:], rgb[..., ::-1])[1].tofile(folder / "shots" / name)
    (folder / "photo.jpg").write_bytes((folder / "shots" / "9.jpg").read_bytes())
    (folder / "shots" / "11.jpg").write_bytes((folder / "photo.jpg").read_bytes()[:2000])
    return folder


@pytest.fixture
def gate(monkeypatch):
    """Return an event that jobs wait for before they start."""
    gate, call = threading.Event(), Worker.call

    def wait_and_call(worker, function, *arguments, **limits):
        return (function is not run_detectors or gate.wait(20)) and call(worker, function, *arguments, **limits)

    monkeypatch.setattr(Worker, "call", wait_and_call)
    yield gate
    gate.set()


def end_of(client, response):
    """Wait for the job of a POST, and return it."""
    assert response.status_code == 202, response.text
    return events_of(client, response.json()["id"])[-1]


def events_of(client, job_id):
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        return [json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line.startswith("data: ")]
