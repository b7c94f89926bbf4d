"""Measure time and error of triangulation and calibration for large rigs, and size and delay of automatic labels.

.venv/bin/python benchmarks/multiview.py triangulate --cameras 80 --frames 1000 --outliers 0.1
.venv/bin/python benchmarks/multiview.py calibrate --cameras 12 --frames 40
.venv/bin/python benchmarks/multiview.py labels --cameras 80 --frames 1000
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import align_rigidly
from sonjit.lab.synthesis.drawable import Lighting
from sonjit.lab.synthesis.objects import RenderedBoard
from sonjit.lab.synthesis.renderer import Renderer
from sonjit.lab.synthesis.scenes import camera_rig
from sonjit.studio.annotation.mark_store import AnnotationStore
from sonjit.studio.annotation.project import Project
from sonjit.studio.automatic.run_folder import CURRENT, FOLDER, LABELS, SETTINGS, Labels, machine_marks
from sonjit.studio.calibration.board import target_from_text
from sonjit.studio.calibration.calibrate import calibrate
from sonjit.studio.calibration.observations import BoardObservation, BoardObservations
from sonjit.studio.calibration.report import planar_ambiguity
from sonjit.studio.cameras.rig import CameraRig, RigCamera
from sonjit.studio.triangulation.triangulation import triangulate


def dome(cameras, rng, lens=None):
    """Return a rig of cameras on a sphere of radius 1 m, directed at its centre."""
    out = rng.normal(size=(cameras, 3))
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    made = []
    for i, centre in enumerate(out):
        ahead = -centre
        right = np.cross(rng.normal(size=3), ahead)
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(ahead, right), ahead])
        K = np.array([[1270, 0, 256], [0, 1270, 167], [0, 0, 1.0]])
        made.append(RigCamera(f"cam{i}", 512, 334, CalibratedCamera(K, R, -R @ centre, lens)))
    return CameraRig(made)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    triangulation = commands.add_parser("triangulate")
    triangulation.set_defaults(run=measure_triangulation)
    for name, default in (("cameras", 80), ("frames", 1000), ("joints", 42)):
        triangulation.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("outliers", 0.1), ("noise", 1.0), ("hidden", 0.2)):
        triangulation.add_argument(f"--{name}", type=float, default=default)
    triangulation.add_argument("--lens", action="store_true", help="cameras with distortion")
    other = commands.add_parser("calibrate")
    other.set_defaults(run=measure_calibration)
    for name, default in (("cameras", 12), ("frames", 40), ("width", 960)):
        other.add_argument(f"--{name}", type=int, default=default)
    other.add_argument("--noise", type=float, default=3.0, help="grey levels")
    other.add_argument("--board", default="charuco:9x7:24mm:17mm:4x4_50")
    third = commands.add_parser("labels")
    third.set_defaults(run=measure_labels)
    for name, default in (("cameras", 80), ("frames", 1000), ("asked", 60)):
        third.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    options.run(options)


def see_boards(rig, board, frames, middle, noise):
    """Return observations of a rendered board that is shown to cameras of a rig, and the number of images."""
    image = np.repeat(np.where(board.draw(64, 64) > 127, 245, 12).astype(np.uint8)[..., None], 3, -1)
    edge = board.square_m
    extent = (board.columns * edge + 2 * edge, board.rows * edge + 2 * edge)
    drawn = RenderedBoard(image, extent, board.points_m + np.array([edge, edge, 0]))
    light = Lighting((), (0.9, 0.9, 0.9))
    rng, found, images = np.random.default_rng(0), [], 0
    with Renderer() as renderer:
        for frame in range(frames):
            towards = rig.centres_m[rng.integers(len(rig))] - middle + rng.normal(0, 0.25, 3)
            ahead = -towards / np.linalg.norm(towards)
            right = np.cross(rng.normal(size=3), ahead)
            right /= np.linalg.norm(right)
            R = np.stack([right, np.cross(ahead, right), ahead], 1)
            t = middle + rng.uniform(-0.07, 0.07, 3) - R @ drawn.corners.mean(0)
            for view in rig:
                away = drawn.placed(R, t).mean(0) - view.centre_m
                if away @ ahead < 0.45 * np.linalg.norm(away):
                    continue
                size = view.width, view.height
                behind = np.full((view.height, view.width, 3), 120, np.uint8)
                rgb = renderer.render([drawn.drawable(R, t)], view.camera, size, light, behind).rgb
                gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) + rng.normal(0, noise, rgb.shape[:2])
                points, pixels = board.find(np.clip(gray, 0, 255).round().astype(np.uint8))
                images += 1
                if len(points) >= 6:
                    found.append(BoardObservation(board, view.name, frame, points, pixels))
    return BoardObservations(tuple(found), {view.name: (view.width, view.height) for view in rig}), images


def measure_labels(options):
    """Write random labels in chunks of 20 frame sets, then read and project those of random frame sets."""
    rng, written, size = np.random.default_rng(0), 0.0, 0
    rig = dome(options.cameras, rng)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / FOLDER / "run"
        run.mkdir(parents=True)
        (run / SETTINGS).write_text(json.dumps({"views": rig.names}))
        (run.parent / CURRENT).write_text(json.dumps({"run": run.name}))
        for first in range(0, options.frames, 20):
            frames = np.arange(first, min(first + 20, options.frames))
            shape = (len(frames), 2, 21)
            labels = Labels(
                frames, rng.normal(0, 0.03, (*shape, 3)), rng.normal(0, 1e-6, (*shape, 3, 3)), np.ones(shape, int),
                rng.integers(2, len(rig), shape), rng.random(shape),
                rng.random((len(frames), len(rig), 2, 21)) < 0.8, rng.random(shape[:2]),
            )  # fmt: skip
            began = time.process_time()
            size += labels.save(run / LABELS).stat().st_size
            written += time.process_time() - began
        began = time.perf_counter()
        views = {"one": SimpleNamespace(numbers=tuple(range(options.frames)), close=lambda: None)}
        project = Project(Path(folder), "labels", rig, views, AnnotationStore(Path(folder) / "annotations.sqlite"))
        machine_marks(project, 0)
        opened = time.perf_counter() - began
        walls, used = [], []
        for frame in rng.integers(0, options.frames, options.asked).tolist():
            began, before = time.perf_counter(), time.thread_time()
            machine_marks(project, frame)
            walls.append(time.perf_counter() - began)
            used.append(time.thread_time() - before)
        project.close()
    found = {
        "megabytes": round(size / 1e6, 2),
        "written_processor_s": round(written, 2),
        "opened_with_the_first_ms": round(1e3 * opened, 1),
    }
    for name, seconds in (("wall", walls), ("processor", used)):
        median, p95 = (1e3 * np.percentile(seconds, [50, 95])).round(1).tolist()
        found[f"marks_{name}_ms"] = {"median": median, "p95": p95}
    print(json.dumps(found))


def measure_calibration(options):
    """Calibrate a dome of cameras from a rendered board that is turned in all directions."""
    board = target_from_text(options.board)
    size = options.width, options.width * 3 // 4
    lens = np.array([-0.12, 0.04, 4e-4, -5e-4, 0.0])
    middle = np.array([0, 0, 0.7])
    rig = CameraRig(
        RigCamera(f"cam{n}", *size, CalibratedCamera(camera.K, camera.R, camera.t, lens * (0.8 + 0.04 * n)))
        for n, camera in enumerate(camera_rig("dome", options.cameras, size, 55, middle))
    )
    start = time.perf_counter()
    found, images = see_boards(rig, board, options.frames, middle, options.noise)
    drawn_s, start = time.perf_counter() - start, time.perf_counter()
    calibration = calibrate(found)
    seconds = time.perf_counter() - start
    R, t = align_rigidly(calibration.rig.centres_m, rig.centres_m)
    aligned_rig = calibration.rig.moved(R, t)
    distances = [np.linalg.norm(camera.centres_m[:, None] - camera.centres_m, axis=2) for camera in (aligned_rig, rig)]
    points = middle + np.random.default_rng(1).normal(0, 0.07, (500, 3))
    triangulated_m = triangulate(calibration.rig, rig.project(points)).points_m
    R, t = align_rigidly(triangulated_m, points)
    scale = np.linalg.norm(triangulated_m - triangulated_m.mean(0)) / np.linalg.norm(points - points.mean(0)) - 1
    print(
        json.dumps(
            {
                "images": images,
                "observations": len(found.found),
                "render_and_find_s": round(drawn_s, 1),
                "calibrate_s": round(seconds, 1),
                "rms_px": round(calibration.rms_px, 4),
                "scale_of_rig_percent": round(
                    100 * ((distances[0] * distances[1]).sum() / (distances[1] ** 2).sum() - 1), 4
                ),
                "scale_of_points_percent": round(100 * scale, 4),
                "centres_max_mm": round(1000 * np.linalg.norm(aligned_rig.centres_m - rig.centres_m, axis=1).max(), 3),
                "points_mean_mm": round(1000 * np.linalg.norm(triangulated_m @ R.T + t - points, axis=1).mean(), 4),
                "two_solutions": str(planar_ambiguity(calibration)),
            }
        )
    )


def measure_triangulation(options):
    """Triangulate random points in front of a dome of cameras, with noise, gaps and outliers."""
    rng = np.random.default_rng(0)
    rig = dome(options.cameras, rng, np.array([-0.2, 0.05, 5e-4, -5e-4, 0.0]) if options.lens else None)
    truth = rng.normal(0, 0.05, (options.frames, options.joints, 3))
    points = rig.project(truth)
    points += rng.normal(0, options.noise, points.shape)
    shape = points.shape[:-1]
    wrong = rng.random(shape) < options.outliers
    points[wrong] = rng.uniform(0, 400, (int(wrong.sum()), 2))
    valid = rng.random(shape) >= options.hidden
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for method in ("dlt", "ransac"):
        start, busy = time.perf_counter(), time.process_time()
        found = triangulate(rig, points, valid, method=method)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        error = np.linalg.norm(found.points_m - truth, axis=-1) * 1000
        print(
            json.dumps(
                {
                    "method": method,
                    "seconds": round(seconds, 2),
                    "processor_s": round(busy, 2),
                    "mean_error_mm": round(float(np.nanmean(error)), 4),
                    "max_error_mm": round(float(np.nanmax(error)), 4),
                    "ok": float(found.ok.mean()),
                    "true_inliers_kept": float(found.inlier[valid & ~wrong].mean()),
                    "outliers_left": float(found.inlier[valid & wrong].mean()) if options.outliers else 0,
                    "peak_added_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024,
                }
            )
        )


if __name__ == "__main__":
    main()
