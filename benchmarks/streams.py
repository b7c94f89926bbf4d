"""Compare search="fast" and "auto" in clips, frame by frame.

`python benchmarks/streams.py CLIP... --kind hands` counts frames with an instance, duplicates, IDs, and the slowest
frame. A JSON file with the clip's name adds misses, false detections, wrong sides and ID switches. With `--empty`,
every detection is a phantom. `--labels` shows labelled photographs (folders) as clips of a second, and counts the
labels that are found, by class, and false detections.
`crossings.py` measures crossing hands.
"""

import argparse
import json
import sys
import time
from collections import Counter
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
from accuracy import measure
from rich.console import Console
from rich.table import Table
from speed.run import drifting

from sonjit import SonjitError, create_detector
from sonjit.media import open_source
from sonjit_lab.datasets import open_dataset
from sonjit_lab.evaluation.detection import assign

SEARCHES = ("fast", "auto")
SETTLE = 3
"""Frames at the start whose time does not count: networks are loaded there."""
HALF_SECOND = 15
MOMENTS = 0, HALF_SECOND, 2 * HALF_SECOND
"""Frames in which labels are counted."""
FAR = 0.25
"""Longest side of a far person, relative to that of the image."""


def frames_of(path, options):
    """Return [(seconds, RGB)] of a clip, subsampled."""
    frames = []
    with open_source(path) as source:
        for _, seconds, rgb in source:
            if not options.fps or seconds >= len(frames) / options.fps - 1e-6:
                frames.append((seconds, rgb))
    return frames


def duplicates(results):
    """Count the pairs in which most of the smaller instance lies inside the other."""
    parts = [(one.left_hand, one.right_hand) if hasattr(one, "left_hand") else (one,) for one in results]
    boxes = [np.reshape(part.box, (2, 2)) for both in parts for part in both if part is not None]
    pairs = 0
    for i, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[:i]:
            shared = np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None).prod()
            pairs += shared > 0.5 * min((high - low).prod(), (other_high - other_low).prod())
    return pairs


