"""Compare the evaluations of COCO's keypoints, objects and people's parts with COCO's released code.

    python benchmarks/official_coco.py

Requires the packages pycocotools and xtcocotools of the authors of COCO and COCO-WholeBody. Each result file is
evaluated by `sonjit eval --predictions` and by their code. Prints a table in Markdown. The exit status is 1 if a value
differs by more than the tolerance.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from official_metrics import Row, table  # pyright: ignore[reportImplicitRelativeImport]

from sonjit.cli import main as sonjit
from sonjit.lab.datasets import mask_from_segmentation, rle_from_mask
from sonjit.lab.evaluation.coco import part_sigmas

Record = dict[str, Any]
_IMAGES, _PEOPLE, _SIDE = 6, 3, 400
_PARTS = {"body": 17, "foot": 6, "face": 68, "lefthand": 21, "righthand": 21}
_FILES = {
    "coco-keypoints": "person_keypoints_val2017",
    "coco-instances": "instances_val2017",
    "coco-wholebody": "coco_wholebody_val_v1.0",
}
_STATS = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar")
_KEYPOINT_INDICES = (0, 1, 2, 3, 4, 5)  # indices of these statistics in keypoint results
_OBJECT_INDICES = (0, 1, 2, 4, 5, 8)  # and in object results


_POLYGONS = (
    [[(0, 0), (1, 0), (1, 0.4), (0.4, 0.4), (0.4, 1), (0, 1)]],
    [[(0, 0), (0.2, 0), (0.2, 0.8), (0.8, 0.8), (0.8, 0), (1, 0), (1, 1), (0, 1)]],
    [
        [
            (0.5, 0),
            (0.62, 0.35),
            (1, 0.38),
            (0.7, 0.6),
            (0.8, 1),
            (0.5, 0.75),
            (0.2, 1),
            (0.3, 0.6),
            (0, 0.38),
            (0.38, 0.35),
        ]
    ],
    [[(0, 0), (1, 1), (1, 0), (0, 1)]],
    [[(0.1, 0.1), (0.11, 0.1), (0.11, 0.11)], [(0.3, 0.3), (2.5, 0.4), (1.5, 2.6)]],
)
"""Concave, crossing, tiny and reaching polygons in shares of a box."""


@dataclass(frozen=True)
class Files:
    """Annotations in COCO's format, and results."""

    truth: Record
    results: list[Record]


def field(part: str) -> str:
    """Return the field with a part's keypoints."""
    return "keypoints" if part == "body" else f"{part}_kpts"


def generate(protocol: str, rng: np.random.Generator) -> Files:
    """Return images with three objects each, and one noisy result for each object."""
    annotations: list[Record] = []
    results: list[Record] = []
    for number in range(_IMAGES * _PEOPLE):
        image = 1 + number // _PEOPLE
        x, y = rng.uniform(0, 200, 2).round(2).tolist()
        wide, high = rng.uniform(30, 190, 2).round(2).tolist()
        category = 1 if protocol != "coco-instances" else 1 + number % 2
        row: Record = {"id": number + 1, "image_id": image, "category_id": category, "iscrowd": 0}
        row |= {"bbox": [x, y, wide, high], "area": wide * high}
        found: Record = {"image_id": image, "category_id": category, "score": round(float(rng.uniform(0.1, 1)), 3)}
        if protocol == "coco-instances":
            moved = np.array([x, y, wide, high]) + rng.normal(0, 9, 4)
            row["segmentation"] = rle_from_mask(_oval(*row["bbox"]))
            found["segmentation"] = rle_from_mask(_oval(*np.abs(moved)))
            found["bbox"] = np.abs(moved).round(2).tolist()
        else:
            for part, count in _PARTS.items():
                if part != "body" and protocol == "coco-keypoints":
                    continue
                points = np.column_stack([rng.uniform(x, x + wide, count), rng.uniform(y, y + high, count)])
                flags = np.where(rng.random(count) < 0.15, 0, rng.integers(1, 3, count))
                noise = rng.normal(0, 0.02 * math.sqrt(wide * high), points.shape)
                row[field(part)] = _flat(points, flags)
                found[field(part)] = _flat(points + noise, np.ones(count))
            row["num_keypoints"] = int(sum(flag > 0 for flag in row["keypoints"][2::3]))
            if protocol == "coco-wholebody":
                for part in ("foot", "face", "lefthand", "righthand"):
                    row[f"{part}_valid"] = True
                    row[f"{part}_box"] = row["bbox"]
        annotations.append(row)
        results.append(found)
    images = [
        {"id": number, "file_name": f"{number:012}.jpg", "width": _SIDE, "height": _SIDE}
        for number in range(1, _IMAGES + 1)
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}]
    count = 2 if protocol == "coco-instances" else 1
    return Files({"images": images, "annotations": annotations, "categories": categories[:count]}, results)


