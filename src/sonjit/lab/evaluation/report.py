"""Write the report of an evaluation, and draw its worst cases and comparisons of several evaluations.

The report contains metrics next to published ones, curves, parts and worst cases. Pictures of the worst cases show the
truth and the prediction, cropped around the instance. A comparison has a row per method and a column per sample.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util.errors import InputError
from sonjit._util.json_text import Json, json_from
from sonjit.lab import documents as docs
from sonjit.lab.datasets import Sample, mask_from_segmentation
from sonjit.lab.documents import number
from sonjit.lab.evaluation.metrics import CONDITIONS
from sonjit.lab.evaluation.predictions import EvaluatedItem, known_points
from sonjit.lab.evaluation.protocols import ProtocolData, load_protocol
from sonjit.lab.evaluation.published import published_blocks
from sonjit.lab.evaluation.records import (
    EvaluationRecord,
    JournalLine,
    MetricRecord,
    PartRecord,
    RunRecord,
    load_evaluation,
    main_metric,
)
from sonjit.lab.evaluation.run import Evaluation
from sonjit.lab.evaluation.scenes import draw_patterns
from sonjit.media.drawing.instances import draw_tint
from sonjit.media.drawing.strokes import Colour, draw_captions, draw_path
from sonjit.media.sources.images import encode_image
from sonjit.media.tables.base import ColumnType
from sonjit.results.skeletons import load_skeleton
from sonjit.runs.frame_tables import RecordTable

CASE_PX = 360
"""Side of a drawn case in pixels."""
_MARGIN = 0.4
_MIN_MASK_SCORE = 0.5
_TRUTH: Colour = (64, 200, 96)
_PREDICTION: Colour = (240, 80, 60)
_UNIT: dict[str, ColumnType] = {
    "mode": str, "place": int, "dataset": str, "sample": str, "instance": int, "subject": str, "side": str,
    "group": str, "value": float, "found": bool,
}  # fmt: skip
"""Mode, and the columns of `Units`."""
PARTS = (
    {"joint": "keypoint", "object": "object", "part": "part", "hidden": "how much is hidden"}
    | CONDITIONS
    | {"score": "score"}
)
"""Titles of the parts of a run."""
_MODE_TITLES = {
    "tracking": "Tracking, the crop from the result before",
    "reacquisition": "Reacquisition, a search over the full image",
    "ground-truth boxes": "In crops around the ground-truth boxes",
    "predictions": "Predictions from a file",
}
MOST = 8
_MAX_MISSED = 4
_LABEL_PX = 220
_WINDOW_MODELS = ("deformer",)
"""Models that use neighbouring frames."""


def save_report(outcome: Evaluation, out: Path) -> None:
    """Write eval.json, report.md, report.html and the images of the worst cases into an existing folder."""
    record = outcome.record
    images: dict[str, bytes] = {}
    for run in record["runs"]:
        main, lines = main_metric(run), outcome.lines[run["mode"]]
        rows = worst_of(run, higher_is_better=main is not None and main["better"] == "higher")
        names = [f"worst-{_slug(run['mode'])}-{index:02}.jpg" for index in range(1, len(rows) + 1)]
        run["worst"] = [{"row": row, "file": name} for row, name in zip(rows, names, strict=True)]
        images |= zip(names, _draw_worst(outcome.data, lines, rows), strict=True)
        if record["protocol"]["task"] == "scenes":
            drawn = draw_patterns(outcome.data, lines)
            run["patterns"] = {scene: f"pattern-{index:02}.jpg" for index, scene in enumerate(drawn, 1)}
            images |= {run["patterns"][scene]: image for scene, image in drawn.items()}
    plain: EvaluationRecord = json.loads(json_from(record))
    title = f"{plain['model']['name']} by {plain['protocol']['title']}"
    blocks = list(_blocks(plain))
    files = {"report.md": docs.markdown_from(title, blocks), "report.html": docs.html_from(title, blocks)}
    docs.save_files(out, {**images, **docs.plots_of(blocks), **files, "eval.json": json_from(record, 1) + "\n"})


def open_unit_table(save: str) -> RecordTable:
    """Open a table for `write_units` with a row per evaluated item, in any format of `sonjit.media`.

    Raises:
        InputError: The ending is unknown or the file cannot be written. Raised before any work.
    """
    return RecordTable(save, None, _UNIT)


def write_units(outcome: Evaluation, table: RecordTable) -> None:
    """Write the items of all modes: identity, value in the main metric's unit, and whether it was found."""
    for run in outcome.record["runs"]:
        units: dict[str, list[Json]] = json.loads(json_from(run["units"]))
        for row in zip(*units.values(), strict=True):
            table.write({"mode": run["mode"], **dict(zip(units, row, strict=True))})


