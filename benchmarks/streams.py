"""What a search finds in clips, frame by frame: with search="fast" and "auto" by turns.

`python benchmarks/streams.py CLIP... --kind hands` counts frames with an instance, doubled ones, ids, the worst frame;
a JSON file of the clip's name beside it adds what is missed, false, on the wrong side, and id switches.
`--empty` says that the clips show none: whatever is found is a phantom. `--stills` shows images as drifting clips and
says how soon what is found in the end was there. `--cross` cuts the person out of each image and lets every two of them
walk past each other, each once in front: what is missed of who is half seen, wrong ids, and what is neither of the two.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import islice, permutations
from pathlib import Path

import cv2
import numpy as np
from accuracy import measure
from rich.console import Console
from rich.table import Table

from sonjit import SonjitError, create_detector
from sonjit.benchmark.cases import drifting
from sonjit.media import open_source, rgb_from

SEARCHES = ("fast", "auto")
SETTLE = 3
"""Frames at the start whose time does not count: networks are loaded there."""
HALF_SECOND = 15
STILL_FRAMES = 60
CROSSING = 960, 540
"""Size in pixels of the clips in which two people cross."""
PERSON_PX = 460
CROSSING_S = 3.0
TORSO = [0, 11, 12, 23, 24]
"""Of the body's keypoints the nose, shoulders and hips."""
AT_PLACE, APART = 0.15, 0.3
"""Mean distance of these, in the person's height, within which a body is that person, and of two who are told apart."""


def frames_of(path, options):
    """[(seconds, RGB)] of a clip, cropped, mirrored and thinned out as asked for."""
    frames = []
    with open_source(path) as source:
        for _, seconds, rgb in source:
            if options.fps and seconds < len(frames) / options.fps - 1e-6:
                continue
            if options.crop:
                height, width = rgb.shape[:2]
                rgb = rgb[height // 8 : -height // 8, width // 8 : -width // 8]
                rgb = cv2.resize(rgb, (640, round(640 * rgb.shape[0] / rgb.shape[1])))
            frames.append((seconds, np.ascontiguousarray(rgb[:, ::-1] if options.mirror else rgb)))
    return frames


def parts_of(result):
    """Hands, face and body of a result that has several, else itself."""
    if not hasattr(result, "left_hand"):
        return [result]
    return [part for part in (result.left_hand, result.right_hand) if part is not None]


def keypoints(instance):
    return instance.keypoints[:, :2]


def doubled(results):
    """Pairs of which the smaller one lies to more than half in the other."""
    boxes = [(keypoints(part).min(axis=0), keypoints(part).max(axis=0)) for one in results for part in parts_of(one)]
    pairs = 0
    for i, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[:i]:
            shared = np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None).prod()
            pairs += shared > 0.5 * min((high - low).prod(), (other_high - other_low).prod())
    return pairs


def run(frames, options):
    """Per search the results of each frame and its least time in seconds over the runs."""
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
    """The figures of one search on one clip."""
    shown = sum(bool(results) for results in found)
    figures = {
        "frames": len(found),
        "phantoms" if options.empty else "with an instance": shown,
        "doubled": sum(doubled(results) > 0 for results in found),
        "ids": len({result.id for results in found for result in results}),
        "worst frame ms": 1000 * seconds[SETTLE:].max(),
        "median ms": 1000 * float(np.median(seconds[SETTLE:])),
    }
    if truth is not None:
        told = [
            [{"handedness": hand.handedness, "id": hand.id, "xy": keypoints(hand).tolist()} for hand in hands]
            for hands in found
        ]
        measured = measure(told, truth)
        wrong = round(measured["found"] * (1 - measured["right side %"] / 100))
        figures |= {name: measured[name] for name in ("visible", "missed", "false", "id switches")}
        figures["wrong side"] = wrong
    return figures


def truth_of(clip, frames, options):
    """The labels of a clip of rendered hands, or None."""
    path = clip.with_suffix(".json")
    if options.kind != "hands" or options.crop or options.mirror or not path.is_file():
        return None
    truth = json.loads(path.read_text())
    by_time = {round(frame["time"], 3): frame for frame in truth["frames"]}
    return truth | {"frames": [by_time[round(seconds, 3)] for seconds, _ in frames]}


def soon(image, options):
    """How many are found in an image shown as a clip: per search after half a second, and in the end."""
    rgb = rgb_from(str(image))
    clip = [(i / 30, frame) for i, frame in enumerate(islice(drifting(rgb), STILL_FRAMES))]
    found, _ = run(clip, options)
    return {search: (len(found[search][HALF_SECOND]), len(found[search][-1])) for search in SEARCHES}


def cut_out(image):
    """The person of an image: colours and opacity (H, W, 4)."""
    rgb = rgb_from(str(image))
    with create_detector("body", static_image=True, segmentation=True, max_instances=1) as detector:
        found = detector.detect(rgb)
    if not found:
        raise SonjitError(f"{image}: nobody is found; give images of one person")
    _, labels, stats, _ = cv2.connectedComponentsWithStats((found[0].mask > 0.5).astype(np.uint8))
    person = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    x, y, width, height = stats[person, :4]
    opacity = cv2.GaussianBlur((labels == person).astype(np.uint8) * 255, (5, 5), 0)
    cut = np.dstack([rgb, opacity])[y : y + height, x : x + width]
    return cv2.resize(cut, (round(PERSON_PX * width / height), PERSON_PX), interpolation=cv2.INTER_AREA)


