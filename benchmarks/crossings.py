"""Count misses, false detections, wrong sides and ID switches in synthetic clips of crossing hands and people.

`python benchmarks/crossings.py hands --seeds 1 2 3` renders a clip of each sort for each seed. Two hands of one person
`swap` sides, `pause` while one occludes the other, turn `back` there, or one leaves there (`leave`). `three` shows
hands of two people. A hand counts in every frame in which it lies in the image, even if it is occluded.

`python benchmarks/crossings.py body IMAGE...` (or holistic) cuts the person out of each image. Each pair walks past
each other twice, with either person in front. The output has the delay of the first detection, misses of people who are
at least half visible, wrong IDs of separate people, and false detections.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from streams import SEARCHES, hand_figures, keypoints, plain_hands, run

from sonjit import SonjitError, create_detector
from sonjit.geometry.cameras import Intrinsics
from sonjit.lab.benchmark.run import check_peer, run_worker
from sonjit.lab.hand_models.rig import RigPose
from sonjit.lab.synthesis.factors import FACTORS, Factors
from sonjit.lab.synthesis.gestures import sample_angles
from sonjit.lab.synthesis.motions import HandMotion, HandTrack
from sonjit.lab.synthesis.person import rig_from_shape
from sonjit.lab.synthesis.poses import turn_hand
from sonjit.lab.synthesis.renderer import Renderer
from sonjit.lab.synthesis.samples import render_samples
from sonjit.lab.synthesis.scenes import SceneSampler
from sonjit.media import rgb_from

SORTS = ("swap", "pause", "back", "leave", "three")
SIZE, CAMERA = (640, 480), Intrinsics(608, 608, 320, 240)
FPS, SECONDS = 30, 12.0
BARE = ("glove=none", "held=none", "occluders=0", "infrared=false", "low_light=0", "exposure=-0.5..0.5")
ASIDE_M, DISTANCE_M, APART_M = (0.09, 0.11), (0.5, 0.56), (0.06, 0.14)
"""Distances of the hands from the centre and from the camera, and of the rear hand from the front one."""
OTHERS_M = 0.15
"""Minimum distance of another person's hand behind them."""
TURN_DEG = {"yaw_deg": 20, "pitch_deg": 12, "roll_deg": 18}
CROSSING = 960, 540
"""Size in pixels of the clips in which two people cross."""
PERSON_PX = 460
CROSSING_S = 3.0
TORSO = [0, 11, 12, 23, 24]
"""Indices of nose, shoulders and hips in the keypoints of a body."""
AT_PLACE, APART = 0.15, 0.3
"""Maximum mean distance of these keypoints to those of the same person, and minimum distance of separate people, in
heights of a person."""


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
    with tempfile.TemporaryDirectory(prefix="sonjit-crossings-") as folder:
        path = Path(folder, "clip.npy")
        np.save(path, np.stack([rgb for _, rgb in frames]))
        job = {"task": "find", "frames": str(path), "count": len(frames), "kind": "hands", "model": "full"}
        job |= {"max_instances": most, "static_image": False}
        return run_worker(python, json.dumps({**job, "library": "solutions"}))["frames"]


def cross_hands(options):
    """Yield (clip, library, figures) of each synthetic clip."""
    if options.peer:
        check_peer(options.peer)
    for sort in options.sorts:
        for seed in options.seeds:
            frames, truth = hands_clip(sort, seed)
            if options.save:
                save_clip(options.save / f"{sort}-{seed}.mp4", frames, truth)
            most = 3 if sort == "three" else 2
            found, *_ = run(frames, SimpleNamespace(kind="hands", max_instances=most, runs=1))
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


def cut_out(image):
    """Return colours and opacity (H, W, 4) of the person in an image."""
    rgb = rgb_from(str(image))
    with create_detector("body", static_image=True, segmentation=True, max_instances=1) as detector:
        found = detector.detect(rgb)
    if not found:
        raise SonjitError(f"{image}: no person found. Use images of one person")
    _, labels, stats, _ = cv2.connectedComponentsWithStats((found[0].mask > 0.5).astype(np.uint8))
    person = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    x, y, width, height = stats[person, :4]
    opacity = cv2.GaussianBlur((labels == person).astype(np.uint8) * 255, (5, 5), 0)
    cut = np.dstack([rgb, opacity])[y : y + height, x : x + width]
    return cv2.resize(cut, (round(PERSON_PX * width / height), PERSON_PX), interpolation=cv2.INTER_AREA)


def backdrop():
    """Return a fixed background of soft colour patches."""
    patches = np.random.default_rng(0).integers(60, 190, (9, 16, 3)).astype(np.uint8)
    return cv2.resize(patches, CROSSING, interpolation=cv2.INTER_CUBIC)


