"""Measure gestures in photographs, clips and synthetic images, and false gestures of other hands.

Photographs and clips were labelled by eye. gestures_wild.toml has the labels. The photographs and the boxes of their
hands are in a folder with a hands.json. Synthetic images are folders that `sonjit synth` wrote with the commands in the
recipe `gestures`. For these, only the hand shape counts, not its direction, and hands close to a gesture are excluded.
"""

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
from sonjit.gestures.classifier import LEAST_SCORE, aligned, load_gestures
from sonjit.media import open_source
from sonjit.results.measures.hands import palm_frame
from sonjit_lab.metrics.detection import box_iou
from sonjit_lab.training.alphabets import shipped_gestures
from sonjit_lab.training.gesture_data import DetectedHands, detect_hands, posed_joints

LABELS = Path(__file__).with_name("gestures_wild.toml")
LEAST_OVERLAP = 0.3
"""Minimum IoU of a detected hand and its label."""


def judge(hands, labelled, gestures, either):
    """Return (number, label or None, name or None) of each detected clear hand of a photograph."""
    rows = []
    for hand in hands:
        shares = [box_iou(hand.box, label["box"]) for label in labelled]
        number = max(range(len(shares)), key=shares.__getitem__, default=None)
        if number is None or shares[number] < LEAST_OVERLAP or not labelled[number]["clear"] or number in either:
            continue
        rows.append((number, gestures.get(str(number)), name_of(hand)))
    return rows


def judge_photographs(folder, labels):
    """Return (file, number, label, name) for each clear hand in the photographs of a folder."""
    rows, files = [], json.loads((folder / "hands.json").read_text("utf-8"))
    with create_detector("hands", static_image=True, max_instances=20) as detector:
        for file, entry in files.items():
            if not file.startswith("_") and any(hand["clear"] for hand in entry["hands"]):
                own = labels["gestures"].get(file, {}), labels["either"].get(file, [])
                rows += [(file, *row) for row in judge(detector.detect(folder / file), entry["hands"], *own)]
    return rows


