"""Hands, people and faces that detectors find on ordinary photographs labelled by eye, beside MediaPipe.

    python benchmarks/wild.py [--data ../shared] [--peer PYTHON] [--search auto,fast] [--kinds hands,body,face]

A detection fits a labelled box when their IoU is 0.3 or more, or when its centre lies in the box and its longest side
is between half and twice the box's. Detections go by descending score, each to the free label that it fits best.
Unclear labels and crowd areas count neither way. Settings were chosen on the half "choose" alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import sonjit
from sonjit.media import rgb_from

What = Literal["hands", "people", "faces"]
Corners = tuple[float, float, float, float]
SIZES = ((0.0, 32.0), (32.0, 64.0), (64.0, 128.0), (128.0, math.inf))
WHAT: dict[str, What] = {"hands": "hands", "body": "people", "face": "faces"}
ALLOWED = 20


@dataclass(frozen=True)
class Label:
    """One labelled thing: corners in pixels, "Left", "Right" or None, whether it must be found, and words on it."""

    box: Corners
    side: str | None
    clear: bool
    words: str


@dataclass(frozen=True)
class LabelledImage:
    """A labelled image."""

    file: str
    width: int
    height: int
    labels: tuple[Label, ...]
    crowd: tuple[Corners, ...]
    half: str


@dataclass(frozen=True)
class Found:
    """One detection: corners in pixels, score, and its side where it has one."""

    box: Corners
    score: float
    side: str | None = None


@dataclass
class Tally:
    """Counts over images; `pairs`: (file, label, detection or None) of clear labels."""

    found: int = 0
    clear: int = 0
    false: int = 0
    doubled: int = 0
    sides: int = 0
    sides_right: int = 0
    pairs: list[tuple[str, Label, Found | None]] = field(default_factory=list)
    wrong: list[tuple[str, str, Found]] = field(default_factory=list)
    scored: list[tuple[float, bool]] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.found / max(self.clear, 1)

    @property
    def precision(self) -> float:
        return self.found / max(self.found + self.false + self.doubled, 1)

    def row(self) -> str:
        sizes = " · ".join(
            f"{sum(d is not None for _, _, d in part)}/{len(part)}"
            for low, high in SIZES
            if (part := [p for p in self.pairs if low <= longest(p[1].box) < high])
        )
        sides = f"{self.sides_right}/{self.sides}" if self.sides else "-"
        return (
            f"{self.found:3d}/{self.clear:3d} {self.recall:4.0%}  false {self.false:2d} doubled {self.doubled:2d} "
            f"precision {self.precision:6.1%}  sides {sides:7s} sizes {sizes}"
        )


def load(folder: Path, what: What) -> list[LabelledImage]:
    """Every labelled image; of `people.json` those of people or of their faces."""
    data = json.loads((folder / ("hands.json" if what == "hands" else "people.json")).read_text())
    half = {file: name for name, files in data["_split"].items() for file in files}
    images: list[LabelledImage] = []
    for file, entry in data.items():
        if file.startswith("_"):
            continue
        if what == "hands":
            labels = [
                Label(tuple(h["box"]), h["side"], h["clear"], f"{h['view']}; {h['note']}") for h in entry["hands"]
            ]
        elif what == "people":
            labels = [Label(tuple(p["box"]), None, p["clear"], p["note"]) for p in entry["people"]]
        else:
            labels = [Label(tuple(p["face"]), None, p["face_clear"], p["note"]) for p in entry["people"] if p["face"]]
        crowd = tuple(tuple(box) for box in entry.get("crowd", []))
        images.append(LabelledImage(file, entry["width"], entry["height"], tuple(labels), crowd, half[file]))
    return images


def longest(box: Corners) -> float:
    """Longest side."""
    return max(box[2] - box[0], box[3] - box[1])


def overlap(a: Corners, b: Corners) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _inside(box: Corners, other: Corners) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return other[0] <= x <= other[2] and other[1] <= y <= other[3]


def fits(box: Corners, label: Corners) -> bool:
    """Whether a detection shows a labelled thing."""
    if overlap(box, label) >= 0.3:
        return True
    return _inside(box, label) and 0.5 <= longest(box) / max(longest(label), 1e-6) <= 2


def box_of(points: NDArray[np.floating]) -> Corners:
    """Corners of the box around points (K, 2 or more)."""
    x, y = points[:, 0], points[:, 1]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def box_inside(points: NDArray[np.floating], width: int, height: int) -> Corners:
    """Corners of the box around points (K, 2 or more), cut off at the image's edges."""
    left, top, right, bottom = box_of(points)
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def add(tally: Tally, image: LabelledImage, detections: Iterable[Found]) -> None:
    """Score one image's detections."""
    taken: dict[int, Found] = {}
    for detection in sorted(detections, key=lambda d: -d.score):
        fitting = [i for i, label in enumerate(image.labels) if fits(detection.box, label.box)]
        free = [i for i in fitting if i not in taken]
        if free:
            best = max(free, key=lambda i: overlap(detection.box, image.labels[i].box))
            taken[best] = detection
            if image.labels[best].clear:
                tally.scored.append((detection.score, True))
        elif fitting:
            tally.doubled += 1
            tally.wrong.append((image.file, "doubled", detection))
            tally.scored.append((detection.score, False))
        elif not any(_inside(detection.box, area) for area in image.crowd):
            tally.false += 1
            tally.wrong.append((image.file, "false", detection))
            tally.scored.append((detection.score, False))
    for i, label in enumerate(image.labels):
        if not label.clear:
            continue
        match = taken.get(i)
        tally.clear += 1
        tally.found += match is not None
        tally.pairs.append((image.file, label, match))
        if match is not None and match.side is not None and label.side is not None:
            tally.sides += 1
            tally.sides_right += match.side == label.side


