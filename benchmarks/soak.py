"""Measure the growth of memory over many frames of one detector, and over many consecutive detectors.

The frames are samples from `--hours` of a camera, in bursts of a second. The clock jumps occasionally. A table lists
memory, open files, threads and the size of temporary files at intervals.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from time import perf_counter

import psutil
from rich.console import Console

from sonjit import SonjitError, create_detector
from sonjit.media import open_source

LIMIT_MB = 20
BURST = 30
ROWS = 10  # of each table
WARM_FRAMES, WARM_CYCLES = 500, 10


def resources():
    """Return memory and temporary files in 10^6 bytes, and the numbers of open files and threads (Linux)."""
    gc.collect()
    me, temporary = psutil.Process(), Path(tempfile.gettempdir())
    disk = sum(path.lstat().st_size for path in temporary.rglob("*") if path.is_file())
    return me.memory_info().rss / 1e6, disk / 1e6, me.num_fds(), me.num_threads()


def grow(turn, count, warm_up, noun):
    """Print `resources` at intervals. Return memory growth (MB) and time (s) of `count` calls after `warm_up` calls."""
    for i in range(warm_up):
        turn(i)
    print(
        f"| {noun} | memory, MB | open files | threads | temporary files, MB |\n|---:|---:|---:|---:|---:|", flush=True
    )
    before, start, rows = resources()[0], perf_counter(), {round(k * count / ROWS) for k in range(1, ROWS + 1)}
    for i in range(count + 1):
        if i in rows or i == 0:
            memory, disk, handles, threads = resources()
            print(f"| {i} | {memory:.1f} | {handles} | {threads} | {disk:.2f} |", flush=True)
        if i < count:
            turn(warm_up + i)
    return memory - before, perf_counter() - start


def times(count, hours, seed=1):
    """Yield the time of each frame in seconds, in bursts over the hours. One of 50 bursts restarts or jumps."""
    rng, step_s, start_s = random.Random(seed), 3600 * hours * BURST / count, 0.0
    for frame in range(count):
        if frame % BURST == 0:
            leap_s = rng.choice((-start_s, 86_400.0)) if rng.random() < 0.02 else 0.0
            start_s += step_s + leap_s
        yield start_s + frame % BURST / BURST


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument(
        "--hours", type=float, default=24, help="duration of the camera stream that the frames are sampled from"
    )
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--model", choices=["full", "lite"], default="full")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sonjit-soak-") as temporary:
        tempfile.tempdir = temporary
        return soak(options)


def soak(options):
    with open_source(str(files("sonjit") / "_util" / "assets" / "demo.mp4")) as source:
        clip = [frame.rgb for frame in source]

    def cycle(i):
        with create_detector("hands", model=options.model) as detector:
            detector.detect(clip[i % len(clip)])

    with create_detector("hands", model=options.model) as detector:
        clock = times(WARM_FRAMES + options.frames, options.hours)
        watch = lambda i: detector.detect(clip[i % len(clip)], time=next(clock))  # noqa: E731
        frames_mb, frames_s = grow(watch, options.frames, WARM_FRAMES, "frames")
    cycles_mb, cycles_s = grow(cycle, options.cycles, WARM_CYCLES, "detectors")
    is_good = max(frames_mb, cycles_mb) < LIMIT_MB
    Console().print(
        f"{options.frames} frames of {options.hours:g} hours: {frames_mb:+.1f} MB in {frames_s:.0f} s\n"
        f"{options.cycles} create/detect/close cycles: {cycles_mb:+.1f} MB in {cycles_s:.0f} s\n"
        f"{'passed' if is_good else 'FAILED'}: limit {LIMIT_MB} MB",
        highlight=False,
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SonjitError as error:
        sys.exit(f"soak.py: {error}")
