"""Model cards from evaluations: what a model is for, how well it does, and for whom; with Hugging Face's metadata.

The card of a hand landmark network shows its mean class activation maps over the hands of the bundled clip.
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sonjit.detectors import create_detector
from sonjit.documents.document import (
    BulletList,
    Heading,
    Plot,
    Table,
    Text,
    html_from,
    markdown_from,
    number,
    plots_of,
)
from sonjit.documents.plots import bars_svg, maps_svg
from sonjit.errors import InputError
from sonjit.evaluation.metrics import FEWEST, factors_of, groups_of, verdict
from sonjit.evaluation.published import cards_of, load_groups, published_groups
from sonjit.evaluation.records import main_metric
from sonjit.evaluation.report import PARTS, metric_cells
from sonjit.explain import load_hand_explainer
from sonjit.geometry.boxes import crop_matrix, inverse_affine
from sonjit.media import open_source
from sonjit.skeletons import load_skeleton

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from sonjit.documents.document import Block
    from sonjit.evaluation.schema import EvaluationRecord, RunRecord

_FEW = 100
"""Instances below which metrics show that the way works, and little of how the model does."""


@dataclass(frozen=True)
class CardRequest:
    """What goes into a card beside its evaluations.

    Attributes:
        groups: rows of a groups' file; none for a card without groups.
        goal: greatest gap of the worst group from the average; NaN for what the published card set.
        fewest: instances that a group needs to be evaluated.
        bench: of `sonjit bench --save`; None for a card without latency.
        maps: class activation maps of models, by their names.
    """

    groups: Sequence[Mapping[str, str]] = ()
    goal: float = math.nan
    fewest: int = FEWEST
    bench: Mapping[str, Any] | None = None
    maps: Mapping[str, Plot] = field(default_factory=dict[str, Plot])


def card_files(records: Sequence[EvaluationRecord], request: CardRequest) -> dict[str, str]:
    """Markdown, HTML and plots of a card per model that was evaluated.

    Args:
        records: contents of eval.json, of one model or several.
        request: what else goes into the cards.
    """
    files: dict[str, str] = {}
    for model in dict.fromkeys(record["model"]["name"] for record in records):
        own = [record for record in records if record["model"]["name"] == model]
        title, blocks = f"{model}: model card", list(_blocks(model, own, request))
        files |= plots_of(blocks)
        files[f"{model}.md"] = markdown_from(title, blocks, front_matter(model, own, _about(model)))
        files[f"{model}.html"] = html_from(title, blocks)
    return files


def _about(model: str) -> Mapping[str, Any]:
    """What is known of a kind of model; nothing for one of your own."""
    file = resources.files("sonjit.evaluation") / "about" / f"{model.partition('-')[0]}.toml"
    return tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}


def _blocks(model: str, records: Sequence[EvaluationRecord], request: CardRequest) -> Iterator[Block]:
    about = _about(model)
    if about:
        yield Text(about["summary"])
        for heading, key in (
            ("Intended use", "intended"),
            ("Out of scope", "out_of_scope"),
            ("Factors", "conditions"),
            ("Input", "input"),
            ("Output", "output"),
        ):
            yield Heading(heading)
            yield BulletList(tuple(about[key]))
    yield Heading("Metrics")
    seen: set[tuple[str, str]] = set()
    for record in records:
        same = record["protocol"]["name"], record["data_sha256"]
        yield from _results(record, conditions=same not in seen)
        seen.add(same)
    if model in request.maps:
        yield Heading("Class activation maps")
        yield Text(
            "Exact for this network, averaged over hands in upright crops: evidence for the number (orange) and "
            "against it (blue), with the mean hand."
        )
        yield request.maps[model]
    yield Heading("By group")
    if grouped := [block for record in records for block in _fairness(model, record, request)]:
        yield from grouped
    else:
        yield Text(
            "Not evaluated: it is not known here who the people in the images are. `sonjit card --groups groups.csv` "
            "takes region, skin tone (Fitzpatrick, Monk), gender and age by subject or image; a folder of your own "
            "may hold the groups itself."
        )
    yield from _published({run["main"] for record in records for run in record["runs"]})
    if request.bench is not None:
        yield from _latency(model, request.bench)
    yield Heading("Licence")
    yield Text(
        f"Weights: {about.get('licence', 'as their owner says')}. Data are their owners', and are not part of it."
    )
    yield Heading("How this card was made")
    yield BulletList(tuple(line for record in records for line in _facts(record)))


def _results(record: EvaluationRecord, *, conditions: bool) -> Iterator[Block]:
    """A record's metrics; of detection by condition too, which the first record of some images alone shows."""
    if record["protocol"].get("task") == "detection":
        yield from _detection(record, conditions=conditions)
        return
    sets = ", ".join(f"{one['set']} {one['split']}" for one in record["data"])
    for run in record["runs"]:
        yield Heading(f"{record['protocol']['title']}, {run['mode']}", 3)
        yield Text(f"{run['evaluated']} instances in {run['samples']} images of {sets}.")
        if run["evaluated"] < _FEW:
            yield Text(
                f"{run['evaluated']} instances are few: these results show how a card is made; they "
                "say little about the model on other images."
            )
        rows = tuple((one["title"], *metric_cells(one)) for one in run["metrics"])
        yield Table(("metric", "value", "95 % interval", "of", "not found"), rows)
        main, joints = main_metric(run), run["parts"].get("joint", ())
        if main is not None and joints:
            title = f"{main['title']} by keypoint, {run['mode']}"
            bars = [(one["name"], _float(one["mean"]), _float(one["low"]), _float(one["high"])) for one in joints]
            name = f"{record['model']['name']}-{record['protocol']['name']}-{run['mode'].replace(' ', '-')}"
            yield Plot(name, bars_svg(bars, main["unit"], title), title)