def run(frames, options):
    """Return by search the results and shortest times (s) of each frame over all runs."""
    found, seconds = {}, {search: np.full(len(frames), np.inf) for search in SEARCHES}
    for _ in range(options.runs):
        detectors = {
            search: create_detector(options.kind, search=search, max_instances=options.max_instances)
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


def describe(found, seconds, truth, options):
    """Return the metrics of one search on one clip."""
    shown = sum(bool(results) for results in found)
    figures = {
        "frames": len(found),
        "phantoms" if options.empty else "with an instance": shown,
        "with duplicates": sum(duplicates(results) > 0 for results in found),
        "ids": len({result.id for results in found for result in results}),
        "worst frame ms": 1000 * seconds[SETTLE:].max(),
        "median ms": 1000 * float(np.median(seconds[SETTLE:])),
    }
    return figures if truth is None else figures | hand_figures(plain_hands(found), truth)


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


def truth_of(clip, frames, options):
    """Return the ground truth of a clip of synthetic hands, or None."""
    path = clip.with_suffix(".json")
    if options.kind != "hands" or not path.is_file():
        return None
    truth = json.loads(path.read_text())
    by_time = {round(frame["time"], 3): frame for frame in truth["frames"]}
    return truth | {"frames": [by_time[round(seconds, 3)] for seconds, _ in frames]}


def labelled_clip(sample, options):
    """Return the frames of a photograph shown as a clip, each with its offset (x, y) in the photograph."""
    rgb = sample.rgb()
    if options.repeat:
        return [(rgb, np.zeros(2))] * (MOMENTS[-1] + 1)
    places = drifting(np.moveaxis(np.indices(rgb.shape[:2]), 0, -1)[..., ::-1])
    frames = zip(drifting(rgb), places, strict=True)
    return [(np.ascontiguousarray(frame), place[0, 0]) for frame, place in islice(frames, MOMENTS[-1] + 1)]


def labels_of(sample, kind):
    """Return the labels of a kind as (box, class or None if unclear), and the areas of crowds."""
    labels, crowds = [], []
    for instance, following in zip_longest(sample.instances, sample.instances[1:]):
        if instance.kind != kind:
            continue
        if instance.crowd:
            crowds.append(instance.bounds())
            continue
        x_min, y_min, x_max, y_max = box = instance.bounds()
        note = instance.extra.get("note", "")
        if not instance.extra.get("clear", True):
            name = None
        elif kind == "hand":
            name = "hand"
        elif max(x_max - x_min, y_max - y_min) < FAR * max(sample.width, sample.height) or note == "far":
            name = "far"
        elif following is not None and following.kind == "face" and following.extra["clear"]:
            name = "with a face"
        elif following is None or following.kind != "face" or "behind" in note:
            name = "from behind"
        else:
            name = "unclear face"
        labels.append((box, name))
    return labels, crowds


def count_labels(results, sample, kind, offset):
    """Return the number of labels, of found ones, and of false and duplicate detections, by class."""
    labels, crowds = labels_of(sample, kind)
    detections = []
    for result in results:
        low, high = np.reshape(getattr(result, "body", result).box, (2, 2)) + offset
        low, high = np.maximum(low, 0), np.minimum(high, (sample.width, sample.height))
        detections.append(((*low.tolist(), *high.tolist()), result.score))
    assigned = assign(detections, [box for box, _ in labels], crowds)
    found = Counter(labels[index][1] for index in assigned.found)
    return found + Counter({"false": len(assigned.false), "duplicate": len(assigned.doubled)})


def print_labels(options, console):
    """Print how many labels of photographs are found in stills and in clips, by class."""
    kind = {"hands": "hand", "body": "body"}[options.kind]
    totals, clear, worst = {}, Counter(), {search: [] for search in SEARCHES}
    shared = {"max_instances": options.max_instances or 20}
    still = create_detector(options.kind, static_image=True, **shared)
    detectors = {search: create_detector(options.kind, search=search, **shared) for search in SEARCHES}
    for folder in options.media:
        for sample in open_dataset("photographs", folder):
            labels = [name for _, name in labels_of(sample, kind)[0] if name] if kind in sample.tags["labelled"] else []
            if not labels or (options.only and not {*labels} & {*options.only}):
                continue
            clear.update(labels)
            row = {"still": count_labels(still.detect(sample.rgb()), sample, kind, np.zeros(2))}
            clip, slowest = labelled_clip(sample, options), {}
            for search, detector in detectors.items():
                detector.reset()
                times = []
                for number, (rgb, offset) in enumerate(clip):
                    start = time.process_time()
                    results = detector.detect(rgb, time=number / 30)
                    times.append(time.process_time() - start)
                    if number in MOMENTS:
                        row[f"{search}, {number / 30:.1f} s"] = count_labels(results, sample, kind, offset)
                slowest[search] = len(results), 1000 * max(times[SETTLE:])
            if len({count for count, _ in slowest.values()}) == 1:
                for search, (_, milliseconds) in slowest.items():
                    worst[search].append(milliseconds)
            for name, counts in row.items():
                totals.setdefault(name, Counter()).update(counts)
    table = Table("", *(f"{name} ({clear[name]})" for name in clear), "false", "duplicate", box=None)
    for row, total in totals.items():
        table.add_row(row, *(str(total[name]) for name in (*clear, "false", "duplicate")))
    console.print(table)
    for search, times in worst.items():
        if times:
            name = f"{search}: slowest frame of {len(times)} clips with equal numbers of tracks"
            print(f"{name}: median {np.median(times):.0f} ms, maximum {max(times):.0f} ms CPU")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path, nargs="+")
    parser.add_argument("--kind", default="hands", choices=["hands", "face", "body", "holistic"])
    parser.add_argument("--max-instances", type=int)
    parser.add_argument("--fps", type=float, help="frames per second, below those of the clip")
    parser.add_argument("--empty", action="store_true", help="the clips contain no instance of the kind")
    parser.add_argument("--repeat", action="store_true", help="with --labels: show the same image in every frame")
    parser.add_argument("--runs", type=int, default=1, help="runs of each clip; the shortest time of a frame counts")
    parser.add_argument("--labels", action="store_true", help="media are folders of labelled photographs")
    parser.add_argument("--only", nargs="+", help="with --labels: photographs with one of these classes")
    options = parser.parse_args()
    console = Console(width=200)
    if options.labels:
        print_labels(options, console)
        return
    rows = []
    for clip in options.media:
        frames = frames_of(clip, options)
        found, seconds = run(frames, options)
        truth = truth_of(clip, frames, options)
        rows += [(clip, search, describe(found[search], seconds[search], truth, options)) for search in SEARCHES]
    table = Table("clip", "search", *rows[0][2], box=None)
    for clip, search, figures in rows:
        cells = (f"{value:.1f}" if isinstance(value, float) else str(value) for value in figures.values())
        table.add_row(f"{clip.parent.name}/{clip.name}", search, *cells)
    console.print(table)


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"streams.py: {error}")
