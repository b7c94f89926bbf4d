"""Send many frames, images and jobs to a server, let clients vanish, and check memory, handles, threads and disk."""

import json
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

import cv2
import psutil
from damage import CLIP, make_videos
from kills import Server
from rows import Row
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from sonjit.media import open_source

SAMPLES = 40  # samples of a test; the first half is the warm-up, which fills caches
LIMITS = {"memory_mb": 15.0, "handles": 4.0, "threads": 4.0, "disk_mb": 1.0}
"""Largest growth between the third and the last quarter of a test."""
OPTIONS = {"kind": "hands", "model": "lite"}
SETTLE_S = 0.5
CLIENTS = 200  # clients that connect and vanish
FRAMES = 1_000_000  # frames of the synthetic stream


class Sample(NamedTuple):
    """Resources of the server and its child processes.

    Attributes:
        tried: Number of operations before the sample.
        memory_mb: Resident memory in 10^6 bytes.
        handles: Open file descriptors.
        threads: Threads.
        disk_mb: Size of all files in the folder of temporary files and jobs in 10^6 bytes.
    """

    tried: int
    memory_mb: float
    handles: float
    threads: float
    disk_mb: float


def sample(process: psutil.Process, folder: Path, tried: int) -> Sample:
    """Measure a process, its children and a folder."""
    processes = [process, *process.children(recursive=True)]
    sizes = [path.lstat().st_size for path in folder.rglob("*") if path.is_file()]
    return Sample(
        tried,
        sum(process.memory_info().rss for process in processes) / 1e6,
        sum(process.num_fds() for process in processes),
        sum(process.num_threads() for process in processes),
        sum(sizes) / 1e6,
    )


def growth(samples: Sequence[Sample], name: str) -> float:
    """Return the growth of a resource from the third to the last quarter of the samples."""
    quarter = max(len(samples) // 4, 1)
    values = [getattr(sample, name) for sample in samples]
    return median(values[-quarter:]) - median(values[2 * quarter : 3 * quarter])


def live(row: Row, work: Path, operation: Callable[[Server, int], None]) -> None:
    """Repeat an operation of a server until the time is over, and check the growth of its resources."""
    server = Server(work / "server")
    process, samples = psutil.Process(server.process.pid), list[Sample]()
    begun_s = time.monotonic()
    try:
        while row.has_time():
            operation(server, row.tried)
            row.tried += 1
            passed = max((time.monotonic() - begun_s) / (row.until_s - begun_s), row.tried / row.max_tries)
            if passed >= (len(samples) + 1) / SAMPLES:
                time.sleep(SETTLE_S)
                samples.append(sample(process, work, row.tried))
    finally:
        server.end(signal.SIGINT)
    if len(samples) < 8:
        row.notes.append(f"{row.tried} operations are too few for a trend")
        return
    for one in samples[:: len(samples) // 8]:
        row.notes.append(
            f"{one.tried} operations: {one.memory_mb:.0f} MB, {one.handles:.0f} open files, "
            f"{one.threads:.0f} threads, {one.disk_mb:.2f} MB on disk"
        )
    grown = {name: growth(samples, name) for name in LIMITS}
    row.fail(*(f"{name} grew by {value:.1f}" for name, value in grown.items() if value > LIMITS[name]))


def images() -> list[bytes]:
    """Return JPEG files of hands."""
    with open_source(CLIP) as source:
        return [cv2.imencode(".jpg", frame.rgb[..., ::-1])[1].tobytes() for frame in list(source)[::20]]


def live_images(row: Row, work: Path) -> None:
    """Send each image as a request."""
    files = images()

    def ask(server: Server, number: int) -> None:
        server.ask("/v1/hands?model=lite", files[number % len(files)])

    live(row, work, ask)


def open_stream(server: Server) -> ClientConnection:
    """Open a stream that detects hands."""
    url = server.url.rstrip("/").replace("http", "ws", 1)
    socket = connect(f"{url}/v1/stream", compression=None, max_size=None)
    socket.send(json.dumps({"type": "configure", "detectors": [OPTIONS]}))
    return socket


def frame_message(number: int, data: bytes) -> bytes:
    """Return the message of a frame."""
    return struct.pack("<4sIdB3x2H", b"SNJ1", number, number / 30, 0, 0, 0) + data


def live_frames(row: Row, work: Path) -> None:
    """Send frames through streams. A new client starts every 200 frames."""
    files, sockets = images(), list[ClientConnection]()

    def send(server: Server, number: int) -> None:
        if number % 200 == 0:
            for old in sockets:
                old.close()
            sockets[:] = [open_stream(server)]
        sockets[0].send(frame_message(number, files[number % len(files)]))
        while json.loads(sockets[0].recv(60)).get("frame") != number:
            pass

    live(row, work, send)


def live_jobs(row: Row, work: Path) -> None:
    """Run jobs, download their tables and delete them."""
    make_videos(work)
    clip = (work / "video.mkv").read_bytes()

    def run(server: Server, number: int) -> None:
        job = json.loads(server.ask(f"/v1/jobs?kind=hands&model=lite&name={number}.mkv", clip))
        while (job := json.loads(server.ask(f"/v1/jobs/{job['id']}")))["state"] in ("waiting", "running"):
            time.sleep(0.05)
        for path in job["downloads"].values():
            server.ask(path)
        server.ask(f"/v1/jobs/{job['id']}", method="DELETE")

    live(row, work, run)


def vanish(row: Row, work: Path) -> None:
    """Let 200 clients connect at once, send a frame or half of one, and vanish without a word, again and again."""
    files, rng = images(), random.Random(row.seed)
    sockets = list[ClientConnection]()

    def come_and_go(server: Server, number: int) -> None:
        for client in range(CLIENTS):
            with suppress(WebSocketException, OSError):  # more than --max-clients are sent away
                sockets.append(open_stream(server))
                data = frame_message(number, files[client % len(files)])
                sockets[-1].socket.sendall(data[: rng.randrange(40)]) if client % 2 else sockets[-1].send(data)
        for one in sockets:
            with suppress(OSError):  # the server has closed it
                one.socket.setsockopt(*LINGER)
                one.socket.close()  # a reset
        sockets.clear()
        deadline_s = time.monotonic() + 60
        while (health := json.loads(server.ask("/healthz")))["clients"] and time.monotonic() < deadline_s:
            time.sleep(0.1)
        row.fail(health["clients"] and f"{health['clients']} clients are left")

    live(row, work, come_and_go)


LINGER = (1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER on Linux: closing resets the connection


def stream(row: Row, work: Path) -> None:
    """Run a million synthetic frames through the tracker and the session of a server, in another process."""
    count = min(FRAMES, row.max_tries)
    line = [sys.executable, Path(__file__).with_name("stream.py"), str(int(count)), str(row.seed)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=work, check=False)
    row.notes += done.stdout.splitlines()
    row.tried += int(count)
    row.fail(done.returncode and done.stderr[-500:])


TESTS = {
    "life-images": live_images,
    "life-frames": live_frames,
    "life-jobs": live_jobs,
    "life-vanishing": vanish,
    "life-stream": stream,
}
