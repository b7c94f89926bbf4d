"""Count misses, false detections, wrong sides and ID switches in synthetic clips of crossing hands.

`python benchmarks/crossings.py hands --seeds 1 2 3` renders a clip of each sort for each seed. Two hands of one person
`swap` sides, `pause` while one occludes the other, turn `back` there, or one leaves there (`leave`). `three` shows
hands of two people. A hand counts in every frame in which it lies in the image, even if it is occluded.
`--set max_occluded_s=1` measures another value of a field of `sonjit.detectors.tracking.TrackerSettings`.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from accuracy import detections, measure
from rich.console import Console
from rich.table import Table
from speed.run import check_peer

from sonjit import SonjitError
from sonjit._util.data_files import key_values
from sonjit._util.settings import read_settings
from sonjit.detectors.create import detector_from
from sonjit.detectors.kinds import options_for
from sonjit.detectors.tracking import TrackerSettings
from sonjit.geometry.cameras import Intrinsics
from sonjit_lab.hand_models.rig import RigPose
from sonjit_lab.synthesis.factors import FACTORS, Factors
from sonjit_lab.synthesis.gestures import sample_angles
from sonjit_lab.synthesis.hand_shapes import rig_from_shape
from sonjit_lab.synthesis.motions import HandMotion, HandTrack, turn_hand
from sonjit_lab.synthesis.renderer import Renderer
from sonjit_lab.synthesis.scenes import SceneSampler, render_samples

SEARCHES = ("fast", "auto")
SORTS = ("swap", "pause", "back", "leave", "three")
SIZE, CAMERA = (640, 480), Intrinsics(608, 608, 320, 240)
FPS, SECONDS = 30, 12.0
BARE = ("glove=none", "held=none", "occluders=0", "infrared=false", "low_light=0", "exposure=-0.5..0.5")
ASIDE_M, DISTANCE_M, APART_M = (0.09, 0.11), (0.5, 0.56), (0.06, 0.14)
"""Distances of the hands from the centre and from the camera, and of the rear hand from the front one."""
OTHERS_M = 0.15
"""Minimum distance of another person's hand behind them."""
TURN_DEG = {"yaw_deg": 20, "pitch_deg": 12, "roll_deg": 18}


def run(frames, options):
    """Return by search the results and shortest times (s) of each frame over all runs."""
    found, seconds = {}, {search: np.full(len(frames), np.inf) for search in SEARCHES}
    for _ in range(options.runs):
        detectors = {
            search: detector_from(
                options_for(options.kind, search=search, max_instances=options.max_instances).for_input("camera"),
                options.tracking,
            )
            for search in SEARCHES
        }
        found = {search: [] for search in SEARCHES}
        for number, (now, rgb) in enumerate(frames):
            for search, detector in detectors.items():
                start = time.perf_counter()
                found[search].append(detector.detect(rgb, time=now))
                seconds[search][number] = min(seconds[search][number], time.perf_counter() - start)
        for detector in detectors.values():
            detector.close()
    return found, seconds


def plain_hands(found):
    """Return the hands of each frame in the format of `accuracy.measure`."""
    return [
        [{"handedness": hand.handedness, "id": hand.id, "xy": hand.keypoints[:, :2].tolist()} for hand in hands]
        for hands in found
    ]


def hand_figures(hands, truth):
    """Return the metrics of the detections in each frame of a clip with ground truth."""
    measured = measure(hands, truth)
    wrong = round(measured["found"] * (1 - measured["correct side %"] / 100))
    return {name: measured[name] for name in ("visible", "missed", "false", "id switches")} | {"wrong side": wrong}


def between(at, values, times):
    """Interpolate values (K, ...), given at the seconds `at`, at all times (N, ...). The speed is 0 at each of them."""
    at, values = np.asarray(at, float), np.asarray(values, float)
    step = np.searchsorted(at, times, "right").clip(1, len(at) - 1)
    share = ((times - at[step - 1]) / (at[step] - at[step - 1])).clip(0, 1)
    share = (share**3 * (10 - 15 * share + 6 * share**2)).reshape(-1, *[1] * (values.ndim - 1))
    return values[step - 1] + share * (values[step] - values[step - 1])