def metric_cells(metric: MetricRecord) -> tuple[str, str, str, str]:
    """Return value with unit, interval, number of values and number of missing predictions."""
    digits = 4 if metric["unit"] == "" else 2
    interval = "–" if metric["low"] is None else f"{number(metric['low'], digits)} to {number(metric['high'], digits)}"
    value = f"{number(metric['value'], digits)} {metric['unit']}".strip()
    return value, interval, str(metric["counted"]), str(metric["missing"])


def joint_bars(rows: Sequence[PartRecord], unit: str, title: str) -> str:
    """Draw the rows of a part with their intervals."""
    ends = np.array([(row["mean"], row["low"], row["high"]) for row in rows], np.float64)  # None becomes NaN
    return docs.bars_svg([row["name"] for row in rows], ends, unit, title)


def _blocks(record: EvaluationRecord) -> Iterator[docs.Block]:
    protocol = record["protocol"]
    if not record["complete"]:
        yield docs.Text(
            "This run was stopped: the metrics include only samples evaluated before. Continue with --resume."
        )
    yield docs.Text(f"Protocol {protocol['name']}: {protocol['source']}.")
    yield docs.Heading("Metrics")
    for run in record["runs"]:
        title = f"{_MODE_TITLES[run['mode']]}: {run['evaluated']} evaluated in {run['samples']} images"
        yield docs.Heading(title, 3)
        rows = tuple((metric["title"], *metric_cells(metric)) for metric in run["metrics"])
        yield docs.Table(("metric", "value", "95 % interval", "of", "not found"), rows)
        pairs = zip(run["units"]["found"], run["units"]["value"], strict=True)
        if not_evaluated := sum(found and value is None for found, value in pairs):
            yield docs.Text(
                f"{not_evaluated} of them have labels too incomplete for {run['main']}, and do not count in it."
            )
        yield docs.Text(
            f"Means of detected instances. Intervals: bootstrap over {run['intervals_draw']}, 1000 draws, seed 0."
        )
    yield from published_blocks(record)
    yield from _curves(record)
    for run in record["runs"]:
        yield from _parts(run)
        if patterns := run.get("patterns"):
            yield docs.Heading("Location of each class")
            yield docs.Text(
                "Left the mean of its maps, then the regions with the strongest evidence, of images rightly found."
            )
            yield from (docs.Image(file, scene) for scene, file in patterns.items())
        yield from _worst(run)
    yield docs.Heading("What was run")
    yield docs.BulletList(tuple(_facts(record)))
    if protocol["notes"]:
        yield docs.Heading("Notes")
        yield docs.BulletList(tuple(protocol["notes"]))


def _curves(record: EvaluationRecord) -> Iterator[docs.Block]:
    by_title: dict[str, list[tuple[str, docs.Curve]]] = {}
    for run in record["runs"]:
        for curve in run["curves"]:
            y = [math.nan if value is None else value for value in curve["y"]]
            drawn = docs.Curve(curve["title"], curve["x"], y, curve["unit"])
            by_title.setdefault(curve["title"], []).append((run["mode"], drawn))
    if by_title:
        yield docs.Heading("Curves")
    for index, (title, lines) in enumerate(by_title.items(), 1):
        yield docs.Plot(f"curve-{index}", docs.curves_svg(lines), f"{title}: share of keypoints within a threshold")