def backdrop():
    """Soft patches of colour, the same every time."""
    patches = np.random.default_rng(0).integers(60, 190, (9, 16, 3)).astype(np.uint8)
    return cv2.resize(patches, CROSSING, interpolation=cv2.INTER_CUBIC)


def paste(image, person, x):
    """Put a person on an image, the middle at x, and say where it is opaque (H, W)."""
    shift = np.float32([[1, 0, x - person.shape[1] / 2], [0, 1, CROSSING[1] - PERSON_PX]])
    moved = cv2.warpAffine(person, shift, CROSSING)
    opacity = moved[..., 3:] / 255
    image[:] = image * (1 - opacity) + moved[..., :3] * opacity
    return moved[..., 3] > 127


def crossing(behind, front, options):
    """Frames of two people who cross, as (seconds, RGB); in each the two places and the share seen of the hind one."""
    count, frames, truth = round(CROSSING_S * (options.fps or 30)), [], []
    for number in range(count):
        along = 0.2 + 0.6 * number / (count - 1)
        image, places = backdrop(), (CROSSING[0] * along, CROSSING[0] * (1 - along))
        hind, fore = paste(image, behind, places[0]), paste(image, front, places[1])
        frames.append((number / (options.fps or 30), image))
        truth.append((places, (hind & ~fore).sum() / hind.sum()))
    return frames, truth


def body_alone(person):
    """Nose, shoulders and hips (5, 2) of a person alone, from the middle of the cut-out on."""
    image = backdrop()
    paste(image, person, CROSSING[0] / 2)
    with create_detector("body", static_image=True, max_instances=1) as detector:
        (found,) = detector.detect(image)
    return keypoints(found)[TORSO] - (CROSSING[0] / 2, 0)


def describe_crossing(found, truth, alone):
    """How late each is found; then missed ones of those half seen, other ids where they are apart, finds of neither."""
    ids, late, missed, wrong, false = [None, None], 0, 0, 0, 0
    for results, (places, seen) in zip(found, truth, strict=True):
        wanted = [body + np.array([x, 0]) for body, x in zip(alone, places, strict=True)]
        bodies = [keypoints(getattr(one, "body", one))[TORSO] for one in results]
        away = [[np.linalg.norm(one - body, axis=1).mean() / PERSON_PX for one in bodies] for body in wanted]
        false += sum(bool(min(row[i] for row in away) > AT_PLACE) for i in range(len(bodies)))
        apart = np.linalg.norm(wanted[0] - wanted[1], axis=1).mean() > APART * PERSON_PX
        for person, row in enumerate(away):
            if not row or min(row) > AT_PLACE:
                late += ids[person] is None
                missed += ids[person] is not None and bool(person == 1 or seen > 0.5)
            elif apart:
                id = results[int(np.argmin(row))].id
                ids[person] = ids[person] or id
                wrong += id != ids[person]
    return {"frames": len(found), "late": late, "missed": missed, "wrong id": wrong, "false": false}


def tell_crossings(options, console):
    """Every two of the images' people, each once in front, and the sum over all."""
    people = {image.stem: cut_out(image) for image in options.media}
    alone = {name: body_alone(person) for name, person in people.items()}
    rows, totals = [], {}
    for behind, front in permutations(people, 2):
        frames, truth = crossing(people[behind], people[front], options)
        found, _ = run(frames, options)
        for search in SEARCHES:
            figures = describe_crossing(found[search], truth, (alone[behind], alone[front]))
            rows.append((f"{front} before {behind}", search, figures))
            totals[search] = {name: totals.get(search, {}).get(name, 0) + value for name, value in figures.items()}
    if options.json:
        print(json.dumps([{"crossing": name, "search": search, **figures} for name, search, figures in rows]))
        return
    rows += [("all", search, figures) for search, figures in totals.items()]
    table = Table("crossing", "search", *rows[0][2], box=None)
    for name, search, figures in rows:
        table.add_row(name, search, *map(str, figures.values()))
    console.print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path, nargs="+")
    parser.add_argument("--kind", default="hands", choices=["hands", "face", "body", "holistic"])
    parser.add_argument("--max-instances", type=int)
    parser.add_argument("--fps", type=float, help="fewer frames a second")
    parser.add_argument("--crop", action="store_true", help="to the middle three quarters, 640 px wide")
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--empty", action="store_true", help="the clips show none of the kind")
    parser.add_argument("--stills", action="store_true", help="media are images")
    parser.add_argument("--cross", action="store_true", help="media are images of one person each, who cross")
    parser.add_argument("--json", action="store_true", help="of --cross")
    parser.add_argument("--runs", type=int, default=1, help="of each clip; a frame's least time counts")
    options = parser.parse_args()
    console = Console(width=200)
    if options.json and not options.cross:
        parser.error("--json is for --cross")
    if options.cross:
        if options.kind not in ("body", "holistic"):
            parser.error("--cross is for --kind body and holistic")
        options.max_instances = options.max_instances or 2
        tell_crossings(options, console)
        return
    if options.stills:
        found = {image.name: soon(image, options) for image in options.media}
        table = Table("image", *(f"{search}: half a second, in the end" for search in SEARCHES), box=None)
        for name, row in found.items():
            table.add_row(name, *(f"{row[search][0]}, {row[search][1]}" for search in SEARCHES))
        totals = ([sum(row[search][i] for row in found.values()) for i in (0, 1)] for search in SEARCHES)
        table.add_row("all", *(f"{early}, {late}" for early, late in totals))
        console.print(table)
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