def score(images: Sequence[LabelledImage], detect: Callable[[LabelledImage], Iterable[Found]]) -> dict[str, Tally]:
    """Tallies of "choose", "report" and "all"."""
    tallies = {"choose": Tally(), "report": Tally(), "all": Tally()}
    for image in images:
        found = list(detect(image))
        for name in (image.half, "all"):
            add(tallies[name], image, found)
    return tallies


def table(name: str, tallies: dict[str, Tally]) -> str:
    """One line per half."""
    return "\n".join(f"{name:28s} {half:6s} {tally.row()}" for half, tally in tallies.items())


def reliability(tally: Tally) -> str:
    """How often a find is right, by its score."""
    parts: list[str] = []
    for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 0.97), (0.97, 1.01)):
        right = [one for score, one in tally.scored if low <= score < high]
        if right:
            parts.append(f"{low:g} to {min(high, 1):g}: {sum(right)}/{len(right)}")
    return "; ".join(parts)


def sonjit_detections(
    folder: Path, kind: str, search: str
) -> tuple[Callable[[LabelledImage], list[Found]], list[float]]:
    """What a detector of ours finds, and the seconds that each image took."""
    detector = sonjit.create_detector(kind, static_image=True, max_instances=ALLOWED, search=search)
    seconds: list[float] = []

    def detect(image: LabelledImage) -> list[Found]:
        rgb = rgb_from(folder / image.file)
        start = time.perf_counter()
        found = detector.detect(rgb)
        seconds.append(time.perf_counter() - start)
        return [
            Found(
                box_inside(one.keypoints, image.width, image.height),
                one.score,
                getattr(one, "handedness", None),
            )
            for one in found
        ]

    return detect, seconds


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


def peer_detections(folder: Path, kind: str, images: Sequence[LabelledImage], python: str) -> dict[str, list[Found]]:
    """What MediaPipe finds, run by an interpreter that has it."""
    run = subprocess.run([python, "-c", PEER, str(folder), kind], input=json.dumps([one.file for one in images]),
                         capture_output=True, text=True, check=True)  # fmt: skip
    given = json.loads(run.stdout.splitlines()[-1])
    return {
        one.file: [
            Found(box_inside(np.array(points), one.width, one.height), score, side)
            for points, score, side in given[one.file]
        ]
        for one in images
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("SONJIT_TEST_DATA", "../shared"))
    parser.add_argument("--peer", help="python with mediapipe")
    parser.add_argument("--search", default="auto,fast", help="with commas: auto, fast, thorough")
    parser.add_argument("--kinds", default="hands,body,face")
    options = parser.parse_args()
    folder = Path(options.data) / "real" / "wild"
    if not (folder / "hands.json").is_file():
        sys.exit(f"{folder} holds no labelled photographs: give --data")
    for kind in options.kinds.split(","):
        images = load(folder, WHAT[kind])
        for search in options.search.split(","):
            detect, seconds = sonjit_detections(folder, kind, search)
            tallies = score(images, detect)
            print(table(f"{kind}, Sonjit {search}", tallies))
            print(f"  median {1e3 * float(np.median(seconds)):.0f} ms; score: {reliability(tallies['all'])}")
            print(
                "  wrong:",
                ", ".join(f"{file} {what} {one.score:.2f}" for file, what, one in tallies["all"].wrong) or "none",
            )
        if options.peer:
            found = peer_detections(folder, kind, images, options.peer)
            print(table(f"{kind}, MediaPipe", score(images, lambda image, found=found: found[image.file])))


if __name__ == "__main__":
    main()
