"""Write reports and model cards of evaluations, and draw worst cases and comparisons.

A report has metrics next to published ones, curves, parts and worst cases; a comparison a row per method and a column
per sample; a card intended use, quality, fairness, speed, training, metadata for Hugging Face, and for a hand landmark
network its mean class activation maps over the hands of the bundled clip.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util import InputError, Json, data_files, json_from
from sonjit._util.files import sha256_of_file
from sonjit.detectors import create_detector
from sonjit.geometry.boxes import crop_matrix, inverse_affine
from sonjit.media import open_source
from sonjit.media.drawing.instances import draw_tint
from sonjit.media.drawing.labels import draw_captions
from sonjit.media.drawing.strokes import Colour, draw_path
from sonjit.media.sources.images import encode_image
from sonjit.media.tables.base import ColumnType
from sonjit.report import documents as docs
from sonjit.report.documents import number
from sonjit.results.skeletons import load_skeleton
from sonjit.runs.frame_tables import RecordTable
from sonjit.weights import find_weight
from sonjit_lab.datasets import Sample, mask_from_segmentation
from sonjit_lab.evaluation import detection, predictions, protocols
from sonjit_lab.evaluation.metrics import CONDITIONS
from sonjit_lab.evaluation.protocols import ProtocolData, load_protocol, published_blocks
from sonjit_lab.evaluation.run import Evaluation
from sonjit_lab.explain import load_hand_explainer

CASE_PX = 360  # side of a drawn case in pixels
_MARGIN = 0.4
_MIN_MASK_SCORE = 0.5
_TRUTH: Colour = (64, 200, 96)
_PREDICTION: Colour = (240, 80, 60)
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
_LABEL_PX = 220
_WINDOW_MODELS = ("deformer",)  # models that use neighbouring frames
_MIN_INSTANCES = 100  # number of instances below which metrics are only an example
_DETECTION = {
    "recall": "found",
    "precision": "correct",
    "false": "false",
    "doubled": "duplicate",
    "handedness": "side",
    "side_known": "side, where it is known (0.8 and more)",
}
"""Rows of a card's detection table, by metric."""
_ABOUT = {
    "Intended use": "intended",
    "Out of scope": "out_of_scope",
    "Factors": "conditions",
    "Input": "input",
    "Output": "output",
}
"""Sections of a published model's description, by heading."""
_TRAINING = {
    "recipe": "recipe",
    "data": "data",
    "data_sha256": "data, SHA-256",
    "weights": "initial weights",
    "weights_sha256": "initial weights, SHA-256",
    "steps": "steps",
    "batch": "batch",
    "learning_rate": "learning rate",
    "optimizer": "optimizer",
    "seed": "seed",
}
"""Titles of a run's settings."""
_GROUP_HEADINGS = ("sd", "least", "greatest", "95 % interval", "of", "people", "not found")
_TASK = "keypoint-detection"
_OTHER_TASKS = {
    "instances": "image-segmentation",
    "localization": "image-classification",
    "scenes": "image-classification",
    "palms": "object-detection",
}
"""Hugging Face's name of a protocol's task, if it is not `_TASK`."""
_TARGETS = ("handedness", "presence", "index_finger_tip.x", "index_finger_tip.y")
_SIDE = "Right"  # a left hand's map is the mirrored one
_MAP_FRAME_STEP = 10


def save_report(outcome: Evaluation, out: Path) -> None:
    """Write eval.json, report.md, report.html and the images of the worst cases into an existing folder."""
    record = outcome.record
    images: dict[str, bytes] = {}
    for run in record["runs"]:
        main, lines = predictions.main_metric(run), outcome.lines[run["mode"]]
        rows = worst_of(run, higher_is_better=main is not None and main["better"] == "higher")
        names = [f"worst-{_slug(run['mode'])}-{index:02}.jpg" for index in range(1, len(rows) + 1)]
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
    """Write the items of all modes: identity, value in the main metric's unit, and whether it was found."""
    for run in outcome.record["runs"]:
        units: dict[str, list[Json]] = json.loads(json_from(run["units"]))
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
        yield docs.Plot(f"{key}-{_slug(run['mode'])}", joint_bars(rows, unit, title), title)
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


def _slug(mode: str) -> str:
    return mode.replace(" ", "-")