def _parts(run: RunRecord) -> Iterator[docs.Block]:
    main = main_metric(run)
    unit = "" if main is None else main["unit"]
    for key, rows in run["parts"].items():
        title = f"By {PARTS[key]}: {'precision' if key == 'score' else run['main']}, {run['mode']}"
        yield docs.Heading(title)
        yield docs.Plot(f"{key}-{_slug(run['mode'])}", joint_bars(rows, unit, title), title)
        cells: list[tuple[str, ...]] = []
        for row in rows:
            ends = (number(row[end]) for end in ("mean", "low", "high"))
            cells.append((row["name"], *ends, str(row["counted"]), str(row["missing"])))
        yield docs.Table((key, f"mean {unit}", "from", "to", "of", "not found"), tuple(cells))


def _worst(run: RunRecord) -> Iterator[docs.Block]:
    if not (worst := run.get("worst")):
        return
    yield docs.Heading(f"Worst cases, {run['mode']}")
    yield docs.Text("Labels are green, predictions red.")
    units = run["units"]
    for item in worst:
        row = item["row"]
        result = f"{run['main']} {number(units['value'][row])}" if units["found"][row] else "not found"
        yield docs.Image(item["file"], f"{units['dataset'][row]} {units['sample'][row]}: {result}")


def _facts(record: EvaluationRecord) -> Iterator[str]:
    for item in record["data"]:
        yield f"data: {item['set']}, {item['split']} ({item['licence']}; {item['where']})"
    yield f"labels and images, SHA-256: {record['data_sha256']}"
    for item in record["model"]["files"]:
        yield f"file: {item.get('name', item['file'])}, SHA-256 {item.get('sha256', 'unknown')}"
    if record["command"]:
        yield f"command: {record['command']}"
    machine = record["machine"]
    yield f"machine: {machine['cpu']}, {machine['cores']} cores, {machine['system']}, {machine['date']}"
    yield f"versions: sonjit {record['sonjit']}, " + ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    left_out = [*record["skipped"], *(line for run in record["runs"] for line in run["left_out"])]
    yield from (f"left out: {line}" for line in dict.fromkeys(left_out))


def _slug(mode: str) -> str:
    return mode.replace(" ", "-")


def worst_of(run: RunRecord, *, higher_is_better: bool) -> list[int]:
    """Return the rows of a run's units with the largest error, then a few that were not found, skipping those without
    error.
    """
    units = run["units"]
    perfect = 100 if higher_is_better else 0
    known = [
        (value, row)
        for row, (value, found) in enumerate(zip(units["value"], units["found"], strict=True))
        if found and value is not None and math.isfinite(value) and value != perfect
    ]
    known.sort(reverse=not higher_is_better)
    missed = [row for row, found in enumerate(units["found"]) if not found]
    return [row for _, row in known[:MOST]] + missed[:_MAX_MISSED]


def _draw_worst(data: ProtocolData, lines: Sequence[JournalLine], rows: Sequence[int]) -> Iterator[bytes]:
    """Yield a JPEG per row: labels in green, predictions in red."""
    pairs = [(line, item) for line in lines for item in line.evaluated]
    for row in rows:
        line, item = pairs[row]
        sample = data[line.place]
        is_case = item.points_px is not None or item.instance >= 0
        image = _draw_case(sample, item.instance, item.points_px) if is_case else _draw_image(sample, item)
        yield encode_image(image, ".jpg")


