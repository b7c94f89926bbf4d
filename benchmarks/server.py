"""Measure the speed of the server, its fairness between clients, and the growth of its memory.

The benchmark starts `sonjit serve` in another process and acts as its clients. Images are those of the bundled clip,
640 x 480. Memory includes the decoding processes. The benchmark prints it while it runs.
"""

import argparse
import asyncio
import contextlib
import json
import re
import struct
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from statistics import median_high

import cv2
import psutil
from rich.console import Console
from websockets.asyncio.client import connect

from sonjit import SonjitError
from sonjit.media import open_source

LIMIT_MB = 20
GROWTHS = {"shares": ("mb", "visits_mb"), "memory": ("cycles_mb", "frames_mb")}
"""Measurements of each part that must stay below the limit."""
SIZE = (640, 480)
DEPTH = 3  # images in flight: one in detection, one in decoding, one in transfer
WARM_FRAMES, WARM_CYCLES = 300, 5
PARTS = ("rates", "shares", "memory")
SETTLED_S = 5  # after which the resources of a client are released


@contextlib.contextmanager
def served(*options):
    """Start a server, and yield its address and its process."""
    command = [sys.executable, "-m", "sonjit", "serve", "--port", "0", "--temporary", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.search(r"http://([^/]+)/", process.stdout.readline())
            if not found:
                raise SonjitError("the server did not start")
            yield f"ws://{found[1]}/v1/stream", psutil.Process(process.pid)
        finally:
            process.terminate()


def messages_of(clip, raw):
    """Return the form, size and bytes of the message of each frame."""
    messages = []
    for rgb in clip:
        small = cv2.resize(rgb, SIZE, interpolation=cv2.INTER_AREA)
        if raw:
            messages.append((1, *SIZE, cv2.cvtColor(small, cv2.COLOR_RGB2RGBA).tobytes()))
        else:
            messages.append(
                (0, 0, 0, cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())
            )
    return messages


class Client:
    """Client of one stream with up to `DEPTH` images in flight."""

    def __init__(self, socket, images):
        self.socket, self.images = socket, images
        self.answered, self.dropped, self.timing, self.latency_ms = 0, 0, [], []
        self._sent = {}
        self._number = 0

    async def configure(self, kind):
        await self.socket.send(json.dumps({"type": "configure", "detectors": [{"kind": kind}]}))
        while json.loads(await self.socket.recv())["type"] != "ready":
            pass

    async def run(self, enough):
        """Send images and receive results until `enough(self)`."""
        while not enough(self):
            while len(self._sent) < DEPTH:
                await self._send()
            self._receive(json.loads(await self.socket.recv()))

    async def _send(self):
        form, width, height, data = self.images[self._number % len(self.images)]
        header = struct.pack("<4sIdB3x2H", b"SNJ1", self._number, self._number / 30, form, width, height)
        self._sent[self._number] = time.perf_counter()
        self._number += 1
        await self.socket.send(header + data)

    def _receive(self, message):
        if message["type"] != "frame":
            raise SonjitError(f"error of the server: {message['message']}")
        number = message["frame"]
        self.latency_ms.append(1e3 * (time.perf_counter() - self._sent[number]))
        self._sent = {frame: sent for frame, sent in self._sent.items() if frame > number}
        self.answered += 1
        self.dropped = message["dropped"]
        self.timing.append(message["timing"])


def memory_mb(process):
    """Return the resident memory of the server and its child processes in 10^6 bytes."""
    used = 0
    for child in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # process has ended
            used += child.memory_info().rss
    return used / 1e6


def handles(process):
    """Return the number of open files and threads."""
    return process.num_fds() + process.num_threads()


def print_memory(process, what):
    """Print the progress with the memory of the server."""
    processes = len(process.children(recursive=True))
    sys.stderr.write(
        f"{what}: {memory_mb(process):.0f} MB, {handles(process)} files and threads, {processes} processes\n"
    )


def turns(process, what, count):
    """Yield numbers up to a count, and print the memory at every tenth of it."""
    for i in range(count):
        yield i
        if (i + 1) % max(1, count // 10) == 0:
            print_memory(process, f"{i + 1} {what}")


async def measure_rate(address, process, images, kind, frames):
    """Return the frame rate of one stream."""
    async with connect(address, compression=None, max_size=None) as socket:
        client = Client(socket, images)
        await client.configure(kind)
        await client.run(lambda each: each.answered >= WARM_FRAMES)
        client.timing.clear(), client.latency_ms.clear()
        used, own, start = sum(process.cpu_times()[:2]), time.process_time(), time.perf_counter()
        await client.run(lambda each: each.answered >= WARM_FRAMES + frames)
        seconds, spent = time.perf_counter() - start, sum(process.cpu_times()[:2]) - used
        return {
            "fps": frames / seconds,
            "latency_ms": median_high(client.latency_ms),
            "decode_ms": median_high([times["decode_ms"] for times in client.timing]),
            "detect_ms": median_high([times["detect_ms"] for times in client.timing]),
            "server_cpu_ms": 1e3 * spent / frames,
            "client_cpu_ms": 1e3 * (time.process_time() - own) / frames,
            "dropped": client.dropped,
        }


async def measure_shares(address, process, images, kind, clients, seconds):
    """Return the frame rates of concurrent clients, and the memory while and after they are connected."""
    await warm_up(address, images, kind)
    before, opened = await settled(process)
    async with contextlib.AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(connect(address, compression=None, max_size=None)) for _ in range(clients)
        ]
        everyone = [Client(socket, images) for socket in sockets]
        for client in everyone:
            await client.configure(kind)
        await asyncio.gather(*(client.run(lambda each: each.answered >= WARM_CYCLES) for client in everyone))
        for client in everyone:
            client.answered, client.latency_ms = 0, []
        end = time.perf_counter() + seconds
        growth = asyncio.create_task(watch_memory(process, seconds))
        await asyncio.gather(*(client.run(lambda _: time.perf_counter() > end) for client in everyone))
        rates = [client.answered / seconds for client in everyone]
        waits = sorted(wait for client in everyone for wait in client.latency_ms)
    print_memory(process, f"{clients} clients disconnected")
    after, left = await settled(process)
    for _ in range(WARM_CYCLES):
        await visit(address, images, kind)
    later, _ = await settled(process)
    return {
        "clients": clients,
        "seconds": seconds,
        "fps": sum(rates),
        "min_fps": min(rates),
        "max_fps": max(rates),
        "p50_ms": median_high(waits),
        "p99_ms": waits[len(waits) * 99 // 100],
        "mb": await growth,
        "before_mb": before,
        "left_mb": after - before,
        "visits_mb": later - after,
        "handles": left - opened,
    }


async def settled(process):
    """Return memory, open files and threads after sessions have ended."""
    await asyncio.sleep(SETTLED_S)
    return memory_mb(process), handles(process)


async def watch_memory(process, seconds):
    """Return the memory growth between the second and the last tenth of a period with images in flight."""
    memory = []
    for _ in turns(process, "% of the time", 100):
        end = time.perf_counter() + seconds / 100
        memory.append(memory_mb(process))
        await asyncio.sleep(max(0.0, end - time.perf_counter()))
    return median_high(memory[90:]) - median_high(memory[10:20])


async def visit(address, images, kind):
    """Connect a client for ten frames."""
    async with connect(address, compression=None, max_size=None) as socket:
        client = Client(socket, images)
        await client.configure(kind)
        await client.run(lambda each: each.answered >= 10)


async def warm_up(address, images, kind):
    """Run concurrent visits, which start every decoder."""
    for _ in range(WARM_CYCLES):
        await asyncio.gather(*(visit(address, images, kind) for _ in range(8)))


async def measure_memory(address, process, images, kind, cycles, minutes):
    """Return the growth of the server's memory over short connections, and over a long one."""
    await warm_up(address, images, kind)
    start, opened = await settled(process)
    for _ in turns(process, "consecutive clients", cycles):
        await visit(address, images, kind)
    after_cycles, left = await settled(process)
    async with connect(address, compression=None, max_size=None) as socket:
        client = Client(socket, images)
        await client.configure(kind)
        await client.run(lambda each: each.answered >= WARM_FRAMES)
        before = memory_mb(process)
        end = time.perf_counter() + 60 * minutes
        await client.run(lambda _: time.perf_counter() > end)
        after = memory_mb(process)
    return {
        "start_mb": start,
        "cycles": cycles,
        "cycles_mb": after_cycles - start,
        "handles": left - opened,
        "minutes": minutes,
        "frames": client.answered,
        "frames_mb": after - before,
    }


async def measure(options):
    video = Path(str(files("sonjit") / "_util" / "assets" / "demo.mp4"))
    with open_source(video) as source:
        clip = [frame.rgb for frame in source]
    jpeg, raw = messages_of(clip, raw=False), messages_of(clip, raw=True)
    measured = {}
    with served(*options.serve) as (address, process):
        if "rates" in options.only:
            rates = {"JPEG": await measure_rate(address, process, jpeg, options.kind, options.frames)}
            rates["raw RGBA"] = await measure_rate(address, process, raw, options.kind, options.frames)
            measured["rates"] = rates
        if "shares" in options.only:
            measured["shares"] = await measure_shares(
                address, process, jpeg, options.kind, options.clients, options.seconds
            )
        if "memory" in options.only:
            measured["memory"] = await measure_memory(
                address, process, jpeg, options.kind, options.cycles, options.minutes
            )
    return {"kind": options.kind, "load": psutil.getloadavg()[0]} | measured


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=["hands", "face", "body", "holistic"], default="hands")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10, help="duration of the measurement of shares")
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=1, help="streaming minutes of the memory measurement")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure; default all")
    parser.add_argument("--save", type=Path, help="JSON file")
    parser.add_argument("serve", nargs="*", help="options for sonjit serve, after --")
    options = parser.parse_args()
    result = asyncio.run(measure(options))
    Console().print_json(json.dumps(result))
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    growths = [result.get(part, {}).get(name, 0) for part, names in GROWTHS.items() for name in names]
    return 0 if max(growths) < LIMIT_MB else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SonjitError as error:
        sys.exit(f"server.py: {error}")
