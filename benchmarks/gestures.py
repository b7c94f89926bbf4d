"""Measure gestures in photographs, clips and synthetic images, and false gestures of other hands.

Photographs and clips were labelled by eye. gestures_wild.toml has the labels. The photographs and the boxes of their
hands are in a folder with a hands.json. Synthetic images are folders that `sonjit synth` wrote with the commands in the
recipe `gestures`. For these, only the hand shape counts, not its direction, and near gestures are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np

from sonjit import SonjitError, create_detector
from sonjit.gestures import CustomGestures, GestureRecording, gesture_of
from sonjit.gestures.classifier import LEAST_SCORE, load_gestures
from sonjit.gestures.features import aligned
from sonjit.lab.metrics.localization import box_iou
from sonjit.lab.training.gestures.alphabets import shipped_gestures
from sonjit.lab.training.gestures.data import DetectedHands, detect_hands
from sonjit.lab.training.gestures.poses import posed_joints
from sonjit.media import open_source
from sonjit.results.measures.hands import palm_frame

LABELS = Path(__file__).with_name("gestures_wild.toml")
LEAST_OVERLAP = 0.3
"""Minimum IoU of a detected hand and its label."""


def judge(hands, labelled, gestures, either):
    """Return (number, label or None, name or None) of each detected clear hand of a photograph."""
    rows = []
    for hand in hands:
        shares = [box_iou(hand.box, one["box"]) for one in labelled]
        number = max(range(len(shares)), key=shares.__getitem__, default=None)
        if number is None or shares[number] < LEAST_OVERLAP or not labelled[number]["clear"] or number in either:
            continue
        rows.append((number, gestures.get(str(number)), name_of(hand)))
    return rows


def judge_photographs(folder, labels):
    """The rows of all photographs of a folder, each with its file before."""
    rows, files = [], json.loads((folder / "hands.json").read_text("utf-8"))
    with create_detector("hands", static_image=True, max_instances=20) as detector:
        for file, entry in files.items():
            if not file.startswith("_") and any(hand["clear"] for hand in entry["hands"]):
                own = labels["gestures"].get(file, {}), labels["either"].get(file, [])
                rows += [(file, *row) for row in judge(detector.detect(folder / file), entry["hands"], *own)]
    return rows


def judge_clips(folder, labels):
    """(file, frames, label, hand) of each hand in labelled frames, followed from the clip's beginning."""
    rows = []
    for file, ranges in labels["clips"].items():
        with create_detector("hands", max_instances=1) as detector, open_source(str(folder / file)) as source:
            for index, time, rgb in source:
                hands = detector.detect(rgb, time=time)
                for first, last, label in ranges:
                    if first <= index <= last:
                        rows += [(file, f"{first}-{last}", label, hand) for hand in hands]
    return rows