def _draw_case(
    sample: Sample, index: int, prediction: NDArray[np.float64] | None, *, only_labels: bool = False, bare: bool = False
) -> NDArray[np.uint8]:
    """Draw (CASE_PX, CASE_PX, 3) around an instance: labels in green, predictions in red.

    Args:
        sample: Sample with the image.
        index: Index of the instance; -1 for all.
        prediction: Predicted keypoints (K, 2) in pixels.
        only_labels: Crop around the labels only, wherever the prediction is.
        bare: Draw the image only.
    """
    import cv2

    shown = (sample.instances[index],) if index >= 0 else sample.instances if prediction is None else ()
    labels = [(item, known_points(item.keypoints_px, item.valid_px)) for item in shown]
    clouds = [points for _, points in labels if points is not None]
    clouds += [] if prediction is None or only_labels else [prediction]
    clouds += [np.reshape(item.box, (2, 2)) for item in shown if item.box is not None]
    around = np.concatenate(clouds or [np.array([[0, 0], [sample.width, sample.height]])])
    around = around[np.isfinite(around).all(1)]
    low, high = around.min(0), around.max(0)
    side = max(float((high - low).max()) * (1 + 2 * _MARGIN), 32.0)
    scale, offset = CASE_PX / side, (low + high) / 2 - side / 2
    matrix = np.column_stack([np.eye(2) * scale, -offset * scale])
    cut = cv2.warpAffine(sample.rgb(), matrix, (CASE_PX, CASE_PX), flags=cv2.INTER_AREA)
    image = np.ascontiguousarray(cut, np.uint8)
    if bare:
        return image
    first = 0
    for label, points in labels:
        if points is None:
            if label.box is not None:
                _draw_box(image, (np.reshape(label.box, (2, 2)) - offset) * scale, _TRUTH)
            continue
        bones = load_skeleton(label.skeleton).connections if label.skeleton else ()
        _draw_bones(image, (points - offset) * scale, bones, _TRUTH)
        if prediction is not None and first + len(points) <= len(prediction):
            _draw_bones(image, (prediction[first : first + len(points)] - offset) * scale, bones, _PREDICTION)
        first += len(points)
    if prediction is not None and not first and np.isfinite(prediction).all():
        _draw_box(image, (np.stack([prediction.min(0), prediction.max(0)]) - offset) * scale, _PREDICTION)
    return image


def _draw_image(sample: Sample, item: EvaluatedItem) -> NDArray[np.uint8]:
    """Draw all of an image: labelled boxes and masks, and predictions with a confidence of at least 0.5."""
    import cv2

    rgb = sample.rgb()
    scale = 2 * CASE_PX / max(rgb.shape[:2])
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    canvas = np.ascontiguousarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    found = [record for record in item.records if "bbox" in record and "truth" not in record]
    shown = [record for record in found if record.get("score", 1.0) >= _MIN_MASK_SCORE]
    masks = [(mask, _TRUTH) for instance in sample.instances if (mask := instance.mask()) is not None]
    masks += [
        (mask_from_segmentation(record["segmentation"], *rgb.shape[:2]), _PREDICTION)
        for record in shown
        if "segmentation" in record
    ]
    for mask, colour in masks:
        draw_tint(canvas, mask.astype(np.float32), colour)
    for instance in sample.instances:
        if instance.box is not None:
            _draw_box(canvas, np.reshape(instance.box, (2, 2)) * scale, _TRUTH)
    for record in shown:
        x, y, width, height = record["bbox"]
        _draw_box(canvas, np.array([[x, y], [x + width, y + height]]) * scale, _PREDICTION)
    if names := [str(record["name"]) for record in shown if "name" in record]:
        draw_captions(canvas, names)
    return canvas


def _draw_box(canvas: NDArray[np.uint8], corners: NDArray[np.float64], colour: Colour) -> None:
    """Draw a box from its upper left and lower right corner."""
    (left, top), (right, bottom) = corners.tolist()
    points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    _draw_bones(canvas, points, ((0, 1), (1, 2), (2, 3), (3, 0)), colour)


def _draw_bones(
    canvas: NDArray[np.uint8], points: NDArray[np.float64], bones: Sequence[tuple[int, int]], colour: Colour
) -> None:
    for start, end in bones:
        pair = points[[start, end]]
        if np.isfinite(pair).all() and (np.abs(pair) < 4 * CASE_PX).all():
            draw_path(canvas, pair, colour, 2)


class _Run(NamedTuple):
    """One row of a comparison."""

    label: str
    kind: str
    record: EvaluationRecord
    items: dict[tuple[str, int], EvaluatedItem]  # by sample and instance
    values: dict[tuple[str, int], float]
    indices: dict[str, int]


