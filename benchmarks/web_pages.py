"""Run public web pages in headless Chromium with the packages of MediaPipe or tfjs-models and with Sonjit's module.

    python benchmarks/web_pages.py pages.toml --pages PAGES --npm NPM --inputs IMAGES

PAGES has a folder for each repository. NPM is a folder in which `npm install` put the packages of both and
`@tensorflow/tfjs`. Pages that need a bundler are bundled first, with `@tensorflow-models/*` and `@mediapipe/*` as
external modules. Detectors of tfjs-models run with `runtime: "mediapipe"` on both sides, because the networks of
`"tfjs"` are in no package; `runtime` in the answer is the page's own. The camera of each page shows an image. After
`--results` results both runs are compared: instances, keypoints and drawing. `jitter_px` is how far the package's own
keypoints moved between two results of the same image. `noise_px` is how far they move in a third run, whose image
differs by at most one level of 255 in each channel. `half_precision` is true if the package's metric depths are half
precision numbers. A page of the manifest is a table:

    [[page]]
    path = "owner+name/index.html"
    input = "photo.jpg"
    click = "#load, #start"   # optional: elements that load the networks and start the camera

Both packages run on the processor, and MediaPipe's older packages use software rendering.
"""

from __future__ import annotations

import argparse
import base64
import http.server
import io
import json
import re
import shutil
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from time import monotonic, sleep
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.remote.remote_connection import RemoteConnection
from urllib3.exceptions import HTTPError

PROJECT = Path(__file__).parents[1]
DIST = PROJECT / "web" / "dist"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader",
         "--autoplay-policy=no-user-gesture-required", "--window-size=1280,900")  # fmt: skip
TYPES = {"html": "text/html", "js": "text/javascript", "mjs": "text/javascript", "cjs": "text/javascript",
         "css": "text/css", "json": "application/json", "wasm": "application/wasm"}  # fmt: skip
