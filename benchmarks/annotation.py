"""Measure the annotation page in Chromium: time to the next frame, and error of joints from noisy marks."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from browser import chromium, serve
from sonjit._util.errors import InputError, SonjitError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.results.skeletons import load_skeleton
from sonjit.studio.annotation.marks import JOINTS
from sonjit.studio.annotation.project import create_project
from sonjit.studio.cameras.rig import CameraRig, RigCamera

SIZE = (4096, 2668)  # InterHand2.6M's cameras
FOCAL_PX = 3500
IMAGES = 10  # different images per camera
# Returns the time until all views and marks of a frame are displayed.
TURN = """
const [action, given, done] = arguments;
const {studio, wall} = sonjitAnnotation;
const start = performance.now();
const from = studio.state.frame;
action === "goTo" ? studio.goTo(given) : studio.step(given);
const look = () => {
    const isThere = studio.state.frame !== from && wall.turnMs >= 0 && studio.state.seen.frame === studio.state.frame;
    if (isThere) requestAnimationFrame(() => done(performance.now() - start));
    else setTimeout(look, 1);
};
look();
"""
# Places the marks of a frame and returns the joints that the server triangulates.
MARK = """
const [frame, marks, done] = arguments;
const {studio} = sonjitAnnotation;
(async () => {
    await studio.goTo(frame);
    for (const [view, joint, x, y] of marks) studio.mark(view, joint, x, y);
    const look = () => {
        const {unsent, seen} = studio.state;
        if (unsent || seen.frame !== frame) setTimeout(look, 2);
        else done(seen.points_m);
    };
    look();
})();
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--views", type=int, default=6)
    parser.add_argument("--noise-px", type=float, default=1.5)
    parser.add_argument(
        "--think-s", type=float, default=1.0, help="seconds between frames, while the next ones are fetched"
    )
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--video", action="store_true", help="use videos instead of folders of JPEG files")
    parser.add_argument("--save", type=Path, help="JSON file for the results")
    parser.add_argument("--screenshot", type=Path, help="image (.png) of the page with the last frame marked")
    options = parser.parse_args()
    if options.frames < options.turns + 2 or options.views < 2:
        raise InputError("at least 2 views, and more frames than turns, are required")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rig, truth = dome(options.views), moving_hands(options.frames)
        views = (
            write_videos(folder, rig, options.frames) if options.video else write_images(folder, rig, options.frames)
        )
        create_project(folder / "project", rig, views).close()
        _, url = serve(stack, folder, "annotate", "open", str(folder / "project"))
        driver = browse(stack, folder, f"{url}annotate/")
        result = {"turns": turns(driver, options), "accuracy": accuracy(driver, rig, truth, options)}
        if options.screenshot:
            driver.save_screenshot(str(options.screenshot))
    kind = "videos" if options.video else "JPEG files"
    result |= {"views": options.views, "size": SIZE, "kind": kind, "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    show(result)


def dome(count):
    """Return cameras on a half sphere of radius 1 m, directed at its centre."""
    cameras = []
    for number in range(count):
        turn, rise = 2.4 * number, 0.25 + 0.7 * number / count
        ahead = -np.array([np.cos(turn) * np.cos(rise), -np.sin(rise), np.sin(turn) * np.cos(rise)])
        right = np.cross((0, 1.0, 0), ahead)
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(ahead, right), ahead])
        K = np.array([[FOCAL_PX, 0, SIZE[0] / 2], [0, FOCAL_PX, SIZE[1] / 2], [0, 0, 1.0]])
        cameras.append(RigCamera(f"cam{number:02}", *SIZE, CalibratedCamera(K, R, R @ ahead)))
    return CameraRig(cameras)


def moving_hands(frames):
    """Return joints (frames, 42, 3) in metres of two hands that open, close and move around the origin."""
    skeleton = load_skeleton("hand_mediapipe21")
    steps = np.array([0, *(0.035, 0.04, 0.035, 0.028), *(0.088, 0.045, 0.026, 0.02) * 4])
    points = np.zeros((frames, JOINTS, 3))
    for number, frame in enumerate(points):
        for side in range(2):
            frame[21 * side] = (0.09 * (2 * side - 1), 0.06 + 0.02 * np.sin(0.1 * number), 0.02 * np.cos(0.13 * number))
            for k in range(1, 21):
                finger, joint = divmod(k - 1, 4)
                turn = (0.9, 0.3, 0.05, -0.2, -0.45)[finger] * (1 - 2 * side)
                bend = joint * (0.35 + 0.3 * np.sin(0.2 * number + finger))
                way = np.array([np.sin(turn), -np.cos(turn) * np.cos(bend), np.cos(turn) * np.sin(bend)])
                frame[21 * side + k] = frame[21 * side + skeleton.parents[k]] + steps[k] * way
    return points