_DETECTION = {
    "recall": "found",
    "precision": "right",
    "false": "false",
    "doubled": "doubled",
    "handedness": "side",
    "side_known": "side, where it is known (0.8 and more)",
}
"""Rows of a card's table of finds, by metric."""


def _detection(record: EvaluationRecord, *, conditions: bool) -> Iterator[Block]:
    """What was found under which condition, what else was found, and how often a find of each score is right."""
    sets = ", ".join(f"{one['set']} {one['split']}" for one in record["data"])
    for run in record["runs"]:
        yield Heading(f"{record['protocol']['title']}: {_asked(record, run)}", 3)
        yield Text(f"{run['samples']} images of {sets}. Intervals: bootstrap over {run['intervals_draw']}.")
        metrics = {one["name"]: one for one in run["metrics"]}
        rows = tuple(
            (title, _count(one["value"], one["counted"]), *metric_cells(one)[:2])
            for name, title in _DETECTION.items()
            if (one := metrics.get(name)) is not None
        )
        yield Table(("", "count", "share", "95 % interval"), rows)
        for key, parts in run["parts"].items() if conditions else ():
            what = "right" if key == "score" else "found"
            yield Table(
                (PARTS[key], what, "%", "95 % interval"),
                tuple(
                    (
                        one["name"],
                        _count(one["mean"], one["counted"]),
                        number(one["mean"]),
                        f"{number(one['low'])} to {number(one['high'])}",
                    )
                    for one in parts
                ),
            )
    for note in record["protocol"]["notes"] if conditions else ():
        yield Text(note)


def _asked(record: EvaluationRecord, run: RunRecord) -> str:
    """How a model was asked."""
    search, most = record["model"].get("search"), record["model"].get("max_instances")
    return run["mode"] if search is None else f"{run['mode']}, search {search!r}, at most {most}"


def _count(percent: float | None, counted: int) -> str:
    return f"{round((percent or 0) * counted / 100)} of {counted}"


def _fairness(model: str, record: EvaluationRecord, request: CardRequest) -> Iterator[Block]:
    groups = {run["mode"]: request.groups or groups_of(run["units"]) for run in record["runs"]}
    for run in record["runs"]:
        main = main_metric(run)
        if main is None or not groups[run["mode"]]:
            continue
        goal = _goal(main["name"], request.goal)
        factors = factors_of(
            run["units"], groups[run["mode"]], model=model, better=main["better"], fewest=request.fewest
        )
        for factor in factors:
            yield Heading(f"{main['title']} by {factor.name}, {_asked(record, run)}", 3)
            unit = main["unit"]
            headings = (
                "group",
                f"mean {unit}",
                "sd",
                "least",
                "greatest",
                "95 % interval",
                "of",
                "people",
                "not found",
            )
            yield Table(
                headings,
                tuple(
                    (
                        row.name if row.enough else f"{row.name} (too small to evaluate)",
                        *(number(one) for one in (row.mean, row.stdev, row.least, row.greatest)),
                        f"{number(row.low)} to {number(row.high)}",
                        str(row.count),
                        str(row.subjects or "–"),
                        str(row.missing),
                    )
                    for row in factor.rows
                ),
            )
            if factor.worst:
                yield Text(
                    f"Mean of the groups {number(factor.average)} {unit}, standard deviation {number(factor.stdev)}, "
                    f"greatest minus least {number(factor.range)}."
                )
            yield Text(verdict(factor, goal, unit))
            if factor.unknown:
                yield Text(f"{factor.unknown} instances are of no known group.")