SOLUTIONS = {"hands": "Hands", "face_mesh": "FaceMesh", "pose": "Pose", "holistic": "Holistic"}
DETECTORS = {
    "hand-pose-detection": "handPoseDetection",
    "face-landmarks-detection": "faceLandmarksDetection",
    "face-detection": "faceDetection",
    "pose-detection": "poseDetection",
}
"""Packages of tfjs-models and their globals."""
FACE_BOXES = ("face_detection", "FaceDetection")
CDN = re.compile(r"https?:(?:\\?/){2}(?:cdn\.jsdelivr\.net\\?/npm|unpkg\.com|cdn\.skypack\.dev)\\?/")
CDNJS_P5 = re.compile(r"https://cdnjs\.cloudflare\.com/ajax/libs/p5\.js/[\d.]+/")
MODEL = re.compile(r"https://storage\.googleapis\.com/mediapipe-models/[^\"'`\s]*?([\w]+\.(?:task|tflite))")
IMPORTS = json.dumps(
    {
        "imports": {
            **{f"@tensorflow-models/{name}": f"/module/@tensorflow-models/{name}" for name in DETECTORS},
            **{f"@mediapipe/{name}": f"/module/@mediapipe/{name}" for name in (*SOLUTIONS, FACE_BOXES[0])},
        }
    }
)
NEAR_PX = 0.5
AGAIN_S = 12
"""Pages ignore a click before their networks are loaded."""
CONTRAST = 48
PROBE = """
(() => {
  const probe = globalThis.probe = {count: 0, before: null, last: null, canvases: null, errors: [], size: null};
  addEventListener("error", (event) => probe.errors.push(String(event.message)));
  addEventListener("unhandledrejection", (event) => probe.errors.push(String(event.reason?.message ?? event.reason)));
  const flat = new Set();
  const getContext = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    if (kind === "2d") flat.add(this);
    return getContext.call(this, kind, ...rest);
  };
  const snap = () => [...document.querySelectorAll("canvas")]
    .filter((canvas) => flat.has(canvas) && canvas.width && canvas.height)
    .map((canvas) => canvas.toDataURL("image/png"));
  const plain = (value) => JSON.parse(JSON.stringify(value, (key, one) => {
    if (["image", "segmentationMask", "confidenceMasks", "categoryMask", "segmentationMasks"].includes(key)) return;
    if (key === "multiFaceGeometry") return;
    return ArrayBuffer.isView(one) ? [...one] : one;
  }) ?? "null");
  probe.record = (results, image) => {
    probe.count += 1;
    const {videoWidth, videoHeight, width, height} = image ?? {};
    probe.size = [videoWidth || width, videoHeight || height];
    if (probe.count === RESULTS - 1) probe.before = plain(results);
    if (probe.count !== RESULTS) return;
    probe.last = plain(results);
    setTimeout(() => { probe.canvases = snap(); }, 0);
  };
  probe.solution = (kind) => {
    if (!kind) return;
    const own = kind.prototype.onResults;
    kind.prototype.onResults = function (listener) {
      return own.call(this, async (results) => {
        const answer = listener(results);
        if (!probe.runtime) probe.record(results, results.image);
        return answer;
      });
    };
  };
  const packages = {
    MediaPipeHands: "hands", MediaPipeFaceMesh: "face_mesh", MediaPipeFaceDetector: "face_detection", BlazePose: "pose",
  };
  let created = Promise.resolve();  // MediaPipe's packages do not load twice at once
  probe.creator = (create) => async (model, config) => {
    probe.runtime = config?.runtime ?? "none";
    const solutionPath = `/npm/@mediapipe/${packages[model]}`;
    const forced = packages[model] && !KEEPS ? {runtime: "mediapipe", solutionPath} : {};
    const next = () => create(model, {...config, ...forced});
    const detector = await (created = created.then(next, next));
    for (const name of ["estimateHands", "estimateFaces", "estimatePoses"]) {
      const own = detector[name];
      if (!own) continue;
      detector[name] = async (image, ...rest) => {
        const found = await own.call(detector, image, ...rest);
        const column = (key) => found.map((one) => one[key]);
        const lists = {keypoints: column("keypoints"), keypoints3D: column("keypoints3D").filter(Boolean)};
        const names = found.map((one) => one.keypoints.map((point) => point.name ?? ""));
        probe.record({...lists, names, handedness: column("handedness").filter(Boolean)}, image);
        return found;
      };
    }
    return detector;
  };
  probe.tasks = (kit) => {
    const names = ["detect", "detectForVideo", "recognize", "recognizeForVideo", "segment", "segmentForVideo"];
    for (const [task, kind] of Object.entries(kit)) {
      if (!/(Landmarker|Recognizer|Detector|Segmenter)$/.test(task)) continue;
      const make = kind.createFromOptions;
      kind.createFromOptions = function (files, options) {
        return make.call(kind, files, {...options, baseOptions: {...options.baseOptions, delegate: "CPU"}});
      };
      for (const name of names) {
        const own = kind.prototype[name];
        if (!own) continue;
        kind.prototype[name] = function (image, ...rest) {
          const at = rest.findIndex((one) => typeof one === "function");
          const listener = rest[at];
          if (listener) rest[at] = (results) => { listener(results); probe.record(results, image); };
          const results = own.call(this, image, ...rest);
          if (!listener) probe.record(results, image);
          return results;
        };
      }
    }
  };
  const loaded = new Promise((resolve, reject) => {
    const picture = Object.assign(new Image(), {src: "/input", onerror: reject});
    picture.onload = () => resolve(picture);
  });
  navigator.mediaDevices.getUserMedia = async () => {
    const picture = await loaded;
    const canvas = Object.assign(document.createElement("canvas"), {width: picture.width, height: picture.height});
    const pen = getContext.call(canvas, "2d");
    const show = () => pen.drawImage(picture, 0, 0);
    show();
    setInterval(show, 50);
    return canvas.captureStream();
  };
  navigator.mediaDevices.enumerateDevices = async () => [{kind: "videoinput", deviceId: "image", label: "image"}];
})();
"""
LOADED = """const script = (src) => new Promise((resolve, reject) => {
  const present = document.querySelector(`script[data-kit="${src}"]`);
  if (present) {
    present.loading.then(resolve, reject);
    return;
  }
  const element = Object.assign(document.createElement("script"), {src, async: false});
  element.dataset.kit = src;
  element.loading = new Promise((done, failed) => Object.assign(element, {onload: done, onerror: failed}));
  element.loading.then(resolve, reject);
  document.head.append(element);
});
for (const src of SCRIPTS) await script(src);
"""
"""Module that loads scripts, for imports of packages that are scripts."""
TASKS = """import * as kit from "{own}";
globalThis.probe?.tasks(kit);
export * from "{own}";
export default kit;
"""


