"""Measure the growth of memory over many frames of one detector, and over many consecutive detectors.

The frames are samples from `--hours` of a camera, in bursts of a second. The clock jumps occasionally.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
from importlib.resources import files
from pathlib import Path
from time import perf_counter

from rich.console import Console

from sonjit import SonjitError, create_detector
from sonjit.media import open_source

LIMIT_MB = 20
BURST = 30
WARM_FRAMES, WARM_CYCLES = 500, 10


def rss_mb():
    """Return the resident memory of this process in 10^6 bytes (Linux)."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def grow(turn, count, warm_up):
    """Return memory growth (MB) and time (s) of `count` calls of `turn(i)` after `warm_up` calls."""
    for i in range(warm_up):
        turn(i)
    before, start = rss_mb(), perf_counter()
    for i in range(count):
        turn(warm_up + i)
    return rss_mb() - before, perf_counter() - start


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
    with open_source(str(files("sonjit") / "_util" / "assets" / "demo.mp4")) as source:
        clip = [frame.rgb for frame in source]

    def cycle(i):
        with create_detector("hands", model=options.model) as detector:
            detector.detect(clip[i % len(clip)])

    with create_detector("hands", model=options.model) as detector:
        clock = times(WARM_FRAMES + options.frames, options.hours)
        watch = lambda i: detector.detect(clip[i % len(clip)], time=next(clock))  # noqa: E731
        frames_mb, frames_s = grow(watch, options.frames, WARM_FRAMES)
    cycles_mb, cycles_s = grow(cycle, options.cycles, WARM_CYCLES)
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
