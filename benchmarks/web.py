"""Compare `web/` with MediaPipe's vision tasks in a browser: tracking speed, start, memory, download.

python benchmarks/web.py hands hand_landmarker.task     # the bundled clip, after make web
python benchmarks/web.py face face_landmarker.task --media face.mp4
python benchmarks/web.py body pose_landmarker_full.task --media person.mp4
python benchmarks/web.py hands hand_landmarker.task --single  # a page that is not cross-origin isolated

Both run alternately on the same frames of the same canvas, in the main thread of the page. MediaPipe uses its `CPU`
delegate.

Start, memory and processor time are measured first, with one package in a new browser. The start is the time from the
creation to the first result. The memory is the growth of the browser's processes (proportional set size) from the page
with its frames to the page after `--block` results (Linux). The processor time of a frame is that of all browser
processes. It depends less on other programs than the time on the clock. Each figure is the median of `--starts`
browsers.
"""

from __future__ import annotations

import argparse
import gzip
import http.server
import json
import shutil
import statistics
import tempfile
import threading
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import cv2
import psutil
from rich.console import Console
from selenium import webdriver

from sonjit.media import open_source

PROJECT = Path(__file__).parents[1]

TYPES = {"js": "text/javascript", "mjs": "text/javascript", "wasm": "application/wasm"}
FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader")
CLIP = PROJECT / "src" / "sonjit" / "_util" / "assets" / "demo.mp4"
CLIP_START, FRAMES = 90, 60  # two hands

PAGE = """<!doctype html><title>benchmark</title><link rel="icon" href="data:,"><script type="module">
const sonjit = await import("/web/tasks-vision.js");
globalThis.kit = {sonjit, peer: await import("/peer/vision_bundle.mjs")};</script>"""
TASKS = {
    "hands": ("HandLandmarker", "landmarks", "numHands"),
    "face": ("FaceLandmarker", "faceLandmarks", "numFaces"),
    "body": ("PoseLandmarker", "landmarks", "numPoses"),
}
SIDE_FOLDERS = {"sonjit": ("/web/", "/sonjit-bundle/"), "peer": ("/peer/", "/peer-bundle/")}
SIDES = """
  const side = (name) => async () => {
    const files = await kit[name].FilesetResolver.forVisionTasks("/peer/wasm");
    const base = {modelAssetPath: `/${name}-bundle/${model}`, delegate: "CPU"};
    const given = {runningMode: "VIDEO", baseOptions: base, ...options};
    const task = await kit[name][solution].createFromOptions(files, given);
    let last = 0;
    return async (time) => task.detectForVideo(canvas, last = Math.max(time, last + 1))[results].length;
  };
  const [sonjit, peer] = [side("sonjit"), side("peer")];
"""
RUN = """
const [names, rounds, count, block, solution, options, results, model] = arguments;
globalThis.done = null;
(async () => {
  while (!globalThis.kit) await new Promise((next) => setTimeout(next, 20));
  const frames = (globalThis.images ??= []);
  for (let i = frames.length; i < count; i++) {
    frames.push(await createImageBitmap(await (await fetch(`/frame/${i}`)).blob()));
  }
  const canvas = Object.assign(document.createElement("canvas"), {width: frames[0].width, height: frames[0].height});
  const pen = canvas.getContext("2d");
  const show = (i) => pen.drawImage(frames[i % count], 0, 0);
  SIDES
  const start = {}, run = {}, ms = {}, found = {};
  show(0);
  for (const name of names) {
    const began = performance.now();
    run[name] = await {sonjit, peer}[name]();
    await run[name](0);
    start[name] = performance.now() - began;
    document.title = `${name} started in ${start[name].toFixed()} ms`;
    [ms[name], found[name]] = [[], []];
  }
  let frame = 0;
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 ? names : names.toReversed()) {
      for (let i = 0; i < block; i++) {
        show(frame + i);
        const began = performance.now();
        const seen = await run[name](((frame + i) * 1000) / 30 + 1);
        if (i >= 2) {
          ms[name].push(performance.now() - began);
          found[name].push(seen);
        }
      }
    }
    frame += block;
    document.title = `round ${round + 1}`;
  }
  return {start, ms, found, isolated: crossOriginIsolated};
})().catch((error) => ({error: `${error}\n${error?.stack ?? ""}`})).then((value) => { globalThis.done = value; });
"""