class Site:
    """Server of one page.

    Args:
        pages: Folder with a folder for each repository.
        npm: Folder with `node_modules` of MediaPipe's packages.
        models: Folder with `.task` bundles.
        image: PNG image of the simulated camera.
        results: Number of the result that is compared.
        is_sonjit: True to serve Sonjit's module in place of MediaPipe's packages.
        keeps: True to keep the runtime that pages of tfjs-models choose.
    """

    def __init__(
        self,
        pages: Path,
        npm: Path,
        models: Path,
        image: bytes,
        results: int,
        *,
        is_sonjit: bool,
        keeps: bool = False,
    ) -> None:
        self.pages, self.modules, self.models, self.image = pages, npm / "node_modules", models, image
        self.probe = PROBE.replace("RESULTS", str(results)).replace("KEEPS", json.dumps(keeps)).encode()
        self.is_sonjit = is_sonjit
        self.missing: list[str] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = site.answer(unquote(urlsplit(self.path).path))
                if found is None:
                    site.missing.append(self.path)
                    self.send_error(404)
                    return
                body, kind = found
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(ConnectionError):  # a page that was left
                    self.wfile.write(body)

            def log_message(self, format: str, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str) -> tuple[bytes, str] | None:
        """Return the content and the type of an address, or None."""
        if path.startswith("/module/"):
            return self._module(path.removeprefix("/module/")).encode(), TYPES["js"]
        if path == "/input":
            return self.image, "image/png"
        if path == "/probe.js":
            return self.probe, TYPES["js"]
        if path.startswith("/npm/"):
            return self._package(path.removeprefix("/npm/"))
        file = self.pages / path.removeprefix("/page/")
        if file.suffix in (".task", ".tflite") and not file.is_file():
            file = self.models / file.name
        return self._file(file) if path.startswith(("/page/", "/models/")) else None

    def _module(self, package: str) -> str:
        """Return a module with the exports of a package that is a script."""
        scope, _, name = package.partition("/")
        if scope == "@mediapipe":
            kind = dict([*SOLUTIONS.items(), FACE_BOXES])[name]
            names = [kind, "VERSION", f"{name.upper()}_CONNECTIONS"]
            scripts = [f"/npm/@mediapipe/{name}/{name}.js"]
            exports = "".join(f"export const {name} = globalThis.{name};\n" for name in names)
            return LOADED.replace("SCRIPTS", json.dumps(scripts)) + exports
        names = ["createDetector", "SupportedModels", "util", "calculators", "TrackerType", "movenet"]
        before = [] if self.is_sonjit else ["/npm/@tensorflow/tfjs/dist/tf.min.js"]
        if not self.is_sonjit:
            solutions = {"hand": "hands", "face-l": "face_mesh", "face-d": "face_detection", "pose": "pose"}
            before += [
                f"/npm/@mediapipe/{solution}/{solution}.js"
                for start, solution in solutions.items()
                if name.startswith(start)
            ]
        scripts = [*before, f"/npm/{package}/"]
        exports = "".join(f"export const {name} = kit.{name};\n" for name in names)
        kit = f"const kit = globalThis.{DETECTORS[name]};\nexport default kit;\n"
        return LOADED.replace("SCRIPTS", json.dumps(scripts)) + kit + exports

    def _package(self, path: str) -> tuple[bytes, str] | None:
        if path.startswith("sonjit/"):
            return self._file(DIST / path.removeprefix("sonjit/"))
        tfjs = re.match(r"@tensorflow-models/([\w-]+)(?:@[^/]*)?(?:/|$)(?:dist/[\w.-]+)?$", path)
        if tfjs and tfjs[1] in DETECTORS:
            return self._detector_script(tfjs[1]).encode(), TYPES["js"]
        scope, _, rest = path.partition("/") if path.startswith("@") else ("", "", path)
        name, _, inside = rest.partition("/")
        name = name.partition("@")[0]
        folder = self.modules / scope / name
        if scope == "@mediapipe" and name == "tasks-vision" and not inside.startswith(("wasm/", "own/")):
            own = "sonjit/tasks-vision.js" if self.is_sonjit else "@mediapipe/tasks-vision/own/vision_bundle.mjs"
            return TASKS.replace("{own}", f"/npm/{own}").encode(), TYPES["js"]
        is_solution = scope == "@mediapipe" and (name in SOLUTIONS or (self.is_sonjit and not folder.is_dir()))
        if is_solution and inside in ("", f"{name}.js"):
            file = DIST / f"{name}.global.js" if self.is_sonjit else folder / f"{name}.js"
            wrapped = f"\n;globalThis.probe?.solution(globalThis.{SOLUTIONS[name]});".encode()
            return file.read_bytes() + wrapped, TYPES["js"]
        if is_solution and self.is_sonjit:
            # Scripts load files relative to their own address, and one address is the package's name.
            return self._file(DIST / inside) or self._file(DIST / rest)
        if not inside and (folder / "package.json").is_file():
            main = json.loads((folder / "package.json").read_text(encoding="utf-8"))
            inside = main.get("jsdelivr") or main.get("unpkg") or main.get("main", "index.js")
        return self._file(folder / inside.removeprefix("own/"))

    def _detector_script(self, package: str) -> str:
        """Return the script of a package of TensorFlow.js models, whose detectors report to the probe."""
        name = DETECTORS[package]
        if self.is_sonjit:
            text = (DIST / "sonjit-web.global.js").read_text(encoding="utf-8")
            text = text.replace("document.currentScript.src", 'new URL("/npm/sonjit/", location.href).href')
        else:
            script = self.modules / "@tensorflow-models" / package / "dist" / f"{package}.min.js"
            text = script.read_text(encoding="utf-8")
        wrapped = f"{{...{name}, createDetector: probe.creator({name}.createDetector)}}"
        return f"{text}\n;globalThis.{name} = {wrapped};"

    def _file(self, file: Path) -> tuple[bytes, str] | None:
        if not file.is_file():
            return None
        body, ending = file.read_bytes(), file.suffix[1:].lower()
        if self.pages in file.parents and ending in ("html", "js", "mjs"):
            text = CDN.sub("/npm/", body.decode("utf-8", "replace"))
            text = MODEL.sub(r"/models/\1", CDNJS_P5.sub("/npm/p5/lib/", text))
            if ending == "html":
                first = f'<script src="/probe.js"></script><script type="importmap">{IMPORTS}</script>'
                text, count = re.subn(r"<head[^>]*>", lambda head: head[0] + first, text, count=1, flags=re.I)
                text = text if count else first + text
            body = text.encode()
        return body, TYPES.get(ending, "application/octet-stream")


