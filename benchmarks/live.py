"""Measure the time of each frame of a live camera with each search, relative to `search="fast"`.

`python benchmarks/live.py FOLDER` plays `clips/NAME.mp4` of a folder to the detector of a live camera at 30 frames a
second. The searches take turns, so that each meets the same state of the machine. `first` is the time of the first ten
frames after the one that loads the networks, and `found` the mean number of instances in a frame.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from pages import measured_with, write_section

from sonjit import SonjitError
from sonjit.detectors.create import detector_for_input
from sonjit.media import open_source

KINDS, SEARCHES = ("hands", "face", "body"), ("fast", "auto")
RATE, FIRST = 30, 10


def times_of(frames, kind, search):
    """Return the wall time of each frame (H, W, 3) in milliseconds, and processor time and instances of a frame."""
    times_ms, count = [], 0
    with closing(detector_for_input(kind, {"search": search}, "camera", is_live=True)) as detector:
        detector.detect(np.zeros_like(frames[0]), time=0.0)
        start_s, cpu_s = time.perf_counter(), time.process_time()
        for number, rgb in enumerate(frames):
            time.sleep(max(0.0, start_s + number / RATE - time.perf_counter()))
            before_s = time.perf_counter()
            count += len(detector.detect(rgb, time=1 + number / RATE))
            times_ms.append(1000 * (time.perf_counter() - before_s))
        return times_ms, 1000 * (time.process_time() - cpu_s) / len(frames), count / len(frames)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--clips", nargs="+", help="names of the clips")
    parser.add_argument("--frames", type=int, default=150, help="frames of each clip, which begins again at its end")
    parser.add_argument("--write", action="store_true", help="write the table into docs/measured.md")
    given = parser.parse_args()
    clips = sorted(
        path for path in (given.folder / "clips").glob("*.mp4") if not given.clips or path.stem in given.clips
    )
    if not clips:
        sys.exit(f"live.py: no clips in {given.folder / 'clips'}")
    columns = ("", "search", "median ms", "slowest tenth ms", "relative", "first ten ms", "relative", "CPU ms", "found")
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for kind in given.kinds:
        figures = defaultdict(list)
        for path in clips:
            with open_source(path) as source:
                frames = list(islice(cycle([frame.rgb for frame in source]), given.frames))
            for search in SEARCHES:
                times_ms, cpu_ms, found = times_of(frames, kind, search)
                slowest = statistics.quantiles(times_ms[FIRST:], n=10)[-1]
                figures[search].append(
                    (statistics.median(times_ms), slowest, statistics.fmean(times_ms[:FIRST]), cpu_ms, found)
                )
        reference = np.mean(figures["fast"], axis=0)
        for search in SEARCHES:
            median, slowest, first, cpu_ms, found = np.mean(figures[search], axis=0)
            lines.append(
                f"| {kind} | `{search}` | {median:.1f} | {slowest:.1f} | {slowest / reference[1]:.2f} | {first:.1f} "
                f"| {first / reference[2]:.2f} | {cpu_ms:.1f} | {found:.2f} |"
            )
    lines += ["", measured_with(" ".join(["python benchmarks/live.py FOLDER", *sys.argv[2:]]), "2 cores")]
    print(*lines, sep="\n")
    if given.write:
        write_section("measured.md", "python benchmarks/live.py --write", "\n".join(lines))


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"live.py: {error}")
