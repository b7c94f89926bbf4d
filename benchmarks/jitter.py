"""Measure the jitter of keypoints in still scenes: labelled frames, each repeated with the noise of a sensor.

`python benchmarks/jitter.py FOLDER --peer PYTHON` reads a folder as `benchmarks/streams.py` does, and takes the middle
labelled frame of each clip. The jitter of an instance is the standard deviation of the x and y of its keypoints around
their means over nine frames, the median over the keypoints, relative to the longer side of its label. The table has the
medians over the instances that all find.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import numpy as np
from pages import measured_with, write_section
from speed.run import check_peer
from streams import KINDS, PEER, assign, found_by_peer

from sonjit import SonjitError
from sonjit.detectors.create import detector_for_input
from sonjit.media import open_source

SEARCHES = ("auto", "fast")
RATE, COUNT, WARM_UP, WINDOW = 30, 40, 10, 9
NOISE = 4.0
"""Standard deviation of the noise in grey levels."""
LEAST_SHARE = 0.7
"""Minimum share of the frames in which an instance is found."""


def noisy(rgb):
    """Return copies of an image (H, W, 3) with noise."""
    generator = np.random.default_rng(0)
    return [(rgb + generator.normal(0, NOISE, rgb.shape)).clip(0, 255).astype(np.uint8) for _ in range(COUNT)]


def found_by(kind, search, images, peer):
    """Return the keypoints (K, 2) of each instance in each image, in pixels."""
    if search != PEER:
        with closing(detector_for_input(kind, {"search": search}, "video")) as detector:
            timed = ((image, number / RATE) for number, image in enumerate(images))
            return [[result.keypoints[:, :2] for result in results] for results in detector.detect_frames(timed)]
    frames = found_by_peer(images, kind, peer)["frames"]
    return [[np.array(instance["xy"]) for instance in instances] for instances in frames]


def jitters(frames, labels, size):
    """Return the jitter of each label that is found in most frames, in per cent, by its number."""
    points = defaultdict(list)
    for instances in frames[WARM_UP:]:
        clipped = [each.clip((0, 0), size) for each in instances]
        boxes = [[*each.min(axis=0).tolist(), *each.max(axis=0).tolist()] for each in clipped]
        found, _ = assign(boxes, labels)
        for label, index in found.items():
            points[label].append(instances[index])
    result = {}
    for label, rows in points.items():
        if len(rows) >= LEAST_SHARE * (COUNT - WARM_UP):
            x0, y0, x1, y1 = labels[label]["box"]
            means = np.lib.stride_tricks.sliding_window_view(rows, WINDOW, axis=0).mean(axis=-1)
            away = np.array(rows)[WINDOW // 2 : -(WINDOW // 2)] - means
            result[label] = 100 * float(np.median(away.std(axis=0))) / max(x1 - x0, y1 - y0)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", required=True, help="a Python interpreter that has mediapipe.solutions")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--clips", nargs="+", help="names of the clips")
    parser.add_argument("--write", action="store_true", help="write the table into docs/measured.md")
    given = parser.parse_args()
    check_peer(given.peer)
    searches = (*SEARCHES, PEER)
    lines = [
        f"| | instances | {' | '.join(f'{search}, %' for search in searches)} | MediaPipe, relative |",
        f"|{' --- |' * (3 + len(searches))}",
    ]
    for kind in given.kinds:
        label_kind, title = KINDS[kind]
        rows = []
        for clip in json.loads((given.folder / "labels.json").read_text())["clips"]:
            key_frame = clip["key_frames"][len(clip["key_frames"]) // 2]
            labels = [each for each in key_frame["instances"] if each["kind"] == label_kind]
            if (given.clips and clip["name"] not in given.clips) or all(each["ignore"] for each in labels):
                continue
            with open_source(given.folder / "clips" / f"{clip['name']}.mp4") as source:
                images = noisy(next(frame.rgb for frame in source if frame.index == key_frame["frame"]))
            size = images[0].shape[1::-1]
            found = [jitters(found_by(kind, search, images, given.peer), labels, size) for search in searches]
            rows += [[each[label] for each in found] for label in sorted(set.intersection(*map(set, found)))]
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        cells = " | ".join(f"{median:.2f}" for median in medians)
        lines.append(f"| {title} | {len(rows)} | {cells} | {medians[-1] / medians[0]:.1f} |")
    lines += ["", measured_with("python benchmarks/jitter.py FOLDER --peer PYTHON --write")]
    print(*lines, sep="\n")
    if given.write:
        write_section("measured.md", "python benchmarks/jitter.py --write", "\n".join(lines))


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"jitter.py: {error}")
