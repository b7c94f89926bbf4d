"""Measure detection and keypoint errors of Sonjit, and optionally MediaPipe, on a clip with ground truth."""

import argparse
import json
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from speed.run import check_peer, run_worker, save_clip

from sonjit._util.errors import SonjitError

ASSETS = Path(__file__).parents[1] / "src" / "sonjit" / "_util" / "assets"
WRIST, MIDDLE_MCP = 0, 9


def measure(frames, truth):
    """Return the metrics of a library.

    A hand is visible if all 21 keypoints lie in the image. Each detection is assigned to the nearest true hand by mean
    keypoint distance, up to one palm length. Other detections are false, except at a hand that the edge cuts.

    Args:
        frames: Detections of each frame, as lists of {"handedness", "id", "xy"}.
        truth: JSON of the clip: width, height, frames[].hands[] with handedness and xy (21 x 2 px), and a name if
            several hands have the same side.
    """
    size = np.array([truth["width"], truth["height"]])
    visible = correct_side = false = 0
    errors, ids = [], {}
    for found, frame in zip(frames, truth["frames"], strict=True):
        hands = [(hand["handedness"], np.array(hand["xy"])) for hand in frame["hands"]]
        names = [hand.get("name", hand["handedness"]) for hand in frame["hands"]]
        complete = [bool(((xy >= 0) & (xy < size)).all()) for _, xy in hands]
        visible += sum(complete)
        matches = match([np.array(hand["xy"]) for hand in found], [xy for _, xy in hands])
        false += len(found) - len(matches)
        for i, j in matches:
            side, xy = hands[j]
            ids.setdefault(names[j], []).append(found[i]["id"])
            if complete[j]:
                correct_side += found[i]["handedness"] == side
                errors.append(np.linalg.norm(np.array(found[i]["xy"]) - xy, axis=1) / palm_length(xy) * 100)
    count = len(errors)
    spread = np.concatenate(errors) if errors else np.array([np.nan])
    tracked = any(number is not None for numbers in ids.values() for number in numbers)
    return {
        "visible": visible,
        "found": count,
        "missed": visible - count,
        "false": false,
        "correct side %": 100 * correct_side / max(count, 1),
        "mean error, % of palm": float(spread.mean()),
        "p95 error, % of palm": float(np.percentile(spread, 95)),
        "id switches": sum(a != b for numbers in ids.values() for a, b in pairwise(numbers)) if tracked else None,
    }


def match(found, true):
    """Return pairs of indices (found, true), nearest first, each index at most once."""
    pairs = sorted(
        (np.linalg.norm(a - b, axis=1).mean() / palm_length(b), i, j)
        for i, a in enumerate(found)
        for j, b in enumerate(true)
    )
    matches = []
    for distance, i, j in pairs:
        if distance <= 1 and all(i != k and j != m for k, m in matches):
            matches.append((i, j))
    return matches


def palm_length(xy):
    """Return the distance from the wrist to the middle finger's knuckle in pixels."""
    return max(float(np.linalg.norm(xy[MIDDLE_MCP] - xy[WRIST])), 1.0)


def detections(python, library, frames, count, **options):
    """Return the hands of each frame in an .npy file, which a library of a Python interpreter finds."""
    job = {"task": "find", "kind": "hands", "frames": str(frames), "count": count, "model": "full", "threads": None}
    return run_worker(python, json.dumps(job | {"max_instances": 2, "library": library} | options))["frames"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=ASSETS / "demo.mp4")
    parser.add_argument("--truth", type=Path, default=ASSETS / "demo.json")
    parser.add_argument("--peer", help="a Python interpreter that has mediapipe.solutions")
    parser.add_argument("--model", choices=["full", "lite"], default="full")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--keypoints", choices=["refined", "published"], default="published")
    parser.add_argument("--stills", action="store_true", help="detect in every frame without tracking")
    parser.add_argument("--save", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    truth = json.loads(options.truth.read_text())
    sides = {f"sonjit {options.precision}": (sys.executable, "sonjit")}
    if options.peer:
        check_peer(options.peer)
        sides["mediapipe"] = (options.peer, "solutions")
    given = {name: getattr(options, name) for name in ("model", "precision", "keypoints")}
    outcome, count = {}, len(truth["frames"])
    with tempfile.TemporaryDirectory(prefix="sonjit-accuracy-") as folder:
        clip = Path(folder) / "clip.npy"
        save_clip(options.media, clip, count)
        for name, (python, library) in sides.items():
            found = detections(python, library, clip, count, static_image=options.stills, **given)
            outcome[name] = measure(found, truth)
    table = Table("", *outcome, box=None, pad_edge=False)
    for figure in next(iter(outcome.values())):
        values = (side[figure] for side in outcome.values())
        table.add_row(figure, *("-" if v is None else f"{v:.2f}" if isinstance(v, float) else str(v) for v in values))
    mode = "stills" if options.stills else "tracked"
    Console().print(f"{options.media.name}, {count} frames, {mode}, model {options.model}", table)
    if options.save:
        options.save.write_text(json.dumps(outcome, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"accuracy.py: {error}")