@contextmanager
def open_browser(seconds: float) -> Iterator[webdriver.Chrome]:
    """Open headless Chromium with a limit for each page and script."""
    chromium = webdriver.ChromeOptions()
    chromium.binary_location = shutil.which("chromium") or ""
    chromium.page_load_strategy = "eager"
    chromium.unhandled_prompt_behavior = "accept"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            chromium.add_argument(flag)
        browser = webdriver.Chrome(options=chromium, service=webdriver.ChromeService(shutil.which("chromedriver")))
        browser.set_page_load_timeout(seconds)
        browser.set_script_timeout(seconds)
        cast(RemoteConnection, browser.command_executor).client_config.timeout = round(seconds) + 60
        try:
            yield browser
        finally:
            browser.quit()


def watch(browser: webdriver.Chrome, site: Site, path: str, click: str | None, seconds: float) -> dict[str, Any]:
    """Open a page until it has its results, and return the record of the probe."""
    try:
        browser.get(f"http://127.0.0.1:{site.server.server_port}/page/{path}")
        end, probe, pressed = monotonic() + seconds, {}, 0.0
        while monotonic() < end and probe.get("canvases") is None:
            sleep(1)
            if click and not probe.get("count") and monotonic() - pressed > AGAIN_S:
                browser.execute_script("document.querySelectorAll(arguments[0]).forEach((one) => one.click())", click)
                pressed = monotonic()
            probe = browser.execute_script("return globalThis.probe") or {}
        browser.get("about:blank")
    except (WebDriverException, HTTPError) as error:
        probe = {"count": 0, "errors": [str(error).splitlines()[0]]}
    finally:
        site.server.shutdown()
    return {**probe, "missing": sorted(set(site.missing))}


def instances(results: Any) -> dict[str, list[NDArray[np.float64]]]:
    """Return the points of each instance (K, 3) by the name of their list."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    for name, value in (results or {}).items():
        if name == "detections":
            boxes = [detection["boundingBox"] for detection in value]
            found[name] = [np.array([[box["originX"], box["originY"], 0]], np.float64) for box in boxes]
        elif isinstance(value, list):
            lists = [value] if is_points(value) else [points for points in value if is_points(points)]
            found[name] = [np.array([[p["x"], p["y"], p.get("z", 0)] for p in points], np.float64) for points in lists]
    # MediaPipe's pose package minifies the name of the world landmarks.
    for minified in ("za", "ea"):
        if minified in found:
            found["poseWorldLandmarks"] = found.pop(minified)
    return {name: value for name, value in found.items() if value}


def is_points(value: Any) -> bool:
    """Return whether a value is a list of landmarks."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "x" in value[0]


