"""Clients of jobs that disconnect without notice, over real connections."""

import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import pytest
import uvicorn

from sonjit.server.app import make_server
from sonjit.server.job_store import JobStore
from sonjit.server.settings import Settings

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages


class Served(NamedTuple):
    jobs: JobStore
    folder: Path
    connect: Callable[[], socket.socket]
    server: uvicorn.Server


@pytest.fixture
def served(tmp_path, monkeypatch, weights):
    """Return a running server, and the folder of its files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = make_server(Settings(max_jobs=1), listening)
        jobs = server.config.app.state.service.jobs
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield Served(jobs, tmp_path, lambda: socket.create_connection(listening.getsockname(), timeout=10), server)
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
    assert list(tmp_path.iterdir()) == []


def files_below(folder):
    return [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]  # files may vanish


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        ("Content-Length: 9000000\r\n", b"\0" * 3_000_000),
        ("Content-Length: 9000000\r\nContent-Type: multipart/form-data; boundary=q\r\n",
         b'--q\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + b"\0" * 3_000_000),
        ("Transfer-Encoding: chunked\r\n", b"2dc6c0\r\n" + b"\0" * 3_000_000 + b"\r\n"),
    ],
)  # fmt: skip
def test_an_upload_that_breaks_off_leaves_nothing(served, headers, start):
    jobs, folder, connect, _ = served
    with connect() as client:
        client.sendall(f"POST /v1/jobs?kind=hands HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode() + start)
        wait_until(lambda: files_below(folder))
        assert jobs.active == 1
        assert sum(file.stat().st_size for file in files_below(folder)) <= len(start)
    wait_until(lambda: jobs.active == 0 and not files_below(folder))
    assert jobs.newest_first() == []


def test_an_upload_that_is_refused_can_be_sent_to_its_end_and_reads_why(served):
    jobs, _, connect, _ = served
    size = 30_000_000  # more than sockets hold
    head = f"POST /v1/jobs?kind=hands HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    jobs.create((("hands", {"model": "full"}),), "0" * 32)
    with connect() as client:
        client.sendall(head.encode())
        client.sendall(b"\0" * size)
        assert b" 503 " in client.recv(10_000)


@pytest.fixture
def begun(served, photo, gate):
    """Return a request that listens to a job that waits for `gate`."""
    body = cv2.imencode(".png", photo[..., ::-1])[1].tobytes()
    with served.connect() as client:
        head = f"POST /v1/jobs?kind=hands HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        client.recv(100)
    (job,) = served.jobs.newest_first()
    return f"GET /v1/jobs/{job.id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def last_event(client):
    heard = b""
    while b"0\r\n\r\n" not in heard:
        heard += client.recv(10_000)
    return json.loads([line for line in heard.split(b"\n") if line.startswith(b"data: ")][-1].removeprefix(b"data: "))


def test_a_server_that_stops_cancels_its_jobs_and_reports_it(served, begun, gate):
    with served.connect() as client:
        client.sendall(begun)
        client.recv(10)
        served.server.should_exit = True
        wait_until(lambda: served.jobs.active == 0)
        gate.set()
        assert last_event(client)["state"] == "cancelled"
