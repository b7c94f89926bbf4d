"""Count the errors of `sonjit.media.cuts.Scenes` in joined clips.

`PYTHONPATH=benchmarks python research/cuts.py FOLDER` joins each pair of the clips in FOLDER/clips by a cut, a
dissolve of half a second and a second of black, and adds flashes and fast pans to each clip. The clips are in two
halves as those of `streams.py`, and settings are chosen on the tuned half.
"""

import argparse
from collections import Counter
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from streams import HALVES, half_of

from sonjit.media import open_source
from sonjit.media.cuts import Scenes

SIZE = 320, 180
LENGTH = 45
"""Number of frames of each part."""
FPS = 30
DISSOLVE, BLACK = 15, 30
"""Numbers of frames of a dissolve and of black images."""
CASES = "cuts", "dissolves", "black", "clips", "flashes", "pans"
PAN_PX = 24
"""Shift of a fast pan between two frames, in pixels of images of `SIZE`."""


def parts(path):
    """Return the first frames of a clip."""
    with open_source(path) as source:
        return [cv2.resize(frame.rgb, SIZE, interpolation=cv2.INTER_AREA) for frame in islice(source, LENGTH)]


def mixed(before, after):
    """Return the frames of a dissolve between two images."""
    shares = (np.arange(DISSOLVE) + 1) / (DISSOLVE + 1)
    return [cv2.addWeighted(before, 1 - share, after, share, 0) for share in shares]


def flashed(frames):
    """Return frames with a flash in one of them."""
    bright = np.clip(frames[20].astype(np.float32) * 1.6 + 70, 0, 255).astype(np.uint8)
    return [*frames[:20], bright, *frames[21:]]


def panned(frames):
    """Return a fast pan over an image."""
    wide = cv2.resize(frames[0], (3 * SIZE[0], 3 * SIZE[1]))
    steps = range(0, wide.shape[1] - SIZE[0], PAN_PX)
    return [np.ascontiguousarray(wide[SIZE[1] : 2 * SIZE[1], x : x + SIZE[0]]) for x in steps]


def scenes_of(frames):
    """Return the number of the scene of each frame."""
    scenes = Scenes()
    return [scenes.number(rgb, number / FPS) for number, rgb in enumerate(frames)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    clips = {path.stem: parts(path) for path in sorted((options.folder / "clips").glob("*.mp4"))}
    counts = {half: Counter() for half in HALVES}
    for half, found in counts.items():
        own = [frames for name, frames in clips.items() if half_of(name) == half]
        for frames in own:
            for case, shown in (("clips", frames), ("flashes", flashed(frames)), ("pans", panned(frames))):
                found[case] += len(set(scenes_of(shown))) > 1
                found[f"{case}, of"] += 1
        for before in own:
            for after in own:
                if before is after:
                    continue
                black = [np.zeros_like(after[0])] * BLACK
                joints = {"cuts": [], "dissolves": mixed(before[-1], after[0]), "black": black}
                for case, between in joints.items():
                    numbers = scenes_of([*before, *between, *after])
                    is_late = numbers[len(before) + len(between)] == 1 and case != "dissolves"
                    found[case] += is_late or numbers[-1] == 1
                    found[f"{case}, of"] += 1
    table = Table("", *CASES, box=None)
    for half, found in counts.items():
        table.add_row(half, *(f"{found[case]} of {found[f'{case}, of']}" for case in CASES))
    print("Missed new scenes after cuts, dissolves and black images; false ones in clips, flashes and pans:")
    Console().print(table)


if __name__ == "__main__":
    main()
