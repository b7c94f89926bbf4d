"""Write the report of an evaluation.

The report contains metrics next to published ones, curves, parts and worst cases. Pictures of the worst cases show the
truth and the prediction, cropped around the instance.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from sonjit._util.json_text import json_from
from sonjit.lab.documents.document import (
    BulletList,
    Heading,
    Image,
    Plot,
    Table,
    Text,
    html_from,
    markdown_from,
    number,
    plots_of,
    save_files,
)
from sonjit.lab.documents.plots import Curve, bars_svg, curves_svg
from sonjit.lab.evaluation.conditions import CONDITIONS
from sonjit.lab.evaluation.published import published_blocks
from sonjit.lab.evaluation.report_images import draw_worst
from sonjit.lab.evaluation.scenes import draw_patterns
from sonjit.runs.records import RecordTable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sonjit._util.json_text import Json
    from sonjit.lab.documents.document import Block
    from sonjit.lab.evaluation.run import Evaluation
    from sonjit.lab.evaluation.schema import EvaluationRecord, MetricRecord, RunRecord
    from sonjit.media.tables.base import ColumnType

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


MOST = 8
_MAX_MISSED = 4


def save_report(outcome: Evaluation, out: Path) -> None:
    """Write eval.json, report.md, report.html and the images of the worst cases into an existing folder."""
    record = outcome.record
    images: dict[str, bytes] = {}
    for run in record["runs"]:
        main = next((metric for metric in run["metrics"] if metric["name"] == run["main"]), None)
        rows = worst_of(run, higher_is_better=main is not None and main["better"] == "higher")
        names = [f"worst-{_slug(run['mode'])}-{index:02}.jpg" for index in range(1, len(rows) + 1)]
        run["worst"] = [{"row": row, "file": name} for row, name in zip(rows, names, strict=True)]
        images |= zip(names, draw_worst(outcome.data, outcome.lines[run["mode"]], rows), strict=True)
        if record["protocol"]["task"] == "scenes":
            drawn = draw_patterns(outcome.data, outcome.lines[run["mode"]])
            run["patterns"] = {scene: f"pattern-{index:02}.jpg" for index, scene in enumerate(drawn, 1)}
            images |= {run["patterns"][scene]: image for scene, image in drawn.items()}
    title, blocks = report_blocks(json.loads(json_from(record)))
    save_files(
        out,
        {
            **images,
            **plots_of(blocks),
            "report.md": markdown_from(title, blocks),
            "report.html": html_from(title, blocks),
            "eval.json": json_from(record, 1) + "\n",
        },
    )


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


def report_blocks(record: EvaluationRecord) -> tuple[str, list[Block]]:
    """Return the title and content of a report from eval.json."""
    protocol, model = record["protocol"], record["model"]["name"]
    return f"{model} by {protocol['title']}", list(_blocks(record))


def metric_cells(metric: MetricRecord) -> tuple[str, str, str, str]:
    """Return value with unit, interval, number of values and number of missing predictions."""
    digits = 4 if metric["unit"] == "" else 2
    interval = "–" if metric["low"] is None else f"{number(metric['low'], digits)} to {number(metric['high'], digits)}"
    return (
        f"{number(metric['value'], digits)} {metric['unit']}".strip(),
        interval,
        str(metric["counted"]),
        str(metric["missing"]),
    )


def _blocks(record: EvaluationRecord) -> Iterator[Block]:
    protocol = record["protocol"]
    if not record["complete"]:
        yield Text("This run was stopped: the metrics include only samples evaluated before. Continue with --resume.")
    yield Text(f"Protocol {protocol['name']}: {protocol['source']}.")
    yield Heading("Metrics")
    for run in record["runs"]:
        yield Heading(f"{_mode_title(run['mode'])}: {run['evaluated']} evaluated in {run['samples']} images", 3)
        rows = tuple((metric["title"], *metric_cells(metric)) for metric in run["metrics"])
        yield Table(("metric", "value", "95 % interval", "of", "not found"), rows)
        if not_evaluated := sum(
            found and value is None for found, value in zip(run["units"]["found"], run["units"]["value"], strict=True)
        ):
            yield Text(f"{not_evaluated} of them have labels too incomplete for {run['main']}, and do not count in it.")
        yield Text(
            f"Means of detected instances. Intervals: bootstrap over {run['intervals_draw']}, 1000 draws, seed 0."
        )
    yield from published_blocks(record)
    yield from _curves(record)
    for run in record["runs"]:
        yield from _parts(run)
        yield from _patterns(run)
        yield from _worst(run)
    yield Heading("What was run")
    yield BulletList(tuple(_facts(record)))
    if protocol["notes"]:
        yield Heading("Notes")
        yield BulletList(tuple(protocol["notes"]))


def _curves(record: EvaluationRecord) -> Iterator[Block]:
    titles = dict.fromkeys(curve["title"] for run in record["runs"] for curve in run["curves"])
    for index, title in enumerate(titles):
        lines = [
            (run["mode"], Curve(title, curve["x"], [math.nan if y is None else y for y in curve["y"]], curve["unit"]))
            for run in record["runs"]
            for curve in run["curves"]
            if curve["title"] == title
        ]
        if not index:
            yield Heading("Curves")
        yield Plot(f"curve-{index + 1}", curves_svg(lines), f"{title}: share of keypoints within a threshold")


def _parts(run: RunRecord) -> Iterator[Block]:
    unit = next((metric["unit"] for metric in run["metrics"] if metric["name"] == run["main"]), "")
    for key, rows in run["parts"].items():
        title = part_title(run, key)
        yield Heading(title)
        bars = [(row["name"], _float(row["mean"]), _float(row["low"]), _float(row["high"])) for row in rows]
        yield Plot(f"{key}-{_slug(run['mode'])}", bars_svg(bars, unit, title), title)
        cells = tuple(
            (
                row["name"],
                *(number(row[end]) for end in ("mean", "low", "high")),
                str(row["counted"]),
                str(row["missing"]),
            )
            for row in rows
        )
        yield Table((key, f"mean {unit}", "from", "to", "of", "not found"), cells)


def part_title(run: RunRecord, key: str) -> str:
    """Return the heading of a part of a run: the main metric, or precision for scores."""
    return f"By {PARTS[key]}: {'precision' if key == 'score' else run['main']}, {run['mode']}"


def _patterns(run: RunRecord) -> Iterator[Block]:
    """Yield the pictures of the regions with evidence that images of a class have in common."""
    if patterns := run.get("patterns"):
        yield Heading("Location of each class")
        yield Text("Left the mean of its maps, then the regions with the strongest evidence, of images rightly found.")
        yield from (Image(file, scene) for scene, file in patterns.items())


def _worst(run: RunRecord) -> Iterator[Block]:
    worst = run.get("worst")
    if not worst:
        return
    yield Heading(f"Worst cases, {run['mode']}")
    yield Text("Labels are green, predictions red.")
    units = run["units"]
    for item in worst:
        row = item["row"]
        value = units["value"][row]
        result = "not found" if not units["found"][row] else f"{run['main']} {number(value)}"
        yield Image(item["file"], f"{units['dataset'][row]} {units['sample'][row]}: {result}")


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


def _mode_title(mode: str) -> str:
    return {
        "tracking": "Tracking, the crop from the result before",
        "reacquisition": "Reacquisition, a search over the full image",
        "ground-truth boxes": "In crops around the ground-truth boxes",
        "predictions": "Predictions from a file",
    }[mode]


def _slug(mode: str) -> str:
    return mode.replace(" ", "-")


def _float(value: float | None) -> float:
    return math.nan if value is None else value


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