def worst_of(run: predictions.RunRecord, *, higher_is_better: bool) -> list[int]:
    """Return the rows of a run's units with the largest error above 0, then a few that were not found."""
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


def _draw_worst(data: ProtocolData, lines: Sequence[predictions.JournalLine], rows: Sequence[int]) -> Iterator[bytes]:
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
    """Draw (CASE_PX, CASE_PX, 3) around an instance, -1 for all: labels in green, predictions (K, 2) in red.

    `only_labels`: crop around the labels only; `bare`: draw the image only.
    """
    import cv2

    shown = (sample.instances[index],) if index >= 0 else sample.instances if prediction is None else ()
    labels = [(item, predictions.known_points(item.keypoints_px, item.valid_px)) for item in shown]
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


def _draw_image(sample: Sample, item: predictions.EvaluatedItem) -> NDArray[np.uint8]:
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
    record: predictions.EvaluationRecord
    items: dict[tuple[int, int], predictions.EvaluatedItem]  # by place of the sample, and instance
    values: dict[tuple[int, int], float]
    names: dict[int, tuple[str, str]]  # data set and id of the sample by place


def draw_comparison(
    runs: Sequence[tuple[str | None, Path]], root: Path, samples: Sequence[str] | None, columns: int
) -> NDArray[np.uint8]:
    """Draw (H, W, 3) uint8 with a row per label (None: the model's name) and folder, by default where they differ."""
    rows = [_load_run(label, folder) for label, folder in runs]
    first = rows[0].record
    for (_, folder), row in zip(runs, rows, strict=True):
        same_protocol = first["protocol"]["name"] == row.record["protocol"]["name"]
        if not same_protocol or first["data_sha256"] != row.record["data_sha256"]:
            what = "data" if same_protocol else "protocol"
            raise InputError(f"{folder} has another {what} than {runs[0][1]}; evaluate both with the same")
    keys = _select_keys(rows, samples, columns)
    chosen = [f"{item['set']}:{item['split']}" for item in first["data"]]
    data = ProtocolData(load_protocol(first["protocol"]["name"]), root, chosen=chosen)
    cases = [(_sample_at(data, key[0], rows[0].names[key[0]]), key) for key in keys]
    pictures = [[_draw_case(sample, index, None, bare=True) for sample, (_, index) in cases]]
    pictures += [
        [_draw_case(sample, key[1], row.items[key].points_px, only_labels=True) for sample, key in cases]
        for row in rows
    ]
    labels = [("image", ""), *((row.label, row.kind) for row in rows)]
    lines = [np.concatenate([_heading(*label), *row], 1) for label, row in zip(labels, pictures, strict=True)]
    return np.concatenate(lines)


def _sample_at(data: ProtocolData, place: int, name: tuple[str, str]) -> Sample:
    """Return an evaluated sample, which is at a later place if the evaluation had a limit or left out bad samples."""
    samples = (data[row] for row in range(place, len(data)))
    if (found := next((one for one in samples if (one.dataset, one.id) == name), None)) is None:
        raise InputError(f"--root has no {name[1]} of {name[0]}; choose the folder of the evaluated data set")
    return found


