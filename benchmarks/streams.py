"""Measure what is found in labelled clips: recall, precision, identities, lateness and time of each search.

`python benchmarks/streams.py FOLDER` reads `labels.json` and `clips/NAME.mp4` in a folder and prints a table per kind.
The labels are boxes of hands, faces and bodies with identities in some frames of each clip. `--runs FOLDER` keeps the
results of each clip, so that several processes can share the work and a later run only prints.

A detection is the box around its keypoints in the image. It fits a label by an IoU of 0.4, or with its centre in the
label and a ratio of the longer sides of 0.5 to 2. The best fits count, one to one. Another detection that fits a label
is doubled, one in an area to ignore does not count, and any other is a phantom. A switch is another ID than in the
labelled frame before in which the instance was found. Of the frames between two such labelled frames, those without its
ID are lost. An instance is late if its first ID appears after its first label.

`--peer PYTHON` adds MediaPipe's solutions of an interpreter that has `mediapipe==0.10.21`, with the same frames, models
and maximum of instances. They give no IDs, so that detections with an IoU of 0.3 in two frames in a row have the same
one. Their processor time includes the decoding by Sonjit.

`--stills COUNT` also compares each recording with COUNT of its frames as single pictures. An instance of at least 0.9
and 24 px that the recording shows neither in that frame nor in those next to it is lacking. Clips need no labels for
it, so that a folder without `labels.json` counts too.

Clips are in two halves by a hash of their names, and settings are chosen on the tuned one. `--settings NAME=FOLDER`
compares settings by the kept results of `--runs`. Each clip is judged by the setting that is best on all other clips:
found labels minus false detections, switches and lacking instances.
"""

import argparse
import hashlib
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from pages import measured_with, write_section
from rich.console import Console
from rich.table import Table
from speed.run import check_peer, run_worker

from sonjit import SonjitError, create_detector, track
from sonjit._util.files import write_text
from sonjit.detectors.create import detector_for_input
from sonjit.detectors.options import RECORDING_INSTANCES
from sonjit.geometry.boxes import box_iou
from sonjit.media import open_source

KINDS = {"hands": ("hand", "hands"), "face": ("face", "faces"), "body": ("body", "bodies")}
"""Kind of the labels and list of the results, by kind of the detector."""
HALVES = ("tuned", "left out")
SUMMARY = ("found", "precision", "switches", "late, s", "CPU ms", "relative")
MIN_IOU, SIZES = 0.4, (0.5, 2.0)
PEER, MODELS, LINKED_IOU = "mediapipe", {"hands": "full", "face": "attention", "body": "full"}, 0.3
LATE_S = 0.1
"""Time from which an instance is late."""
STILL, STILL_PX = 0.9, 24.0
"""Probability and size of an instance of a still from which a recording must show it."""


@dataclass
class Figures:
    """Counts of one search in one or more clips."""

    counts: Counter = field(default_factory=Counter)
    late_s: list = field(default_factory=list)  # seconds from the first label of each found instance to its first frame
    cpu_ms: list = field(default_factory=list)  # processor time per frame of each clip
    relative: list = field(default_factory=list)  # the same, relative to the first search

    def add(self, other):
        """Add the figures of another clip."""
        self.counts.update(other.counts)
        self.late_s += other.late_s
        self.cpu_ms += other.cpu_ms
        self.relative += other.relative


def half_of(name):
    """Return the half of a clip."""
    return HALVES[hashlib.sha256(name.encode()).digest()[0] % 2]


