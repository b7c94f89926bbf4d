"""How often the gesture is right in photographs and clips that were labelled by eye, and none is said of other hands.

The labels are in gestures_wild.toml beside this file; the photographs and the boxes of their hands in a folder with a
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections import Counter
from pathlib import Path

from sonjit import SonjitError, create_detector
from sonjit.gestures import gesture_of
from sonjit.media import open_source
from sonjit.metrics.localization import box_iou

LABELS = Path(__file__).with_name("gestures_wild.toml")
LEAST_OVERLAP = 0.3
"""Of the box of a hand found and that of a labelled one, from which they are the same."""


def judge(hands, labelled, gestures, either):
    """(number, label or None, name or None) of each clear hand of one photograph that is found."""
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
    """(file and frames, label, name or None) of each hand in labelled frames, followed from the clip's beginning."""
    rows = []
    for file, ranges in labels["clips"].items():
        with create_detector("hands", max_instances=1) as detector, open_source(str(folder / file)) as source:
            for index, time, rgb in source:
                hands = detector.detect(rgb, time=time)
                for first, last, label in ranges:
                    if first <= index <= last:
                        rows += [(f"{file} {first}-{last}", label, name_of(hand)) for hand in hands]
    return rows


def name_of(hand):
    """The gesture's name, or None."""
    gesture = gesture_of(hand)
    return gesture and gesture.name


def share(values):
    """Such as `7 of 10`."""
    return f"{sum(values)} of {len(values)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, help="a folder with a hands.json")
    parser.add_argument("clips", type=Path, nargs="?", help="a folder of the labelled clips")
    options = parser.parse_args()
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
        right = [label == name for _, label, name in rows]
        wrong = [name is not None and label != name for _, label, name in rows]
        print(f"clips: frames told right {share(right)}; told as another {share(wrong)}")
        for (place, label, name), count in Counter(row for row in rows if row[1] != row[2]).items():
            print(f"  {place}: {label} was told as {name} in {count} frames")


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"gestures.py: {error}")
