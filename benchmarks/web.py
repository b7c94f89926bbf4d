"""Compare `web/` with MediaPipe's vision tasks in the same Chromium: speed, processor time, start, bytes.

python benchmarks/web.py PEER                     # hands of the bundled clip, after make web
python benchmarks/web.py PEER --face face.mp4 --face-bundle face_landmarker.task --save web.json
python benchmarks/web.py PEER --body person.mp4 --body-bundle pose_landmarker_full.task

PEER is a folder with the npm package `@mediapipe/tasks-vision`: `npm install @mediapipe/tasks-vision@1.1.0` in an
empty folder writes it to `node_modules/@mediapipe/tasks-vision`.

Each case is the drop-in in the page, `LocalDetector` in its worker, or MediaPipe with its `CPU` delegate, with the same
networks. Hands are those of the first 75 frames of the bundled clip, which show one. A round measures each case in a
new browser, in turn, and each figure is the median of the rounds:

* frames: decoded images, one after the other. Milliseconds are the median from the call to the result.
* camera: Chromium's fake camera, 640 x 480 at 30 frames a second. In the page, a result is computed before the next
  frame is taken. The worker gets each frame, and processes the newest one next.
* CPU ms: processor time of all processes of the browser for a result, which other programs change less than the clock.
* first result: from the load of the page, with an empty cache and again with the files in the cache.
* MB: files that the page loads until the last result, as a host sends them that packs JavaScript and WebAssembly.

`--requests 100` counts the requests of the page to other hosts while it is open for 100 seconds.
"""

from __future__ import annotations

import argparse
import gzip
import http.server
import json
import platform
import shutil
import statistics
import tempfile
import threading
import zipfile
from datetime import date
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import psutil
from rich.console import Console
from selenium import webdriver

from sonjit.media import open_source
from sonjit.weights import find_weight

PROJECT = Path(__file__).parents[1]
CLIP = PROJECT / "src" / "sonjit" / "_util" / "assets" / "demo.mp4"
FRAMES = 75  # at the start of the bundled clip with exactly one hand
CAMERA_SIZE = 640, 480
TYPES = {"js": "text/javascript", "mjs": "text/javascript", "wasm": "application/wasm", "jpg": "image/jpeg"}
PACKED = ("js", "mjs", "wasm")  # what hosts usually pack; the module packs its networks itself
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--autoplay-policy=no-user-gesture-required"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # requests to other machines fail
)
SIDES = ("MediaPipe", "drop-in", "worker")
HANDS = {"hand_detector.tflite": "palm-full", "hand_landmarks_detector.tflite": "hand-full"}
"""Networks of a bundle by name of the member. Networks of other tasks need metadata, which published bundles have."""


class Case(NamedTuple):
    """What a page detects."""

    name: str
    kind: str
    task: str  # name of the task
    limit: str  # its option for the number of instances
    results: str  # list in its result
    instances: int