def _flat(points: NDArray[np.float64], flags: NDArray[Any]) -> list[float]:
    return np.column_stack([points.round(2), flags]).ravel().tolist()


def _oval(x: float, y: float, wide: float, high: float) -> NDArray[np.bool_]:
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    cv2.ellipse(mask, ((x + wide / 2, y + high / 2), (wide, high), 0.0), 1, -1)
    return mask.astype(np.bool_)


def cases(protocol: str, rng: np.random.Generator) -> dict[str, Files]:
    """Return annotations and result files by the name of their difficulty."""
    base = generate(protocol, rng)
    common = common_cases(base)
    if protocol == "coco-instances":
        return common | instance_cases(base, common["small and large objects"])
    found = common | keypoint_cases(base)
    if protocol == "coco-wholebody":
        found |= wholebody_cases(base, rng)
    if protocol == "coco-keypoints":
        found["flags of 0"] = with_results(base, set_flags(base, 0))
        found["negative flags"] = with_results(base, set_flags(base, -1))
        found["boxes of another size"] = with_each_result(base, lambda _, row: row | {"bbox": [10.0, 10.0, 40.0, 40.0]})
    return found


def with_results(base: Files, change: Callable[[list[Record]], list[Record]]) -> Files:
    """Return a case with changed results."""
    return Files(base.truth, change(json.loads(json.dumps(base.results))))


def with_each_result(base: Files, change: Callable[[int, Record], Record]) -> Files:
    """Return a case with a change of each result, which has a number."""
    return with_results(base, lambda rows: [change(number, row) for number, row in enumerate(rows)])


def with_truth(base: Files, change: Callable[[int, Record], Record]) -> Files:
    """Return a case with a change of each annotation, which has a number."""
    rows = [change(number, dict(row)) for number, row in enumerate(base.truth["annotations"])]
    return Files(base.truth | {"annotations": rows}, base.results)


def every(step: int, change: Record) -> Callable[[int, Record], Record]:
    """Return a change of every record whose number is a multiple of the step."""
    return lambda number, row: row if number % step else row | change


def with_ids(base: Files, change: Callable[[int], int]) -> Files:
    """Return a case whose images have other ids than the numbers in their names."""
    images = [image | {"id": change(image["id"])} for image in base.truth["images"]]
    truth, results = (
        [row | {"image_id": change(row["image_id"])} for row in rows]
        for rows in (base.truth["annotations"], base.results)
    )
    return Files(base.truth | {"images": images, "annotations": truth}, results)


def common_cases(base: Files) -> dict[str, Files]:
    """Return cases of all protocols."""
    labelled = [row for row in base.truth["annotations"] if row["image_id"] % 2]
    return {
        "noise": base,
        "ids that differ from the names": with_ids(base, lambda number: 900 + 7 * number),
        "ids of other images' names": with_ids(base, lambda number: _IMAGES + 1 - number),
        "no results": with_results(base, lambda _: []),
        "equal scores": with_each_result(base, lambda _, row: row | {"score": 0.5}),
        "other order": with_results(base, lambda rows: rows[::-1]),
        "negative and large scores": with_each_result(base, lambda _, row: row | {"score": 90 * row["score"] - 40}),
        "every result five times": with_results(base, lambda rows: rows * 5),
        "120 results in an image": with_results(base, lambda rows: rows + [rows[0] | {"score": 0.01}] * 120),
        "images without results": with_results(base, lambda rows: [row for row in rows if row["image_id"] % 2]),
        "images without objects": Files(base.truth | {"annotations": labelled}, base.results),
        "no objects": Files(base.truth | {"annotations": []}, base.results),
        "crowds": with_truth(base, every(4, {"iscrowd": 1})),
        "results of another category": with_each_result(base, every(3, {"category_id": 7})),
        "small and large objects": with_truth(
            base, lambda number, row: row | {"area": (20.0**2, 60.0**2, 200.0**2)[number % 3]}
        ),
    }


