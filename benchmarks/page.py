"""Measure frame rate, latency by stage and processor time of every process of the live app (Linux)."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from time import monotonic, sleep

import av
from rich.console import Console
from rich.table import Table

from browser import chromium, serve
from sonjit import SonjitError
from sonjit._util.errors import InputError
from sonjit.media import open_source

FLAGS = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--window-size=1280,1000")
PARTS = ("capture", "send", "detect", "draw")
SETTLE_S = 5
# Records the round-trip time of each answered image. The page does not measure it.
LISTEN = """
globalThis.bench = {trips: []};
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
    if (!this.sent) {
        this.sent = [];
        this.addEventListener("message", ({data}) => {
            const frame = data.match(/^.{0,20}"frame",\\s*"frame":\\s*(\\d+)/)?.[1];
            if (frame !== undefined) bench.trips.push(performance.now() - this.sent[frame]);
        });
    }
    if (typeof data !== "string") this.sent.push(performance.now());
    return send.call(this, data);
};
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--kinds", nargs="+", default=["hands"], choices=["hands", "face", "body", "holistic"])
    parser.add_argument("--max-instances", type=int, default=1)
    parser.add_argument("--save", type=Path, help="JSON file for the results")
    parser.add_argument("--screenshot", type=Path, help="image (.png) of the page while it runs")
    parser.add_argument("--dark", action="store_true", help="use the dark theme")
    options = parser.parse_args()
    if options.seconds < 1:
        raise InputError(f"--seconds {options.seconds}: minimum 1")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server, url = serve(stack, folder, "serve")
        driver = browse(stack, folder, options.dark)
        start(driver, url, options.kinds, options.max_instances)
        sleep(SETTLE_S)
        if options.screenshot:
            driver.save_screenshot(str(options.screenshot))
        result = measure(driver, server.pid, options.seconds)
    result |= {"kinds": options.kinds, "max_instances": options.max_instances, "cpus": os.cpu_count()}
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    show(result)


def browse(stack, folder, dark):
    """Start Chromium with the bundled clip as its camera."""
    camera = f"--use-file-for-fake-video-capture={camera_file(folder)}"
    driver = chromium(stack, folder, *FLAGS, camera, *(["--force-dark-mode"] if dark else []))
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LISTEN})
    return driver


def camera_file(folder):
    """Write the bundled clip in the format of Chromium's fake camera, and return the file."""
    path = folder / "clip.mjpeg"
    with (
        open_source(str(files("sonjit") / "_util" / "assets" / "demo.mp4")) as source,
        av.open(str(path), "w", format="mjpeg") as container,
    ):
        stream = container.add_stream("mjpeg", rate=30, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for frame in source:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.rgb)))
        container.mux(stream.encode())
    return path


def start(driver, url, kinds, max_instances):
    """Open the page, choose the kind, and wait for the first results."""
    driver.get(url)
    wait(driver, "return document.documentElement.dataset.ready === 'true'")
    driver.execute_script(
        """const [kinds, maximum] = arguments;
        for (const kind of ["hands", "face", "body", "holistic"]) {
            const on = document.getElementById(`detector-${kind}`);
            if (on.checked !== kinds.includes(kind)) on.click();
            const max = document.getElementById(`max-${kind}`);
            max.value = maximum;
            max.dispatchEvent(new Event("change"));
        }
        document.getElementById("start").click();""",
        *(kinds, max_instances),
    )
    wait(driver, "return bench.trips.length > 10")


def wait(driver, script, seconds=40):
    end = monotonic() + seconds
    while not driver.execute_script(script):
        if monotonic() > end:
            raise InputError(f"timed out; message of the page: {driver.find_element('id', 'message').text or '-'}")
        sleep(0.1)


def measure(driver, server, seconds):
    """Measure for some seconds, and return the figures. `server` is the process ID of the server."""
    windows, root = [], driver.service.process.pid
    driver.execute_script("bench.trips = []; bench.from = performance.now()")
    before, begin = ticks(server, root), monotonic()
    while monotonic() < begin + seconds:
        sleep(3)  # the page averages over three seconds
        windows.append(driver.execute_script("return {...document.getElementById('latency').dataset}"))
    after, wall_s = ticks(server, root), monotonic() - begin
    trips, page_s, dropped = driver.execute_script(
        "return [bench.trips, (performance.now() - bench.from) / 1000, document.getElementById('dropped').textContent]"
    )
    clock = os.sysconf("SC_CLK_TCK")
    return {
        "seconds": wall_s,
        "fps": len(trips) / page_s,
        "dropped": int(dropped),
        "latency_ms": {"mean": median_of(windows, "total"), "p95": median_of(windows, "p95")},
        "split_ms": {part: median_of(windows, part) for part in PARTS},
        "round_trip_ms": {"p50": statistics.median(trips), "p95": statistics.quantiles(trips, n=20)[-1]},
        "cpu_percent": {name: 100 * (after[name] - before.get(name, 0)) / clock / wall_s for name in after},
    }


def median_of(windows, name):
    return statistics.median(float(window[name]) for window in windows)


def ticks(server, root):
    """Return the processor time of the server and of the browser processes by type, in clock ticks."""
    spent, parents = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_text().replace("\0", " ")
            parents[int(entry.name)] = (int(fields[1]), command, int(fields[11]) + int(fields[12]))
    for pid, (_, command, time) in parents.items():
        if pid == server:
            spent["server"] = time
        elif is_below(pid, root, parents) and "chromium" in command.partition(" ")[0] and "zygote" not in command:
            kind = command.partition("--type=")[2].partition(" ")[0] or "browser"
            spent[kind] = spent.get(kind, 0) + time
    return spent


def is_below(pid, root, parents):
    while pid in parents and pid != root:
        pid = parents[pid][0]
    return pid == root


def show(result):
    table = Table(
        "figure", "value", title=f"{' and '.join(result['kinds'])}, camera 640x480, {result['seconds']:.0f} s"
    )
    table.add_row("frames/s, image to drawing", f"{result['fps']:.1f} ({result['dropped']} dropped)")
    latency, trip = result["latency_ms"], result["round_trip_ms"]
    table.add_row("latency ms, mean / p95 of 3 s", f"{latency['mean']:.1f} / {latency['p95']:.1f}")
    table.add_row("parts: " + ", ".join(PARTS), " + ".join(f"{result['split_ms'][part]:.1f}" for part in PARTS))
    table.add_row("round trip ms, p50 / p95", f"{trip['p50']:.1f} / {trip['p95']:.1f}")
    for name, percent in sorted(result["cpu_percent"].items(), key=lambda item: -item[1]):
        table.add_row(f"processor time, {name}", f"{percent:.0f} % of one core")
    Console().print(table)


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"page.py: {error}")
