"""Write model cards from evaluations."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonjit._util import InputError, data_files, json_from
from sonjit._util.files import sha256_of_file
from sonjit.detectors import create_detector
from sonjit.explanations.hand_saliency import load_hand_explainer
from sonjit.geometry.boxes import crop_matrix, inverse_affine
from sonjit.media import open_source
from sonjit.report import documents as docs
from sonjit.report.documents import number
from sonjit.results.skeletons import load_skeleton
from sonjit.weights import find_weight
from sonjit_lab.evaluation import predictions, protocols, published
from sonjit_lab.evaluation.groups import factors_of, groups_of, verdict
from sonjit_lab.evaluation.protocols import load_protocol
from sonjit_lab.evaluation.report import PARTS, joint_bars, metric_cells

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
    "held_out_by": "held-out images",
    "held_out_sha256": "held-out images, SHA-256 of their names",
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
    if described and (len(titles) > 1 or not all(map(_caller_files, records))):
        raise InputError(
            "name, licence, training data and intended use apply only to evaluations of one network of your own"
        )
    files: dict[str, str] = {}
    for title in sorted(titles):
        titled = [record for record in records if _card_name(record, request) == title]
        if len({tuple(item.get("sha256") for item in _caller_files(record)) for record in titled}) > 1:
            raise InputError(f"{title}: the evaluations are of different networks. Write a card of each")
        blocks = list(_card_blocks(titled, request))
        files |= docs.plots_of(blocks)
        stem = re.sub(r"[^\w.-]+", "-", title)
        files[f"{stem}.md"] = docs.markdown_from(f"{title}: model card", blocks, _front_matter(title, titled, request))
        files[f"{stem}.html"] = docs.html_from(f"{title}: model card", blocks)
    return files


def _card_name(record: predictions.EvaluationRecord, request: CardRequest) -> str:
    """Return the name of the evaluated network: that of the model, with the caller's files."""
    model, caller_files = record["model"]["name"], _caller_files(record)
    if request.name:
        return request.name
    return f"{model} with {caller_files[0]['file']}" if caller_files and _description_of_kind(model) else model


def _caller_files(record: predictions.EvaluationRecord) -> list[predictions.FileRecord]:
    """Return the evaluated files that are not in the catalog of published weights."""
    return [item for item in record["model"]["files"] if "name" not in item]


def _describe_published_model(record: predictions.EvaluationRecord) -> Mapping[str, Any]:
    """Return the description of a published model; empty for other models and for networks of the caller."""
    return {} if _caller_files(record) else _description_of_kind(record["model"]["name"])


def _description_of_kind(model: str) -> Mapping[str, Any]:
    file = resources.files("sonjit_lab.evaluation") / "about.toml"
    return data_files.read_toml_table(file).get(model.partition("-")[0], {})


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
        yield from _caller_description(records, request)
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
    if cards := [block for metric in main for block in published.published_groups(metric)]:
        yield docs.Heading("Published cards")
        yield from cards
    if request.bench is not None:
        yield from _latency(model, request.bench)
    yield docs.Heading("Licence")
    licence = about.get("licence") or request.licence or "not stated (`sonjit card --licence`)"
    yield docs.Text(f"Weights: {licence}. Data belong to their owners and are not part of the weights.")
    yield docs.Heading("Origin of this card")
    yield docs.BulletList(tuple(line for record in records for line in _card_facts(record)))


def _caller_description(records: Sequence[predictions.EvaluationRecord], request: CardRequest) -> Iterator[docs.Block]:
    """Yield the caller's statements about a network, and its training if the folder of its run is here."""
    yield docs.Heading("Intended use")
    if request.intended_use:
        yield docs.BulletList(tuple(request.intended_use))
    else:
        yield docs.Text("Not stated (`sonjit card --intended-use`).")
    yield docs.Heading("Training")
    yield docs.Text(f"Data: {request.training_data or 'not stated (`sonjit card --training-data`)'}.")
    paths = (Path(item.get("path", "")) for record in records for item in _caller_files(record))
    for folder in dict.fromkeys(path if path.is_dir() else path.parent for path in paths):
        if not (folder / "settings.json").is_file() or not (folder / "result.json").is_file():
            continue
        settings = data_files.read_json(folder / "settings.json")
        result = data_files.read_json(folder / "result.json")
        facts = [f"{title}: {settings[key]}" for key, title in _TRAINING.items() if settings.get(key) is not None]
        facts += _losses(folder / "log.jsonl")
        if started := settings.get("environment", {}):
            facts.append(f"command: {' '.join(started['command'])}")
            facts.append(", ".join(f"{name} {value}" for name, value in started["versions"].items()))
        results = result.get("results", {}).items()
        facts += [
            f"{name} at the end of the training: {value:.4g}" for name, value in results if isinstance(value, float)
        ]
        yield docs.BulletList(tuple(facts))


def _losses(log: Path) -> list[str]:
    """Return the losses of the last step of a run as a line."""
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.is_file() else []
    if not rows:
        return []
    losses = ", ".join(f"{name} {value:.4g}" for name, value in rows[-1]["losses"].items())
    return [f"losses of step {rows[-1]['step']}: {losses}"]


def landmark_file(record: predictions.EvaluationRecord) -> predictions.FileRecord | None:
    """Return the file of the hand landmark network that was evaluated, or None without one."""
    if record["model"]["name"].partition("-")[0] != "hands":
        return None
    of_catalog = (item for item in record["model"]["files"] if item.get("name") in ("hand-full", "hand-lite"))
    return next(iter(_caller_files(record)), None) or next(of_catalog, None)


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
        main, groups = predictions.main_metric(run), request.groups or groups_of(run["units"])
        if main is None or not groups:
            continue
        if main["value"] is not None and not np.isfinite(np.array(run["units"]["value"], np.float64)).any():
            yield docs.Text(f"{main['title']} is computed over all images at once, and has no values by group.")
            continue
        goal, unit = request.goal, main["unit"]
        if math.isnan(goal):
            goal = next((card.goal for card in published.cards_of(main["name"])), math.nan)
        for factor in factors_of(run["units"], groups, better=main["better"], fewest=request.fewest):
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
            yield docs.Text(verdict(factor, goal, unit))
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