def is_centre_in(box, other):
    """Check whether the centre of a box lies in another one."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return other[0] <= x <= other[2] and other[1] <= y <= other[3]


def fits(box, label):
    """Check whether a detection fits a label."""
    if box_iou(box, label) >= MIN_IOU:
        return True
    sides = [max(each[2] - each[0], each[3] - each[1]) for each in (box, label)]
    return is_centre_in(box, label) and SIZES[0] <= sides[0] / max(sides[1], 1e-6) <= SIZES[1]


def assign(boxes, labels):
    """Return the detection of each found label, and what the other detections are."""
    counted = [number for number, label in enumerate(labels) if not label["ignore"]]
    pairs = [
        (box_iou(box, labels[number]["box"]), index, number)
        for index, box in enumerate(boxes)
        for number in counted
        if fits(box, labels[number]["box"])
    ]
    found = {}
    for _, index, number in sorted(pairs, reverse=True):
        if number not in found and index not in found.values():
            found[number] = index
    others = {}
    for index, box in enumerate(boxes):
        if index in found.values():
            continue
        if any(each["ignore"] and (fits(box, each["box"]) or is_centre_in(box, each["box"])) for each in labels):
            others[index] = "ignored"
        elif any(fits(box, labels[number]["box"]) for number in counted):
            others[index] = "doubled"
        else:
            others[index] = "phantom"
    return found, others


def figures_of(clip, frames, kind, problems=None):
    """Return the figures of the detections in each frame of a clip. `problems` gets a line for each error."""
    label_kind, _ = KINDS[kind]
    figures, states = Figures(), defaultdict(dict)
    counts = figures.counts
    problems = [] if problems is None else problems
    for number, key_frame in enumerate(clip["key_frames"]):
        labels = [each for each in key_frame["instances"] if each["kind"] == label_kind]
        detections = frames[key_frame["frame"]]
        found, others = assign([each["box"] for each in detections], labels)
        where = f"{clip['name']} {kind} frame {key_frame['frame']}"
        for index, label in enumerate(labels):
            name = label["id"], label["side"] if kind == "hands" else None
            if label["ignore"]:
                states[name][number] = "ignored", None
                continue
            counts["labels"] += 1
            if index not in found:
                states[name][number] = "missed", None
                problems.append(f"{where}: missed {name} {[round(x) for x in label['box']]}")
                continue
            detection = detections[found[index]]
            counts["found"] += 1
            states[name][number] = "found", detection["id"]
            if kind == "hands" and label["side"]:
                counts["sided"] += 1
                counts["right side"] += detection["side"] == label["side"]
        for index, what in others.items():
            counts[what] += 1
            if what != "ignored":
                problems.append(
                    f"{where}: {what} {detections[index]['id']} {[round(x) for x in detections[index]['box']]}"
                )
    first_frames = {}
    for index, detections in enumerate(frames):
        for each in detections:
            first_frames.setdefault(each["id"], index)
    for name, seen in states.items():
        _add_identity(figures, clip, frames, name, seen, first_frames, problems)
    return figures


def _add_identity(figures, clip, frames, name, seen, first_frames, problems):
    """Add switches, lost frames and lateness of one instance with states by labelled frame."""
    counts, key_frames = figures.counts, clip["key_frames"]
    found = [(number, own) for number, (state, own) in sorted(seen.items()) if state == "found"]
    for (before, old), (after, new) in pairwise(found):
        if all(seen.get(number, ("absent",))[0] == "missed" for number in range(before + 1, after)):
            counts["pairs"] += 1
            counts["switches"] += old != new
            if old != new:
                problems.append(f"{clip['name']} frame {key_frames[after]['frame']}: switch of {name} {old} to {new}")
        if after == before + 1:
            between = range(key_frames[before]["frame"] + 1, key_frames[after]["frame"])
            lost = sum(not any(each["id"] in (old, new) for each in frames[index]) for index in between)
            counts["between"] += len(between)
            counts["lost"] += lost
    labelled = [number for number, (state, _) in seen.items() if state != "ignored"]
    if found and labelled:
        start = min(first_frames[own] for _, own in found)
        late_s = max((start - key_frames[min(labelled)]["frame"]) / clip["fps"], 0.0)
        figures.late_s.append(late_s)
        if late_s > LATE_S:
            problems.append(f"{clip['name']}: {name} late by {late_s:.1f} s")


@cache
def loaded(kind, search):
    """Return a detector for recordings that has loaded its networks."""
    return detector_for_input(kind, {"search": search}, "video")


def run(clip, folder, kind, search):
    """Return the detections in each frame of a clip, and the processor time in seconds."""
    _, list_name = KINDS[kind]
    path, detector = folder / "clips" / f"{clip['name']}.mp4", loaded(kind, search)
    with open_source(path) as source:
        first = [(frame.rgb, frame.time) for frame in islice(source, 2)]
    detector.reset()  # of the clip before
    list(detector.detect_frames(first))  # networks are loaded when they are first used
    detector.reset()
    frames = [[] for _ in range(clip["frames"])]
    start_s = time.process_time()
    with closing(track(path, detector)) as tracked:
        for frame in tracked:
            for result in getattr(frame, list_name):
                side = result.handedness if kind == "hands" else None
                row = {"id": result.id, "box": _box(result, clip), "side": side, "score": float(result.score)}
                frames[frame.index].append(row)
    return {"frames": frames, "cpu_s": time.process_time() - start_s}


def found_by_peer(images, kind, python):
    """Return what MediaPipe finds in images (H, W, 3) in a row, as a worker of `benchmarks/speed` returns it."""
    with tempfile.TemporaryDirectory(prefix="sonjit-streams-") as folder:
        path = Path(folder) / "clip.npy"
        with path.open("wb") as file:
            for image in images:
                np.save(file, image)
        job = {"task": "find", "library": "solutions", "frames": str(path), "count": len(images), "kind": kind}
        job |= {"model": MODELS[kind], "max_instances": RECORDING_INSTANCES, "static_image": False}
        return run_worker(python, json.dumps(job))


def run_peer(clip, folder, kind, python):
    """Return the detections of MediaPipe in each frame of a clip, and the processor time in seconds with decoding."""
    start_s = time.process_time()
    with open_source(folder / "clips" / f"{clip['name']}.mp4") as source:
        images = [frame.rgb for frame in source]
    decoding_s = time.process_time() - start_s
    found = found_by_peer(images, kind, python)
    frames, ids = [], itertools.count(1)
    for instances in found["frames"]:
        before, rows = list(frames[-1]) if frames else [], []
        for instance in instances:
            points = np.array(instance["xy"]).clip((0, 0), (clip["width"], clip["height"]))
            box = [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]
            linked = max(before, key=lambda other: box_iou(other["box"], box), default=None)
            if linked is not None and box_iou(linked["box"], box) >= LINKED_IOU:
                before.remove(linked)
            else:
                linked = {"id": next(ids)}
            rows.append({"id": linked["id"], "box": box, "side": instance["handedness"], "score": 1.0})
        frames.append(rows)
    return {"frames": frames, "cpu_s": decoding_s + found["cpu_s"]}


@cache
def still_detector(kind):
    """Return a detector that searches single pictures, with as many instances as recordings."""
    return create_detector(kind, static_image=True, max_instances=RECORDING_INSTANCES)


def find_in_stills(clip, folder, kind, count):
    """Return the boxes of certain instances in some frames of a clip as single pictures, by the index of the frame."""
    chosen = set(np.linspace(2, max(clip["frames"] - 3, 2), count).astype(int).tolist())
    found = {}
    with open_source(folder / "clips" / f"{clip['name']}.mp4") as source:
        for frame in source:
            if frame.index in chosen:
                instances = still_detector(kind).detect(frame.rgb)
                boxes = [_box(item, clip) for item in instances if item.score >= STILL]
                found[frame.index] = [box for box in boxes if max(box[2] - box[0], box[3] - box[1]) >= STILL_PX]
    return found


def count_lacking(frames, stills):
    """Return the counts of instances of stills, and of those that the frames of a recording lack."""
    counts = Counter()
    for index, boxes in stills.items():
        near = [each["box"] for shown in frames[max(int(index) - 1, 0) : int(index) + 2] for each in shown]
        counts["in stills"] += len(boxes)
        counts["lacking"] += sum(not any(fits(own, box) for own in near) for box in boxes)
    return counts


def _box(result, clip):
    """Return the box around the keypoints of a result, inside the image of a clip."""
    points = result.keypoints[:, :2].clip((0, 0), (clip["width"], clip["height"]))
    return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


def results_of(clip, folder, kind, search, options):
    """Return the results of a clip, from an earlier run if it kept them."""
    kept = options.runs / f"{clip['name']}.{kind}.{search}.json"
    results = json.loads(kept.read_text()) if kept.is_file() else None
    if results is None and search == PEER:
        results = run_peer(clip, folder, kind, options.peer)
    elif results is None:
        results = run(clip, folder, kind, search)
    if options.stills and search != PEER and "stills" not in results:
        results["stills"] = find_in_stills(clip, folder, kind, options.stills)
    write_text(kept, json.dumps(results))
    return results


def clips_of(folder):
    """Return the clips of a folder: those of its labels, and the other files of `clips` without labels."""
    labels = folder / "labels.json"
    clips = json.loads(labels.read_text())["clips"] if labels.is_file() else []
    names = {clip["name"] for clip in clips}
    for path in sorted((folder / "clips").glob("*.mp4")):
        if path.stem not in names:
            with open_source(path) as source:
                frames = [frame.rgb.shape for frame in source]
            (height, width, _), count = frames[0], len(frames)
            clips.append({"name": path.stem, "width": width, "height": height, "frames": count, "key_frames": []})
    return clips


def judge_left_out(clips, options):
    """Print the figures of settings on all clips, and of each clip by the setting that is best on all others.

    With `--write`, also write them into the page.
    """
    settings = dict(item.split("=", 1) for item in options.settings)
    columns = ("", "found", "%", "precision", "switches", "lost", "lacking", "CPU ms")
    lines = [f"| {' | '.join(('', 'clips', 'setting', *columns[1:]))} |", f"|{' --- |' * (len(columns) + 2)}"]
    for kind in options.kinds:
        own = defaultdict(dict)
        for name, folder in settings.items():
            for clip, _ in clips:
                kept = Path(folder) / f"{clip['name']}.{kind}.auto.json"
                if kept.is_file():
                    results = json.loads(kept.read_text())
                    figures = figures_of(clip, results["frames"], kind)
                    figures.counts.update(count_lacking(results["frames"], results.get("stills", {})))
                    figures.cpu_ms = [1000 * results["cpu_s"] / clip["frames"]]
                    own[clip["name"]][name] = figures
        own = {clip: figures for clip, figures in own.items() if len(figures) == len(settings)}
        gains = {clip: {name: _gain(each.counts) for name, each in figures.items()} for clip, figures in own.items()}
        totals = defaultdict(Figures)
        for clip, figures in own.items():
            others = {name: sum(gain[name] for other, gain in gains.items() if other != clip) for name in settings}
            totals["each clip by the setting of the others"].add(figures[max(others, key=others.get)])
            for name, each in figures.items():
                totals[name].add(each)
        rows = [[name, *_settings_row(figures)] for name, figures in totals.items()]
        show(f"{kind}, {len(own)} clips", columns, rows)
        lines += [f"| {KINDS[kind][1]} | {len(own)} | {' | '.join(row)} |" for row in rows]
    if options.write:
        command = "python benchmarks/streams.py FOLDERS --settings NAME=FOLDER ... --write"
        mark = "python benchmarks/streams.py --settings --write"
        write_section("measured.md", mark, "\n".join([*lines, "", measured_with(command, "one thread")]))


def _gain(counts):
    return counts["found"] - counts["doubled"] - counts["phantom"] - counts["switches"] - counts["lacking"]


def _settings_row(figures):
    counts, cells = figures.counts, row_of(figures)
    return [*cells[:3], cells[6], cells[7], f"{counts['lacking']} of {counts['in stills']}", cells[-2]]


def row_of(figures):
    """Return the cells of a row."""
    counts = figures.counts
    shown = counts["found"] + counts["doubled"] + counts["phantom"]
    late = [late_s for late_s in figures.late_s if late_s > LATE_S]
    return [
        f"{counts['found']}/{counts['labels']}",
        _percent(counts["found"], counts["labels"]),
        _percent(counts["found"], shown),
        str(counts["doubled"]),
        str(counts["phantom"]),
        _percent(counts["right side"], counts["sided"]),
        f"{counts['switches']} of {counts['pairs']}",
        _percent(counts["lost"], counts["between"]),
        f"{len(late)} of {len(figures.late_s)}, {max(figures.late_s, default=0):.1f}",
        f"{statistics.fmean(figures.cpu_ms):.1f}",
        f"{statistics.fmean(figures.relative):.2f}" if figures.relative else "",
    ]


def _percent(part, of):
    return f"{100 * part / of:.0f} %" if of else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="each with clips/, and labels.json if they have labels")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument(
        "--searches", nargs="*", default=["fast", "auto"], help="times are relative to the first one; none with --peer"
    )
    parser.add_argument("--clips", nargs="+", help="names of the clips")
    parser.add_argument("--half", choices=HALVES, help="only the clips of one half")
    parser.add_argument("--runs", type=Path, help="folder that keeps the results of each clip")
    parser.add_argument("--stills", type=int, default=0, metavar="COUNT", help="frames of each clip as single pictures")
    parser.add_argument("--settings", nargs="+", metavar="NAME=FOLDER", help="kept results of settings to compare")
    parser.add_argument("--per-clip", action="store_true", help="also print a row for each clip")
    parser.add_argument("--problems", action="store_true", help="print each miss, phantom and switch")
    parser.add_argument("--markdown", action="store_true", help="print tables of Markdown")
    parser.add_argument("--write", action="store_true", help="write the main figures into docs/measured.md")
    parser.add_argument("--peer", help="also measure MediaPipe, of a Python interpreter that has mediapipe.solutions")
    options = parser.parse_args()
    if options.peer:
        check_peer(options.peer)
        options.searches.append(PEER)
    clips = [
        (clip, folder)
        for folder in options.folders
        for clip in clips_of(folder)
        if (not options.clips or clip["name"] in options.clips) and options.half in (None, half_of(clip["name"]))
    ]
    if options.settings:
        judge_left_out(clips, options)
        return
    with tempfile.TemporaryDirectory(prefix="sonjit-streams-") as folder:
        options.runs = options.runs or Path(folder)
        options.runs.mkdir(parents=True, exist_ok=True)
        compare(clips, options)


def compare(clips, options):
    """Print the tables of the searches, and write their figures into the page if asked for."""
    columns = (
        "",
        "found",
        "%",
        "precision",
        "doubled",
        "phantoms",
        "sides",
        "switches",
        "lost",
        "late, s",
        "CPU ms",
        "relative",
        *(("lacking",) if options.stills else ()),
    )
    summaries = []
    for kind in options.kinds:
        rows, totals = [], defaultdict(Figures)
        for clip, folder in clips:
            own = {}
            for search in options.searches:
                results, problems = results_of(clip, folder, kind, search, options), []
                own[search] = figures_of(clip, results["frames"], kind, problems)
                own[search].counts.update(count_lacking(results["frames"], results.get("stills", {})))
                own[search].cpu_ms = [1000 * results["cpu_s"] / clip["frames"]]
                own[search].relative = [own[search].cpu_ms[0] / own[options.searches[0]].cpu_ms[0]]
                for group in ("all", half_of(clip["name"])):
                    totals[search, group].add(own[search])
                if options.problems:
                    print(*(f"{search}: {line}" for line in problems), sep="\n")
                if options.per_clip:
                    rows.append([f"{clip['name']}, {search}", *_cells(own[search], options)])
        rows += [[f"{group}, {search}", *_cells(each, options)] for (search, group), each in sorted(totals.items())]
        show(kind, columns, rows, markdown=options.markdown)
        summaries += [(search, summary_of(KINDS[kind][1], search, totals)) for search in options.searches]
    for is_peer in (False, True) if options.write else ():
        rows = [row for search, row in summaries if (search == PEER) == is_peer]
        if rows:
            figures = SUMMARY[:-1] if is_peer else SUMMARY
            head = f"| | search | {' | '.join(f'{figure}, {half}' for half in HALVES for figure in figures)} |"
            command = f"python benchmarks/streams.py FOLDER{' --peer PYTHON' if is_peer else ''} --write"
            lines = [
                head,
                f"|{' --- |' * (2 + len(HALVES) * len(figures))}",
                *rows,
                "",
                measured_with(command, "MediaPipe's threads" if is_peer else "one thread"),
            ]
            mark = f"python benchmarks/streams.py{' --peer' if is_peer else ''} --write"
            write_section("measured.md", mark, "\n".join(lines))


def _cells(figures, options):
    counts = figures.counts
    lacking = [f"{counts['lacking']} of {counts['in stills']}"] if options.stills else []
    return [*row_of(figures), *lacking]


def summary_of(title, search, totals):
    """Return the row of one search of a kind in the page, with the figures of both halves."""
    cells = []
    for half in HALVES:
        _, percent, precision, *_, switches, _, late, cpu_ms, relative = row_of(totals[search, half])
        cells += [percent, precision, switches, late, cpu_ms, *(() if search == PEER else (relative,))]
    return f"| {title} | {'MediaPipe' if search == PEER else f'`{search}`'} | {' | '.join(cells)} |"


def show(kind, columns, rows, *, markdown=False):
    """Print the rows of one kind."""
    if markdown:
        print(f"| {' | '.join((kind, *columns[1:]))} |\n|{' --- |' * len(columns)}")
        print(*(f"| {' | '.join(row)} |" for row in rows), sep="\n")
        return
    table = Table(kind, *columns[1:], box=None)
    for row in rows:
        table.add_row(*row)
    Console(width=160).print(table)


if __name__ == "__main__":
    try:
        main()
    except SonjitError as error:
        sys.exit(f"streams.py: {error}")
