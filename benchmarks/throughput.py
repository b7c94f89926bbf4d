"""Compare the throughput of complete runs with the usual MediaPipe script, for stills and for a 1080p video.

    python benchmarks/throughput.py stills|video --peer PYTHON [--data ../shared] [--count 1000] [--seconds 60]

Sonjit and MediaPipe run alternately in new processes. Wall and processor time include the start and child processes.
Stills are the photographs of `real/wild`, repeated, with the longer side of 640 px, into one table. MediaPipe gets one
process per core. The video consists of the clips of `real/wild_video` and the bundled one, enlarged to 1080p at 30
frames per second, H.264. It becomes a table and an annotated video. "decode, encode" is the limit without detection.
Compiled networks are in the cache.

"floor" is the shortest time that Sonjit could take on this machine, without starting a process. For stills, it is the
time to decode them with OpenCV and to run their networks on one core, divided by the cores. For a video, it is the
slowest of decoding, running the networks and encoding, because these can overlap. Its processor time is the sum of the
steps, measured apart.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import date
from fractions import Fraction
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import av
import cv2
from speed.worker import networks_timed

import sonjit
from sonjit._util.data_files import ASSETS
from sonjit.engines.devices import describe_machine
from sonjit.media import open_drawing_writer, open_source

CORES = os.cpu_count() or 1
SONJIT = (sys.executable, "-m", "sonjit", "hands")
CLIP = ASSETS / "demo.mp4"
SIDE = 640
SIZE = 1920, 1080
RATE = 30
PEER_STILLS = """
import csv, sys
import cv2, mediapipe as mp
table, files = sys.argv[1], sys.argv[2:]
with mp.solutions.hands.Hands(static_image_mode=True, max_num_hands=2) as hands, open(table, "w") as out:
    rows = csv.writer(out)
    for file in files:
        rgb = cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB)
        for hand in hands.process(rgb).multi_hand_landmarks or []:
            rows.writerow([file] + [value for p in hand.landmark for value in (p.x, p.y, p.z)])
"""
PEER_VIDEO = """
import csv, sys
import cv2, mediapipe as mp
clip, table, drawn = sys.argv[1:]
solution, drawing = mp.solutions.hands, mp.solutions.drawing_utils
video = cv2.VideoCapture(clip)
size = int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
writer = cv2.VideoWriter(drawn, cv2.VideoWriter_fourcc(*"mp4v"), video.get(cv2.CAP_PROP_FPS), size)
with solution.Hands(max_num_hands=2) as hands, open(table, "w") as out:
    rows = csv.writer(out)
    while True:
        read, bgr = video.read()
        if not read:
            break
        for hand in hands.process(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)).multi_hand_landmarks or []:
            rows.writerow([value for p in hand.landmark for value in (p.x, p.y, p.z)])
            drawing.draw_landmarks(bgr, hand, solution.HAND_CONNECTIONS)
        writer.write(bgr)
