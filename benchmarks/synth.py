"""Measure `sonjit synth`: speed by stage, memory, labels against ray casting, and recall of detectors by skin tone.

    python benchmarks/synth.py [speed] [views] [memory] [rays] [found] [factors] [--count N] [--peer /path/to/python]

Without a name all measurements run. Times are processor seconds of one process, except for `views`, which is wall time
on all cores. `found` renders the same scenes in each of the ten skin tones: bare hands, at most half turned, without
occluders or skin-coloured background. It runs Sonjit's detector, and MediaPipe in the Python of `--peer`. `factors`
changes one factor at a time in the same scenes: light, blur, colour, gloves, skin tone.
"""

import argparse
import cProfile
import importlib.util
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import cv2
import numpy as np
import psutil

import sonjit
from sonjit._util.pools import Progress
from sonjit.lab.synthesis.hands import GLOVES
from sonjit.lab.synthesis.job import synthesize
from sonjit.lab.synthesis.layouts import SynthSettings
from sonjit.lab.synthesis.renderer import Renderer
from sonjit.lab.synthesis.samples import render_samples

STAGES = {
    "(make)": "scenes: pose, position, objects, background",
    "(drawables_from_hand)": "meshes of hands",
    "renderer.py:(render)": "image and buffers",
    "(apply_effects)": "effects",
    "(label_hands)": "labels",
    "(truth_line)": "ground truth as JSON",
    "(encode_image)": "JPEG",
    "(_finish)": "coco.json and contact sheet",
}
PLAIN = (
    "glove=none",
    "held=none",
    "occluders=0",
    "cut=0",
    "motion_blur=0",
    "defocus=0",
    "low_light=0",
    "infrared=false",
)
FOUND = (
    *PLAIN,
    "hands=1",
    "distance=0.3..0.45",
    "view_deg=45..65",
    "background=plain,blobs,room",
    "exposure=-0.5..0.5",
    "noise=0..0.2",
    "compression=0",
    "yaw_deg=-35..35",
    "pitch_deg=-25..25",
    "roll_deg=-35..35",
)
CHANGES = (
    "tone=10",
    "low_light=0.5",
    "low_light=1",
    "exposure=-2",
    "exposure=-3",
    "infrared=true",
    "motion_blur=10",
    "motion_blur=25",
    "defocus=4",
    *(f"glove={name}" for name in GLOVES),
    "rings=3",
    "occluders=2",
)
PEER = """
import json, sys
import cv2
import mediapipe
hands = mediapipe.solutions.hands.Hands(static_image_mode=True, max_num_hands=1)
for path in json.load(open(sys.argv[1])):
    seen = hands.process(cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)).multi_handedness
    print(json.dumps({"Left": "Right", "Right": "Left"}[seen[0].classification[0].label] if seen else None))
"""


def speed(count):
    """Print samples per processor second, and the time by stage."""
    with tempfile.TemporaryDirectory() as folder:
        synthesize(Path(folder, "warm"), SynthSettings(4))
        began = time.process_time()
        synthesize(Path(folder, "plain"), SynthSettings(count))
        spent = time.process_time() - began
        print_line(f"speed: {count} samples of 256x256 in {spent:.1f} CPU s: {count / spent:.1f} per second")
        profile = cProfile.Profile(time.process_time)
        profile.runcall(synthesize, Path(folder, "profiled"), SynthSettings(count, seed=1))
    rows = pstats.Stats(profile).stats.items()
    total_s = max(values[3] for _, values in rows)
    for key, name in STAGES.items():
        file, _, function = key.rpartition("(")
        stage_s = [
            values[3]
            for (path, _, called), values in rows
            if called == function.rstrip(")") and file.rstrip(":") in path and "synthesis" in path
        ]
        print_line(f"  {100 * max(stage_s, default=0) / total_s:5.1f} %  {name}")


def views(_):
    """Render 140 views of one frame with the command line."""
    with tempfile.TemporaryDirectory() as folder:
        line = ["--count", "1", "--views", "140", "--size", "512x334", "--set", "hands=interacting"]
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "sonjit", "synth", "out", *line, "--jobs", str(os.cpu_count())],
            cwd=folder,
            check=True,
        )
        print_line(f"views: 140 of 512x334 in {time.perf_counter() - began:.1f} s in total")


def memory(count):
    """Print the resident memory while many samples are rendered."""
    process, seen = psutil.Process(), []

    class MemoryLog(Progress):
        """Resident memory after each chunk, in MiB."""

        def advance(self, count=1, *, instances=0):
            seen.append(process.memory_info().rss / 2**20)

    with tempfile.TemporaryDirectory() as folder:
        synthesize(
            Path(folder, "out"),
            SynthSettings(count),
            progress=MemoryLog(),
        )
    ends = f"{seen[1]:.0f} MiB after the first chunk, {seen[-1]:.0f} at the end, maximum {max(seen):.0f}"
    print_line(f"memory: {count} samples, {ends}")