def scores(results: Any) -> dict[str, float]:
    """Return the scores of blendshapes and gestures by name."""
    lists = [*(results or {}).get("faceBlendshapes", []), *(results or {}).get("gestures", [])]
    named = [
        entry
        for classified in lists
        for entry in (classified["categories"] if isinstance(classified, dict) else classified)
    ]
    return {entry["categoryName"]: entry["score"] for entry in named}


def drawing_difference(ours: list[str], theirs: list[str]) -> float | None:
    """Return the largest share of a canvas that differs clearly, or None without a canvas to compare."""
    shares: list[float] = []
    for own, other in zip(ours or [], theirs or [], strict=False):
        first, second = (
            Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA") for url in (own, other)
        )
        if first.size != second.size:
            return 1.0
        gap = np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)).max(-1)
        shares.append(float((gap > CONTRAST).mean()))
    return max(shares, default=None)


def distance(
    found: dict[str, list[NDArray[np.float64]]],
    expected: dict[str, list[NDArray[np.float64]]],
    width: int,
    height: int,
) -> tuple[float, float]:
    """Return the largest mean distance of an instance in pixels, and that of world landmarks in metres."""
    pixels, metres = 0.0, 0.0
    for name, points in expected.items():
        is_world = "orld" in name or name == "keypoints3D"
        is_pixels = is_world or name in ("detections", "keypoints")
        scale = np.array([1, 1]) if is_pixels else np.array([width, height])
        for instance in points:
            others = [other for other in found.get(name, []) if instance.shape == other.shape]
            gaps = [np.linalg.norm((instance - other)[:, :2] * scale, axis=1).mean() for other in others]
            gap = float(min(gaps, default=np.inf))
            pixels, metres = (pixels, max(metres, gap)) if is_world else (max(pixels, gap), metres)
    return pixels, metres


def compare(ours: dict[str, Any], theirs: dict[str, Any], noisy: dict[str, Any]) -> dict[str, Any]:
    """Compare the records of a page.

    Args:
        ours: Record with Sonjit's module.
        theirs: Record with MediaPipe's packages.
        noisy: Record with MediaPipe's packages and image noise.
    """
    who = [name for name, run in (("Sonjit", ours), ("MediaPipe", theirs)) if run.get("last") is None]
    if who:
        return {"verdict": f"no result with {' and '.join(who)}"}
    width, height = theirs["size"]
    found, expected = instances(ours["last"]), instances(theirs["last"])
    own_counts, counts = ({name: len(value) for name, value in lists.items()} for lists in (found, expected))
    answer: dict[str, Any] = {"instances": counts, "size": [width, height]}
    if own_counts != counts:
        return {**answer, "verdict": "different count", "instances_sonjit": own_counts}
    pixels, metres = distance(found, expected, width, height)
    own_pixels, _ = distance(instances(theirs["before"]), expected, width, height)
    named, peers = scores(ours["last"]), scores(theirs["last"])
    answer |= {"keypoints_px": round(pixels, 3), "world_mm": round(metres * 1000, 2)}
    answer["jitter_px"] = round(own_pixels, 3) if np.isfinite(own_pixels) else None  # None with `--results 1`
    noise, _ = distance(instances(noisy.get("last")), expected, width, height)
    answer["noise_px"] = round(noise, 3) if np.isfinite(noise) else None
    if theirs.get("runtime"):
        answer |= {"runtime": theirs["runtime"], **compare_tensorflow_results(ours["last"], theirs["last"])}
    if peers:
        answer["scores"] = round(max(abs(named.get(name, 0) - score) for name, score in peers.items()), 3)
    drawing = drawing_difference(ours["canvases"], theirs["canvases"])
    answer["drawing_percent"] = None if drawing is None else round(100 * drawing, 2)
    errors = [list(dict.fromkeys(run.get("errors", [])))[:3] for run in (ours, theirs)]
    if any(errors):
        answer["errors_sonjit"], answer["errors_peer"] = errors
    lists = sorted(set(theirs["last"]) ^ set(ours["last"]))
    if lists:
        answer["fields_of_one"] = lists
    verdict = "same" if pixels <= NEAR_PX else "within noise" if pixels <= noise < np.inf else "different keypoints"
    return {**answer, "verdict": verdict}


