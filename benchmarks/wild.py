"""Measure recall and precision on ordinary photographs that were labelled by eye, and compare with MediaPipe.

    python benchmarks/wild.py [--data ../shared] [--peer PYTHON] [--search auto] [--precision auto]
                              [--kinds hands,body,face,holistic]

Detections match labels by the rule of `sonjit eval --protocol detection`. Settings were chosen on the half "choose".
Holistic is scored by its hands, bodies and faces.

Times are ratios to search="fast" on the same image. Both run alternately, `--repeats` times, and the shortest time
counts. "About 1 megapixel" are the photographs of 0.7 to 1.5 megapixels.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

import sonjit
from sonjit.lab.datasets import Sample, open_dataset
from sonjit.lab.evaluation import load_protocol
from sonjit.lab.evaluation.detection import DetectionCounts, DetectionEvaluator
from sonjit.lab.evaluation.predictions import EvaluatedItem, LandmarkKind, Prediction, predictions_from_results

WHAT: dict[str, tuple[LandmarkKind, ...]] = {
    "hands": ("hand",),
    "body": ("body",),
    "face": ("face",),
    "holistic": get_args(LandmarkKind),
}
SKELETONS = {"hands": "hand_mediapipe21", "body": "body_blazepose33", "face": "face_mediapipe468"}
HALVES = ("choose", "report", "all")
MEGAPIXEL = 0.7, 1.5
Found = Mapping[str, Sequence[Prediction]]


def detect_all(
    kind: str, search: str, precision: str, samples: Sequence[Sample], allowed: int, repeats: int
) -> tuple[Found, dict[str, tuple[float, float]]]:
    """Return the detections in each image, and the shortest times of the fast search and of this one in seconds."""
    make = functools.partial(sonjit.create_detector, kind, static_image=True, max_instances=allowed)
    found: dict[str, list[Prediction]] = {}
    seconds: dict[str, tuple[float, float]] = {}
    with make(search="fast") as fast, make(search=search, precision=precision) as detector:
        for detectors in (fast, detector):
            detectors.detect(samples[0].rgb())  # networks are loaded when first used
        for sample in samples:
            rgb = sample.rgb()
            times: list[tuple[float, float]] = []
            results: Sequence[Any] = ()
            for _ in range(repeats):
                start = time.perf_counter()
                fast.detect(rgb)
                middle = time.perf_counter()
                results = detector.detect(rgb)
                times.append((middle - start, time.perf_counter() - middle))
            found[sample.id] = predictions_from_results(results)
            seconds[sample.id] = min(fast_s for fast_s, _ in times), min(other for _, other in times)
    return found, seconds


def timing(samples: Sequence[Sample], seconds: Mapping[str, tuple[float, float]]) -> str:
    """Return times relative to the fast search, for all images and for those of about a megapixel."""
    low, high = MEGAPIXEL
    lines: list[str] = []
    for name, chosen in (
        ("all", samples),
        ("about 1 megapixel", [sample for sample in samples if low <= sample.width * sample.height / 1e6 <= high]),
    ):
        fast, own = np.array([seconds[sample.id] for sample in chosen]).T
        tenths = " ".join(f"{ratio:.1f}" for ratio in np.percentile(own / fast, (10, 25, 50, 75, 90, 100)))
        lines.append(
            f"  {name}, {len(chosen)}: median {1e3 * np.median(own):.0f} ms (fast {1e3 * np.median(fast):.0f}); "
            f"in total {own.sum() / fast.sum():.1f}x; percentiles 10 25 50 75 90 100: {tenths}"
        )
    return "\n".join(lines)


PEER = """
import json, sys
import cv2, mediapipe as mp
folder, kind, files = sys.argv[1], sys.argv[2], json.loads(sys.stdin.read())
s = mp.solutions
made = {"hands": lambda: s.hands.Hands(static_image_mode=True, max_num_hands=20),
        "body": lambda: s.pose.Pose(static_image_mode=True),
        "face": lambda: s.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=20)}[kind]()
