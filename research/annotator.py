"""Measure the automatic annotator on synthetic hands, before and after a simulated person has marked frame sets.

.venv/bin/python research/annotator.py /tmp/annotator --jobs 2
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import align_rigidly
from sonjit_lab.synthesis.drawables import Drawable, Lighting, Material
from sonjit_lab.synthesis.renderer import Renderer
from sonjit_studio import run_folder, views
from sonjit_studio.annotator import AnnotatorSettings, annotate
from sonjit_studio.boards import BoardObservation, BoardObservations, target_from_text
from sonjit_studio.calibration import calibrate
from sonjit_studio.learning import fit_project_offsets, human_frames, train_network
from sonjit_studio.marks import Mark
from sonjit_studio.project import create_project
from sonjit_studio.rig import CameraRig, RigCamera

SEQUENCES = (
    "ROM01_2H_open_close,ROM05_2H_rub_palms,ROM07_2H_count_on_fingers,ROM11_2H_spider,ROM12_2H_occlude_right,"
    "ROM15_2H_big_small,ROM06_2H_fist_in_palm,ROM16_2H_explain"
)
STUDIO = (
    "texture=1 distance=0.7 view_deg=42 yaw_deg=0 pitch_deg=0 roll_deg=0 glove=none rings=0 tattoo=0 "
    "motion_blur=0 defocus=0 backdrop_blur=0 low_light=0 infrared=false exposure=0 cut=0 background=plain sleeve=shirt "
    "noise=0.1 compression=0.1 shape_sd=0.7 light=1 white_balance=0 warmth=0"
)
SIZE, FPS, NOISE_PX, HUMAN_VIEWS = (512, 334), 5, 1.5, 6
BOARD, BOARD_NOISE = "charuco:6x5:40mm:30mm:4x4_50", 3.0
BOARD_MIDDLE_M = np.array([0.16, 0.14, 0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder for all files")
    parser.add_argument("--synth", type=Path, nargs="*", help="existing folders of sonjit synth")
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--count", type=int, default=8, help="number of sequences of about four seconds")
    parser.add_argument("--human", type=int, default=30, help="frame sets that the simulated person marks")
    parser.add_argument("--person", type=int, default=11)
    parser.add_argument("--tone", type=int, default=4, help="skin tone, 1 to 10")
    parser.add_argument("--seed", type=int, default=3, help="seed of the synthetic hands")
    parser.add_argument("--boards", type=int, default=80, help="frame sets of a synthetic board; 0 for exact cameras")
    parser.add_argument("--steps", type=int, default=300, help="fine-tuning steps of the hand network; 0 for none")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    start = time.perf_counter()
    folders = options.synth or [render(options)]
    print_step("rendered", seconds=round(time.perf_counter() - start, 1))
    project, rig, truth = make_project(options.folder, folders, options.boards)
    print_step("project", views=len(project.views), frame_sets=len(project.frames), seconds=len(project.frames) / FPS)
    run(project, truth, options.jobs, "before")
    spread = np.array(project.frames)[:: max(1, len(project.frames) // (options.human // 2))][: options.human // 2]
    mark(project, rig, truth, spread.tolist())
    ranked = [frame for frame, _ in sorted(project.store.review_priorities().items(), key=lambda item: -item[1].score)]
    mark(project, rig, truth, [frame for frame in ranked if frame not in spread][: options.human - len(spread)])
    fit_project_offsets(project)
    run(project, truth, options.jobs, "after")
    if options.steps:
        start = time.perf_counter()
        network, results = train_network(project, "hand-full", {"steps": str(options.steps)})
        px = {name: round(float(results[name]), 2) for name in ("error_before_px", "error_px")}
        print_step("network", seconds=round(time.perf_counter() - start, 1), hands=results["hands"], **px)
        run(project, truth, options.jobs, "with the network", str(network))
        fit_project_offsets(project)
        run(project, truth, options.jobs, "with the network, offsets fitted", str(network))
    project.close()


def render(options):
    out = options.folder / "synth"
    person = [f"person={options.person}", f"tone={options.tone}"]
    arguments = [part for pair in [*STUDIO.split(), *person] for part in ("--set", pair)]
    rig = ["--rig", "dome", "--views", str(options.views), "--size", "512x334", "--fps", str(FPS)]
    count, seed = str(options.count), str(options.seed)
    moves = ["--format", "interhand", "--sequence", SEQUENCES, "--count", count, "--seed", seed]
    command = [sys.executable, "-m", "sonjit", "synth", str(out), *rig, *moves, *arguments, "--jobs", str(options.jobs)]
    subprocess.run(command, check=True)
    return out


def make_project(folder, folders, boards):
    """Return a project of all sequences, the true rig, and the joints (2, 21, 3) of each frame set.

    Each sequence has a range of 1,000 frame numbers. With boards, the rig of the project is calibrated, and the true
    rig and joints are moved into its world frame.
    """
    cameras, truth = {}, {}
    for number, file in enumerate(file for folder in folders for file in sorted((folder / "truth").glob("*.jsonl"))):
        for record in map(json.loads, file.open()):
            camera = record["camera"]
            cameras[record["view"]] = CalibratedCamera(*(np.array(camera[name]) for name in "KRt"))
            frame = 1000 * number + int(record["frame"])
            view = folder / "views" / record["view"]
            view.mkdir(parents=True, exist_ok=True)
            os.link(file.parents[1] / record["id"], view / f"image{frame}.jpg")
            joints = np.full((2, 21, 3), np.nan)
            for instance in record["instances"]:
                joints[int(instance["side"] == "Left")] = instance["extra"]["keypoints_world_m"]
            truth[frame] = joints
    rig = project_rig = CameraRig(RigCamera(name, *SIZE, camera) for name, camera in cameras.items())
    if boards:
        project_rig = calibrated(rig, boards, np.nanmean(np.stack(list(truth.values())), (0, 1, 2)))
        R, t = align_rigidly(rig.centres_m, project_rig.centres_m)
        rig, truth = rig.moved(R, t), {frame: joints @ R.T + t for frame, joints in truth.items()}
    return (
        create_project(folder / "project", project_rig, views.find_views(project_rig.names, [str(folder / "views")])),
        rig,
        truth,
    )


def calibrated(rig, boards, middle):
    """Return the rig, calibrated from rendered images of a board."""
    board = target_from_text(BOARD)
    sightings, images = see_boards(rig, board, boards, middle, BOARD_NOISE)
    calibration = calibrate(sightings)
    R, t = align_rigidly(calibration.rig.centres_m, rig.centres_m)
    off = 1000 * np.linalg.norm(calibration.rig.moved(R, t).centres_m - rig.centres_m, axis=1)
    figures = {"rms_px": calibration.rms_px, "centres_mean_mm": off.mean(), "centres_max_mm": off.max()}
    print_step("calibrated", images=images, **{name: round(float(value), 3) for name, value in figures.items()})
    return calibration.rig


def see_boards(rig, board, frames, middle, noise):
    """Return observations of a rendered board that is shown to cameras of a rig, and the number of images."""
    light = Lighting((), (0.9, 0.9, 0.9))
    rng, found, images = np.random.default_rng(0), [], 0
    with Renderer() as renderer:
        for frame in range(frames):
            towards = rig.centres_m[rng.integers(len(rig))] - middle + rng.normal(0, 0.25, 3)
            ahead = -towards / np.linalg.norm(towards)
            right = np.cross(rng.normal(size=3), ahead)
            right /= np.linalg.norm(right)
            R = np.stack([right, np.cross(ahead, right), ahead], 1)
            t = middle + rng.uniform(-0.07, 0.07, 3) - R @ BOARD_MIDDLE_M
            for view in rig:
                away = R @ BOARD_MIDDLE_M + t - view.centre_m
                if away @ ahead < 0.45 * np.linalg.norm(away):
                    continue
                size = view.width, view.height
                behind = np.full((view.height, view.width, 3), 120, np.uint8)
                rgb = renderer.render([printed_board(R, t)], view.camera, size, light, behind).rgb
                gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) + rng.normal(0, noise, rgb.shape[:2])
                points, pixels = board.find(np.clip(gray, 0, 255).round().astype(np.uint8))
                images += 1
                if len(points) >= 6:
                    found.append(BoardObservation(board, view.name, frame, points, pixels))
    return BoardObservations(tuple(found), {view.name: (view.width, view.height) for view in rig}), images


def printed_board(R, t):
    """Return the front of `BOARD` with a white edge as wide as a square, in small faces that a lens can bend."""
    markers = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    ink = cv2.aruco.CharucoBoard((6, 5), 0.04, 0.03, markers).generateImage((384, 320))
    ink = np.where(np.pad(ink, 64, constant_values=255) > 127, 245, 12).astype(np.uint8)
    u, v = np.meshgrid(np.linspace(0, 1, 25), np.linspace(0, 1, 25))
    uv = np.stack([u, v], -1).reshape(-1, 2)
    points = np.column_stack([uv * 2 * BOARD_MIDDLE_M[:2], np.zeros(len(uv))])
    first = (25 * np.arange(24)[:, None] + np.arange(24)).reshape(-1)
    faces = np.concatenate([first + np.array([[25], [26], [0]]), first + np.array([[26], [1], [0]])], 1).T
    material = Material("image", (1.0, 1.0, 1.0), roughness=0.8, image=np.repeat(ink[..., None], 3, axis=-1))
    return Drawable(points @ R.T + t, np.tile(-R[:, 2], (len(uv), 1)), faces, material, 200, uv=uv)


def mark(project, rig, truth, frames):
    """Mark joints with a simulated human error in some of the views."""
    for frame in frames:
        rng = np.random.default_rng(frame)
        marks = []
        for view in rng.choice(len(rig), min(HUMAN_VIEWS, len(rig)), replace=False):
            camera = rig.cameras[view]
            pixels = camera.project(truth[frame].reshape(42, 3)) + rng.normal(0, NOISE_PX, (42, 2))
            for joint in np.flatnonzero(camera.inside(np.nan_to_num(pixels, nan=-1))):
                name, (x, y) = f"{frame}-{view}-{joint}", pixels[joint].tolist()
                marks.append(Mark(name, frame, camera.name, int(joint), "simulated", "seen", x, y))
        project.store.add(marks)


def run(project, truth, jobs, title, network=""):
    start = time.perf_counter()
    annotate(project, AnnotatorSettings(fps=FPS, network=network), jobs=jobs)
    seconds = time.perf_counter() - start
    labels = list(run_folder.read_labels(project))
    points = np.concatenate([label.points_m for label in labels])
    source = np.concatenate([label.source for label in labels])
    exact = np.stack([truth[int(frame)] for label in labels for frame in label.frames])
    off = 1000 * np.linalg.norm(points - exact, axis=-1)
    labelled = np.isfinite(exact).all(-1)
    machine = off[(source == 1) & labelled]
    never = ~np.isin([frame for label in labels for frame in label.frames], human_frames(project))[:, None, None]
    print_step(
        title,
        seconds=round(seconds, 1),
        coverage=round(float(np.isfinite(off[labelled]).mean()), 4),
        never_marked_mean_mm=round(float(off[(source == 1) & labelled & never].mean()), 3),
        machine_mean_mm=round(float(machine.mean()), 3),
        machine_median_mm=round(float(np.median(machine)), 3),
        machine_p95_mm=round(float(np.percentile(machine, 95)), 3),
        all_mean_mm=round(float(np.nanmean(off[labelled])), 3),
        human_share=round(float((source[labelled] >= 2).mean()), 3),
    )


def print_step(title, **figures):
    print(json.dumps({"step": title, **figures}), flush=True)


if __name__ == "__main__":
    main()