def instance_cases(base: Files, sizes: Files) -> dict[str, Files]:
    """Return cases with masks.

    Args:
        base: The case without difficulty.
        sizes: The case with small and large objects.
    """
    empty = {"segmentation": rle_from_mask(np.zeros((_SIDE, _SIDE), np.bool_)), "score": 2.0}

    def without_box(_: int, row: Record) -> Record:
        return {key: value for key, value in row.items() if key != "bbox"}

    def with_polygons(number: int, row: Record) -> Record:
        """Return an object whose mask is one or two polygons: concave, off the grid, tiny, or beyond the image."""
        x, y, wide, high = row["bbox"]
        shapes = [np.array(shape) * (wide, high) + (x, y) for shape in _POLYGONS[number % len(_POLYGONS)]]
        return row | {"segmentation": [shape.ravel().tolist() for shape in shapes]}

    def with_plain_runs(number: int, row: Record) -> Record:
        mask = mask_from_segmentation(row["segmentation"], _SIDE, _SIDE).T.ravel()
        edges = [0, *(np.flatnonzero(np.diff(mask)) + 1).tolist(), mask.size]
        runs = [end - start for start, end in pairwise(edges)]
        return row | {"segmentation": {"size": [_SIDE, _SIDE], "counts": [0, *runs] if mask[0] else runs}}

    polygons = with_truth(base, with_polygons)
    perfect = [
        {"image_id": row["image_id"], "category_id": row["category_id"], "score": 0.5, "segmentation": packed(row)}
        for row in polygons.truth["annotations"]
    ]
    return {
        "polygons": polygons,
        "polygons, equal results": Files(polygons.truth, perfect),
        "plain run lengths": with_truth(base, with_plain_runs),
        "masks without boxes": with_each_result(sizes, without_box),
        "empty masks": with_each_result(with_each_result(base, without_box), every(4, empty)),
        "scores that differ by 1e-7": with_each_result(base, lambda _, row: row | {"score": 0.5 + 1e-7 * row["score"]}),
        "objects without extent": with_truth(base, every(4, {"bbox": [5.0, 5.0, 0.0, 3.0]})),
    }


def packed(row: Record) -> Record:
    """Return an annotation's polygons as the run lengths of the released code."""
    masks = importlib.import_module("pycocotools.mask")
    runs = masks.merge(masks.frPyObjects(row["segmentation"], _SIDE, _SIDE))
    return {"size": list(runs["size"]), "counts": runs["counts"].decode()}


def keypoint_cases(base: Files) -> dict[str, Files]:
    """Return cases of all protocols with keypoints."""
    blank = {field(part): [0] * 3 * _PARTS[part] for part in parts_of(base)} | {"num_keypoints": 0}
    at_origin = {"keypoints": [0.0, 0.0, 1.0] * 17, "score": 2.0}
    return {
        "flags of 0.3": with_results(base, set_flags(base, 0.3)),
        "objects without keypoints": with_truth(base, every(3, blank)),
        "results at the origin": with_results(base, lambda rows: [rows[0] | at_origin, *rows[1:]]),
    }


def wholebody_cases(base: Files, rng: np.random.Generator) -> dict[str, Files]:
    """Return cases whose parts have scores, or flags of 0."""
    keys = ("wholebody_score", *(f"{part}_score" for part in _PARTS if part != "body"))

    def without_hands(rows: list[Record]) -> list[Record]:
        for row in rows[::2]:
            row["lefthand_kpts"][2::3] = [0] * _PARTS["lefthand"]
        return rows

    return {
        "scores of parts": with_each_result(base, lambda _, row: row | {key: float(rng.random()) for key in keys}),
        "parts with flags of 0": with_results(base, without_hands),
    }


def parts_of(base: Files) -> list[str]:
    """Return the parts whose keypoints the results have."""
    return [part for part in _PARTS if field(part) in base.results[0]]


