"""`sonjit eval` evaluates models, `sonjit card` writes model cards, and `sonjit compare` draws several evaluations."""

import json
import math
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sonjit._util import InputError, data_files, json_from
from sonjit._util.files import note_kept, sole_writer, write_bytes
from sonjit.cli.options import ROWS, TO_FILE, TO_FOLDER
from sonjit.cli.progress import closing_line, progress_bar
from sonjit.media import ANNOTATED_IMAGE_ENDINGS
from sonjit.media.sources.images import encode_image
from sonjit.report import documents
from sonjit_lab import evaluation
from sonjit_lab.evaluation import cards, comparison, predictions, protocols, report
from sonjit_lab.evaluation.groups import load_group_file

_ROWS = f"Table with a row per evaluated instance: {ROWS}."


def evaluate(
    *,
    protocol: str | None = None,
    root: Path | None = None,
    choice: evaluation.ModelChoice | None = None,
    out: Annotated[Path, TO_FOLDER] = Path("evaluation"),
    data: str | None = None,
    split: str | None = None,
    option: Annotated[list[str] | None, Parameter(negative="")] = None,
    mode: Literal["tracking", "reacquisition", "both"] = "both",
    limit: int | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    skip_bad: Annotated[bool, Parameter(negative="")] = False,
    jobs: int = 1,
    workers: str = "pool",
    save: Annotated[str | None, TO_FILE, Parameter(help=_ROWS)] = None,
    submission: Annotated[Path | None, TO_FILE] = None,
) -> int:
    """Evaluate a model with a protocol and write a report.

    The report consists of eval.json, report.html and report.md, with the worst cases as images.

    `sonjit eval` lists the protocols and models. `sonjit eval --protocol mediapipe-card --model hands-full --root sets`
    tracks and searches hands anew, as the model cards do. `sonjit eval --protocol freihand --root FreiHAND_pub_v2
    --predictions mine.npz` evaluates the predictions of another program. Continue an interrupted run with --resume.

    Args:
        protocol: Name of a protocol, or the path of your own .toml file.
        root: Folder of the data set, or the folder that contains several sets.
        out: Folder for the results.
        data: Data sets to use instead of the protocol's: NAME or NAME:SPLIT, separated by commas.
        split: Split to use instead of the protocol's.
        option: Option of the data sets as name=value, such as order=mano. Can be repeated.
        mode: Mode of detectors: tracking crops around the previous result, reacquisition searches each image.
        limit: Maximum number of images per data set.
        resume: Continue an interrupted evaluation.
        skip_bad: Omit bad samples and list them.
        jobs: Number of processes that share the samples. The metrics stay the same.
        workers: A pool of processes here; or ray, or ray:ADDRESS, a cluster whose machines see the data under the same
            path.
        save: Table with a row per evaluated instance.
        submission: File for the server of a challenge: pred.json for FreiHAND's and HO-3D's, .txt for DexYCB's toolkit,
            .json of results for COCO's.
    """
    from sonjit_lab.evaluation import evaluate as run

    if protocol is None:
        for name in evaluation.list_protocols():
            sys.stdout.write(f"{name:16} {evaluation.load_protocol(name).title}\n")
        sys.stdout.write(f"models: {', '.join(evaluation.list_models())}\n")
        return 0
    if root is None:
        raise InputError("--protocol requires --root, the folder of the data")
    request = evaluation.EvaluationRequest(
        protocol=protocol,
        model=choice or evaluation.ModelChoice(),
        root=root,
        data=tuple(part.strip() for part in data.split(",")) if data else (),
        split=split,
        options=data_files.json_values(option or [], option="--option"),
        modes=None if mode == "both" else (mode,),
        limit=limit,
        skip_bad=skip_bad,
        resume=resume,
        command=shlex.join(["sonjit", *sys.argv[1:]]),
        jobs=jobs,
        workers=workers,
        submission=submission,
    )
    with nullcontext() if save is None else evaluation.open_unit_table(save) as table:
        with sole_writer(out):
            with progress_bar(None, "images") as bar:
                outcome = run(request, out, progress=bar)
            evaluation.save_report(outcome, out)
        if table is not None:
            evaluation.write_units(outcome, table)
    _print_metrics(outcome)
    summary = outcome.summary
    sys.stderr.writelines(f"sonjit: {line}\n" for line in summary.notes)
    summary.written = [str(out / name) for name in ("eval.json", "report.html", "report.md")]
    summary.written += [str(path) for path in (save, submission) if path is not None]
    sys.stderr.write(closing_line(summary, f"{summary.instances} evaluated") + "\n")
    if outcome.stopped:
        stop = KeyboardInterrupt()
        note_kept(stop)
        raise stop
    return 0


