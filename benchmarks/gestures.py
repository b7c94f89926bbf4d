"""How often the gesture is right on clips with exact truth, with and without the smoother.

A frame of a hand counts where its true pose is steady (no finger moves) and clearly one gesture: the pose is judged by
the angles of the true joints, with another rule than the library's and wide gaps between yes and no.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from importlib.resources import files
from itertools import groupby
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from sonjit import SonjitError, create_detector
from sonjit.measures import GestureSmoother, finger_curl_rad, gesture_of, pinch_distance_m
from sonjit.media import open_source

STEADY_RAD_S = 0.3
"""Faster than this, the sum of a finger's bends is on the move."""
SHORTEST_S = 0.2
STRAIGHT_RAD, CURLED_RAD = 0.8, 3.2
THUMB_STRAIGHT_RAD, THUMB_CURLED_RAD = 0.7, 1.3
PINCHED_M = 0.02
UPRIGHT_RAD, SIDEWAYS_RAD = math.radians(30), math.radians(60)
NEAR_PX = 40
"""A found hand belongs to a true one when their keypoints lie this near on average."""

FINGERS_OUT = {  # thumb, index, middle, ring, pinky: 1 straight, 0 curled
    "11111": "open",
    "00000": "fist",
    "01000": "point",
    "01100": "victory",
    "01110": "three",
    "01111": "four",
    "11001": "i_love_you",
    "10001": "call_me",
}


def clear_gesture(xyz_m, xy_px):
    """The gesture of one true pose (21, 3) and (21, 2), or "" where it is not clearly one."""
    curl = finger_curl_rad(xyz_m)
    straight = curl < np.array([THUMB_STRAIGHT_RAD] + [STRAIGHT_RAD] * 4)
    curled = curl > np.array([THUMB_CURLED_RAD] + [CURLED_RAD] * 4)
    if pinch_distance_m(xyz_m)[0] < PINCHED_M and straight[2:].all():
        return "ok"
    if not (straight | curled).all():
        return ""
    out = "".join(str(int(one)) for one in straight)
    if out != "10000":
        return FINGERS_OUT.get(out, "none")
    x, y = xy_px[4] - xy_px[2]
    tilt = math.atan2(abs(x), -y)
    if tilt < UPRIGHT_RAD:
        return "thumb_up"
    if math.pi - tilt < UPRIGHT_RAD:
        return "thumb_down"
    return "none" if SIDEWAYS_RAD < tilt < math.pi - SIDEWAYS_RAD else ""


def stretches(frames):
    """(handedness, gesture, first, last) of every steady stretch of the truth, frames inclusive."""
    found = []
    for side in ("Left", "Right"):
        poses = [next((hand for hand in frame["hands"] if hand["handedness"] == side), None) for frame in frames]
        curls = np.array([finger_curl_rad(np.array(p["xyz_m"])) if p else np.full(5, np.nan) for p in poses])
        times = np.array([frame["time"] for frame in frames])
        with np.errstate(invalid="ignore"):
            steady = (np.abs(np.gradient(curls, times, axis=0)) < STEADY_RAD_S).all(axis=1)
        labels = [
            clear_gesture(np.array(pose["xyz_m"]), np.array(pose["xy"])) if pose and still else ""
            for pose, still in zip(poses, steady, strict=True)
        ]
        for label, run in groupby(range(len(frames)), key=labels.__getitem__):
            run = list(run)
            if label and times[run[-1]] - times[run[0]] >= SHORTEST_S:
                found.append((side, label, run[0], run[-1]))
    return sorted(found, key=lambda stretch: stretch[2])


def overlap(hands):
    """Whether the boxes of two true hands meet: then one may hide the other."""
    if len(hands) < 2:
        return False
    a, b = (np.array(hand["xy"]) for hand in hands)
    return bool(((a.min(axis=0) < b.max(axis=0)) & (b.min(axis=0) < a.max(axis=0))).all())


def in_image(hand, width, height):
    """Whether every keypoint of a true hand is in the image."""
    xy = np.array(hand["xy"])
    return bool(((xy >= 0) & (xy < (width, height))).all())


def judge(clip, model):
    """Steady stretches of a clip, and for each of their frames (gesture, raw answer or None, smoothed, overlap)."""
    truth = json.loads(clip.with_suffix(".json").read_text("utf-8"))
    labelled = stretches(truth["frames"])
    wanted = {(side, i): label for side, label, first, last in labelled for i in range(first, last + 1)}
    smoother, rows = GestureSmoother(), []
    with create_detector("hands", model=model, max_instances=2) as detector, open_source(str(clip)) as source:
        for index, time, rgb in source:
            hands = detector.detect(rgb, time=time)
            steady = smoother(hands, time)
            covered = overlap(truth["frames"][index]["hands"])
            for true in truth["frames"][index]["hands"]:
                label = wanted.get((true["handedness"], index))
                if label is None or not in_image(true, truth["width"], truth["height"]):
                    continue
                offsets = [np.abs(hand.keypoints[:, :2] - true["xy"]).mean() for hand in hands]
                if not offsets or min(offsets) > NEAR_PX:
                    rows.append((label, None, None, covered))
                    continue
                nearest = int(np.argmin(offsets))
                rows.append((label, gesture_of(hands[nearest]).name, steady[nearest].name, covered))
    return labelled, rows


def alone(rows):
    """The rows that judge the rules and not the detector: found, with no other hand in front."""
    return [row for row in rows if row[1] is not None and not row[3]]


def percent(rows, which):
    """Share of the rows whose answer (1 raw, 2 smoothed) is right."""
    return f"{100 * np.mean([row[which] == row[0] for row in rows]):.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    bundled = Path(str(files("sonjit") / "assets" / "demo.mp4"))
    parser.add_argument(
        "clips", nargs="*", type=Path, default=[bundled], help="videos with the truth in a .json beside"
    )
    parser.add_argument("--model", choices=["full", "lite"], default="full")
    parser.add_argument("--least", type=float, help="exit 1 where the smoothed share is below this percentage")
    options = parser.parse_args()
    console, total = Console(width=120), []
    for clip in options.clips:
        labelled, rows = judge(clip, options.model)
        total += rows
        console.print(f"\n{clip}: {len(labelled)} steady stretches, {len(rows)} frames of hands")
        console.print(
            "  ".join(f"{side[0]} {name} {first}-{last}" for side, name, first, last in labelled), style="dim"
        )
        table = Table("gesture", box=None, pad_edge=False)
        for heading in ("frames", "not found", "right, %", "smoothed, %"):
            table.add_column(heading, justify="right")
        table.add_column("instead")
        groups = defaultdict(list)
        for row in rows:
            groups[row[0]].append(row)
        for name, group in [*sorted(groups.items()), ("all", rows), ("all, found and apart", alone(rows))]:
            wrong = defaultdict(int)
            for row in group:
                if row[1] not in (None, row[0]):
                    wrong[row[1]] += 1
            instead = ", ".join(f"{other} {n}" for other, n in sorted(wrong.items(), key=lambda item: -item[1]))
            lost = sum(row[1] is None for row in group)
            table.add_row(name, str(len(group)), str(lost), percent(group, 1), percent(group, 2), instead)
        console.print(table)
    for name, rows in (("all clips", total), ("found and apart", alone(total))):
        console.print(f"\n{name}: {len(rows)} frames, right {percent(rows, 1)} %, smoothed {percent(rows, 2)} %")
    if options.least is not None and float(percent(total, 2)) < options.least:
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"gestures.py: {error}")