def judge_clips(folder, labels):
    """Return (file, frames, label, hand) for each hand in labelled frames, tracked from the start of the clip."""
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
    correct = others = false = frames = rest = 0
    shapes = [label.split("_")[0] if label.startswith("Pointing") else label for _, _, label, _ in rows]
    for clip in {file for file, *_ in rows}:
        hands_by_name = {}
        for name, (file, _, _, hand) in zip(shapes, rows, strict=True):
            if file == clip:
                hands_by_name.setdefault(name, []).append(hand)
        spread = {name: hands[:: -(-len(hands) // EXAMPLES)] for name, hands in hands_by_name.items()}
        taught = CustomGestures.learn([GestureRecording.of(name, hands) for name, hands in spread.items()])
        for name, (file, _, _, hand) in zip(shapes, rows, strict=True):
            if file == clip:
                continue
            predicted = taught(hand)
            frames, rest = frames + (name in hands_by_name), rest + (name not in hands_by_name)
            correct += predicted is not None and predicted.name == name
            others += predicted is not None and predicted.name != name and name in hands_by_name
            false += predicted is not None and name not in hands_by_name
    return (
        f"trained on another clip: {correct} of {frames} correct, {others} as another gesture; "
        f"{false} of {rest} other hands as a gesture"
    )


ERRORS = (0, 0.03, 0.05, 0.08, 0.2)
"""Bounds of the table's rows: mean keypoint error relative to the extent of the hand."""
EDGE_ON_DEG = (0, 30, 60, 75, 90)
"""Bounds of the table's rows: angle between the palm and the image plane."""


def rendered_hands(folders):
    """Return `DetectedHands` of folders that `sonjit synth` wrote, without free hands that are nearly a gesture."""
    exemplars = posed_joints(4, 10, 1, np.random.default_rng(0))
    return DetectedHands.concatenate([detect_hands(folder) for folder in folders]).unambiguous(exemplars)


def judge_renders(hands):
    """Return lines of a table: numbers of hands with and without a gesture, and shares right, wrong and false."""
    alphabet, classifier = shipped_gestures(), load_gestures()
    shape, probabilities = hands.shapes(alphabet), classifier.probabilities(hands.features(), hands.appearance)
    predicted = np.where(probabilities.max(1) >= LEAST_SCORE, probabilities.argmax(1), 0)
    errors, edge_on = hands.errors(), edge_on_deg(hands.true_keypoints_3d)
    yield line("all", shape, predicted)
    for name, values, bounds in (("error", errors, ERRORS), ("edge-on", edge_on, EDGE_ON_DEG)):
        for low, high in pairwise(bounds):
            inside = (values >= low) & (values < high)
            yield line(f"{name} {low}-{high}", shape[inside], predicted[inside])
    for index, name in enumerate(classifier.vocabulary.shapes):
        others = Counter(predicted[(shape == index) & (predicted != index)].tolist()).most_common(3)
        confused = ", ".join(f"{classifier.vocabulary.shapes[other]} {count}" for other, count in others)
        own = predicted[shape == index]
        yield f"  {name}: {np.mean(own == index):.0%} of {len(own)}; otherwise {confused}"


CHOICES, TAUGHT, EXAMPLES = 12, 3, 20


def judge_taught(examples, hands):
    """Return lines on custom gestures: poses without a shipped gesture, trained and tested on other hands."""
    makes_none = examples.shapes(shipped_gestures()) == 0
    known = np.intersect1d(examples.pose[makes_none], hands.pose)
    known, shape = known[known != "any"], hands.shapes(shipped_gestures())
    others = {"with a shipped gesture": shape > 0, "in other named poses": np.isin(hands.pose, known)}
    others["in random poses"] = hands.pose == "any"
    rng, counts, seconds = np.random.default_rng(0), Counter(), 0.0
    for _ in range(CHOICES):
        names = rng.choice(known, TAUGHT, replace=False)
        recordings = []
        for name in names:
            chosen = examples.take(rng.permutation(np.flatnonzero(examples.pose == name))[:EXAMPLES])
            points = aligned(np.stack([chosen.keypoints, chosen.keypoints_3d], 1), chosen.left)
            recordings.append(GestureRecording(name, points.astype(np.float16)))
        began = time.process_time()
        taught = CustomGestures.learn(recordings)
        seconds = max(seconds, time.process_time() - began)
        predicted = np.array(
            [gesture and gesture.name for gesture in taught.classify(load_gestures().whiten(hands.features()))]
        )
        is_chosen = np.isin(hands.pose, names)
        counts.update(chosen=is_chosen.sum(), correct=(predicted == hands.pose)[is_chosen].sum())
        for kind, rows in others.items():
            counts.update(
                {kind: (rows & ~is_chosen).sum(), f"{kind}, false": (predicted != None)[rows & ~is_chosen].sum()}  # noqa: E711
            )
    correct = f"{counts['correct'] / counts['chosen']:.1%} of {counts['chosen']}"
    yield f"custom gestures, {CHOICES} times {TAUGHT}: {correct} correct"
    for kind in others:
        yield f"  hands {kind}: {counts[f'{kind}, false'] / counts[kind]:.1%} of {counts[kind]} as a custom gesture"
    yield f"  training time at most {seconds:.3f} s on one core"


def edge_on_deg(metres):
    """Return the angle (N,) in degrees between palm or back and the image plane, from keypoints (N, 21, 3)."""
    normal, sight = palm_frame(metres)[..., 2], metres[:, 9]
    cosine = (normal * sight).sum(1) / np.linalg.norm(sight, axis=1)
    return np.degrees(np.arccos(np.abs(cosine).clip(0, 1)))


def line(name, shape, predicted):
    """Return one line of the table."""
    has_gesture, is_correct = shape > 0, predicted == shape
    wrong = (predicted[has_gesture] > 0) & ~is_correct[has_gesture]
    shares = is_correct, is_correct[has_gesture], wrong, predicted[~has_gesture] > 0
    all_correct, correct, other, false = (f"{np.mean(share):.1%}" if len(share) else "-" for share in shares)
    counts = f"{np.sum(has_gesture)} with a gesture, {np.sum(~has_gesture)} without"
    return (
        f"{name} ({counts}): {all_correct} correct; gestures {correct}, as another {other}; none as a gesture {false}"
    )


def name_of(hand):
    """Return the name of the gesture of a hand, or None."""
    gesture = gesture_of(hand)
    return gesture and gesture.name


def share(values):
    """Return a count such as `7 of 10`."""
    return f"{sum(values)} of {len(values)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, nargs="?", help="a folder with a hands.json")
    parser.add_argument("clips", type=Path, nargs="?", help="a folder of the labelled clips")
    parser.add_argument("--rendered", type=Path, nargs="+", default=[], help="folders that sonjit synth wrote")
    parser.add_argument(
        "--taught", type=Path, nargs="+", default=[], help="folders of sonjit synth that train custom gestures"
    )
    options = parser.parse_args()
    if options.taught and not options.rendered:
        parser.error("--taught requires --rendered")
    if options.rendered:
        hands = rendered_hands(options.rendered)
        print("\n".join(judge_renders(hands)))
        if options.taught:
            print("\n".join(judge_taught(rendered_hands(options.taught), hands)))
    if not options.photographs:
        return
    labels = tomllib.loads(LABELS.read_text("utf-8"))
    rows = judge_photographs(options.photographs, labels)
    correct = [label == name for _, _, label, name in rows if label]
    quiet = [name is None for _, _, label, name in rows if not label]
    print(f"photographs: correct gestures {share(correct)}; hands without a gesture {share(quiet)}")
    for file, number, label, name in rows:
        if label != name:
            print(f"  {file} hand {number}: predicted {name}, label {label}")
    if options.clips:
        rows = judge_clips(options.clips, labels)
        predictions = [(f"{file} {frames}", label, name_of(hand)) for file, frames, label, hand in rows]
        correct = [label == name for _, label, name in predictions]
        wrong = [name is not None and label != name for _, label, name in predictions]
        print(f"clips: correct frames {share(correct)}; frames with another gesture {share(wrong)}")
        for (place, label, name), count in Counter(row for row in predictions if row[1] != row[2]).items():
            print(f"  {place}: predicted {name}, label {label}, in {count} frames")
        print(judge_taught_by_clips(rows))


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"gestures.py: {error}")