out = {}
for file in files:
    rgb = cv2.cvtColor(cv2.imread(folder + "/" + file), cv2.COLOR_BGR2RGB)
    height, width = rgb.shape[:2]
    found = made.process(rgb)
    if kind == "hands":
        lists, sides = found.multi_hand_landmarks or [], [h.classification[0] for h in found.multi_handedness or []]
        scores, labels = [c.score for c in sides], [{"Left": "Right", "Right": "Left"}[c.label] for c in sides]
    elif kind == "body":
        lists = [found.pose_landmarks] if found.pose_landmarks else []
        scores, labels = [1.0] * len(lists), [None] * len(lists)
    else:
        lists = found.multi_face_landmarks or []
        scores, labels = [1.0] * len(lists), [None] * len(lists)
    out[file] = [([[p.x * width, p.y * height] for p in one.landmark], score, label)
                 for one, score, label in zip(lists, scores, labels)]
print(json.dumps(out))
"""


def peer_finds(folder: Path, kind: str, samples: Sequence[Sample], python: str) -> Found:
    """Return MediaPipe's detections, computed by another interpreter."""
    run = subprocess.run([python, "-c", PEER, str(folder), kind], input=json.dumps([sample.id for sample in samples]),
                         capture_output=True, text=True, check=True)  # fmt: skip
    found = json.loads(run.stdout.splitlines()[-1])
    return {
        file: [
            Prediction(skeleton=SKELETONS[kind], keypoints_px=np.array(points), score=score, side=side)
            for points, score, side in recorded
        ]
        for file, recorded in found.items()
    }


def print_counts(
    title: str, what: LandmarkKind, samples: Sequence[Sample], found: Found, halves: Mapping[str, str]
) -> None:
    """Print the counts of each half, the share of correct detections by score, and the wrong detections."""
    evaluator = DetectionEvaluator(load_protocol("detection"), what)
    items = {sample.id: evaluator.evaluate(sample, found[sample.id]) for sample in samples}
    for half in HALVES:
        own = [
            (file, predictions) for file, some in items.items() if half in ("all", halves[file]) for predictions in some
        ]
        line = row([predictions for _, predictions in own])
        parts = evaluator.summary([predictions for _, predictions in own], [file for file, _ in own]).parts
        sizes = " · ".join(f"{part.mean * part.counted / 100:.0f}/{part.counted}" for part in parts.get("size", ()))
        print(f"{f'{title}: {what}':32s} {half:6s} {line} sizes {sizes}")
        if half == "all":
            scores = "; ".join(
                f"{part.name}: {part.mean * part.counted / 100:.0f}/{part.counted}" for part in parts["score"]
            )
            wrong = [
                f"{file} {fault} {evaluated.numbers['score']:.2f}"
                for file, evaluated in own
                for fault in ("false", "doubled")
                if fault in evaluated.numbers
            ]
            print(f"  score: {scores}\n  wrong: {', '.join(wrong) or 'none'}")


def row(items: Sequence[EvaluatedItem]) -> str:
    """Return the counts of some images as text."""
    n = DetectionCounts.of(items)
    sides = f"{n.sides_right}/{n.sided} known {n.sides_known_right}/{n.sides_known}" if n.sided else "-"
    return (
        f"{n.found:3d}/{n.clear:3d} {n.found / max(n.clear, 1):4.0%}  false {n.false:2d} duplicate {n.doubled:2d} "
        f"precision {n.precision:6.1%}  sides {sides:18s}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("SONJIT_TEST_DATA", "../shared"))
    parser.add_argument("--peer", help="python with mediapipe")
    parser.add_argument("--search", default="auto", help="comma-separated: auto, fast, thorough")
    parser.add_argument("--precision", default="auto", help="precision of Sonjit; the reference of times uses auto")
    parser.add_argument("--kinds", default="hands,body,face")
    parser.add_argument("--max-instances", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    folder = Path(options.data) / "real" / "wild"
    halves = {sample.id: half for half in HALVES[:2] for sample in open_dataset("photographs", folder, half)}
    for kind in options.kinds.split(","):
        samples = [
            sample for sample in open_dataset("photographs", folder) if {*WHAT[kind]} & {*sample.tags["labelled"]}
        ]
        for search in options.search.split(","):
            found, seconds = detect_all(
                kind, search, options.precision, samples, options.max_instances, options.repeats
            )
            for what in WHAT[kind]:
                print_counts(f"{kind}, Sonjit {search}", what, samples, found, halves)
            print(timing(samples, seconds))
        if options.peer and kind != "holistic":
            (what,) = WHAT[kind]
            print_counts(f"{kind}, MediaPipe", what, samples, peer_finds(folder, kind, samples, options.peer), halves)


if __name__ == "__main__":
    main()
