"""Clients of jobs that leave without a word, over real connections."""

import json
import socket
import threading
import time

import pytest
import uvicorn
from fastapi import FastAPI

from sonjit.server import job_queue
from sonjit.server import jobs as jobs_module
from sonjit.server.errors import answer_errors
from sonjit.server.job_queue import Jobs
from sonjit.server.jobs import job_router
from sonjit.server.settings import Settings


@pytest.fixture
def served(tmp_path, monkeypatch, weights):
    """A running server: its queue, the folder that its files go to, and `connect()`."""
    monkeypatch.setattr(job_queue.tempfile, "tempdir", str(tmp_path))
    jobs = Jobs(Settings(max_jobs=1))
    app = FastAPI()
    answer_errors(app)
    app.include_router(job_router(jobs))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield jobs, tmp_path, lambda: socket.create_connection(listening.getsockname(), timeout=10)
    server.should_exit = True
    jobs.close()
    thread.join(20)
    listening.close()
    assert not thread.is_alive()
    assert list(tmp_path.iterdir()) == []


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


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
    jobs, folder, connect = served
    with connect() as client:
        client.sendall(f"POST /v1/jobs?kind=hands HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode() + start)
        wait_for(lambda: files_below(folder))
        assert jobs.active == 1
        assert sum(file.stat().st_size for file in files_below(folder)) <= len(start)
    wait_for(lambda: jobs.active == 0 and not files_below(folder))
    assert jobs.newest_first() == []


def test_an_upload_that_is_refused_can_be_sent_to_its_end_and_reads_why(served):
    jobs, _, connect = served
    size = 30_000_000  # more than sockets hold
    with jobs.place(), connect() as client:
        client.sendall(f"POST /v1/jobs?kind=hands HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        client.sendall(b"\0" * size)
        assert b" 503 " in client.recv(10_000)


def test_listeners_that_leave_are_forgotten_and_the_others_hear_the_end(served, photo, monkeypatch):
    import cv2

    jobs, _, connect = served
    gate, body = threading.Event(), cv2.imencode(".png", photo[..., ::-1])[1].tobytes()
    monkeypatch.setattr("sonjit.tasks.run.draw_frame", lambda rgb, *_, **__: gate.wait(10) and rgb)
    with connect() as client:
        head = f"POST /v1/jobs?kind=hands HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        client.recv(100)
    (job,) = jobs.newest_first()
    ask = f"GET /v1/jobs/{job.id}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    listening, events = [], jobs_module._events

    async def counted(job):
        listening.append(job)
        try:
            async for event in events(job):
                yield event
        finally:
            listening.pop()

    monkeypatch.setattr(jobs_module, "_events", counted)
    stays = connect()
    stays.sendall(ask)
    for _ in range(20):
        with connect() as leaves:
            leaves.sendall(ask)
            leaves.recv(100)
    wait_for(lambda: len(listening) == 1)
    gate.set()
    heard = b""
    while b"0\r\n\r\n" not in heard:
        heard += stays.recv(10_000)
    stays.close()
    last = [line for line in heard.split(b"\n") if line.startswith(b"data: ")][-1]
    assert json.loads(last.removeprefix(b"data: "))["state"] == "done"
