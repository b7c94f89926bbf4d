"""`sonjit eval`: evaluate a model by a protocol, and write metrics one can trust.

`sonjit card`: model cards from evaluations.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sonjit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.documents.document import Plot
    from sonjit.evaluation import Evaluation
    from sonjit.evaluation.predictions import Mode


def evaluate(
    *,
    protocol: str | None = None,
    model: str | None = None,
    root: str | None = None,
    predictions: str | None = None,
    out: str = "evaluation",
    data: str | None = None,
    split: str | None = None,
    mode: Literal["tracking", "reacquisition", "both"] = "both",
    limit: int | None = None,
    weights: str | None = None,
    layout: Literal["interhand", "stb", "rhd"] | None = None,
    root_weights: str | None = None,
    root_input_scale: Literal[1, 255] | None = None,
    boxes: str | None = None,
    mano: str | None = None,
    mano_left: str | None = None,
    pooling: Literal["gap", "gmp"] | None = None,
    localize_by: Literal["cam", "heuristics", "backprop"] | None = None,
    view: Literal["full", "crop", "box"] | None = None,
    models_dir: str | None = None,
    landmark_model: str | None = None,
    search: Literal["auto", "fast", "thorough"] | None = None,
    max_instances: int | None = None,
    device: str | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    skip_bad: Annotated[bool, Parameter(negative="")] = False,
    jobs: int = 1,
    workers: str = "pool",
    save: str | None = None,
    submission: str | None = None,
) -> int:
    """Evaluate a model by a protocol: eval.json, report.html and report.md, with worst cases as images.

    `sonjit eval` lists the protocols and models. `sonjit eval --protocol mediapipe-card --model hands-full --root sets`
    tracks and searches hands anew, as the model cards do. `sonjit eval --protocol freihand --root FreiHAND_pub_v2
    --predictions mine.npz` evaluates the predictions of another program. A run that was stopped goes on with --resume.

    Args:
        protocol: Which recipe: a name, or a .toml file of your own.
        model: A detector's kind and model such as hands-full, or a network of sonjit networks with --weights.
        root: Folder of the data set; of several sets, the folder that holds theirs.
        predictions: File of predictions to evaluate instead: .npz with id (N,) and keypoints_px, keypoints_m,
            vertices_m, side, score and so on; COCO's results as .json; or what sonjit hands --save wrote for a folder
            of images.
        out: Folder for everything that is written.
        data: Other sets than the protocol's, at the root itself: NAME or NAME:SPLIT, several with commas.
        split: Another split than the protocol's.
        mode: Of detectors: the crop from the result before, a search over each whole image, or both.
        limit: Only so many images of each set.
        weights: Checkpoint of a network, or folder of its run; demo for placeholder weights.
        layout: Data set that an official checkpoint of InterNet was trained on; Sonjit's own say it.
        root_weights: RootNet's checkpoint, beside InterNet's.
        root_input_scale: What white is to an official checkpoint of RootNet: 255 in the release; Sonjit's own say it.
        boxes: JSON file of where InterNet looks, and how far the roots are: RootNet's released results, or a list with
            annot_id or sample (and side), bbox (x, y, width, height of the square to cut out) and abs_depth in mm.
        mano: MANO_RIGHT.pkl, for HandOccNet and Deformer, and for the true meshes of sets with MANO's parameters.
        mano_left: MANO_LEFT.pkl, likewise.
        pooling: Of a classifier's checkpoint that does not say it: gap (mean) or gmp (maximum).
        localize_by: Of a classifier, where boxes come from: cam, one of each class's map, the default; heuristics, the
            paper's five of three classes; backprop, one of each class's saliency.
        view: Of a classifier, what it is shown: all of the image (full), what its map cuts out (crop), or the labelled
            box (box); by default what it was trained on.
        models_dir: Folder with the published weight files.
        landmark_model: Hand landmark network of your own, for detectors.
        search: Of detectors, how thorough; by default as the protocol says.
        max_instances: Of detectors, how many to find at most; likewise.
        device: Where it runs: a detector on cpu, gpu, npu or auto, a network on cpu, gpu, cuda:1, mps or auto.
        resume: Go on from what was evaluated before.
        skip_bad: Leave bad samples out and list them.
        jobs: Processes that share the samples; of tracking, whole recordings. They come to the same metrics.
        workers: A pool of processes here; or ray, or ray:ADDRESS, a cluster whose machines see the data under the same
            path.
        save: Table with a row for each thing that is evaluated: .json, .jsonl, .csv or .parquet.
        submission: File for the server of a challenge: pred.json for FreiHAND's and HO-3D's, .txt for DexYCB's toolkit.
    """
    from sonjit.cli.report import closing_line, progress
    from sonjit.evaluation import EvaluationRequest, ModelChoice, open_unit_table, save_report, write_units
    from sonjit.evaluation import evaluate as run
    from sonjit.files import sole_writer

    if protocol is None:
        return _list()
    if root is None:
        raise InputError("name the folder of the data with --root")
    choice = ModelChoice(
        model,
        predictions,
        weights,
        root_weights,
        mano,
        mano_left,
        models_dir,
        landmark_model,
        pooling,
        localize_by,
        view,
        search,
        max_instances,
        device,
        layout,
        root_input_scale,
        boxes,
    )
    modes: tuple[Mode, ...] | None = None if mode == "both" else (mode,)
    request = EvaluationRequest(
        protocol=protocol,
        model=choice,
        root=Path(root),
        data=tuple(part.strip() for part in data.split(",")) if data else (),
        split=split,
        modes=modes,
        limit=limit,
        skip_bad=skip_bad,
        resume=resume,
        command=shlex.join(["sonjit", *sys.argv[1:]]),
        jobs=jobs,
        workers=workers,
        submission=None if submission is None else Path(submission),
    )
    with nullcontext() if save is None else open_unit_table(save) as table:
        folder = _folder(out)
        with sole_writer(folder):
            with progress(None, "images") as advance:
                outcome = run(request, folder, expect=advance.expect, advance=advance)
            save_report(outcome, folder)
        if table is not None:
            write_units(outcome, table)
    _tell(outcome)
    summary = outcome.summary
    summary.written = [str(folder / name) for name in ("eval.json", "report.html", "report.md")]
    summary.written += [one for one in (save, submission) if one is not None]
    sys.stderr.write(closing_line(summary, f"{summary.instances} evaluated") + "\n")
    if outcome.stopped:
        raise KeyboardInterrupt
    return 0


def _list() -> int:
    from sonjit.evaluation import list_models, list_protocols, load_protocol

    for name in list_protocols():
        sys.stdout.write(f"{name:16} {load_protocol(name).title}\n")
    sys.stdout.write(f"models: {', '.join(list_models())}\n")
    return 0


def _folder(name: str) -> Path:
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {name}: {error.strerror}; name a folder that can be made") from None
    return folder


def _tell(outcome: Evaluation) -> None:
    """The metrics on standard output, then the main one by keypoint."""
    import json

    from rich.console import Console
    from rich.table import Table

    from sonjit.documents.document import number
    from sonjit.evaluation.report import metric_cells
    from sonjit.json_text import json_from

    console = Console(width=None if sys.stdout.isatty() else 160)
    for run in json.loads(json_from(outcome.record["runs"])):
        table = Table("metric", "value", "95 % interval", "of", "not found", box=None, header_style="bold")
        for one in run["metrics"]:
            table.add_row(one["title"], *metric_cells(one))
        console.print(f"{run['mode']}: {run['evaluated']} evaluated in {run['samples']} images", style="bold")
        console.print(table)
        if "joint" in run["parts"]:
            unit = next(one["unit"] for one in run["metrics"] if one["name"] == run["main"])
            table = Table("keypoint", f"{run['main']} {unit}", "95 % interval", "of", box=None, header_style="bold")
            for row in run["parts"]["joint"]:
                interval = f"{number(row['low'])} to {number(row['high'])}"
                table.add_row(row["name"], number(row["mean"]), interval, str(row["counted"]))
            console.print(table)


def card(
    evaluations: Annotated[tuple[str, ...], Parameter(name="EVAL_JSON")] = (),
    /,
    *,
    out: str = "cards",
    groups: str | None = None,
    goal: float | None = None,
    fewest: int = 20,
    bench: str | None = None,
) -> int:
    """Write a card per model, in Markdown with Hugging Face's metadata and as a page.

    `sonjit card evaluation/eval.json --out cards --groups groups.csv --goal 2.56 --bench bench.json`

    Args:
        evaluations: Files that sonjit eval wrote, of one model or several.
        out: Folder for the cards.
        groups: CSV file with a column subject or sample, and one per factor: region, fitzpatrick, monk, gender, age.
        goal: How much worse than the average the worst group may be, in the metric's unit.
        fewest: Instances that a group needs to be evaluated.
        bench: File of sonjit bench --save, for latency.
    """
    from sonjit.documents.document import save_files
    from sonjit.evaluation.cards import CardRequest, card_files
    from sonjit.evaluation.metrics import load_group_file
    from sonjit.evaluation.records import load_evaluation

    if not evaluations:
        raise InputError("name at least one eval.json of sonjit eval")
    if fewest < 2:
        raise InputError(f"--fewest {fewest}: give at least 2")
    records = [load_evaluation(Path(one)) for one in evaluations]
    request = CardRequest(
        groups=load_group_file(Path(groups)) if groups else (),
        goal=math.nan if goal is None else goal,
        fewest=fewest,
        bench=_json(Path(bench)) if bench else None,
        maps=_maps({record["model"]["name"] for record in records}),
    )
    files = card_files(records, request)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}; name a folder that can be made") from None
    save_files(folder, files)
    names = sorted(name for name in files if name.endswith(".md"))
    sys.stderr.write(f"wrote {', '.join(str(folder / name) for name in names)}, each also as .html\n")
    return 0


def _maps(models: set[str]) -> dict[str, Plot]:
    """Class activation maps of the published hand networks among the models, those whose weights are here."""
    from sonjit.evaluation.cards import hand_maps_plot

    found: dict[str, Plot] = {}
    variants: dict[str, Literal["full", "lite"]] = {"hands": "full", "hands-full": "full", "hands-lite": "lite"}
    for name in sorted(models & variants.keys()):
        with suppress(InputError):  # a card can do without
            found[name] = hand_maps_plot(variants[name])
    return found


def _json(path: Path) -> Mapping[str, Any]:
    try:
        data: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"--bench {path}: cannot be read as JSON ({error})") from None
    if not isinstance(data, dict):
        raise InputError(f"--bench {path}: is not a file of sonjit bench --save")
    return data