def set_flags(base: Files, value: float) -> Callable[[list[Record]], list[Record]]:
    """Return a change of results that gives all keypoints one flag."""

    def change(rows: list[Record]) -> list[Record]:
        for row in rows:
            for part in parts_of(base):
                row[field(part)][2::3] = [value] * _PARTS[part]
        return rows

    return change


def official(protocol: str, files: Files) -> dict[str, float]:
    """Return the statistics of the released code in per cent by Sonjit's names; NaN for its -1."""
    package = "xtcocotools" if protocol == "coco-wholebody" else "pycocotools"
    COCO = importlib.import_module(f"{package}.coco").COCO
    COCOeval = importlib.import_module(f"{package}.cocoeval").COCOeval
    values: dict[str, float] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        truth: Any = COCO()
        truth.dataset = json.loads(json.dumps(files.truth))
        truth.createIndex()
        results: Any = truth.loadRes(json.loads(json.dumps(files.results))) if files.results else COCO()
        if not files.results:
            results.dataset = files.truth | {"annotations": []}
            results.createIndex()
        runs = official_runs(protocol)
        for part, (kind, sigmas) in runs.items():
            options = {} if sigmas is None else {"sigmas": sigmas, "use_area": True}
            evaluated: Any = COCOeval(truth, results, kind, **options)
            evaluated.evaluate()
            evaluated.accumulate()
            evaluated.summarize()
            stats = [float("nan") if value == -1 else 100 * float(value) for value in evaluated.stats]
            indices = _OBJECT_INDICES if protocol == "coco-instances" else _KEYPOINT_INDICES
            values |= {f"{part}_{name}": stats[index] for index, name in zip(indices, _STATS, strict=True)}
    return values


def official_runs(protocol: str) -> dict[str, tuple[str, NDArray[np.float64] | None]]:
    """Return the type of results that the released code evaluates, and its sigmas if they differ, by part."""
    if protocol == "coco-instances":
        return {"box": ("bbox", None), "mask": ("segm", None)}
    if protocol == "coco-keypoints":
        return {"body": ("keypoints", None)}
    names = {"body": "keypoints_body", "wholebody": "keypoints_wholebody"}
    names |= {part: f"keypoints_{part}" for part in _PARTS if part != "body"}
    return {part: (name, np.array(part_sigmas(part))) for part, name in names.items()}


def own(protocol: str, files: Files, folder: Path) -> dict[str, float] | str:
    """Return Sonjit's metrics in per cent, or the message of its error."""
    root = folder / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    for image in files.truth["images"]:
        cv2.imwrite(str(root / "val2017" / image["file_name"]), np.zeros((_SIDE, _SIDE, 3), np.uint8))
    (root / f"annotations/{_FILES[protocol]}.json").write_text(json.dumps(files.truth))
    (folder / "results.json").write_text(json.dumps(files.results))
    given = ["--root", str(root), "--predictions", str(folder / "results.json"), "--out", str(folder / "out")]
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        status = sonjit(
            [
                "eval",
                "--protocol",
                protocol,
                "--data",
                "coco-wholebody" if protocol == "coco-wholebody" else "coco",
                "--split",
                "val2017",
                *given,
            ]
        )
    if status:
        return errors.getvalue().strip().splitlines()[-1]
    report: Mapping[str, Any] = json.loads((folder / "out/eval.json").read_text())
    return {
        metric["name"]: math.nan if metric["value"] is None else metric["value"]
        for metric in report["runs"][0]["metrics"]
    }


def compared(protocol: str, case: str, files: Files, folder: Path) -> Sequence[Row]:
    """Return a row for each value that both compute."""
    script = f"{'xtcocotools' if protocol == 'coco-wholebody' else 'pycocotools'}, {protocol}"
    mine = own(protocol, files, folder)
    if isinstance(mine, str):
        return [Row(script, case, f"refused by Sonjit: {mine}", math.nan, math.nan)]
    theirs = official(protocol, files)
    return [Row(script, case, name, theirs[name], mine[name]) for name in theirs if name in mine]


def main() -> int:
    """Compare and print the table."""
    rows: list[Row] = []
    for protocol in _FILES:
        for case, files in cases(protocol, np.random.default_rng(3)).items():
            with tempfile.TemporaryDirectory() as folder:
                rows += compared(protocol, case, files, Path(folder))
    sys.stdout.write(table(rows))
    return 0 if all(row.agrees for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