def draw_comparison(
    runs: Sequence[tuple[str | None, Path]], root: Path, samples: Sequence[str] | None, columns: int
) -> NDArray[np.uint8]:
    """Draw the image, uint8 RGB.

    Args:
        runs: Label, or None for the model's name, and folder of `sonjit eval` of each row.
        root: Root of the data set.
        samples: Names of the samples; None selects those on which the methods differ most.
        columns: Number of such samples.
    """
    rows = [_load_run(label, folder) for label, folder in runs]
    first = rows[0].record
    for (_, folder), row in zip(runs[1:], rows[1:], strict=True):
        for field, first_value, other in (
            ("protocol", first["protocol"]["name"], row.record["protocol"]["name"]),
            ("data", first["data_sha256"], row.record["data_sha256"]),
        ):
            if first_value != other:
                raise InputError(f"{folder} has another {field} than {runs[0][1]}; evaluate both with the same")
    keys = _select_keys(rows, samples, columns)
    chosen = [f"{item['set']}:{item['split']}" for item in first["data"]]
    data = ProtocolData(load_protocol(first["protocol"]["name"]), root, chosen=chosen)
    cases = [(data[rows[0].indices[name]], name, index) for name, index in keys]
    pictures = [[_draw_case(sample, index, None, bare=True) for sample, _, index in cases]]
    pictures += [
        [_draw_case(sample, at, row.items[name, at].points_px, only_labels=True) for sample, name, at in cases]
        for row in rows
    ]
    labels = [("image", ""), *((row.label, row.kind) for row in rows)]
    lines = [np.concatenate([_heading(*label), *row], 1) for label, row in zip(labels, pictures, strict=True)]
    return np.concatenate(lines)


def _load_run(label: str | None, folder: Path) -> _Run:
    record = load_evaluation(folder / "eval.json")
    if len(record["runs"]) != 1:
        raise InputError(f"{folder}: has {len(record['runs'])} modes; evaluate with --mode")
    mode, model, units = record["runs"][0]["mode"], record["model"]["name"], record["runs"][0]["units"]
    journal = folder / f"evaluated-{_slug(mode)}.jsonl"
    try:
        lines = [JournalLine.from_json(text) for text in journal.read_text("utf-8").splitlines()[1:]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{journal}: cannot be read ({error}); evaluate again") from None
    keys = zip(units["sample"], units["instance"], strict=True)
    return _Run(
        label=label or model,
        kind="sequence" if model in _WINDOW_MODELS else "" if mode == "predictions" else "one image",
        record=record,
        items={(line.id, item.instance): item for line in lines for item in line.evaluated},
        values=dict(zip(keys, np.array(units["value"], np.float64).tolist(), strict=True)),
        indices={line.id: line.place for line in lines},
    )


def _select_keys(rows: Sequence[_Run], samples: Sequence[str] | None, columns: int) -> list[tuple[str, int]]:
    shared = [key for key in rows[0].items if all(key in row.items for row in rows)]
    if samples is None:
        apart = {key: np.ptp([row.values.get(key, np.nan) for row in rows]) for key in shared}
        known = sorted((key for key in shared if np.isfinite(apart[key])), key=lambda key: -apart[key])
        if not known:
            raise InputError("the runs share no sample that was evaluated")
        return known[:columns]
    found: list[tuple[str, int]] = []
    for name in samples:
        of = [key for key in shared if key[0] == name]
        if not of:
            raise InputError(f"--samples {name}: not among those that all runs evaluated, such as {shared[0][0]}")
        found += of
    return found


def _heading(label: str, kind: str) -> NDArray[np.uint8]:
    """Draw a row's name (CASE_PX, _LABEL_PX, 3) with its input below."""
    import cv2

    strip = np.full((CASE_PX, _LABEL_PX, 3), 255, np.uint8)
    for text, y, grey in ((label, CASE_PX // 2 - 8, 0), (kind, CASE_PX // 2 + 22, 110)):
        (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 2)
        size = 0.7 * min(1, (_LABEL_PX - 20) / max(wide, 1))
        cv2.putText(strip, text, (10, y), cv2.FONT_HERSHEY_SIMPLEX, size, (grey,) * 3, 2, cv2.LINE_AA)
    return strip
