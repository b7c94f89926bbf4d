"""Write reports and model cards of evaluations, and draw worst cases and comparisons.

A report has metrics next to published ones, curves, parts and worst cases; a comparison a row per method and a column
per sample; a card intended use, quality, fairness, speed, training, metadata for Hugging Face, and for a hand landmark
network its mean class activation maps over the hands of the bundled clip.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sonjit._util import Json, json_from
from sonjit.media.sources.images import encode_image
from sonjit.media.tables.base import ColumnType
from sonjit.report import documents as docs
from sonjit.report.documents import number
from sonjit.runs.frame_tables import RecordTable
from sonjit_lab.evaluation import detection, predictions
from sonjit_lab.evaluation.drawn_samples import draw_case, draw_image
from sonjit_lab.evaluation.metrics import CONDITIONS
from sonjit_lab.evaluation.protocols import ProtocolData
from sonjit_lab.evaluation.published import published_blocks
from sonjit_lab.evaluation.run import Evaluation

_UNIT: dict[str, ColumnType] = {
    "mode": str,
    "place": int,
    "dataset": str,
    "sample": str,
    "instance": int,
    "subject": str,
    "side": str,
    "group": str,
    "value": float,
    "found": bool,
}
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


def save_report(outcome: Evaluation, out: Path) -> None:
    """Write eval.json, report.md, report.html and the images of the worst cases into an existing folder."""
    record = outcome.record
    images: dict[str, bytes] = {}
    for run in record["runs"]:
        main, lines = predictions.main_metric(run), outcome.lines[run["mode"]]
        rows = worst_of(run, higher_is_better=main is not None and main["better"] == "higher")
        names = [f"worst-{slug(run['mode'])}-{index:02}.jpg" for index in range(1, len(rows) + 1)]
        run["worst"] = [{"row": row, "file": name} for row, name in zip(rows, names, strict=True)]
        images |= zip(names, _draw_worst(outcome.data, lines, rows), strict=True)
        if record["protocol"]["task"] == "scenes":
            drawn = detection.draw_patterns(outcome.data, lines)
            run["patterns"] = {scene: f"pattern-{index:02}.jpg" for index, scene in enumerate(drawn, 1)}
            images |= {run["patterns"][scene]: image for scene, image in drawn.items()}
    plain: predictions.EvaluationRecord = json.loads(json_from(record))
    title = f"{plain['model']['name']} by {plain['protocol']['title']}"
    blocks = list(_blocks(plain))
    files = {"report.md": docs.markdown_from(title, blocks), "report.html": docs.html_from(title, blocks)}
    docs.save_files(out, {**images, **docs.plots_of(blocks), **files, "eval.json": json_from(record, 1) + "\n"})


def open_unit_table(save: str) -> RecordTable:
    """Open a table for `write_units` with a row per evaluated item, in any format of `sonjit.media`."""
    return RecordTable(save, None, _UNIT)


def write_units(outcome: Evaluation, table: RecordTable) -> None:
    """Write the labelled items of all modes: identity, value in the main metric's unit, and whether it was found."""
    for run in outcome.record["runs"]:
        units: dict[str, list[Json]] = json.loads(json_from(predictions.labelled_units(run["units"])))
        for row in zip(*units.values(), strict=True):
            table.write({"mode": run["mode"], **dict(zip(units, row, strict=True))})


def metric_cells(metric: predictions.MetricRecord) -> tuple[str, str, str, str]:
    """Return value with unit, interval, number of values and number of missing predictions."""
    digits = 4 if metric["unit"] == "" else 2
    interval = "–" if metric["low"] is None else f"{number(metric['low'], digits)} to {number(metric['high'], digits)}"
    value = f"{number(metric['value'], digits)} {metric['unit']}".strip()
    return value, interval, str(metric["counted"]), str(metric["missing"])


def joint_bars(rows: Sequence[predictions.PartRecord], unit: str, title: str) -> str:
    """Draw the rows of a part with their intervals."""
    ends = np.array([(row["mean"], row["low"], row["high"]) for row in rows], np.float64)  # None becomes NaN
    return docs.bars_svg([row["name"] for row in rows], ends, unit, title)


def _blocks(record: predictions.EvaluationRecord) -> Iterator[docs.Block]:
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
        if not_evaluated := sum(is_found and value is None for is_found, value in pairs):
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


def _curves(record: predictions.EvaluationRecord) -> Iterator[docs.Block]:
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


def _parts(run: predictions.RunRecord) -> Iterator[docs.Block]:
    main = predictions.main_metric(run)
    unit = "" if main is None else main["unit"]
    for key, rows in run["parts"].items():
        title = f"By {PARTS[key]}: {'precision' if key == 'score' else run['main']}, {run['mode']}"
        yield docs.Heading(title)
        yield docs.Plot(f"{key}-{slug(run['mode'])}", joint_bars(rows, unit, title), title)
        cells: list[tuple[str, ...]] = []
        for row in rows:
            ends = (number(row[end]) for end in ("mean", "low", "high"))
            cells.append((row["name"], *ends, str(row["counted"]), str(row["missing"])))
        yield docs.Table((key, f"mean {unit}", "from", "to", "of", "not found"), tuple(cells))


def _worst(run: predictions.RunRecord) -> Iterator[docs.Block]:
    if not (worst := run.get("worst")):
        return
    yield docs.Heading(f"Worst cases, {run['mode']}")
    yield docs.Text("Labels are green, predictions red.")
    units = run["units"]
    for item in worst:
        row = item["row"]
        result = f"{run['main']} {number(units['value'][row])}" if units["found"][row] else "not found"
        yield docs.Image(item["file"], f"{units['dataset'][row]} {units['sample'][row]}: {result}")


def _facts(record: predictions.EvaluationRecord) -> Iterator[str]:
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
    doubtful = dict.fromkeys(line for run in record["runs"] for line in run.get("doubtful", ()))
    yield from (f"labels that contradict each other: {line}" for line in doubtful)


def slug(mode: str) -> str:
    return mode.replace(" ", "-")


def worst_of(run: predictions.RunRecord, *, higher_is_better: bool) -> list[int]:
    """Return the rows of a run's units with the largest error above 0, then a few that were not found."""
    units = run["units"]
    perfect = 100 if higher_is_better else 0
    errors = [
        (value, row)
        for row, (value, is_found) in enumerate(zip(units["value"], units["found"], strict=True))
        if is_found and value is not None and math.isfinite(value) and value != perfect
    ]
    errors.sort(reverse=not higher_is_better)
    missed = [row for row, is_found in enumerate(units["found"]) if not is_found]
    return [row for _, row in errors[:MOST]] + missed[:_MAX_MISSED]


def _draw_worst(data: ProtocolData, lines: Sequence[predictions.JournalLine], rows: Sequence[int]) -> Iterator[bytes]:
    """Yield a JPEG per row: labels in green, predictions in red."""
    pairs = [(line, item) for line in lines for item in line.evaluated]
    for row in rows:
        line, item = pairs[row]
        sample = data[line.place]
        is_case = item.points_px is not None or item.instance >= 0
        image = draw_case(sample, item.instance, item.points_px) if is_case else draw_image(sample, item)
        yield encode_image(image, ".jpg")