def compare_tensorflow_results(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Compare the handedness and the names of the keypoints, and return whether the peer computed with 16 bits."""
    depths = np.array([point["z"] for points in theirs["keypoints3D"] for point in points])
    names = zip(chain.from_iterable(ours["names"]), chain.from_iterable(theirs["names"]), strict=True)
    return {
        "half_precision": bool(len(depths)) and bool((depths == depths.astype(np.float16)).all()),
        "handedness": "same" if ours["handedness"] == theirs["handedness"] else "different",
        "other_names": [pair for pair in dict.fromkeys(names) if pair[0] != pair[1]],
    }


def picture(path: Path, width: int, noise: int = 0) -> bytes:
    """Return an image of at most that width as PNG, with noise of so many levels."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((width, width))
    rgb = np.asarray(image.crop((0, 0, image.width & ~1, image.height & ~1)), np.int16)
    levels = rgb + np.random.default_rng(0).integers(-noise, noise + 1, rgb.shape)
    file = io.BytesIO()
    Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def run_sonjit(pages: list[dict[str, str]], args: argparse.Namespace) -> None:
    """Run pages with Sonjit's module in one browser, and save the compared result of each."""
    rows: list[dict[str, Any]] = []
    with open_browser(args.seconds) as browser:
        for page in pages:
            image = picture(args.inputs / page["input"], args.width)
            site = Site(args.pages.resolve(), args.npm, args.models, image, args.results, is_sonjit=True, keeps=True)
            run = watch(browser, site, page["path"], page.get("click"), args.seconds)
            kept = ("count", "runtime", "size", "errors", "missing", "last")
            rows.append({**page, "width": args.width, **{key: run.get(key) for key in kept}})
            Console().print_json(json.dumps({**rows[-1], "last": None}))
            if args.save:
                args.save.write_text(json.dumps(rows) + "\n", encoding="utf-8")


def compare_page(page: dict[str, str], args: argparse.Namespace) -> dict[str, Any]:
    """Run a page with MediaPipe's packages, with Sonjit's module, and with MediaPipe's and noise; compare them."""
    runs: list[dict[str, Any]] = []
    for is_sonjit, noise in ((False, 0), (True, 0), (False, 1)):
        if noise and (args.without_noise or any(run.get("last") is None for run in runs)):
            runs.append({})
            continue
        image = picture(args.inputs / page["input"], args.width, noise)
        site = Site(args.pages.resolve(), args.npm, args.models, image, args.results, is_sonjit=is_sonjit)
        with open_browser(args.seconds) as browser:
            runs.append(watch(browser, site, page["path"], page.get("click"), args.seconds))
    theirs, ours, noisy = runs
    row = {"page": page["path"], **compare(ours, theirs, noisy)}
    if row["verdict"].startswith("no result"):
        for name, run in (("sonjit", ours), ("peer", theirs)):
            row[name] = {key: run.get(key) for key in ("count", "errors", "missing")}
    return row


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--pages", type=Path, required=True, help="folder that contains a folder for each repository")
    parser.add_argument("--npm", type=Path, required=True, help="folder with node_modules of MediaPipe's packages")
    parser.add_argument("--inputs", type=Path, required=True, help="folder of the manifest's images")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), help="folder with .task and .tflite files for tasks-vision"
    )
    parser.add_argument("--only", help="run the pages whose path contains this")
    parser.add_argument("--results", type=int, default=5, help="number of the result that is compared")
    parser.add_argument("--seconds", type=float, default=60, help="time limit of each page")
    parser.add_argument("--width", type=int, default=640, help="width of the camera image")
    parser.add_argument(
        "--without-peer",
        action="store_true",
        help="run only Sonjit, with the runtime of the page, and save its results",
    )
    parser.add_argument("--without-noise", action="store_true", help="skip the third run")
    parser.add_argument("--save", type=Path, help="JSON file for the comparison")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    console = Console()
    pages = tomllib.loads(args.manifest.read_text(encoding="utf-8"))["page"]
    if args.only:
        pages = [page for page in pages if args.only in page["path"]]
    if args.without_peer:
        run_sonjit(pages, args)
        return
    rows: list[dict[str, Any]] = []
    for page in pages:
        row = compare_page(page, args)
        rows.append(row)
        console.print_json(json.dumps(row))
        if args.save:
            args.save.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