CASES = (
    Case("hands, max 1", "hands", "HandLandmarker", "numHands", "landmarks", 1),
    Case("hands, max 2", "hands", "HandLandmarker", "numHands", "landmarks", 2),
    Case("face", "face", "FaceLandmarker", "numFaces", "faceLandmarks", 1),
    Case("body", "body", "PoseLandmarker", "numPoses", "landmarks", 1),
)
PAGE = """<!doctype html><title>benchmark</title><link rel="icon" href="data:,"><script>
addEventListener("error", ({message}) => (globalThis.failed = message));
addEventListener("unhandledrejection", ({reason}) => (globalThis.failed = `${reason}`));
</script><script type="module">
const began = performance.now();
const given = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const {side, kind, task, limit, results, instances, camera, frames, seconds} = given;
const taskOf = async (module, folder, asset) => {
  const {FilesetResolver, [task]: Task} = await import(module);
  const baseOptions = {modelAssetPath: asset, delegate: "CPU"};
  const made = await Task.createFromOptions(
    await FilesetResolver.forVisionTasks(folder), {runningMode: "VIDEO", baseOptions, [limit]: instances});
  let last = 0;
  return (image, time) => made.detectForVideo(image, last = Math.max(time, last + 1))[results].length;
};
const bundle = `/bundles/${kind}.task`;
const asset = {hands: "hand_landmarker.task", face: bundle, body: "pose_landmarker_full.task"}[kind];
const makers = {
  "MediaPipe": () => taskOf("/peer/vision_bundle.mjs", "/peer/wasm", bundle),
  "drop-in": () => taskOf("/web/tasks-vision.js", "/web", asset),
  "worker": async () => {
    const {LocalDetector} = await import("/web/sonjit-web.js");
    const files = kind === "face" ? {landmarkModelUrl: bundle} : {};
    const made = await LocalDetector.create(kind, {max_instances: instances}, files);
    const counts = new Map(); // by the promise of an answer
    return (image, time) => {
      const answer = made.track(image, {time: time / 1000});
      const count = async () => Object.values(await answer).find(Array.isArray).length;
      return counts.get(answer) ?? counts.set(answer, count()).get(answer);
    };
  },
};
const imagesOf = (count) => Promise.all(Array.from({length: count}, async (_, k) =>
  createImageBitmap(await (await fetch(`/frames/${kind}/${k}.jpg`)).blob())));
const openCamera = async () => {
  const stream = await navigator.mediaDevices.getUserMedia({video: {width: 640, height: 480}});
  const video = Object.assign(document.createElement("video"), {srcObject: stream, muted: true});
  await video.play();
  return video;
};
const source = camera ? await openCamera() : await imagesOf(frames);
const ready = performance.now(); // the images are no part of the start
const run = await makers[side]();
await run(camera ? source : source[0], 0);
globalThis.first = performance.now() - ready + began;
globalThis.measure = async () => {
  const [ms, found] = [[], []];
  const one = async (image, time) => {
    const start = performance.now();
    found.push(await run(image, time));
    ms.push(performance.now() - start);
  };
  const frame = () => new Promise((next) => source.requestVideoFrameCallback(next));
  const start = performance.now();
  const isOver = () => performance.now() - start >= 1000 * seconds;
  if (!camera) for (const [k, image] of source.entries()) await one(image, 40 + (k * 1000) / 30);
  else if (side !== "worker") while (!isOver()) await frame().then(() => one(source, performance.now()));
  else {
    // the worker takes each frame; one that replaces another has the same answer
    const answers = new Set();
    for (; !isOver(); await frame()) {
      const began = performance.now();
      const answer = run(source, began);
      if (!answers.has(answer)) answer.then((count) => [found.push(count), ms.push(performance.now() - began)]);
      answers.add(answer);
    }
    await Promise.all(answers);
  }
  globalThis.measured = {ms, found, seconds: (performance.now() - start) / 1000, isolated: crossOriginIsolated};
};
</script>"""


@cache
def packed(path: Path) -> bytes:
    """Return a file as a host sends it that packs it."""
    return gzip.compress(path.read_bytes(), 6, mtime=0)