def paste(image, person, x):
    """Paste a person into an image, centred at x, and return the opaque pixels (H, W)."""
    shift = np.float32([[1, 0, x - person.shape[1] / 2], [0, 1, CROSSING[1] - PERSON_PX]])
    moved = cv2.warpAffine(person, shift, CROSSING)
    opacity = moved[..., 3:] / 255
    image[:] = image * (1 - opacity) + moved[..., :3] * opacity
    return moved[..., 3] > 127


def crossing(behind, front, fps):
    """Return frames (seconds, RGB) of two crossing people, their positions and the visible share of the rear one."""
    count, frames, truth = round(CROSSING_S * fps), [], []
    for number in range(count):
        along = 0.2 + 0.6 * number / (count - 1)
        image, places = backdrop(), (CROSSING[0] * along, CROSSING[0] * (1 - along))
        hind, fore = paste(image, behind, places[0]), paste(image, front, places[1])
        frames.append((number / fps, image))
        truth.append((places, (hind & ~fore).sum() / hind.sum()))
    return frames, truth


def keypoints_of_person(person):
    """Return nose, shoulders and hips (5, 2) of a single person, relative to the centre of the cut-out."""
    image = backdrop()
    paste(image, person, CROSSING[0] / 2)
    with create_detector("body", static_image=True, max_instances=1) as detector:
        (found,) = detector.detect(image)
    return keypoints(found)[TORSO] - (CROSSING[0] / 2, 0)


def describe_crossing(found, truth, single):
    """Return the delay of the first detections, misses of half-visible people, wrong IDs, and false detections."""
    ids, late, missed, wrong, false = [None, None], 0, 0, 0, 0
    for results, (places, seen) in zip(found, truth, strict=True):
        expected = [body + np.array([x, 0]) for body, x in zip(single, places, strict=True)]
        bodies = [keypoints(getattr(result, "body", result))[TORSO] for result in results]
        away = [
            [np.linalg.norm(found_body - body, axis=1).mean() / PERSON_PX for found_body in bodies] for body in expected
        ]
        false += sum(bool(min(row[i] for row in away) > AT_PLACE) for i in range(len(bodies)))
        apart = np.linalg.norm(expected[0] - expected[1], axis=1).mean() > APART * PERSON_PX
        for person, row in enumerate(away):
            if not row or min(row) > AT_PLACE:
                late += ids[person] is None
                missed += ids[person] is not None and bool(person == 1 or seen > 0.5)
            elif apart:
                id = results[int(np.argmin(row))].id
                ids[person] = ids[person] or id
                wrong += id != ids[person]
    return {"frames": len(found), "late": late, "missed": missed, "wrong id": wrong, "false": false}


def cross_people(options):
    """Yield (crossing, search, figures) for every ordered pair of people."""
    people = {image.stem: cut_out(image) for image in options.media}
    single = {name: keypoints_of_person(person) for name, person in people.items()}
    for behind, front in permutations(people, 2):
        frames, truth = crossing(people[behind], people[front], options.fps)
        found, *_ = run(frames, SimpleNamespace(kind=options.kind, max_instances=2, runs=1))
        for search in SEARCHES:
            figures = describe_crossing(found[search], truth, (single[behind], single[front]))
            yield f"{front} in front of {behind}", search, figures


def print_figures(rows, options):
    """Print the figures of each clip when they are measured, and the sums over all clips."""
    done_rows, totals = [], {}
    for name, library, figures in rows:
        done_rows.append((name, library, figures))
        print(name, library, figures, file=sys.stderr, flush=True)
        sums = totals.setdefault(library, dict.fromkeys(figures, 0))
        for figure, value in figures.items():
            sums[figure] = None if value is None else sums[figure] + value
    if options.json:
        print(json.dumps([{"crossing": name, "search": library, **figures} for name, library, figures in done_rows]))
        return
    table = Table("crossing", "search", *done_rows[0][2], box=None)
    for name, library, figures in (*done_rows, *(("all", library, figures) for library, figures in totals.items())):
        table.add_row(name, library, *("-" if value is None else str(value) for value in figures.values()))
    Console(width=120).print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    hands = kinds.add_parser("hands")
    hands.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    hands.add_argument("--sorts", nargs="+", default=SORTS, choices=SORTS)
    hands.add_argument("--save", type=Path, help="folder for the clips and their ground truth")
    hands.add_argument("--peer", help="a Python interpreter that has mediapipe.solutions")
    for kind in ("body", "holistic"):
        people = kinds.add_parser(kind)
        people.add_argument("media", type=Path, nargs="+", help="images of one person each, at least two")
        people.add_argument("--fps", type=float, default=30.0)
    for command in kinds.choices.values():
        command.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.kind != "hands" and len(options.media) < 2:
        parser.error(f"{options.media[0]}: at least two images of people are required")
    print_figures((cross_hands if options.kind == "hands" else cross_people)(options), options)


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"crossings.py: {error}")