def images(camera, number):
    """Return an image of a camera: soft colours with grain, as expensive to decode as a photograph."""
    rng = np.random.default_rng(int(camera.name[3:]) * 100 + number)
    soft = cv2.resize(rng.integers(40, 200, (9, 14, 3), np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 4, (SIZE[1] // 2, SIZE[0] // 2, 1)).astype(np.float32)
    return np.clip(soft + cv2.resize(grain, SIZE)[..., None], 0, 255).astype(np.uint8)


def write_images(folder, rig, frames):
    for camera in rig:
        images_folder = folder / "views" / camera.name
        images_folder.mkdir(parents=True)
        for number in range(IMAGES):
            cv2.imwrite(str(images_folder / f"{number:04}.jpg"), images(camera, number), [cv2.IMWRITE_JPEG_QUALITY, 92])
        for number in range(IMAGES, frames):
            (images_folder / f"{number:04}.jpg").hardlink_to(images_folder / f"{number % IMAGES:04}.jpg")
    return {camera.name: folder / "views" / camera.name for camera in rig}


def write_videos(folder, rig, frames):
    import av

    (folder / "views").mkdir()
    for camera in rig:
        with av.open(str(folder / "views" / f"{camera.name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "23"})
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            images_of_clip = [av.VideoFrame.from_ndarray(images(camera, number)) for number in range(4)]
            for number in range(frames):
                frame = images_of_clip[number % 4]
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return {camera.name: folder / "views" / f"{camera.name}.mp4" for camera in rig}


def browse(stack, folder, url):
    """Open the page in Chromium and start to annotate."""
    driver = chromium(stack, folder, "--window-size=1600,1000")
    driver.set_script_timeout(120)
    driver.get(url)
    end = monotonic() + 60
    while not driver.execute_script("return document.documentElement.dataset.ready"):
        if monotonic() > end:
            raise InputError("the page did not load")
        sleep(0.1)
    driver.find_element("id", "annotator").send_keys("benchmark")
    driver.find_element("id", "begin").click()
    while not driver.execute_script("return sonjitAnnotation.wall.turnMs >= 0"):
        sleep(0.1)
    return driver


def turns(driver, options):
    """Return the times in milliseconds until the next frame, or a distant frame without prefetch, is displayed."""
    near, far = [], []
    for _ in range(options.turns):
        sleep(options.think_s)
        near.append(driver.execute_async_script(TURN, "step", 1))
    for number in range(5):
        sleep(options.think_s)
        far.append(driver.execute_async_script(TURN, "goTo", options.frames - 2 - 7 * number))
    return {"next_ms": near, "jump_ms": far}


def accuracy(driver, rig, truth, options):
    """Return the errors in millimetres of joints that are triangulated from noisy marks."""
    rng = np.random.default_rng(0)
    errors, start = [], monotonic()
    shown = driver.execute_script("return sonjitAnnotation.studio.state.shown")
    for number, joints in enumerate(truth):
        noisy = rig.project(joints) + rng.normal(0, options.noise_px, (len(rig), JOINTS, 2))
        marks = [
            [camera.name, k, *noisy[c, k].tolist()]
            for c, camera in enumerate(rig)
            for k in range(JOINTS)
            if camera.name in shown and camera.inside(noisy[c, k])
        ]
        points = driver.execute_async_script(MARK, number, marks)
        errors.append(1e3 * np.linalg.norm(np.array(points, np.float64) - joints, axis=1))
    flat = np.concatenate(errors)
    return {
        "frames": len(truth),
        "views": len(shown),
        "noise_px": options.noise_px,
        "mean_mm": float(flat.mean()),
        "median_mm": float(np.median(flat)),
        "p95_mm": float(np.percentile(flat, 95)),
        "seconds": monotonic() - start,
    }


def show(result):
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("what", "median", "95 %", "worst"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, words in (("next_ms", "next frame, ms"), ("jump_ms", "distant frame, ms")):
        values = sorted(result["turns"][name])
        table.add_row(
            words, *(f"{value:.0f}" for value in (statistics.median(values), np.percentile(values, 95), values[-1]))
        )
    console = Console()
    machine = f"{result['cpus']} cores, load {result['load']:.2f}"
    console.print(f"{result['views']} views of {SIZE[0]} x {SIZE[1]} ({result['kind']}), {machine}")
    console.print(table)
    joints = result["accuracy"]
    console.print(
        f"{joints['frames']} frames marked in {joints['views']} views with {joints['noise_px']:g} px of noise: mean "
        f"error {joints['mean_mm']:.2f} mm, median {joints['median_mm']:.2f}, 95 % {joints['p95_mm']:.2f}; "
        f"{joints['seconds']:.0f} s"
    )


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"annotation.py: {error}")
