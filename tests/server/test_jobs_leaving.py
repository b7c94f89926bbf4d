"""Clients of jobs that disconnect without notice, over real connections."""

import json
import os
from pathlib import Path

import cv2
import pytest

from sonjit.server.job import UploadJob

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages


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
def test_an_upload_that_breaks_off_leaves_nothing(weights, listen, place, headers, start):
    live = listen(max_jobs=1)
    jobs = live.service.jobs
    with live.connect() as client:
        client.sendall(f"POST /v1/jobs?kind=hands HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode() + start)
        wait_until(lambda: files_below(place))
        assert jobs.active == 1
        assert sum(file.stat().st_size for file in files_below(place)) <= len(start)
    wait_until(lambda: jobs.active == 0 and not files_below(place))
    assert jobs.newest_first() == []


def test_an_upload_that_is_refused_can_be_sent_to_its_end_and_reads_why(weights, listen):
    live = listen(max_jobs=1)
    size = 30_000_000  # more than sockets hold
    head = f"POST /v1/jobs?kind=hands HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    live.service.jobs.add(UploadJob((("hands", {"model": "full"}),)))
    with live.connect() as client:
        client.sendall(head.encode())
        client.sendall(b"\0" * size)
        assert b" 503 " in client.recv(10_000)


def last_event(client):
    heard = b""
    while b"0\r\n\r\n" not in heard:
        heard += client.recv(10_000)
    return json.loads([line for line in heard.split(b"\n") if line.startswith(b"data: ")][-1].removeprefix(b"data: "))


def test_a_server_that_stops_cancels_its_jobs_and_reports_it(weights, listen, photo, gate):
    live, body = listen(), cv2.imencode(".png", photo[..., ::-1])[1].tobytes()
    with live.connect() as client:
        head = f"POST /v1/jobs?kind=hands HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        client.recv(100)
    (job,) = live.service.jobs.newest_first()
    with live.connect() as client:
        client.sendall(f"GET /v1/jobs/{job.id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        client.recv(10)
        live.should_stop()
        wait_until(lambda: live.service.jobs.active == 0)
        gate.set()
        assert last_event(client)["state"] == "cancelled"