def serve(
    frames: list[bytes], fetched: dict[str, int], bundle: Path, *, isolated: bool
) -> http.server.ThreadingHTTPServer:
    """Serve the page, both modules and the frames. `fetched` records the compressed size of each file."""
    folders = {
        "web": PROJECT / "web" / "dist",
        "peer": PROJECT / "web" / "node_modules" / "@mediapipe" / "tasks-vision",
    }
    folders |= {"sonjit-bundle": bundle.resolve().parent, "peer-bundle": bundle.resolve().parent}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            folder, _, name = self.path.split("?")[0].strip("/").partition("/")
            if not folder:
                body, kind = PAGE.encode(), "text/html"
            elif folder == "frame":
                body, kind = frames[int(name)], "image/png"
            elif folder in folders and (folders[folder] / name).is_file():
                body, kind = (folders[folder] / name).read_bytes(), TYPES.get(name.rpartition(".")[2], "text/plain")
                fetched[self.path] = len(gzip.compress(body, 6))
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if isolated:
                self.send_header("Cross-Origin-Opener-Policy", "same-origin")
                self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Page:
    """A page in a new browser that is closed when the block is left.

    Args:
        url: Address of the page.
        seconds: Limit for one run.
    """

    def __init__(self, url: str, seconds: int) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (*FLAGS, f"--user-data-dir={self._folder.name}"):
            options.add_argument(flag)
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self._driver = webdriver.Chrome(options=options, service=service)
        self._driver.set_script_timeout(seconds)
        self._root = psutil.Process(service.process.pid)
        self._url, self._seconds = url, seconds

    def __enter__(self) -> Page:
        self._driver.get(self._url)
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.quit()
        self._folder.cleanup()

    def run(self, script: str, *arguments: object) -> dict[str, Any]:
        """Run the script of `RUN` with these arguments, and return its measurements."""
        self._driver.execute_async_script(f"{script}; arguments[arguments.length - 1]();", *arguments)
        end = monotonic() + self._seconds
        while not (found := self._driver.execute_script("return globalThis.done ?? null")):
            if monotonic() > end:
                title = self._driver.execute_script("return document.title")
                raise SystemExit(f"not finished in {self._seconds} s; last: {title}; use fewer --rounds")
            sleep(1)
        if "error" in found:
            raise SystemExit(found["error"])
        return found

    def memory_mb(self) -> float:
        """Return the proportional set size of all browser processes in MB."""
        return sum(process.memory_full_info().pss for process in self._processes()) / 1e6

    def cpu_s(self) -> float:
        """Return the processor time of all browser processes in seconds."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]


class Fresh(NamedTuple):
    """Figures of one package in a new browser."""

    start_ms: float
    memory_mb: float
    cpu_ms: float


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(TASKS))
    parser.add_argument("bundle", type=Path, help=".task file")
    parser.add_argument("--media", type=Path, help="video or image; required for faces and bodies")
    parser.add_argument(
        "--single", action="store_true", help="use a page without cross-origin isolation, which has one thread"
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--starts", type=int, default=3, help="new browsers for the start and memory of each package")
    parser.add_argument("--block", type=int, default=12, help="frames per turn, of which the first two are excluded")
    parser.add_argument("--max-instances", type=int, help="default: 2 hands or 1 face")
    parser.add_argument("--seconds", type=int, default=600, help="time limit of a run")
    parser.add_argument("--save", type=Path, help="JSON file for the results")
    args = parser.parse_args()
    if args.media is None and args.kind != "hands":
        parser.error(f"{args.kind} requires --media with a video or an image")
    return args


def measure_start(page: Page, script: str, name: str, rounds: int, block: int, arguments: Sequence[object]) -> Fresh:
    """Measure one package in a new browser."""
    page.run(script, [], 0, *arguments)
    before = page.memory_mb()
    start_ms = page.run(script, [name], 1, *arguments)["start"][name]
    memory_mb = page.memory_mb() - before
    spent: list[float] = []
    for count in (1, 1 + rounds):  # both create the package's detector again
        began = page.cpu_s()
        page.run(script, [name], count, *arguments)
        spent.append(page.cpu_s() - began)
    return Fresh(start_ms, memory_mb, 1000 * (spent[1] - spent[0]) / (rounds * block))


def main() -> None:
    args = parse_arguments()
    solution, results, limit = TASKS[args.kind]
    maximum = args.max_instances or (2 if args.kind == "hands" else 1)
    start = 0 if args.media else CLIP_START
    with open_source(args.media or CLIP) as source:
        shown = islice(source, start, start + FRAMES)
        frames = [cv2.imencode(".png", frame.rgb[..., ::-1])[1].tobytes() for frame in shown]
    fetched: dict[str, int] = {}
    server = serve(frames, fetched, args.bundle, isolated=not args.single)
    script = RUN.replace("SIDES", SIDES)
    arguments = (len(frames), args.block, solution, {limit: maximum}, results, args.bundle.name)
    page_arguments = (f"http://127.0.0.1:{server.server_port}/", args.seconds)
    fresh: dict[str, list[Fresh]] = {name: [] for name in SIDE_FOLDERS}
    for name in (*SIDE_FOLDERS,) * args.starts:
        with Page(*page_arguments) as page:
            fresh[name].append(measure_start(page, script, name, args.rounds, args.block, arguments))
    with Page(*page_arguments) as page:
        found = page.run(script, list(SIDE_FOLDERS), args.rounds, *arguments)
    result: dict[str, Any] = {"kind": args.kind, "isolated": found["isolated"], "max_instances": maximum}
    for name, folders in SIDE_FOLDERS.items():
        times = sorted(found["ms"][name])
        result[name] = {
            "ms_median": round(times[len(times) // 2], 1),
            "ms_min": round(times[0], 1),
            "start_ms": round(statistics.median(run.start_ms for run in fresh[name])),
            "memory_mb": round(statistics.median(run.memory_mb for run in fresh[name])),
            "cpu_ms": round(statistics.median(run.cpu_ms for run in fresh[name]), 1),
            "instances": sum(found["found"][name]) / len(times),
            "download_mb": round(sum(size for path, size in fetched.items() if path.startswith(folders)) / 1e6, 2),
        }
    result["frame_rate_ratio"] = round(result["peer"]["ms_median"] / result["sonjit"]["ms_median"], 2)
    Console().print_json(json.dumps(result))
    if args.save:
        args.save.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