def judge_taught_by_clips(rows):
    """Return a line: up to 20 hands of each clip train its gestures, which are then tested on the others."""
    right = others = taken = frames = rest = 0
    shapes = [label.split("_")[0] if label.startswith("Pointing") else label for _, _, label, _ in rows]
    for clip in {file for file, *_ in rows}:
        own = {}
        for name, (file, _, _, hand) in zip(shapes, rows, strict=True):
            if file == clip:
                own.setdefault(name, []).append(hand)
        spread = {name: hands[:: -(-len(hands) // EXAMPLES)] for name, hands in own.items()}
        taught = CustomGestures.learn([GestureRecording.of(name, hands) for name, hands in spread.items()])
        for name, (file, _, _, hand) in zip(shapes, rows, strict=True):
            if file == clip:
                continue
            told = taught(hand)
            frames, rest = frames + (name in own), rest + (name not in own)
            right += told is not None and told.name == name
            others += told is not None and told.name != name and name in own
            taken += told is not None and name not in own
    return (
        f"taught by another clip: {right} of {frames} told right, {others} as another; {taken} of {rest} others taken"
    )


ERRORS = (0, 0.03, 0.05, 0.08, 0.2)
"""Bounds of the table's rows: mean keypoint error relative to the extent of the hand."""

EDGE_ON_DEG = (0, 30, 60, 75, 90)
"""Between the palm's normal and the line of sight: likewise."""


def rendered_hands(folders):
    """Return `DetectedHands` of folders that `sonjit synth` wrote, without free hands that are nearly a gesture."""
    exemplars = posed_joints(4, 10, 1, np.random.default_rng(0))
    return DetectedHands.concatenate([detect_hands(folder) for folder in folders]).unambiguous(exemplars)


def judge_renders(hands):
    """Return lines of a table: numbers of hands with and without a gesture, and shares right, wrong and false."""
    alphabet, classifier = shipped_gestures(), load_gestures()
    shape, probabilities = hands.shapes(alphabet), classifier.probabilities(hands.features(), hands.appearance)
    said = np.where(probabilities.max(1) >= LEAST_SCORE, probabilities.argmax(1), 0)
    errors, edge_on = hands.errors(), edge_on_deg(hands.true_keypoints_3d)
    yield line("all", shape, said)
    for name, values, bounds in (("error", errors, ERRORS), ("edge-on", edge_on, EDGE_ON_DEG)):
        for low, high in pairwise(bounds):
            own = (values >= low) & (values < high)
            yield line(f"{name} {low}-{high}", shape[own], said[own])
    for index, name in enumerate(classifier.vocabulary.shapes):
        others = Counter(said[(shape == index) & (said != index)].tolist()).most_common(3)
        told = ", ".join(f"{classifier.vocabulary.shapes[other]} {count}" for other, count in others)
        yield f"  {name}: {np.mean(said[shape == index] == index):.0%} of {np.sum(shape == index)}; else {told}"


CHOICES, TAUGHT, EXAMPLES = 12, 3, 20


def judge_taught(examples, hands):
    """Return lines on custom gestures: poses without a shipped gesture, trained and tested on other hands."""
    makes_none = examples.shapes(shipped_gestures()) == 0
    known = np.intersect1d(examples.pose[makes_none], hands.pose)
    known, shape = known[known != "any"], hands.shapes(shipped_gestures())
    others = {"that make a shipped gesture": shape > 0, "in other named poses": np.isin(hands.pose, known)}
    others["posed freely"] = hands.pose == "any"
    rng, counts, seconds = np.random.default_rng(0), Counter(), 0.0
    for _ in range(CHOICES):
        names = rng.choice(known, TAUGHT, replace=False)
        recordings = [recording(examples, name, rng) for name in names]
        began = time.process_time()
        taught = CustomGestures.learn(recordings)
        seconds = max(seconds, time.process_time() - began)
        told = np.array([one and one.name for one in taught.classify(load_gestures().whiten(hands.features()))])
        own = np.isin(hands.pose, names)
        counts.update(own=own.sum(), right=(told == hands.pose)[own].sum())
        for kind, rows in others.items():
            counts.update({kind: (rows & ~own).sum(), f"{kind}, taken": (told != None)[rows & ~own].sum()})  # noqa: E711
    right = f"{counts['right'] / counts['own']:.1%} of {counts['own']}"
    yield f"custom gestures, {CHOICES} times {TAUGHT}: {right} told right"
    for kind in others:
        yield f"  hands {kind}: {counts[f'{kind}, taken'] / counts[kind]:.1%} of {counts[kind]} taken for one"
    yield f"  trained in {seconds:.3f} s of a core at most"


def recording(hands, name, rng):
    """Return recorded hands of one pose."""
    own = hands.take(rng.permutation(np.flatnonzero(hands.pose == name))[:EXAMPLES])
    points = np.stack([own.keypoints, own.keypoints_3d], 1)
    return GestureRecording(name, aligned(points, own.left).astype(np.float16))


def edge_on_deg(metres):
    """Return the angle (N,) in degrees between palm or back and the image plane, from keypoints (N, 21, 3)."""
    normal, sight = palm_frame(metres)[..., 2], metres[:, 9]
    cosine = (normal * sight).sum(1) / np.linalg.norm(sight, axis=1)
    return np.degrees(np.arccos(np.abs(cosine).clip(0, 1)))


def line(name, shape, said):
    """One line of the table."""
    made, right = shape > 0, said == shape
    shares = right, right[made], (said[made] > 0) & ~right[made], said[~made] > 0
    all_right, told, other, falsely = (f"{np.mean(one):.1%}" if len(one) else "-" for one in shares)
    counts = f"{np.sum(made)} with a gesture, {np.sum(~made)} without"
    return f"{name} ({counts}): {all_right} right; gestures {told}, as another {other}; none as a gesture {falsely}"


def name_of(hand):
    """The gesture's name, or None."""
    gesture = gesture_of(hand)
    return gesture and gesture.name


def share(values):
    """Such as `7 of 10`."""
    return f"{sum(values)} of {len(values)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, nargs="?", help="a folder with a hands.json")
    parser.add_argument("clips", type=Path, nargs="?", help="a folder of the labelled clips")
    parser.add_argument("--rendered", type=Path, nargs="+", default=[], help="folders that sonjit synth wrote")
    parser.add_argument(
        "--taught", type=Path, nargs="+", default=[], help="likewise: custom gestures are taught by them"
    )
    options = parser.parse_args()
    if options.taught and not options.rendered:
        parser.error("--taught: say by --rendered which hands are to be told")
    if options.rendered:
        hands = rendered_hands(options.rendered)
        print("\n".join(judge_renders(hands)))
        if options.taught:
            print("\n".join(judge_taught(rendered_hands(options.taught), hands)))
    if not options.photographs:
        return
    labels = tomllib.loads(LABELS.read_text("utf-8"))
    rows = judge_photographs(options.photographs, labels)
    right = [label == name for _, _, label, name in rows if label]
    quiet = [name is None for _, _, label, name in rows if not label]
    print(f"photographs: gestures told right {share(right)}; nothing said of others {share(quiet)}")
    for file, number, label, name in rows:
        if label != name:
            print(f"  {file} hand {number}: {label} was told as {name}")
    if options.clips:
        rows = judge_clips(options.clips, labels)
        told = [(f"{file} {frames}", label, name_of(hand)) for file, frames, label, hand in rows]
        right = [label == name for _, label, name in told]
        wrong = [name is not None and label != name for _, label, name in told]
        print(f"clips: frames told right {share(right)}; told as another {share(wrong)}")
        for (place, label, name), count in Counter(row for row in told if row[1] != row[2]).items():
            print(f"  {place}: {label} was told as {name} in {count} frames")
        print(judge_taught_by_clips(rows))


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"gestures.py: {error}")
