"""Helpers for tests of the built `web/` module."""

import json
from pathlib import Path

import numpy as np
import pytest

import sonjit

from ..support.page_modules import page_modules  # noqa: TID252  # one build for all packages

PROJECT = Path(__file__).parents[2]
WEB = PROJECT / "web"
TYPES = {
    **dict.fromkeys((".js", ".mjs"), "text/javascript"),
    ".json": "application/json",
    ".wasm": "application/wasm",
    **dict.fromkeys((".gz", ".tflite", ".npz", ".binarypb", ".data"), "application/octet-stream"),
}
PARTS = ("body", "leftHand", "rightHand", "face")
TRACK = """
    const [kind, paths, options, call, files] = given;
    const isOwn = typeof files === "object"; // without files it is the callback of the driver
    const detector = isOwn ? await kit.LocalDetector.create(kind, options, files) : await shared(kind, options);
    const all = [];
    for (const [i, path] of paths.entries()) {
        const {width, height, total, complete, ...lists} = await detector[call](await pixels(path), {time: i / 30});
        all.push(...Object.values(lists));
    }
    if (isOwn) detector.close();
    return all;
"""


def put_on(site, module):
    for name, path in module.items():
        if f"/web/{name}" not in site.files:
            site.files[f"/web/{name}"] = (TYPES[path.suffix], path.read_bytes())


def put_page_modules_on(site):
    """Put the modules of the page on a site, as `/page/NAME.js`."""
    folder = page_modules()
    for path in folder.rglob("*.js"):
        site.files[f"/{path.relative_to(folder).as_posix()}"] = (TYPES[".js"], path.read_bytes())


TASKS_VISION = ("@mediapipe/tasks-vision", "tasks-vision-1")  # 0.10.21 and 1.1.0


def put_theirs(site, name):
    """Put a package of MediaPipe on a site, or skip the test, and return the address of its folder."""
    package = WEB / "node_modules" / name
    if not package.is_dir():
        pytest.skip(f"{name} is not installed: npm has no network, or type: make web")
    for path in package.rglob("*"):
        if path.suffix in TYPES:
            site.files[f"/theirs/{path.relative_to(package.parent).as_posix()}"] = TYPES[path.suffix], path.read_bytes()
    return f"/theirs/{package.name}"


def in_python(kind, frames, options, call="track"):
    """Return what Python finds in the frames of a stream, 30 a second, or in stills."""
    with sonjit.create_detector(kind, static_image=call == "detect", **{"precision": "f32", **options}) as detector:
        return [detector.detect(rgb, time=i / 30) for i, rgb in enumerate(frames)]


def golden_of(data, name):
    """Return the path and the content of a golden of MediaPipe, or skip the test."""
    file = data / "goldens" / "mediapipe" / f"{name}.json"
    if not file.is_file():
        pytest.skip(f"no {file.name} in {data}")
    return file, json.loads(file.read_text("utf-8"))


def offsets(found, frames):
    """Check the number of instances of each frame, and return their distances in pixels from those of a golden."""
    assert [len(instances) for instances in found] == [len(frame["instances"]) for frame in frames]
    pairs = zip(found, frames, strict=True)
    return [px for ours, frame in pairs for px in distances(ours, [one["keypoints"] for one in frame["instances"]])]


def distances(found, keypoints):
    """Return for each of some keypoints (K, 2 or more) the mean distance in pixels to the nearest found ones."""
    ours = [np.array([[point["x"], point["y"]] for point in hand["keypoints"]]) for hand in found]
    return [min(np.linalg.norm(one - np.array(k)[:, :2], axis=1).mean() for one in ours) for k in keypoints]
