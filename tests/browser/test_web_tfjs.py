"""`web/` in pages and packages for tfjs-models."""

import shutil
import subprocess

import numpy as np
import pytest

import sonjit

from .conftest import hosted, open_kit, run
from .web_module import PROJECT, WEB, distances, put_on

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_page_of_tfjs(web_page, show, photo):
    """The documented call works. `flipHorizontal` and `staticImageMode` apply to all images, which are stills."""
    config = {"runtime": "tfjs", "modelType": "full", "maxHands": 2, "flipHorizontal": True, "staticImageMode": True}
    found = run(web_page, "return once(kit.SupportedModels.MediaPipeHands, given[1], await pixels(given[0]))",
                show(photo), config)  # fmt: skip
    pixels = np.ascontiguousarray(photo[:, ::-1])
    with sonjit.create_detector("hands", static_image=True, mirrored=True, precision="f32") as detector:
        expected = [hand.to_dict() for hand in detector.detect(pixels)]
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert ours["handedness"] == theirs["handedness"]
        assert distances([ours], [[[p["x"], p["y"]] for p in theirs["keypoints"]]])[0] < 0.1


DEMO = """<!doctype html><title>demo</title><link rel="icon" href="data:,">
<video id="video" src="/clip.mp4" muted></video><canvas id="output"></canvas>
<script type="module">
import * as handPoseDetection from "/web/sonjit-web.js";
import * as faceLandmarksDetection from "/web/sonjit-web.js";
import * as poseDetection from "/web/sonjit-web.js";

const video = document.getElementById("video");
const output = document.getElementById("output");
const ctx = output.getContext("2d");

async function createDetectors() {
  const hands = await handPoseDetection.createDetector(handPoseDetection.SupportedModels.MediaPipeHands, {
    runtime: "mediapipe",
    modelType: "lite",
    maxHands: 2,
    solutionPath: "https://cdn.jsdelivr.net/npm/@mediapipe/hands",
  });
  const faces = await faceLandmarksDetection.createDetector(
    faceLandmarksDetection.SupportedModels.MediaPipeFaceMesh,
    { runtime: "tfjs", refineLandmarks: true, maxFaces: 1 },
  );
  const poses = await poseDetection.createDetector(poseDetection.SupportedModels.BlazePose, {
    runtime: "tfjs",
    enableSmoothing: true,
    modelType: "lite",
  });
  return { hands, faces, poses };
}

function drawPath(points, pairs) {
  for (const [i, j] of pairs) {
    ctx.beginPath();
    ctx.moveTo(points[i].x, points[i].y);
    ctx.lineTo(points[j].x, points[j].y);
    ctx.stroke();
  }
  return pairs.length;
}

async function renderResult(detectors) {
  if (video.readyState < 2) {
    await new Promise((resolve) => { video.onloadeddata = () => resolve(video); });
  }
  [output.width, output.height] = [video.videoWidth, video.videoHeight];
  ctx.drawImage(video, 0, 0, video.videoWidth, video.videoHeight);
  const hands = await detectors.hands.estimateHands(video, { flipHorizontal: false });
  const faces = await detectors.faces.estimateFaces(video, { flipHorizontal: false });
  const poses = await detectors.poses.estimatePoses(video, { maxPoses: 1, flipHorizontal: false });
  const pairs = poseDetection.util.getAdjacentPairs(poseDetection.SupportedModels.BlazePose);
  const lines = poses.map((pose) => drawPath(pose.keypoints, pairs));
  const lips = faceLandmarksDetection.util.getKeypointIndexByContour(
    faceLandmarksDetection.SupportedModels.MediaPipeFaceMesh).lips;
  return { hands, faces, poses, lines, lips: lips.length };
}

try {
  const detectors = await createDetectors();
  globalThis.demo = await renderResult(detectors);
  for (const detector of Object.values(detectors)) detector.dispose();
} catch (error) {
  globalThis.demo = { error: String(error) };
}
</script>"""


def test_a_demo_of_tfjs_runs_with_its_imports_changed(browser, site, module, all_networks, demo_clip):
    """The page is like tfjs-models' demo of hands, faces and poses, with the bundled clip as its video."""
    put_on(site, module)
    site.files |= {
        "/demo": ("text/html", DEMO.encode()),
        "/clip.mp4": ("video/mp4", (PROJECT / "src" / "sonjit" / "_util" / "assets" / "demo.mp4").read_bytes()),
    }
    browser.expected.append("solutionPath")
    browser.get(f"{site.url}/demo")
    demo = run(browser, "while (!globalThis.demo) await new Promise((next) => setTimeout(next, 50)); return demo")
    assert "error" not in demo, demo
    with sonjit.create_detector("hands", model="lite", search="fast", smoothing="published") as detector:
        assert len(demo["hands"]) == len(detector.detect(demo_clip[1][0])) > 0
    for hand in demo["hands"]:
        assert {"keypoints", "keypoints3D", "handedness", "score"} <= hand.keys()
        assert {"x", "y", "name"} <= hand["keypoints"][0].keys()
    assert demo["lips"] > 10
    assert demo["faces"] == []  # the clip shows only hands
    assert demo["lines"] == [35] * len(demo["poses"])


