"""The automatic annotator on rendered hands with exact truth: before and after a simulated person marked some instants.

.venv/bin/python benchmarks/annotator.py /tmp/annotator --jobs 2
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from sonjit.datasets.sample import SampleCamera
from sonjit.multiview.annotator import AnnotatorSettings, annotate
from sonjit.multiview.annotator_labels import human_frames
from sonjit.multiview.annotator_runs import learn, read_labels
from sonjit.multiview.annotator_training import train_network
from sonjit.multiview.cameras import CameraRig, RigCamera
from sonjit.multiview.marks import Mark
from sonjit.multiview.project import create_project, find_views

SEQUENCES = "ROM01_2H_open_close,ROM05_2H_rub_palms,ROM07_2H_count_on_fingers,ROM11_2H_spider"
STUDIO = (
    "person=11 tone=4 texture=1 distance=0.7 view_deg=42 yaw_deg=0 pitch_deg=0 roll_deg=0 glove=none rings=0 tattoo=0 "
    "motion_blur=0 defocus=0 backdrop_blur=0 low_light=0 infrared=false exposure=0 cut=0 background=plain sleeve=shirt "
    "noise=0.1 compression=0.1 shape_sd=0.7 light=1 white_balance=0 warmth=0"
)
SIZE, FPS, NOISE_PX, HUMAN_VIEWS = (512, 334), 5, 1.5, 6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new, for everything")
    parser.add_argument("--synth", type=Path, nargs="*", help="folders of sonjit synth, instead of making one")
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--count", type=int, default=8, help="sequences, of about four seconds")
    parser.add_argument("--human", type=int, default=30, help="instants that the simulated person marks")
    parser.add_argument("--steps", type=int, default=300, help="of fine-tuning the hands; 0 leaves that out")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    start = time.perf_counter()
    folders = options.synth or [render(options)]
    tell("rendered", seconds=round(time.perf_counter() - start, 1))
    project, truth = make_project(options.folder, folders)
    tell("project", views=len(project.views), instants=len(project.frames), seconds=len(project.frames) / FPS)
    run(project, truth, options.jobs, "before")
    spread = np.array(project.frames)[:: max(1, len(project.frames) // (options.human // 2))][: options.human // 2]
    mark(project, truth, spread.tolist())
    ranked = [frame for frame, _ in sorted(project.store.needs().items(), key=lambda item: -item[1].score)]
    mark(project, truth, [frame for frame in ranked if frame not in spread][: options.human - len(spread)])
    learn(project)
    run(project, truth, options.jobs, "after")
    if options.steps:
        start = time.perf_counter()
        network, told = train_network(project, "hand-full", {"steps": str(options.steps)})
        px = {name: round(float(told[name]), 2) for name in ("error_before_px", "error_px")}
        tell("network", seconds=round(time.perf_counter() - start, 1), hands=told["hands"], **px)
        run(project, truth, options.jobs, "with the network", str(network))
        learn(project)
        run(project, truth, options.jobs, "with the network, learned", str(network))
    project.close()


def render(options):
    out = options.folder / "synth"
    given = [part for pair in STUDIO.split() for part in ("--set", pair)]
    rig = ["--rig", "dome", "--views", str(options.views), "--size", "512x334", "--fps", str(FPS)]
    moves = ["--format", "interhand", "--sequence", SEQUENCES, "--count", str(options.count), "--seed", "3"]
    command = [sys.executable, "-m", "sonjit", "synth", str(out), *rig, *moves, *given, "--jobs", str(options.jobs)]
    subprocess.run(command, check=True)
    return out


def make_project(folder, folders):
    """A project of all sequences, a thousand numbers each, and the joints (2, 21, 3) of each instant."""
    cameras, truth = {}, {}
    for number, file in enumerate(file for one in folders for file in sorted((one / "truth").glob("*.jsonl"))):
        for record in map(json.loads, file.open()):
            camera = record["camera"]
            cameras[record["view"]] = SampleCamera(*(np.array(camera[name]) for name in "KRt"))
            frame = 1000 * number + int(record["frame"])
            view = folder / "views" / record["view"]
            view.mkdir(parents=True, exist_ok=True)
            os.link(file.parents[1] / record["id"], view / f"image{frame}.jpg")
            joints = np.full((2, 21, 3), np.nan)
            for one in record["instances"]:
                joints[int(one["side"] == "Left")] = one["extra"]["keypoints_world_m"]
            truth[frame] = joints
    rig = CameraRig(RigCamera(name, *SIZE, camera) for name, camera in cameras.items())
    return create_project(folder / "project", rig, find_views(rig, [str(folder / "views")])), truth


def mark(project, truth, frames):
    """As a person would who is off by so many pixels, in some of the views."""
    for frame in frames:
        rng = np.random.default_rng(frame)
        marks = []
        for view in rng.choice(len(project.rig), min(HUMAN_VIEWS, len(project.rig)), replace=False):
            camera = project.rig.cameras[view]
            pixels = camera.project(truth[frame].reshape(42, 3)) + rng.normal(0, NOISE_PX, (42, 2))
            for joint in np.flatnonzero(camera.inside(np.nan_to_num(pixels, nan=-1))):
                name, (x, y) = f"{frame}-{view}-{joint}", pixels[joint].tolist()
                marks.append(Mark(name, frame, camera.name, int(joint), "simulated", "seen", x, y))
        project.store.add(marks)


def run(project, truth, jobs, title, network=""):
    start = time.perf_counter()
    annotate(project, AnnotatorSettings(fps=FPS, network=network), jobs=jobs)
    seconds = time.perf_counter() - start
    labels = list(read_labels(project))
    points = np.concatenate([one.points_m for one in labels])
    source = np.concatenate([one.source for one in labels])
    exact = np.stack([truth[int(frame)] for one in labels for frame in one.frames])
    off = 1000 * np.linalg.norm(points - exact, axis=-1)
    there = np.isfinite(exact).all(-1)
    machine = off[(source == 1) & there]
    never = ~np.isin([frame for one in labels for frame in one.frames], human_frames(project))[:, None, None]
    tell(
        title,
        seconds=round(seconds, 1),
        coverage=round(float(np.isfinite(off[there]).mean()), 4),
        never_marked_mean_mm=round(float(off[(source == 1) & there & never].mean()), 3),
        machine_mean_mm=round(float(machine.mean()), 3),
        machine_median_mm=round(float(np.median(machine)), 3),
        machine_p95_mm=round(float(np.percentile(machine, 95)), 3),
        all_mean_mm=round(float(np.nanmean(off[there])), 3),
        human_share=round(float((source[there] >= 2).mean()), 3),
    )


def tell(title, **figures):
    print(json.dumps({"step": title, **figures}), flush=True)


if __name__ == "__main__":
    main()