def _load_run(label: str | None, folder: Path) -> _Run:
    record = predictions.load_evaluation(folder / "eval.json")
    if len(record["runs"]) != 1:
        raise InputError(f"{folder}: has {len(record['runs'])} modes; evaluate with --mode")
    mode, model, units = record["runs"][0]["mode"], record["model"]["name"], record["runs"][0]["units"]
    journal = folder / f"evaluated-{_slug(mode)}.jsonl"
    try:
        lines = [predictions.JournalLine.from_json(text) for text in journal.read_text("utf-8").splitlines()[1:]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{journal}: cannot be read ({error}); evaluate again") from None
    keys = zip(units["place"], units["instance"], strict=True)
    return _Run(
        label=label or model,
        kind="sequence" if model in _WINDOW_MODELS else "" if mode == "predictions" else "one image",
        record=record,
        items={(line.place, item.instance): item for line in lines for item in line.evaluated},
        values=dict(zip(keys, np.array(units["value"], np.float64).tolist(), strict=True)),
        names={line.place: (line.dataset, line.id) for line in lines},
    )


def _select_keys(rows: Sequence[_Run], samples: Sequence[str] | None, columns: int) -> list[tuple[int, int]]:
    shared = [key for key in rows[0].items if all(key in row.items for row in rows)]
    if samples is None:
        apart = {key: np.ptp([row.values.get(key, np.nan) for row in rows]) for key in shared}
        known = sorted((key for key in shared if np.isfinite(apart[key])), key=lambda key: -apart[key])
        if not known:
            protocol = rows[0].record["protocol"]["name"]
            reason = (
                f"{protocol} has one value for all images, and none by sample" if shared else "they share no sample"
            )
            raise InputError(f"the runs cannot be compared by sample: {reason}")
        return known[:columns]
    found: list[tuple[int, int]] = []
    for name in samples:
        of = [key for key in shared if rows[0].names[key[0]][1] == name]
        if not of:
            such = rows[0].names[shared[0][0]][1]
            raise InputError(f"--samples {name}: not among those that all runs evaluated, such as {such}")
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


@dataclass(frozen=True)
class CardRequest:
    """Content of a card in addition to its evaluations; the last four fields apply only to the caller's networks."""

    groups: Sequence[Mapping[str, str]] = ()  # rows of a group file; empty for a card without groups
    # maximum gap between the worst group and the average; NaN uses the goal of the published card
    goal: float = math.nan
    fewest: int = protocols.FEWEST  # minimum number of instances of a group
    bench: Mapping[str, Any] | None = None  # result of `benchmarks/bench.py`; None without latency
    # class activation maps by the SHA-256 of the landmark network
    maps: Mapping[str, docs.Plot] = field(default_factory=dict[str, docs.Plot])
    name: str = ""  # name of the network
    licence: str = ""  # licence of the weights
    training_data: str = ""  # description of the training data
    intended_use: Sequence[str] = ()  # uses that the network is meant for


def card_files(records: Sequence[predictions.EvaluationRecord], request: CardRequest) -> dict[str, str]:
    """Return the Markdown, HTML and plots of a card per evaluated model."""
    described = request.name or request.licence or request.training_data or request.intended_use
    titles = {_card_name(record, request) for record in records}
    if described and (len(titles) > 1 or not all(map(_own_files, records))):
        raise InputError(
            "name, licence, training data and intended use apply only to evaluations of one network of your own"
        )
    files: dict[str, str] = {}
    for title in sorted(titles):
        own = [record for record in records if _card_name(record, request) == title]
        if len({tuple(item.get("sha256") for item in _own_files(record)) for record in own}) > 1:
            raise InputError(f"{title}: the evaluations are of different networks. Write a card of each")
        blocks = list(_card_blocks(own, request))
        files |= docs.plots_of(blocks)
        stem = re.sub(r"[^\w.-]+", "-", title)
        files[f"{stem}.md"] = docs.markdown_from(f"{title}: model card", blocks, _front_matter(title, own, request))
        files[f"{stem}.html"] = docs.html_from(f"{title}: model card", blocks)
    return files


def _card_name(record: predictions.EvaluationRecord, request: CardRequest) -> str:
    """Return the name of the evaluated network: that of the model, with the caller's files."""
    model, own = record["model"]["name"], _own_files(record)
    if request.name:
        return request.name
    return f"{model} with {own[0]['file']}" if own and _description_of_kind(model) else model


def _own_files(record: predictions.EvaluationRecord) -> list[predictions.FileRecord]:
    """Return the evaluated files that are not in the catalog of published weights."""
    return [item for item in record["model"]["files"] if "name" not in item]


def _describe_published_model(record: predictions.EvaluationRecord) -> Mapping[str, Any]:
    """Return the description of a published model; empty for other models and for networks of the caller."""
    return {} if _own_files(record) else _description_of_kind(record["model"]["name"])


def _description_of_kind(model: str) -> Mapping[str, Any]:
    file = resources.files("sonjit_lab.evaluation") / "about" / f"{model.partition('-')[0]}.toml"
    return data_files.read_toml_table(file) if file.is_file() else {}


def _front_matter(name: str, records: Sequence[predictions.EvaluationRecord], request: CardRequest) -> str:
    """Return Hugging Face's metadata as YAML. Strings are written as JSON, which is valid YAML."""

    def task_of(record: predictions.EvaluationRecord) -> str:
        try:
            return _OTHER_TASKS.get(load_protocol(record["protocol"]["name"]).task, _TASK)
        except InputError:  # a protocol of the caller, whose file is elsewhere
            return _TASK

    about, task = _describe_published_model(records[0]), task_of(records[0])
    licence = about.get("licence") or request.licence or "other"
    lines = ["---", f"license: {licence if about else json_from(licence)}", "library_name: sonjit"]
    lines += [f"pipeline_tag: {task}", "tags:"]
    lines += [f"- {tag}" for tag in about.get("tags", ("landmarks",) if task == _TASK else (task,))]
    lines += ["model-index:", f"- name: {json_from(name)}", "  results:"]
    for record in records:
        for run in record["runs"]:
            description = mode_description(record, run)
            lines += [
                f"  - task: {{type: {task_of(record)}}}",
                f"    dataset: {{name: {json_from(_sets(record))}, type: {record['protocol']['name']}}}",
                "    metrics:",
            ]
            lines += [
                f"    - {{type: {json_from(metric['name'])}, name: {json_from(metric['title'] + ', ' + description)}, "
                f"value: {metric['value']:.6g}}}"
                for metric in run["metrics"]
                if metric["value"] is not None
            ]
    return "\n".join([*lines, "---"])


def _sets(record: predictions.EvaluationRecord) -> str:
    return ", ".join(f"{item['set']} {item['split']}" for item in record["data"])


def _card_blocks(records: Sequence[predictions.EvaluationRecord], request: CardRequest) -> Iterator[docs.Block]:
    about, model = _describe_published_model(records[0]), records[0]["model"]["name"]
    if about:
        yield docs.Text(about["summary"])
        for heading, key in _ABOUT.items():
            yield docs.Heading(heading)
            yield docs.BulletList(tuple(about[key]))
    else:
        yield from _own_description(records, request)
    yield docs.Heading("Metrics")
    written: set[tuple[str, str]] = set()
    for record in records:
        same = record["protocol"]["name"], record["data_sha256"]
        yield from _results(record, conditions=same not in written)
        written.add(same)
    files = [file for record in records if (file := landmark_file(record)) is not None]
    if plot := next((request.maps[key] for file in files if (key := file.get("sha256", "")) in request.maps), None):
        yield docs.Heading("Class activation maps")
        yield docs.Text(
            "Exact for this network, averaged over hands in upright crops: evidence for the number (orange) and "
            "against it (blue), with the mean hand."
        )
        yield plot
    yield docs.Heading("By group")
    if grouped := [block for record in records for block in _fairness(record, request)]:
        yield from grouped
    else:
        yield docs.Text(
            "Not evaluated, because the people in the images are unknown. `sonjit card --groups groups.csv` "
            "takes region, skin tone (Fitzpatrick, Monk), gender and age by subject or image; a folder of your own "
            "may contain the groups itself."
        )
    main = sorted({run["main"] for record in records for run in record["runs"]})
    if cards := [block for metric in main for block in protocols.published_groups(metric)]:
        yield docs.Heading("Published cards")
        yield from cards
    if request.bench is not None:
        yield from _latency(model, request.bench)
    yield docs.Heading("Licence")
    licence = about.get("licence") or request.licence or "not stated (`sonjit card --licence`)"
    yield docs.Text(f"Weights: {licence}. Data belong to their owners and are not part of the weights.")
    yield docs.Heading("Origin of this card")
    yield docs.BulletList(tuple(line for record in records for line in _card_facts(record)))


def _own_description(records: Sequence[predictions.EvaluationRecord], request: CardRequest) -> Iterator[docs.Block]:
    """Yield what the caller states about a network, and how it was trained if its run's folder is here."""
    yield docs.Heading("Intended use")
    if request.intended_use:
        yield docs.BulletList(tuple(request.intended_use))
    else:
        yield docs.Text("Not stated (`sonjit card --intended-use`).")
    yield docs.Heading("Training")
    yield docs.Text(f"Data: {request.training_data or 'not stated (`sonjit card --training-data`)'}.")
    for folder in dict.fromkeys(Path(item.get("path", "")).parent for record in records for item in _own_files(record)):
        if not (folder / "settings.json").is_file() or not (folder / "result.json").is_file():
            continue
        settings, result = data_files.read_json(folder / "settings.json"), data_files.read_json(folder / "result.json")
        facts = [f"{title}: {settings[key]}" for key, title in _TRAINING.items() if settings.get(key) is not None]
        if started := settings.get("environment", {}):
            facts.append(f"command: {' '.join(started['command'])}")
            facts.append(", ".join(f"{name} {value}" for name, value in started["versions"].items()))
        results = result.get("results", {}).items()
        facts += [
            f"{name} at the end of the training: {value:.4g}" for name, value in results if isinstance(value, float)
        ]
        yield docs.BulletList(tuple(facts))


def landmark_file(record: predictions.EvaluationRecord) -> predictions.FileRecord | None:
    """Return the file of the hand landmark network that was evaluated, or None without one."""
    if record["model"]["name"].partition("-")[0] != "hands":
        return None
    of_catalog = (item for item in record["model"]["files"] if item.get("name") in ("hand-full", "hand-lite"))
    return next(iter(_own_files(record)), None) or next(of_catalog, None)


def _results(record: predictions.EvaluationRecord, *, conditions: bool) -> Iterator[docs.Block]:
    """Yield a record's metrics. Only the first record of a set of images shows detection by condition."""
    if record["protocol"].get("task") == "detection":
        yield from _detection(record, conditions=conditions)
        return
    for run in record["runs"]:
        yield docs.Heading(f"{record['protocol']['title']}, {run['mode']}", 3)
        yield docs.Text(f"{run['evaluated']} instances in {run['samples']} images of {_sets(record)}.")
        if run["evaluated"] < _MIN_INSTANCES:
            yield docs.Text(
                f"{run['evaluated']} instances are too few for conclusions: the card is only an example; the results "
                "do not describe the model on other images."
            )
        rows = tuple((metric["title"], *metric_cells(metric)) for metric in run["metrics"])
        yield docs.Table(("metric", "value", "95 % interval", "of", "not found"), rows)
        main, joints = predictions.main_metric(run), run["parts"].get("joint", ())
        if main is not None and joints:
            title = f"{main['title']} by keypoint, {run['mode']}"
            name = f"{record['model']['name']}-{record['protocol']['name']}-{run['mode'].replace(' ', '-')}"
            yield docs.Plot(name, joint_bars(joints, main["unit"], title), title)


def _detection(record: predictions.EvaluationRecord, *, conditions: bool) -> Iterator[docs.Block]:
    """Yield recall by condition, false detections, and precision by score."""

    def count(percent: float | None, counted: int) -> str:
        return f"{round((percent or 0) * counted / 100)} of {counted}"

    for run in record["runs"]:
        yield docs.Heading(f"{record['protocol']['title']}: {mode_description(record, run)}", 3)
        yield docs.Text(
            f"{run['samples']} images of {_sets(record)}. Intervals: bootstrap over {run['intervals_draw']}."
        )
        metrics = {metric["name"]: metric for metric in run["metrics"]}
        rows = [
            (title, count(entry["value"], entry["counted"]), *metric_cells(entry)[:2])
            for name, title in _DETECTION.items()
            if (entry := metrics.get(name)) is not None
        ]
        yield docs.Table(("", "count", "share", "95 % interval"), tuple(rows))
        for key, parts in run["parts"].items() if conditions else ():
            cells = [
                (
                    part["name"],
                    count(part["mean"], part["counted"]),
                    number(part["mean"]),
                    f"{number(part['low'])} to {number(part['high'])}",
                )
                for part in parts
            ]
            what = "right" if key == "score" else "found"
            yield docs.Table((PARTS[key], what, "%", "95 % interval"), tuple(cells))
    yield from map(docs.Text, record["protocol"]["notes"] if conditions else ())


def mode_description(record: predictions.EvaluationRecord, run: predictions.RunRecord) -> str:
    """Describe the mode of a run."""
    search, max_instances = record["model"].get("search"), record["model"].get("max_instances")
    return run["mode"] if search is None else f"{run['mode']}, search {search!r}, at most {max_instances}"


def _fairness(record: predictions.EvaluationRecord, request: CardRequest) -> Iterator[docs.Block]:
    for run in record["runs"]:
        main, groups = predictions.main_metric(run), request.groups or protocols.groups_of(run["units"])
        if main is None or not groups:
            continue
        goal, unit = request.goal, main["unit"]
        if math.isnan(goal):
            goal = next((card.goal for card in protocols.cards_of(main["name"])), math.nan)
        for factor in protocols.factors_of(run["units"], groups, better=main["better"], fewest=request.fewest):
            yield docs.Heading(f"{main['title']} by {factor.name}, {mode_description(record, run)}", 3)
            rows = [
                (
                    row.name if row.enough else f"{row.name} (too small to evaluate)",
                    *(number(item) for item in (row.mean, row.stdev, row.least, row.greatest)),
                    f"{number(row.low)} to {number(row.high)}",
                    str(row.count),
                    str(row.subjects or "–"),
                    str(row.missing),
                )
                for row in factor.rows
            ]
            yield docs.Table(("group", f"mean {unit}", *_GROUP_HEADINGS), tuple(rows))
            if factor.worst:
                yield docs.Text(
                    f"Mean of the groups {number(factor.average)} {unit}, standard deviation {number(factor.stdev)}, "
                    f"greatest minus least {number(factor.range)}."
                )
            yield docs.Text(protocols.verdict(factor, goal, unit))
            if factor.unknown:
                yield docs.Text(f"{factor.unknown} instances are of no known group.")


def _latency(model: str, bench: Mapping[str, Any]) -> Iterator[docs.Block]:
    kind, _, variant = model.partition("-")
    try:
        rows = tuple(
            (
                case["case"]["name"],
                *(number(case["sonjit"]["median"].get(key)) for key in ("p50_ms", "p90_ms", "rss_mb")),
            )
            for case in bench["cases"]
            if case["case"]["kind"] == kind and variant in ("", case["case"]["model"])
        )
        machine = f"{bench['machine']['cpu']}, {bench['machine']['cores']} cores"
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--bench requires a file of benchmarks/bench.py --save ({error} is missing)") from None
    yield docs.Heading("Latency")
    if not rows:
        yield docs.Text("Not measured: the file of sonjit bench has no case of this model.")
        return
    yield docs.Table(("case", "median ms", "90 % ms", "memory MB"), rows)
    yield docs.Text(f"All work of a frame, on {machine}.")


def _card_facts(record: predictions.EvaluationRecord) -> Iterator[str]:
    if record["command"]:
        yield f"command: {record['command']}"
    yield f"data, SHA-256 of labels and images: {record['data_sha256']}"
    for item in record["model"]["files"]:
        yield f"weights: {item.get('name', item['file'])}, SHA-256 {item.get('sha256', 'unknown')}"
    yield f"sonjit {record['sonjit']}, {record['machine']['date']}, {record['machine']['cpu']}"


def hand_maps_plot(record: predictions.EvaluationRecord) -> docs.Plot | None:
    """Draw mean class activation maps and hand of an evaluated hand network, or None if its file has changed."""
    file = landmark_file(record)
    if file is None:
        return None
    path = find_weight(file["name"]) if "name" in file else Path(file.get("path", ""))
    if not path.is_file() or sha256_of_file(path) != file.get("sha256"):
        return None
    variant = "lite" if record["model"]["name"].endswith("lite") else "full"
    explainer = load_hand_explainer(variant, landmark_model=path)
    maps: list[NDArray[np.float32]] = []
    hands: list[NDArray[np.float64]] = []
    with (
        open_source(data_files.ASSETS / "demo.mp4") as source,
        create_detector("hands", model=variant, landmark_model=path, static_image=True, search="fast") as detector,
    ):
        for frame in source:
            if frame.index % _MAP_FRAME_STEP:
                continue
            for hand in detector.detect(frame.rgb):
                if hand.handedness != _SIDE:
                    continue
                explained = explainer.explain(frame.rgb, hand, _TARGETS)
                maps.append(np.stack([item.values for item in explained]))
                matrix = inverse_affine(crop_matrix(explained[0].box, 1, 1))  # image to fractions of the crop
                hands.append(np.c_[hand.keypoints[:, :2], np.ones(len(hand.keypoints))] @ matrix.T)
    if not maps:
        return None
    name = file.get("name") or file["file"]
    title = f"Class activation maps of {name}: means over {len(hands)} right hands of the bundled clip"
    bones = load_skeleton("hand_mediapipe21").connections
    svg = docs.maps_svg(list(zip(_TARGETS, np.mean(maps, 0), strict=True)), np.mean(hands, 0), bones, title)
    stem = f"hands-{variant}" if "name" in file else re.sub(r"\W+", "-", f"own-{path.stem}")
    return docs.Plot(f"{stem}-maps", svg, title)