def hand_paths(sort, times, rng):
    """Return paths (N, 2) of the front and the rear hand, in metres right and down. The rear one enters from below."""
    side, end = rng.choice([-1, 1]) * rng.uniform(*ASIDE_M), times[-1]
    down = [0.01 * np.sin(rng.uniform(0.8, 1.4) * times + rng.uniform(0, 6)) for _ in range(2)]
    down[1] += between([0, 1], [0.4, 0], times)
    if sort in ("swap", "three"):
        turns = rng.choice([1.0, 1.5, 2.0, 3.0] if sort == "swap" else [1.0, 1.5])
        front = side * np.cos(2 * np.pi * turns * times / end)
        behind = -front
    elif sort == "leave":
        meet, wait = rng.uniform(3, 7), rng.uniform(0.4, 1.5)
        front = side + 0.004 * np.sin(times)
        behind = between([0, meet, meet + 0.8], [-side, -side, side + rng.uniform(-0.02, 0.02)], times)
        down[1] += between([0, meet + 0.8 + wait, meet + 1.4 + wait], [0, 0, 0.6], times)
    else:
        at, front, behind, now = [0.0, 2.0], [side] * 2, [-side] * 2, -side
        while at[-1] < end - 3:
            now = now if sort == "back" else -now
            place, off = rng.uniform(-0.03, 0.03), rng.uniform(-0.025, 0.025)
            at += (at[-1] + rng.uniform((0.25, 0.3, 0.3, 0.2), (1.1, 2.0, 0.9, 1.0)).cumsum()).tolist()
            front += [place, place, -now, -now]
            behind += [place + off, place + off, now, now]
        front, behind = between(at, front, times), between(at, behind, times)
    return np.stack([front, down[0]], 1), np.stack([behind, down[1]], 1)


@dataclass
class Crossing:
    """Motion of a person: both hands cross as in `sort`, or one hand sways behind them."""

    sort: str
    is_other: bool = False

    def make(self, shape, rng):
        """See `MotionSource`."""
        times = np.arange(0, SECONDS, 1 / FPS)
        near = rng.uniform(*DISTANCE_M) + 0.05 * (self.sort == "three")
        if self.is_other:
            swing = 0.2 * np.cos(2 * np.pi * rng.choice([0.7, 1.0]) * times / times[-1] + rng.choice([0, np.pi]))
            placed = [(np.stack([swing, between([0, 1], [0.4, -0.02], times)], 1), near + OTHERS_M)]
        else:
            front, behind = hand_paths(self.sort, times, rng)
            placed = [(front, near), (behind, near + rng.uniform(*APART_M))]
        sides = rng.permutation(["Right", "Left"]).tolist()
        hands = [hand_track(side, shape, *place, times, rng) for side, place in zip(sides, placed)]  # noqa: B905
        return HandMotion(self.sort, times, tuple(hands), CAMERA)


def hand_track(side, shape, way, depth, times, rng):
    """Return a hand that faces the camera on its path (N, 2) at a depth. It turns slightly and changes its gesture."""
    rig = rig_from_shape(side, shape)
    turns = {name: most * np.sin(rng.uniform(0.5, 1) * times + rng.uniform(0, 6)) for name, most in TURN_DEG.items()}
    turned = ({name: each[i] for name, each in turns.items()} for i in range(len(times)))
    rotation = np.stack([turn_hand(rig, drawn, np.zeros(3)) for drawn in turned])
    at = np.r_[0, rng.uniform(0.7, 1.5, int(times[-1]) + 1).cumsum()]
    angles = between(at, [sample_angles(rig, rng) for _ in at], times)
    palm = rotation @ (rig.joints[11] - rig.joints[0]) / 2
    pose = RigPose(rotation, np.column_stack([way, np.full(len(times), depth)]) - palm, angles)
    return HandTrack(rig, shape, pose, {frame: frame for frame in range(len(times))})