class Host(http.server.ThreadingHTTPServer):
    """Serves the page, both packages, bundles and frames, and counts the bytes of their files."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folders: dict[str, Path], *, isolated: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folders, self.isolated, self.sent = folders, isolated, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        folder, _, name = self.path.split("?")[0].strip("/").partition("/")
        path = self.server.folders.get(folder, Path()) / name
        ending = path.suffix.lstrip(".")
        if folder and not (folder in self.server.folders and path.is_file()):
            self.send_error(404)
            return
        is_packed = ending in PACKED
        body = PAGE.encode() if not folder else packed(path) if is_packed else path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", TYPES.get(ending, "application/octet-stream") if folder else "text/html")
        self.send_header("Content-Length", str(len(body)))
        if is_packed:
            self.send_header("Content-Encoding", "gzip")
        if folder:
            self.send_header("Cache-Control", "max-age=9999")
        if self.server.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(body)
        if folder and folder != "frames":
            self.server.sent += len(body)

    def log_message(self, format: str, *_: object) -> None:
        pass


class Browser:
    """A new Chromium with an empty cache, which is closed when the block is left. `clip` is what its camera shows."""

    def __init__(self, clip: Path, seconds: int, *flags: str) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        own = f"--user-data-dir={self._folder.name}", f"--use-file-for-fake-video-capture={clip}"
        for flag in (*FLAGS, *own, *flags):
            options.add_argument(flag)
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self._driver = webdriver.Chrome(options=options, service=service)
        self._driver.set_script_timeout(seconds)  # a script waits while the page computes
        self._root = psutil.Process(service.process.pid)
        self._seconds = seconds

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.quit()
        self._folder.cleanup()

    def open(self, url: str) -> float:
        """Open the page, and return the time of its first result in seconds."""
        self._driver.get("about:blank")
        self._driver.get(url)
        return self._wait_for("first") / 1000

    def measure(self) -> tuple[dict[str, Any], float]:
        """Run the images, and return what the page measured and the processor time of a result in milliseconds."""
        before = self._cpu_s()
        found = self._driver.execute_async_script(  # one call: the browser spends no time on further ones
            "const done = arguments[0]; measure().then(() => done(measured), (error) => done({error: `${error}`}));"
        )
        if "error" in found:
            raise SystemExit(found["error"])
        return found, 1000 * (self._cpu_s() - before) / len(found["ms"])

    def _wait_for(self, name: str) -> Any:  # a JSON value
        end = monotonic() + self._seconds
        while (value := self._driver.execute_script(f"return globalThis.{name} ?? null")) is None:
            failed = self._driver.execute_script("return globalThis.failed ?? null")
            if failed or monotonic() > end:
                logs = [entry["message"] for entry in self._driver.get_log("browser")]
                raise SystemExit(f"no {name} in {self._seconds} s: {failed or logs}")
            sleep(0.2)
        return value

    def _cpu_s(self) -> float:
        processes = [self._root, *self._root.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in processes)


def write_media(folder: Path, kind: str, media: Path) -> None:
    """Write the frames of a video, and the clip of the camera."""
    with open_source(media) as source:
        frames = [frame.rgb for frame in islice(source, FRAMES)]
    (folder / "frames" / kind).mkdir(parents=True)
    for k, rgb in enumerate(frames):
        cv2.imwrite(str(folder / "frames" / kind / f"{k}.jpg"), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    with av.open(str(folder / f"{kind}.mjpeg"), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=30, options={"qscale": "2"})
        (stream.width, stream.height), stream.pix_fmt = CAMERA_SIZE, "yuvj420p"
        stream.time_base = Fraction(1, 30)
        for rgb in frames:
            scale = min(CAMERA_SIZE[0] / rgb.shape[1], CAMERA_SIZE[1] / rgb.shape[0])
            shown = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            image = np.zeros((CAMERA_SIZE[1], CAMERA_SIZE[0], 3), np.uint8)
            image[: shown.shape[0], : shown.shape[1]] = shown
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())


def write_bundle(folder: Path, kind: str, bundle: Path | None) -> None:
    """Copy the bundle of MediaPipe's task, or write that of hands with Sonjit's networks."""
    target = folder / "bundles" / f"{kind}.task"
    target.parent.mkdir(exist_ok=True)
    if bundle is not None:
        shutil.copyfile(bundle, target)
        return
    with zipfile.ZipFile(target, "w") as file:
        for member, network in HANDS.items():
            file.write(find_weight(network), member)


def url_of(host: Host, folder: Path, case: Case, side: str, args: argparse.Namespace, *, camera: bool) -> str:
    """Return the address of the page with what it runs."""
    frames = len(list((folder / "frames" / case.kind).iterdir()))
    given = case._asdict() | {"side": side, "camera": camera, "frames": frames, "seconds": args.camera_seconds}
    return f"http://127.0.0.1:{host.server_port}/#{json.dumps(given)}"


def run_once(host: Host, folder: Path, case: Case, side: str, args: argparse.Namespace, *, camera: bool) -> dict:
    """Measure one case in a new browser."""
    url = url_of(host, folder, case, side, args, camera=camera)
    with Browser(folder / f"{case.kind}.mjpeg", args.seconds) as browser:
        host.sent = 0
        cold_s = browser.open(url)
        warm_s = browser.open(url)
        found, cpu_ms = browser.measure()
        sent = host.sent
    rate = len(found["ms"]) / found["seconds"]
    figures = {"fps": rate, "cpu_ms": cpu_ms, "ms": statistics.median(found["ms"]), "cold_s": cold_s, "warm_s": warm_s}
    figures |= {"mb": sent / 1e6, "found": statistics.mean(found["found"])}
    Console(stderr=True).print(f"{case.name}, {side}, {'camera' if camera else 'frames'}: {figures}")
    return figures


def requests_elsewhere(host: Host, folder: Path, case: Case, side: str, args: argparse.Namespace) -> list[float]:
    """Return the times in seconds, since the page was opened, of its requests to other hosts."""
    log = folder / "net.json"
    with Browser(folder / f"{case.kind}.mjpeg", args.seconds, f"--log-net-log={log}") as browser:
        began = monotonic()
        browser.open(url_of(host, folder, case, side, args, camera=False))
        browser.measure()
        sleep(max(args.requests - (monotonic() - began), 0))
    found = json.loads(log.read_text("utf-8"))
    kinds = found["constants"]["logEventTypes"]
    starts = [event for event in found["events"] if event["type"] == kinds["URL_REQUEST_START_JOB"]]
    urls = [(event, event["params"]) for event in starts if "url" in event.get("params", {})]
    page = f"http://127.0.0.1:{host.server_port}"
    first_ms = min(int(event["time"]) for event, given in urls if given["url"].startswith(page))
    # the browser's own requests have no page as their initiator
    others = [event for event, given in urls if given.get("initiator") == page and not given["url"].startswith(page)]
    return [round((int(event["time"]) - first_ms) / 1000, 1) for event in others]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", type=Path, help="folder of the npm package @mediapipe/tasks-vision")
    parser.add_argument("--face", type=Path, help="video of a face")
    parser.add_argument("--face-bundle", type=Path, help="face_landmarker.task, for --face")
    parser.add_argument("--body", type=Path, help="video of a person")
    parser.add_argument("--body-bundle", type=Path, help="pose_landmarker_full.task, for --body")
    parser.add_argument("--isolated", action="store_true", help="send the two headers with which pages use threads")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--camera-seconds", type=int, default=8)
    parser.add_argument("--only", default="", help="part of the names of cases")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--seconds", type=int, default=300, help="time limit of a run")
    parser.add_argument(
        "--requests",
        type=int,
        metavar="SECONDS",
        help="count requests to other hosts, with the page open for this time",
    )
    parser.add_argument("--save", type=Path, help="JSON file for the results")
    args = parser.parse_args()
    for kind in ("face", "body"):
        if (getattr(args, kind) is None) != (getattr(args, f"{kind}_bundle") is None):
            parser.error(f"--{kind} requires --{kind}-bundle")
    return args


def main() -> None:
    args = parse_arguments()
    media = {"hands": CLIP, "face": args.face, "body": args.body}
    cases = [case for case in CASES if media[case.kind] and args.only in case.name]
    runs: dict[tuple[str, str, bool], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in {case.kind for case in cases}:
            write_media(folder, kind, media[kind])
            write_bundle(folder, kind, {"face": args.face_bundle, "body": args.body_bundle}.get(kind))
        folders = {"web": PROJECT / "web" / "dist", "peer": args.peer}
        folders |= {part: folder / part for part in ("frames", "bundles")}
        host = Host(folders, isolated=args.isolated)
        if args.requests:
            for side in args.sides:
                times = requests_elsewhere(host, folder, cases[0], side, args)
                Console().print(f"{side}: {len(times)} requests to other hosts, at s: {times}")
            return
        for _ in range(args.rounds):
            for case in cases:
                for side in args.sides:
                    for camera in (False, True):
                        found = run_once(host, folder, case, side, args, camera=camera)
                        runs.setdefault((case.name, side, camera), []).append(found)
        host.shutdown()
    version = json.loads((args.peer / "package.json").read_text("utf-8"))["version"]
    rows = [
        {"case": case, "side": side, "camera": camera}
        | {key: round(statistics.median(run[key] for run in found), 3) for key in found[0]}
        for (case, side, camera), found in runs.items()
    ]
    machine = {"cpu": platform.processor(), "cores": psutil.cpu_count(), "date": date.today().isoformat()}
    result = {"peer": version, "isolated": args.isolated, "rounds": args.rounds, "machine": machine, "rows": rows}
    Console().print_json(json.dumps(result))
    if args.save:
        args.save.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