def _goal(metric: str, given: float) -> float:
    """The goal that was given, else that of the published card."""
    if not math.isnan(given):
        return given
    return next((card.goal for card in map(load_groups, cards_of(metric))), math.nan)


def _published(metrics: set[str]) -> Iterator[Block]:
    blocks = [block for metric in sorted(metrics) for block in published_groups(cards_of(metric), metric)]
    if blocks:
        yield Heading("Beside the published cards")
        yield from blocks


def _latency(model: str, bench: Mapping[str, Any]) -> Iterator[Block]:
    kind, _, variant = model.partition("-")
    try:
        rows = tuple(
            (one["case"]["name"], *(number(one["sonjit"]["median"].get(key)) for key in ("p50_ms", "p90_ms", "rss_mb")))
            for one in bench["cases"]
            if one["case"]["kind"] == kind and variant in ("", one["case"]["model"])
        )
        machine = f"{bench['machine']['cpu']}, {bench['machine']['cores']} cores"
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--bench: is not a file of sonjit bench --save ({error} is missing)") from None
    yield Heading("Latency")
    if not rows:
        yield Text("Not measured: the file of sonjit bench has no case of this model.")
        return
    yield Table(("case", "median ms", "90 % ms", "memory MB"), rows)
    yield Text(f"Whole frames, on {machine}.")


def _facts(record: EvaluationRecord) -> Iterator[str]:
    if record["command"]:
        yield f"command: {record['command']}"
    yield f"data, SHA-256 of labels and images: {record['data_sha256']}"
    for one in record["model"]["files"]:
        yield f"weights: {one.get('name', one['file'])}, SHA-256 {one.get('sha256', 'unknown')}"
    yield f"sonjit {record['sonjit']}, {record['machine']['date']}, {record['machine']['cpu']}"


def _float(value: float | None) -> float:
    return math.nan if value is None else value


_TASK = "keypoint-detection"


def front_matter(model: str, records: Sequence[EvaluationRecord], about: Mapping[str, Any]) -> str:
    """Hugging Face's metadata, as YAML; JSON's strings are YAML's."""
    lines = ["---", f"license: {about.get('licence', 'other')}", "library_name: sonjit", f"pipeline_tag: {_TASK}"]
    lines += ["tags:", *(f"- {tag}" for tag in about.get("tags", ("landmarks",)))]
    lines += ["model-index:", f"- name: {json.dumps(model)}", "  results:"]
    for record in records:
        for run in record["runs"]:
            sets = ", ".join(f"{one['set']} {one['split']}" for one in record["data"])
            lines += [
                f"  - task: {{type: {_TASK}}}",
                f"    dataset: {{name: {json.dumps(sets)}, type: {record['protocol']['name']}}}",
            ]
            lines.append("    metrics:")
            asked = _asked(record, run)
            lines += [
                f"    - {{type: {json.dumps(one['name'])}, name: {json.dumps(one['title'] + ', ' + asked)}, "
                f"value: {one['value']:.6g}}}"
                for one in run["metrics"]
                if one["value"] is not None
            ]
    return "\n".join([*lines, "---"])


_TARGETS = ("handedness", "presence", "index_finger_tip.x", "index_finger_tip.y")
_SIDE = "Right"  # a left hand's map is the mirrored one
_EVERY = 10


def hand_maps_plot(variant: Literal["full", "lite"]) -> Plot:
    """Mean class activation maps of the published hand network, with the mean hand over them.

    Args:
        variant: `full` or `lite`.

    Raises:
        InputError: its weights are not on this machine.
    """
    explainer = load_hand_explainer(variant)
    maps: list[NDArray[np.float32]] = []
    hands: list[NDArray[np.float64]] = []
    with (
        resources.as_file(resources.files("sonjit") / "assets" / "demo.mp4") as clip,
        open_source(clip) as source,
        create_detector("hands", model=variant, static_image=True, search="fast") as detector,
    ):
        for frame in source:
            if frame.index % _EVERY:
                continue
            for hand in detector.detect(frame.rgb):
                if hand.handedness != _SIDE:
                    continue
                explained = explainer.explain(frame.rgb, hand, _TARGETS)
                maps.append(np.stack([one.values for one in explained]))
                matrix = inverse_affine(crop_matrix(explained[0].box, 1, 1))  # image to fractions of the crop
                hands.append(np.c_[hand.keypoints[:, :2], np.ones(len(hand.keypoints))] @ matrix.T)
    title = f"Class activation maps of hand-{variant}: means over {len(hands)} right hands of the bundled clip"
    bones = load_skeleton("hand_mediapipe21").connections
    svg = maps_svg(list(zip(_TARGETS, np.mean(maps, 0), strict=True)), np.mean(hands, 0), bones, title)
    return Plot(f"hands-{variant}-maps", svg, title)