writer.release()
"""


def run_together(*commands: Sequence[str | Path]) -> tuple[float, float]:
    """Run processes concurrently. Return wall and processor time in seconds, including child processes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    running = [
        subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    for process, command in zip(running, commands, strict=True):
        _, output = process.communicate()
        if process.returncode:
            sys.exit(f"{process.args}: {output}")
        for line in output.splitlines():
            if line.startswith("each image"):
                print("   ", *command[3:], line)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.perf_counter() - start, used


def compare(sides: dict[str, Callable[[], tuple[float, float]]], images: int, turns: int) -> None:
    """Run all sides alternately and return the shortest times of each."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, run in sides.items():
            times[name].append(run())
    print(f"\n`python {' '.join(sys.argv)}`")
    print(f"{describe_machine()['cpu']}, {CORES} cores, {date.today()}, load {os.getloadavg()[0]:.1f}")
    print(f"Images: {images}. Minimum of {turns} turns.\n")
    print("| side | images/s | ms per image | CPU ms per image |\n|---|---:|---:|---:|")
    for name, found in times.items():
        wall, used = (min(values) for values in zip(*found, strict=True))
        print(f"| {name} | {images / wall:.1f} | {1e3 * wall / images:.1f} | {1e3 * used / images:.1f} |")


def floor(files: Sequence[Path], drawn: Path | None, search: str, precision: str) -> tuple[float, float]:
    """Return the wall and processor time in seconds below which no run on this machine can be.

    Stills are decoded and inferred. The only video is also encoded as `drawn`, and its three steps overlap.
    """
    options: dict[str, Any] = {"search": search, "precision": precision, "max_instances": 2}
    if drawn is None:
        steps = partial(still_steps, files, {**options, "static_image": True, "threads": 1})
        return sum(steps(time.perf_counter)) / CORES, sum(steps(time.process_time))
    steps = partial(_video_steps, files[0], drawn, options)
    return max(steps(time.perf_counter)), sum(steps(time.process_time))


def still_steps(files: Sequence[Path], options: dict[str, Any], clock: Callable[[], float]) -> tuple[float, float]:
    """Return the time of a clock in seconds of decoding stills and of their networks."""
    decoding: list[float] = []
    networks: list[float] = []
    with sonjit.create_detector("hands", **options) as detector, networks_timed(networks, clock):
        for file in files:
            start = clock()
            rgb = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)
            decoding.append(clock() - start)
            assert rgb is not None
            detector.detect(rgb)
    return sum(decoding), sum(networks)


def _video_steps(
    file: Path, drawn: Path, options: dict[str, Any], clock: Callable[[], float]
) -> tuple[float, float, float]:
    """Return the time of a clock in seconds of decoding a video, of its networks, and of encoding."""
    decoding: list[float] = []
    networks: list[float] = []
    encoding: list[float] = []
    with ExitStack() as stack:
        detector = stack.enter_context(sonjit.create_detector("hands", **options))
        stack.enter_context(networks_timed(networks, clock))
        source = stack.enter_context(open_source(file))
        writer = stack.enter_context(open_drawing_writer(drawn, source))
        start = clock()
        for frame in source:
            rgb = frame.rgb
            decoding.append(clock() - start)
            detector.detect(rgb, time=frame.time)
            start = clock()
            writer.write(rgb, frame.time, index=frame.index, under=frame)
            encoding.append(-start + (start := clock()))
    return sum(decoding), sum(networks), sum(encoding)


def make_stills(photographs: Path, folder: Path, count: int) -> list[Path]:
    """Write photographs with a longer side of 640 px, repeated as necessary, and return the files."""
    files = sorted(file for file in photographs.iterdir() if file.suffix in (".jpg", ".png"))
    copies: list[Path] = []
    for number, file in enumerate(islice(cycle(files), count)):
        image = cv2.imread(str(file))
        assert image is not None
        scale = SIDE / max(image.shape[:2])
        copies.append(folder / f"{number:05d}.jpg")
        cv2.imwrite(str(copies[-1]), cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return copies


def make_video(clips: Sequence[Path], path: Path, seconds: float) -> int:
    """Write a video with four seconds of each clip, enlarged, and return its number of frames."""
    count, total = 0, round(seconds * RATE)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for clip in cycle(clips):
            with av.open(str(clip)) as opened:
                for frame in islice(opened.decode(video=0), min(4 * RATE, total - count)):
                    large = frame.reformat(*SIZE, "yuv420p", interpolation="BICUBIC")
                    large.pts, large.time_base = count, Fraction(1, RATE)
                    large.pict_type = 0
                    container.mux(stream.encode(large))
                    count += 1
            if count == total:
                break
        container.mux(stream.encode(None))
    return count


def stills(options: argparse.Namespace, folder: Path) -> None:
    """Measure a folder of stills with one table as output."""
    (folder / "stills").mkdir()
    files = make_stills(Path(options.data) / "real" / "wild", folder / "stills", options.count)

    def ours(search: str, jobs: int) -> tuple[float, float]:
        table = folder / "found.csv"
        table.unlink(missing_ok=True)
        more = ("--max-instances", "2", "--search", search, "--precision", options.precision, "--jobs", str(jobs))
        return run_together((*SONJIT, folder / "stills", "--save", table, *more, "--timing"))

    sides: dict[str, Callable[[], tuple[float, float]]] = {
        f"Sonjit, {search}, --jobs {jobs}": partial(ours, search, jobs)
        for search in options.search.split(",")
        for jobs in sorted({1, CORES})
    }
    for search in options.search.split(","):
        sides[f"floor, {search}"] = partial(floor, files, None, search, options.precision)
    if options.peer:
        sides[f"MediaPipe, {CORES} processes"] = lambda: run_together(
            *((options.peer, "-c", PEER_STILLS, folder / f"{n}.csv", *files[n::CORES]) for n in range(CORES))
        )
    compare(sides, len(files), options.turns)


def video(options: argparse.Namespace, folder: Path) -> None:
    """Measure a video with a table and an annotated video as output."""
    path = folder / "clip.mp4"
    clips = sorted((Path(options.data) / "real" / "wild_video").glob("mps_*.mp4"))
    frames = make_video([*clips, CLIP], path, options.seconds)

    def ours(search: str, *outputs: str | Path) -> tuple[float, float]:
        more = ("--max-instances", "2", "--search", search, "--precision", options.precision, "--timing")
        return run_together((*SONJIT, path, *more, *outputs))

    sides: dict[str, Callable[[], tuple[float, float]]] = {}
    if options.peer:
        sides["MediaPipe, table and video"] = lambda: run_together(
            (options.peer, "-c", PEER_VIDEO, path, folder / "peer.csv", folder / "peer.mp4")
        )
    for search in options.search.split(","):
        table, drawn = ("--save", folder / "found.csv"), ("--draw", folder / "drawn.mp4")
        sides[f"Sonjit, {search}, table and video"] = partial(ours, search, *table, *drawn)
        sides[f"Sonjit, {search}, table"] = partial(ours, search, *table)
        sides[f"floor, {search}, table and video"] = partial(
            floor, [path], folder / "floor.mp4", search, options.precision
        )
    copy = (sys.executable, __file__, "copy", "--files", path, folder / "copy.mp4")
    sides["decode, encode"] = lambda: run_together(copy)
    compare(sides, frames, options.turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("stills", "video", "copy"), help="copy: only decode and encode --files")
    parser.add_argument("--data", default=os.environ.get("SONJIT_TEST_DATA", "../shared"))
    parser.add_argument("--peer", help="python with mediapipe")
    parser.add_argument("--search", default="fast,auto", help="comma-separated: auto, fast, thorough")
    parser.add_argument(
        "--precision", default="auto", help="of Sonjit's networks for stills and video: auto, f32, bf16"
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--files", nargs=2, default=(), help="IN OUT")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # imports are measured with stored bytecode
    if options.what == "copy":
        with open_source(options.files[0]) as source, open_drawing_writer(options.files[1], source) as writer:
            for frame in source:
                writer.write(frame.rgb, frame.time, index=frame.index, under=frame)
        return
    with tempfile.TemporaryDirectory() as folder:
        {"stills": stills, "video": video}[options.what](options, Path(folder))


if __name__ == "__main__":
    main()