def hands_clip(sort, seed):
    """Return [(seconds, RGB)] of a crossing and its ground truth for `accuracy.measure`."""
    index = SORTS.index(sort)
    people = [Crossing(sort)] + [Crossing(sort, is_other=True)] * (sort == "three")
    scenes = [
        SceneSampler(Factors(FACTORS, BARE), 2 * seed + number, "webcam", 1, SIZE, motions=person).make(index)
        for number, person in enumerate(people)
    ]
    frames, truth = [], []
    with Renderer() as renderer:
        for first, *others in zip(*scenes, strict=True):
            scene = replace(first, hands=tuple(hand for hand_scene in (first, *others) for hand in hand_scene.hands))
            ((sample, _),) = render_samples(renderer, scene)
            frames.append((scene.time_s, sample.rgb()))
            hands = [
                {"name": name, "handedness": instance.side, "xy": instance.keypoints_px.tolist()}
                for name, instance in enumerate(sample.instances)
            ]
            truth.append({"time": scene.time_s, "hands": hands})
    return frames, {"width": SIZE[0], "height": SIZE[1], "frames": truth}


def peer_hands(python, frames, most):
    """Return MediaPipe's detections in each frame of a clip."""
    with tempfile.TemporaryDirectory(prefix="crossings-") as folder, Path(folder, "clip.npy").open("wb", 0) as clip:
        for _, rgb in frames:
            np.save(clip, rgb)
        return detections(python, "solutions", Path(clip.name), len(frames), max_instances=most, static_image=False)


def cross_hands(options):
    """Yield (clip, library, figures) of each synthetic clip."""
    tracking = read_settings(TrackerSettings, dict(key_values(options.set)), "setting")
    if options.peer:
        check_peer(options.peer)
    for sort in options.sorts:
        for seed in options.seeds:
            frames, truth = hands_clip(sort, seed)
            if options.save:
                save_clip(options.save / f"{sort}-{seed}.mp4", frames, truth)
            most = 3 if sort == "three" else 2
            found, _ = run(frames, SimpleNamespace(kind="hands", max_instances=most, runs=1, tracking=tracking))
            rows_by_library = {search: plain_hands(results) for search, results in found.items()}
            if options.peer:
                rows_by_library["mediapipe"] = peer_hands(options.peer, frames, most)
            for library, hands in rows_by_library.items():
                yield f"{sort} {seed}", library, hand_figures(hands, truth)


def save_clip(path, frames, truth):
    """Write a clip, and its ground truth into the same folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE)
    for _, rgb in frames:
        writer.write(rgb[..., ::-1])
    writer.release()
    path.with_suffix(".json").write_text(json.dumps(truth))


def print_figures(rows):
    """Print the figures of each clip when they are measured, and the sums over all clips."""
    done_rows, totals = [], {}
    for name, library, figures in rows:
        done_rows.append((name, library, figures))
        print(name, library, figures, file=sys.stderr, flush=True)
        sums = totals.setdefault(library, dict.fromkeys(figures, 0))
        for figure, value in figures.items():
            sums[figure] = None if value is None else sums[figure] + value
    table = Table("crossing", "search", *done_rows[0][2], box=None)
    for name, library, figures in (*done_rows, *(("all", library, figures) for library, figures in totals.items())):
        table.add_row(name, library, *("-" if value is None else str(value) for value in figures.values()))
    Console(width=120).print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["hands"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--sorts", nargs="+", default=SORTS, choices=SORTS)
    parser.add_argument("--save", type=Path, help="folder for the clips and their ground truth")
    parser.add_argument("--peer", help="a Python interpreter that has mediapipe.solutions")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the tracker")
    options = parser.parse_args()
    print_figures(cross_hands(options))


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"crossings.py: {error}")
