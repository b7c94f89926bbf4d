"""Send many frames, images and jobs to a server, and check the growth of memory, handles, threads and disk."""

from __future__ import annotations

import json
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import cv2
import psutil
from damage import CLIP, make_videos
from kills import Server
from rows import Row
from websockets.sync.client import ClientConnection, connect

from sonjit.media import open_source

SAMPLES = 40
"""Number of samples of a test. The first half is the warm-up, which fills caches."""
LIMITS = {"memory_mb": 15.0, "handles": 4.0, "threads": 4.0, "disk_mb": 1.0}
"""Largest growth between the third and the last quarter of a test."""
OPTIONS = {"kind": "hands", "model": "lite"}
SETTLE_S = 0.5


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


def sample(process: psutil.Process, tried: int) -> Sample:
    """Measure a process, its children and the folder of temporary files."""
    processes = [process, *process.children(recursive=True)]
    sizes = [path.lstat().st_size for path in Path(tempfile.gettempdir()).rglob("*") if path.is_file()]
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


def trend(samples: Sequence[Sample]) -> tuple[str, list[str]]:
    """Return the growth of all resources per 1,000 operations as text, and the resources above their limit."""
    quarter = max(len(samples) // 4, 1)
    operations = samples[-1].tried - samples[-1 - quarter].tried if len(samples) > quarter else 1
    grown = {name: growth(samples, name) for name in LIMITS}
    text = ", ".join(f"{name} {1000 * value / max(operations, 1):+.2f}" for name, value in grown.items())
    return text, [f"{name} grew by {value:.1f}" for name, value in grown.items() if value > LIMITS[name]]


def live(row: Row, work: Path, operation: Callable[[Server, int], None]) -> None:
    """Repeat an operation of a server until the time is over, and check the trend of its resources."""
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
                samples.append(sample(process, row.tried))
    finally:
        server.end(signal.SIGINT)
    if len(samples) < 8:
        sys.stderr.write(f"{row.name}: {row.tried} operations are too few for a trend\n")
        return
    text, grown = trend(samples)
    sys.stderr.write(f"{row.name}: {row.tried} operations, last half per 1,000: {text}\n")
    sys.stderr.write("| operations | memory, MB | open files | threads | disk, MB |\n|---:|---:|---:|---:|---:|\n")
    for one in samples[:: len(samples) // 8]:
        sys.stderr.write(
            f"| {one.tried} | {one.memory_mb:.0f} | {one.handles:.0f} | {one.threads:.0f} | {one.disk_mb:.2f} |\n"
        )
    row.fail(*grown)


def images() -> list[bytes]:
    """Return JPEG files of hands."""
    with open_source(CLIP) as source:
        return [cv2.imencode(".jpg", frame.rgb[..., ::-1])[1].tobytes() for frame in list(source)[::20]]


def live_images(row: Row, work: Path) -> None:
    """Send each image as a request."""
    files = images()
    live(row, work, lambda server, number: server.ask("/v1/hands?model=lite", files[number % len(files)]) and None)


def live_frames(row: Row, work: Path) -> None:
    """Send frames through streams. A new client starts every 200 frames."""
    files, sockets = images(), list[ClientConnection]()

    def send(server: Server, number: int) -> None:
        if number % 200 == 0:
            for old in sockets:
                old.close()
            url = server.url.rstrip("/").replace("http", "ws", 1)
            sockets[:] = [connect(f"{url}/v1/stream", compression=None, max_size=None)]
            sockets[0].send(json.dumps({"type": "configure", "detectors": [OPTIONS]}))
        header = struct.pack("<4sIdB3x2H", b"SNJ1", number, number / 30, 0, 0, 0)
        sockets[0].send(header + files[number % len(files)])
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


TESTS = {"life-images": live_images, "life-frames": live_frames, "life-jobs": live_jobs}