def rays(count):
    """Compare the causes of occlusion with rays that trimesh traces."""
    script = Path(__file__).parents[1] / "tests" / "synthesis" / "ray_causes.py"
    spec = importlib.util.spec_from_file_location("ray_causes", script)
    checks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checks)
    agree, wrong = [], {}
    sampler = SynthSettings(count).sampler()
    with Renderer() as renderer:
        for index in range(count):
            (scene,) = sampler.make(index)
            ((sample, _),) = render_samples(renderer, scene)
            labelled = [cause for instance in sample.instances for cause in instance.extra["causes"]]
            traced = checks.ray_causes(scene, checks.scene_drawables(scene), scene.cameras[0])
            for cause, other in zip(labelled, traced, strict=True):
                if cause != "outside":
                    agree.append(cause == other)
                    if cause != other:
                        wrong[f"{cause} for {other}"] = wrong.get(f"{cause} for {other}", 0) + 1
    print_line(
        f"rays: {100 * np.mean(agree):.2f} % of {len(agree)} keypoints of {count} samples agree; differences: {wrong}"
    )


def found(count, peer):
    """Print the recall by skin tone, with the same scenes for each."""
    shares = []
    with tempfile.TemporaryDirectory() as folder, Renderer() as renderer, detector() as hand_detector:
        for tone in range(1, 11):
            sampler = SynthSettings(count, seed=9, factors=(*FOUND, f"tone={tone}")).sampler()
            sides, answers, paths = [], [], []
            for index in range(count):
                (scene,) = sampler.make(index)
                ((sample, _),) = render_samples(renderer, scene)
                sides.append(sample.instances[0].side)
                hands = hand_detector.detect(sample.rgb())
                answers.append(hands[0].handedness if hands else None)
                paths.append(f"{folder}/{index}.png")
                cv2.imwrite(paths[-1], sample.rgb()[..., ::-1])
            both = {"Sonjit": answers} | ({"MediaPipe": peer_answers(peer, folder, paths)} if peer else {})
            shares.append({name: share(seen, sides) for name, seen in both.items()})
            text = "; ".join(f"{name} {recall:.1%}, side {side:.1%}" for name, (recall, side) in shares[-1].items())
            print_line(f"found: tone {tone:2d}: {text}")
    for name in shares[0]:
        recall = [by_name[name][0] for by_name in shares]
        print_line(
            f"found: {name}: minimum {min(recall):.1%}, mean {np.mean(recall):.1%}, gap {max(recall) - min(recall):.1%}"
        )


def factors(count, peer):
    """Print the recall by factor and search, with the same scenes for each."""
    fixed = [*FOUND, "tone=4"]
    with (
        tempfile.TemporaryDirectory() as folder,
        Renderer() as renderer,
        detector() as fast,
        detector("thorough") as thorough,
    ):
        for change in ("", *CHANGES):
            name = change.partition("=")[0] + "="
            pinned = [factor for factor in fixed if not change or not factor.startswith(name)] + (
                [change] if change else []
            )
            sampler = SynthSettings(count, seed=9, factors=tuple(pinned)).sampler()
            sides, paths, answers = [], [], {"fast": [], "thorough": []}
            for index in range(count):
                (scene,) = sampler.make(index)
                ((sample, _),) = render_samples(renderer, scene)
                sides.append(sample.instances[0].side)
                for search, hand_detector in (("fast", fast), ("thorough", thorough)):
                    hands = hand_detector.detect(sample.rgb())
                    answers[search].append(hands[0].handedness if hands else None)
                paths.append(f"{folder}/{index}.png")
                cv2.imwrite(paths[-1], sample.rgb()[..., ::-1])
            if peer:
                answers["MediaPipe"] = peer_answers(peer, folder, paths)
            shares = {search: share(seen, sides) for search, seen in answers.items()}
            text = "; ".join(f"{search} {recall:.0%}, side {side:.0%}" for search, (recall, side) in shares.items())
            print_line(f"factors: {change or 'no change':20s} {text}")


def detector(search="fast"):
    """Return a hand detector for single images."""
    return sonjit.create_detector("hands", static_image=True, search=search, max_instances=1, threads=1)


def peer_answers(python, folder, paths):
    """Return the side that MediaPipe reports for each image, or None without a hand."""
    script, names = Path(folder, "peer.py"), Path(folder, "names.json")
    script.write_text(PEER)
    names.write_text(json.dumps(paths))
    done = subprocess.run([python, script, names], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def share(answers, sides):
    """Return the recall, and the share of correct sides among detected hands."""
    there = [(answer, side) for answer, side in zip(answers, sides, strict=True) if answer]
    return len(there) / len(sides), float(np.mean([answer == side for answer, side in there]))


def print_line(line):
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["speed", "views", "memory", "rays", "found", "factors", []])
    parser.add_argument("--count", type=int)
    parser.add_argument("--peer")
    options = parser.parse_args()
    for name, default_count in (("speed", 300), ("views", 1), ("memory", 2000), ("rays", 1000)):
        if not options.what or name in options.what:
            globals()[name](options.count or default_count)
    if not options.what or "found" in options.what:
        found(options.count or 100, options.peer)
    if not options.what or "factors" in options.what:
        factors(options.count or 100, options.peer)
