"""Compare the evaluation of boxes, masks and keypoints in COCO's format with pycocotools, which it requires.

    python benchmarks/official_coco.py

`sonjit eval --predictions` and pycocotools evaluate the same generated files. Prints a table in Markdown. The exit
status is 1 if a value differs by more than the tolerance.
"""

import argparse
import contextlib
import importlib
import io
import json
import math
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from official_metrics import Row, print_table

from sonjit.cli import main as sonjit

coco, cocoeval, masks = (importlib.import_module(f"pycocotools.{name}") for name in ("coco", "cocoeval", "mask"))
SIDE, IMAGES, OBJECTS = 400, 6, 3
FILES = {"coco-instances": "instances_val2017", "coco-keypoints": "person_keypoints_val2017"}
STATS = {
    "box": ("bbox", {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar100": 8}),
    "mask": ("segm", {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar100": 8}),
    "body": ("keypoints", {"ap": 0, "ap50": 1, "ap75": 2, "ap_medium": 3, "ap_large": 4, "ar": 5}),
}
"""Type of evaluation and the places of statistics in pycocotools, by the part of Sonjit's names."""
POLYGONS = (
    [[0, 0, 1, 0, 1, 0.4, 0.4, 0.4, 0.4, 1, 0, 1]],
    [[0, 0, 0.2, 0, 0.2, 0.8, 0.8, 0.8, 0.8, 0, 1, 0, 1, 1, 0, 1]],
    [[0, 0, 1, 1, 1, 0, 0, 1]],
    [[0.1, 0.1, 0.11, 0.1, 0.11, 0.11], [0.3, 0.3, 2.5, 0.4, 1.5, 2.6]],
)
"""Concave, crossing, tiny and reaching polygons of one or two parts, in shares of a box."""


def generate(protocol, rng):
    """Return images whose ids are the numbers of other names, objects, and a noisy result for each object."""
    ids = [900 - 7 * number for number in range(IMAGES)]
    images = [{"id": own, "file_name": f"{own - 7:012}.jpg", "width": SIDE, "height": SIDE} for own in ids]
    labels, results = [], []
    for number in range(IMAGES * OBJECTS):
        both = {"image_id": ids[number // OBJECTS], "category_id": 1}
        corner, size = rng.uniform(0, 200, 2), rng.uniform(30, 190, 2)
        row = both | {"id": number + 1, "iscrowd": 0, "bbox": [*corner, *size], "area": size.prod()}
        found = both | {"score": rng.uniform(0.1, 1)}
        if protocol == "coco-instances":
            shape = [np.reshape(part, (-1, 2)) * size + corner for part in POLYGONS[number % len(POLYGONS)]]
            row["segmentation"] = [part.ravel().tolist() for part in shape]
            moved = [(part + rng.normal(0, 5, part.shape)).ravel().tolist() for part in shape]
            found |= {"segmentation": packed(moved), "bbox": np.abs(row["bbox"] + rng.normal(0, 9, 4)).tolist()}
        else:
            points, flags = rng.uniform(corner, corner + size, (17, 2)), rng.choice([0, 1, 2], 17)
            row |= {"keypoints": np.c_[points, flags].ravel().tolist(), "num_keypoints": int((flags > 0).sum())}
            found["keypoints"] = np.c_[points + rng.normal(0, 4, points.shape), np.ones(17)].ravel().tolist()
        labels.append(row)
        results.append(found)
    return images, labels, results


def packed(polygons):
    """Return the mask of polygons as COCO's compressed run lengths."""
    runs = masks.merge(masks.frPyObjects(polygons, SIDE, SIDE))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def plain(runs):
    """Return compressed run lengths as a list of numbers."""
    pixels = np.concatenate([[0], masks.decode(runs).T.ravel(), [2]]).astype(int)
    return {"size": runs["size"], "counts": np.diff([0, *np.flatnonzero(np.diff(pixels))]).tolist()}


def cases(protocol, seed):
    """Return images, labels and results by the name of their difficulty."""
    images, labels, results = generate(protocol, np.random.default_rng(seed))

    def some(rows, **change):
        return [row if number % 4 else row | change for number, row in enumerate(rows)]

    found = {
        "ids that differ from the names": (images, labels, results),
        "no results": (images, labels, []),
        "equal scores": (images, labels, [row | {"score": 0.5} for row in results]),
        "other order, five times": (images[::-1], labels, results[::-1] * 5),
        "images without objects": (images, labels[: OBJECTS * 3], results),
        "crowds": (images, some(labels, iscrowd=1), results),
        "results of another category": (images, labels, some(results, category_id=7)),
        "small objects": (images, some(labels, area=400.0), results),
        "areas at the limits": (images, some(some(labels, area=9216)[::-1], area=1024), results),
        "more results than count": (images, labels, results * 40),
    }
    if protocol == "coco-instances":
        exact = [packed(row["segmentation"]) for row in labels]
        empty = {"size": [SIDE, SIDE], "counts": [SIDE * SIDE]}
        found |= {
            name: (images, truth, answers)
            for name, truth, answers in (
                ("polygons, equal masks", labels, [row | {"segmentation": m} for row, m in zip(results, exact)]),  # noqa: B905
                ("run lengths", [row | {"segmentation": plain(m)} for row, m in zip(labels, exact)], results),  # noqa: B905
                ("masks without boxes", labels, [{k: v for k, v in row.items() if k != "bbox"} for row in results]),
                ("empty masks", labels, some(results, segmentation=empty)),
                ("objects without extent", some(labels, bbox=[5.0, 5.0, 0.0, 3.0]), results),
            )
        }
    return found


def official(protocol, data, results):
    """Return the statistics of pycocotools in per cent by Sonjit's names; NaN for its -1."""
    truth, found, values = coco.COCO(), coco.COCO(), {}
    for item, rows in ((truth, data["annotations"]), (found, [])):
        item.dataset = json.loads(json.dumps(data | {"annotations": rows}))
        item.createIndex()
    found = truth.loadRes(json.loads(json.dumps(results))) if results else found
    for part in ("box", "mask") if protocol == "coco-instances" else ("body",):
        kind, places = STATS[part]
        evaluated = cocoeval.COCOeval(truth, found, kind)
        for step in ("evaluate", "accumulate", "summarize"):
            getattr(evaluated, step)()
        stats = {name: evaluated.stats[place] for name, place in places.items()}
        values |= {f"{part}_{name}": math.nan if value == -1 else 100 * value for name, value in stats.items()}
    return values


def own(protocol, data, results, folder):
    """Return Sonjit's metrics in per cent."""
    for part in ("annotations", "val2017"):
        (folder / part).mkdir()
    for image in data["images"]:
        cv2.imwrite(str(folder / "val2017" / image["file_name"]), np.zeros((SIDE, SIDE, 3), np.uint8))
    (folder / f"annotations/{FILES[protocol]}.json").write_text(json.dumps(data))
    (folder / "results.json").write_text(json.dumps(results))
    words = f"eval --protocol {protocol} --data coco --split val2017 --root {folder}"
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        if sonjit([*words.split(), f"--predictions={folder / 'results.json'}", f"--out={folder / 'out'}"]):
            raise SystemExit(errors.getvalue())
    (run,) = json.loads((folder / "out/eval.json").read_text())["runs"]
    return {item["name"]: math.nan if item["value"] is None else item["value"] for item in run["metrics"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=3)
    seed = parser.parse_args().seed
    rows = []
    for protocol in FILES:
        for case, (images, labels, results) in cases(protocol, seed).items():
            data = {"images": images, "annotations": labels, "categories": [{"id": 1, "name": "person"}]}
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                mine, theirs = own(protocol, data, results, Path(folder)), official(protocol, data, results)
            rows += [Row(protocol, case, name, theirs[name], mine[name]) for name in theirs if name in mine]
    return print_table(rows)


if __name__ == "__main__":
    sys.exit(main())