def _print_metrics(outcome: evaluation.Evaluation) -> None:
    """Print the metrics, then the main one by keypoint."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    for run in json.loads(json_from(outcome.record["runs"])):
        table = Table("metric", "value", "95 % interval", "of", "not found", box=None, header_style="bold")
        for metric in run["metrics"]:
            table.add_row(metric["title"], *report.metric_cells(metric))
        console.print(f"{run['mode']}: {run['evaluated']} evaluated in {run['samples']} images", style="bold")
        console.print(table)
        if "joint" in run["parts"]:
            unit = next(metric["unit"] for metric in run["metrics"] if metric["name"] == run["main"])
            table = Table("keypoint", f"{run['main']} {unit}", "95 % interval", "of", box=None, header_style="bold")
            for row in run["parts"]["joint"]:
                interval = f"{documents.number(row['low'])} to {documents.number(row['high'])}"
                table.add_row(row["name"], documents.number(row["mean"]), interval, str(row["counted"]))
            console.print(table)


def card(
    evaluations: Annotated[tuple[Path, ...], Parameter(name="EVAL_JSON")] = (),
    /,
    *,
    out: Annotated[Path, TO_FOLDER] = Path("cards"),
    groups: Path | None = None,
    goal: float | None = None,
    fewest: int = protocols.FEWEST,
    bench: Path | None = None,
    name: str = "",
    licence: str = "",
    training_data: str = "",
    intended_use: Annotated[tuple[str, ...], Parameter(negative="")] = (),
) -> int:
    """Write a model card from evaluations, as Markdown and as a page.

    The Markdown has Hugging Face's metadata.

    `sonjit card evaluation/eval.json --out cards --groups groups.csv --goal 2.56 --bench bench.json`

    Args:
        evaluations: Files of sonjit eval, for one or several models.
        out: Folder for the cards.
        groups: CSV file with a column subject or sample, and one per factor: region, fitzpatrick, monk, gender, age.
        goal: Maximum difference between the worst group and the average, in the metric's unit.
        fewest: Minimum number of instances of an evaluated group.
        bench: File of benchmarks/bench.py --save, for latency.
        name: Name of your own network.
        licence: Licence of your own weights, such as cc-by-4.0.
        training_data: Description of the data that your own network was trained on.
        intended_use: Intended use of your own network. Can be repeated.
    """
    if not evaluations:
        raise InputError("sonjit card requires at least one eval.json of sonjit eval")
    if fewest < 2:
        raise InputError(f"--fewest {fewest}: give at least 2")
    records = [predictions.load_evaluation(path) for path in evaluations]
    times = None if bench is None else data_files.read_json(bench)
    if not (times is None or isinstance(times, dict)):
        raise InputError(f"--bench {bench} is not a file of benchmarks/bench.py --save")
    request = cards.CardRequest(
        groups=load_group_file(groups) if groups else (),
        goal=math.nan if goal is None else goal,
        fewest=fewest,
        bench=times,
        maps=_maps(records),
        name=name,
        licence=licence,
        training_data=training_data,
        intended_use=intended_use,
    )
    files = cards.card_files(records, request)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}; choose another folder") from None
    documents.save_files(out, files)
    names = sorted(name for name in files if name.endswith((".md", ".html")))
    sys.stderr.write(f"wrote {', '.join(str(out / name) for name in names)}\n")
    return 0


def _maps(records: Sequence[predictions.EvaluationRecord]) -> dict[str, documents.Plot]:
    """Return class activation maps by the SHA-256 of the evaluated hand networks that are here."""
    plots: dict[str, documents.Plot] = {}
    for record in records:
        file = cards.landmark_file(record)
        if file is None or (key := file.get("sha256", "")) in plots:
            continue
        try:
            plot = cards.hand_maps_plot(record)
        except InputError as error:
            sys.stderr.write(f"no activation maps of {file['file']}: {error}\n")
            continue
        if plot is None:
            sys.stderr.write(f"no activation maps of {file['file']}: the evaluated file is not here\n")
        else:
            plots[key] = plot
    return plots


def compare(
    *runs: Annotated[str, Parameter(name="RUN")],
    root: str,
    save: Annotated[str, TO_FILE] = "compare.png",
    samples: str | None = None,
    columns: int = 5,
) -> int:
    """Draw the results of several evaluations next to each other.

    The picture has a row for each method and a column for each image.

    `sonjit compare "one image=runs/handoccnet" runs/deformer --root DexYCB --save compare.png`

    Labels are green, and predictions are red. The first row shows the images only.

    Args:
        runs: Folders of sonjit eval in the order of the rows, from one protocol and data set. LABEL=FOLDER names a row.
            Default: the model's name, and if it uses one image or a sequence.
        root: Folder of the data set, as for sonjit eval.
        save: Image to write.
        samples: Names of samples, separated by commas. Default: those with the largest differences.
        columns: Number of samples.
    """
    ending = Path(save).suffix.lower()
    if ending not in ANNOTATED_IMAGE_ENDINGS:
        raise InputError(f"--save {save}: an image such as compare.png")
    if columns < 1:
        raise InputError(f"--columns {columns}: give at least 1")
    if len(runs) < 2:
        raise InputError("sonjit compare requires at least two folders of sonjit eval")
    named = [
        (label, Path(folder)) if equal else (None, Path(label))
        for label, equal, folder in (run.partition("=") for run in runs)
    ]
    wanted = None if samples is None else [name.strip() for name in samples.split(",")]
    write_bytes(Path(save), encode_image(comparison.draw_comparison(named, Path(root), wanted, columns), ending))
    sys.stderr.write(f"wrote {save}\n")
    return 0