SCRIPT_PAGE = """<!doctype html><title>script</title><link rel="icon" href="data:,">
<script src="/web/sonjit-web.global.js"></script>
<script>
(async () => {
  const image = Object.assign(new Image(), {src: "/photo.png"});
  await image.decode();
  const detector = await handPoseDetection.createDetector(handPoseDetection.SupportedModels.MediaPipeHands, {
    runtime: "tfjs", maxHands: 1, scoreThreshold: 0.5,
  });
  const [hand] = await detector.estimateHands(image, {enableSmoothing: true});
  detector.dispose();
  const {left} = poseDetection.util.getKeypointIndexBySide("BlazePose");
  const kits = [faceLandmarksDetection, faceDetection].map(({createDetector}) => typeof createDetector);
  globalThis.found = {hand, left: left.length, kits, leaks: "sonjitExports" in globalThis};
})().catch((error) => { globalThis.found = {error: String(error)}; });
</script>"""


def test_a_page_of_tfjs_that_loads_scripts(browser, site, module, show, photo):
    """The script defines the globals of tfjs-models' packages, which also ignore options of other models."""
    put_on(site, module)
    site.files |= {"/page": ("text/html", SCRIPT_PAGE.encode()), "/photo.png": site.files[show(photo)]}
    browser.expected += ["scoreThreshold", "enableSmoothing"]
    browser.get(f"{site.url}/page")
    found = run(browser, "while (!globalThis.found) await new Promise((next) => setTimeout(next, 50)); return found")
    assert "error" not in found, found
    assert len(found["hand"]["keypoints"]) == 21
    assert found["left"] == 16
    assert found["kits"] == ["function", "function"]
    assert not found["leaks"]


def test_the_package_is_installed_by_npm_and_its_files_come_from_another_site(
    browser, site, module, show, photo, tmp_path
):
    """A bundled script imports and requires it. A page imports it from a CDN that allows all origins, on threads."""
    package, app = tmp_path / "package", tmp_path / "app"
    (package / "dist").mkdir(parents=True)
    app.mkdir()
    shutil.copy(WEB / "package.json", package)
    shutil.copy(module["sonjit-web.js"], package / "dist")
    (app / "package.json").write_text("{}")
    (app / "app.js").write_text('export * from "sonjit-web"; export const required = require("sonjit-web");')
    subprocess.run(["npm", "pack", "--ignore-scripts", "--silent"], cwd=package, check=True)
    (packed,) = package.glob("*.tgz")
    subprocess.run(["npm", "install", "--offline", "--silent", "--no-audit", packed], cwd=app, check=True)
    esbuild = [WEB / "node_modules/.bin/esbuild", "app.js", "--bundle", "--format=esm", "--log-level=error"]
    bundle = subprocess.run(esbuild, cwd=app, check=True, stdout=subprocess.PIPE)
    isolated = [("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Embedder-Policy", "require-corp")]
    for_all = [("Access-Control-Allow-Origin", "*"), ("Cross-Origin-Resource-Policy", "cross-origin")]
    with hosted(isolated) as own, hosted([*isolated, *for_all]) as cdn:
        put_on(cdn, module)
        own.files |= {"/app.js": ("text/javascript", bundle.stdout), "/photo.png": site.files[show(photo)]}
        base, model = f"{cdn.url}/web/", "MediaPipeHands"
        page = open_kit(browser, own, {"bundled": "/app.js"})
        installed, direct, required, threads = run(page, """
            const [path, base, model] = given;
            const image = await pixels(path);
            const installed = await once(model, {base}, image, {staticImageMode: true});
            const direct = await (await import(`${base}sonjit-web.js`)).createDetector(model);
            const found = await direct.estimateHands(image, {staticImageMode: true});
            direct.dispose();
            return [installed, found, Object.keys(kit.required), crossOriginIsolated];
        """, "photo.png", base, model)  # fmt: skip
    assert threads
    assert installed == direct != []
    assert {"createDetector", "SupportedModels", "LocalDetector"} <= set(required)
