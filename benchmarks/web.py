"""Compare `web/` with MediaPipe's packages in a browser: tracking speed, start, memory, download.

python benchmarks/web.py                          # hands of the bundled clip, after make web
python benchmarks/web.py face --media face.mp4    # @mediapipe/face_mesh, with irises
python benchmarks/web.py body --media person.mp4  # @mediapipe/pose, one person
python benchmarks/web.py --single                 # a page that is not cross-origin isolated
python benchmarks/web.py --bundle hand_landmarker.task  # @mediapipe/tasks-vision
python benchmarks/web.py face --media face.mp4 --bundle face_landmarker.task

Both run alternately on the same frames of the same canvas. MediaPipe's older packages use WebGL, which Chromium
computes on the processor without a graphics card. With `--bundle` both are vision tasks. MediaPipe's uses its `CPU`
delegate, and both run in the main thread of the page.

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
import io
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

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from selenium import webdriver

from sonjit.media import open_source

PROJECT = Path(__file__).parents[1]

TYPES = {"js": "text/javascript", "mjs": "text/javascript", "wasm": "application/wasm"}
FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader")
CLIP = PROJECT / "src" / "sonjit" / "_util" / "assets" / "demo.mp4"
CLIP_START, FRAMES = 90, 60  # two hands


class Case(NamedTuple):
    """Names and options of one kind in both packages.

    Attributes:
        package: MediaPipe's package and its script.
        solution: Class that the script defines.
        options: Options of the solution.
        results: Name of the list in its results, or of the keypoints of a single instance.
        model: Model of the tfjs-models interface.
        config: Configuration of `createDetector`.
        limit: Options of the solution and of `createDetector` for the maximum number of instances, and its default.
            None for a solution of a single instance.
    """

    package: str
    solution: str
    options: dict[str, object]
    results: str
    model: str
    config: dict[str, object]
    limit: tuple[str, str, int] | None


CASES = {
    "hands": Case("hands", "Hands", {"modelComplexity": 1}, "multiHandLandmarks", "MediaPipeHands", {},
                  ("maxNumHands", "maxHands", 2)),
    "face": Case("face_mesh", "FaceMesh", {"refineLandmarks": True}, "multiFaceLandmarks", "MediaPipeFaceMesh",
                 {"refineLandmarks": True}, ("maxNumFaces", "maxFaces", 1)),
    "body": Case("pose", "Pose", {"modelComplexity": 1}, "poseLandmarks", "BlazePose", {"modelType": "full"}, None),
}  # fmt: skip
PAGE = """<!doctype html><title>benchmark</title><link rel="icon" href="data:,"><script src="/peer/%s.js"></script>
<script type="module">globalThis.kit = await import("/web/sonjit-web.js");</script>"""
TASK_PAGE = """<!doctype html><title>benchmark</title><link rel="icon" href="data:,"><script type="module">
const sonjit = await import("/web/tasks-vision.js");
globalThis.kit = {sonjit, peer: await import("/peer/vision_bundle.mjs")};</script>"""
TASKS = {
    "hands": ("HandLandmarker", "landmarks", "numHands"),
    "face": ("FaceLandmarker", "faceLandmarks", "numFaces"),
    "body": ("PoseLandmarker", "landmarks", "numPoses"),
}
SIDE_FOLDERS = {"sonjit": ("/web/", "/sonjit-bundle/"), "peer": ("/peer/", "/peer-bundle/")}
TASK_SIDES = """
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
SIDES = """
  const peer = async () => {
    const finder = new globalThis[solution]({locateFile: (name) => `/peer/${name}`});
    finder.setOptions(options);
    let found = 0;
    finder.onResults(({[results]: list = []}) => { found = list.length && ("x" in list[0] ? 1 : list.length); });
    return async () => { await finder.send({image: canvas}); return found; };
  };
  const sonjit = async () => {
    const detector = await kit.createDetector(model, config);
    const estimate = detector.estimateHands ?? detector.estimateFaces ?? detector.estimatePoses;
    return async (time) => (await estimate(canvas, null, time)).length;
  };
"""
RUN = """
const [names, rounds, count, block, solution, options, results, model, config] = arguments;
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
    package: str, frames: list[bytes], fetched: dict[str, int], *, bundle: Path | None, isolated: bool
) -> http.server.ThreadingHTTPServer:
    """Serve the page, both modules and the frames. `fetched` records the compressed size of each file."""
    folders = {"web": PROJECT / "web" / "dist", "peer": PROJECT / "web" / "node_modules" / "@mediapipe" / package}
    if bundle is not None:
        folders |= {"sonjit-bundle": bundle.resolve().parent, "peer-bundle": bundle.resolve().parent}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            folder, _, name = self.path.split("?")[0].strip("/").partition("/")
            if not folder:
                body, kind = (PAGE % package if bundle is None else TASK_PAGE).encode(), "text/html"
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


def png(rgb: NDArray[np.uint8]) -> bytes:
    """Encode an image (H, W, 3) as PNG."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG", compress_level=1)
    return file.getvalue()


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=list(CASES), default="hands")
    parser.add_argument("--media", type=Path, help="video or image; required for faces and bodies")
    parser.add_argument(
        "--single", action="store_true", help="use a page without cross-origin isolation, which has one thread"
    )
    parser.add_argument("--bundle", type=Path, help="compare vision tasks with this .task file")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--starts", type=int, default=3, help="new browsers for the start and memory of each package")
    parser.add_argument("--block", type=int, default=12, help="frames per turn, of which the first two are excluded")
    parser.add_argument("--max-instances", type=int, help="default: 2 hands or 1 face")
    parser.add_argument("--seconds", type=int, default=600, help="time limit of a run")
    parser.add_argument("--save", type=Path, help="JSON file for the results")
    args = parser.parse_args()
    if args.media is None and args.kind != "hands":
        parser.error(f"{args.kind} requires --media with a video or an image")
    case = CASES[args.kind]
    if case.limit is None and args.max_instances is not None:
        parser.error(f"--max-instances does not apply to @mediapipe/{case.package}")
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
    case = CASES[args.kind]
    options, config, maximum = case.options, case.config, 1
    if case.limit is not None:
        peers, option, default = case.limit
        maximum = default if args.max_instances is None else args.max_instances
        options, config = options | {peers: maximum}, config | {option: maximum}
    package, model, task = case.package, case.model, (case.solution, options, case.results)
    if args.bundle is not None:
        name, results, limit = TASKS[args.kind]
        package, model, task = "tasks-vision", args.bundle.name, (name, {limit: maximum}, results)
    start = 0 if args.media else CLIP_START
    with open_source(args.media or CLIP) as source:
        frames = [png(frame.rgb) for frame in islice(source, start, start + FRAMES)]
    fetched: dict[str, int] = {}
    server = serve(package, frames, fetched, bundle=args.bundle, isolated=not args.single)
    script = RUN.replace("SIDES", SIDES if args.bundle is None else TASK_SIDES)
    arguments = (len(frames), args.block, *task, model, config)
    page_arguments = (f"http://127.0.0.1:{server.server_port}/", args.seconds)
    fresh: dict[str, list[Fresh]] = {name: [] for name in SIDE_FOLDERS}
    for name in (*SIDE_FOLDERS,) * args.starts:
        with Page(*page_arguments) as page:
            fresh[name].append(measure_start(page, script, name, args.rounds, args.block, arguments))
    with Page(*page_arguments) as page:
        found = page.run(script, list(SIDE_FOLDERS), args.rounds, *arguments)
    result: dict[str, Any] = {
        "kind": args.kind,
        "package": package,
        "isolated": found["isolated"],
        "max_instances": maximum,
    }
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
