"""`sonjit annotate`: calibrated cameras, annotation projects and their page, automatic labels, releases."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from sonjit._util.data_files import key_values
from sonjit._util.errors import InputError
from sonjit._util.json_text import json_from
from sonjit.cli.report import progress_bar
from sonjit.cli.serve import address_printer, log_to_stderr
from sonjit.lab.cli.train import show_progress
from sonjit.lab.metrics.statistics import mean_interval
from sonjit.server.settings import Settings
from sonjit.studio.annotation.marks import agreement as measured
from sonjit.studio.annotation.project import create_project, open_project
from sonjit.studio.automatic.annotator import AnnotatorSettings, annotate
from sonjit.studio.automatic.learning import fit_project_offsets, held_out_error, human_frames, train_network
from sonjit.studio.automatic.run_folder import current_run
from sonjit.studio.cameras.files import load_cameras
from sonjit.studio.cameras.views import find_views, load_frame_sets
from sonjit.studio.cli.annotate_calibrate import board, calibrate, cameras, print_table, sync
from sonjit.studio.cli.annotate_triangulate import export, mano_files, surfaces, triangulate
from sonjit.studio.release.data_card import load_card
from sonjit.studio.release.release import release as write

app = App(
    name="annotate",
    help="""Calibrate cameras, and label, triangulate and release recordings of several views.

    Example: `sonjit annotate new desk --cameras rig.json --views recordings/ && sonjit annotate open desk`
    """,
)
for _command in (board, calibrate, cameras, sync, triangulate, export, surfaces):
    app.command(_command)


@app.command
def new(
    project: Path,
    /,
    *,
    cameras: Path,
    views: Annotated[list[str], Parameter(consume_multiple=True, negative="")],
    name: str | None = None,
    unit: str | None = None,
    capture: str | None = None,
    frame_sets: Path | None = None,
) -> None:
    """Create an annotation project from cameras and their recordings.

    Example: `sonjit annotate new desk --cameras rig.json --views recordings/ && sonjit annotate open desk`

    Args:
        project: Folder to create.
        cameras: Camera file in any format that `sonjit annotate cameras` reads.
        views: Folders or videos named like the cameras, a folder of such or of all cameras' images, or CAMERA=PATH.
        name: Title of the project. Default: the name of the folder.
        unit: Unit of lengths if the camera file contains none: m, cm, mm, or a length such as 44mm.
        capture: Capture of InterHand2.6M.
        frame_sets: File of `sonjit annotate sync --out`, for views whose images are not matched by their numbers.
    """
    rig = load_cameras(cameras, unit=unit, capture=capture)
    paths = find_views(rig.names, views)
    matched = load_frame_sets(frame_sets, tuple(paths)) if frame_sets else None
    with closing(create_project(project, rig, paths, name=name, frame_sets=matched)) as made:
        sys.stderr.write(f"{project}: {len(made.views)} of {len(rig)} cameras, {len(made.frames)} frame sets\n")
        for view, numbers in made.missing().items():
            some = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
            sys.stderr.write(f"view {view} lacks {len(numbers)} of them: {some}\n")


@app.command(name="open")
def open_page(
    project: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    open_browser: Annotated[bool, Parameter(name="--open", negative="")] = False,
    token: str | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Serve the annotation page of a project until Ctrl-C.

    Args:
        project: Folder made by `sonjit annotate new`.
        host: Name or address to listen on.
        port: Port to listen on. 0 selects a free port.
        open_browser: Open the page in the browser.
        token: Secret that every call must contain. Required on a host that other machines can reach.
        verbose: Log every request.
    """
    from sonjit.server.app import serve

    log_to_stderr(verbose=verbose)
    started = address_printer(open_page=open_browser, page="annotate/")
    serve(Settings(host=host, token=token), port, verbose=verbose, started=started, project=project)
    return 0


@app.command
def agreement(project: Path, /, *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """Measure the distances between the marks of several annotators, in pixels.

    Args:
        project: Folder made by `sonjit annotate new`.
        as_json: Print a JSON object instead.
    """
    with closing(open_project(project)) as opened:
        result = measured(opened.store.marks())
    if as_json:
        sys.stdout.write(json_from(result, 2) + "\n")
        return
    within = [f"within {threshold:g} px" for threshold in result["thresholds_px"]]
    rows: list[list[str]] = []
    for head, numbers in [("all", result["all"]), *result["annotators"].items(), *result["joints"].items()]:
        shares = [f"{100 * share:.0f} %" for share in numbers["within"].values()] or ["–"] * len(within)
        lengths = [
            "–" if px is None else f"{px:.2f}" for px in (numbers["mean_px"], numbers["median_px"], numbers["p95_px"])
        ]
        rows.append([head, str(numbers["pairs"]), *lengths, *shares])
    print_table(["of", "pairs", "mean px", "median px", "95 % px", *within], rows, width=200)


@app.command
def release(
    project: Path,
    out: Path,
    /,
    *,
    card: Path,
    also: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative="")] = None,
    fps: float = 30.0,
    surfaces: Literal["rig", "mano"] | None = None,
    mano: Path | None = None,
    mano_left: Path | None = None,
) -> None:
    """Write a data set with InterHand2.6M's and COCO's annotations and a data card.

    The card is a TOML file with title, licence, consent and contact. [captures.PROJECT] contains subject, optionally
    split (train, val, test), and sequences = [{name = "0001_fist", type = "PP", first = 0, last = 120}].

    Example: `sonjit annotate release desk hands-2026 --card card.toml --fps 30`

    Args:
        project: Annotated project. Its newest labels of `sonjit annotate auto` are released.
        out: Folder to create.
        card: TOML file of the data card. Title, licence, consent and contact are required.
        also: Additional projects, of the same or other people.
        fps: Frames per second of the recordings. Five per second are released.
        surfaces: Model of the hand surfaces to add: the rigged hand or MANO.
        mano: MANO's right hand for --surfaces mano: MANO_RIGHT.pkl or .npz.
        mano_left: MANO's left hand for --surfaces mano: MANO_LEFT.pkl or .npz.
    """
    files = mano_files(mano, mano_left)
    if bool(files) != (surfaces == "mano"):
        raise InputError("--surfaces mano requires --mano or --mano-left, and these require --surfaces mano")
    filled = load_card(card)
    with ExitStack() as stack, progress_bar(None, "frame sets") as bar:
        opened = [stack.enter_context(closing(open_project(path))) for path in (project, *(also or []))]
        done = write(opened, filled, out, fps=fps, surfaces=surfaces, mano=files, progress=bar)
    finest = max(done.views.values(), key=lambda view: view.px_per_mm)
    sys.stderr.write(
        f"{done.images} images of {done.frame_sets} frame sets, {done.faces.blurred} faces blurred, "
        f"{done.faces.withheld} images left out where a face may lie over a hand; at most "
        f"{finest.px_per_mm:.2f} px/mm ({finest.ridge_px:.2f} px a ridge); wrote {out}\n"
    )


@app.command
def auto(
    project: Path,
    /,
    *,
    fps: float = 30.0,
    model: Literal["full", "lite"] = "full",
    network: str | None = None,
    jobs: int = 1,
    workers: str = "pool",
    leave_out: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Label all frame sets automatically, or continue an interrupted run.

    Example: `sonjit annotate auto desk --fps 30 --jobs 4`, mark some frames on the page, `sonjit annotate train desk`,
    and `sonjit annotate auto desk` again.

    Args:
        project: Folder made by `sonjit annotate new`.
        fps: Frames per second of the recordings.
        model: Hand model of Sonjit.
        network: Folder of `sonjit annotate train --network` for a second pass after Sonjit's own model.
        jobs: Number of processes.
        workers: A pool of processes here; or ray, or ray:ADDRESS, a cluster whose machines see the project under the
            same path.
        leave_out: Exclude inconsistent cameras and continue.
    """
    os.environ.setdefault("SONJIT_THREADS", "1")
    settings = AnnotatorSettings(model, network or "", fps, leave_out)
    with closing(open_project(project)) as opened, progress_bar(None, "chunks") as bar:
        done = annotate(opened, settings, jobs=jobs, workers=workers, progress=bar)
    for line in done.problems:
        sys.stderr.write(f"sonjit: {line}\n")
    share = 100 * done.labelled / max(done.joints, 1)
    before = f", {done.kept} from before" if done.kept else ""
    sys.stderr.write(
        f"{done.frames} frame sets{before}: {done.labelled} of {done.joints} joints labelled ({share:.1f} %); wrote "
        f"{done.folder}\n"
    )
    return 1 if done.problems else 0


@app.command
def train(
    project: Path,
    /,
    *,
    network: Literal["hand-full", "keypoint-detector"] | None = None,
    steps: int | None = None,
    setting: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    device: str = "cpu",
) -> None:
    """Learn the offsets of detected joints from the marks of a project.

    Example: `sonjit annotate train desk --network hand-full` fine-tunes the hand network in some minutes.

    Args:
        project: Folder of `sonjit annotate new`, after `auto`, with frame sets that are marked in two views.
        network: Also train on all views of those frame sets: hand-full fine-tunes the published model,
            keypoint-detector is trained from scratch and needs a GPU. `auto --network` then uses it.
        steps: Training steps. Default: 300 for hand-full and 20000 for keypoint-detector.
        setting: Setting of the recipe as key=value. Can be repeated.
        device: Where the network trains: cpu, gpu, cuda:1, mps or auto.
    """
    settings = ({} if steps is None else {"steps": str(steps)}) | dict(key_values(setting or []))
    with closing(open_project(project)) as opened:
        fit_project_offsets(opened)
        count = len(human_frames(opened))
        sys.stderr.write(f"learned where people put joints, from {count} frame sets; sonjit annotate auto uses it\n")
        if network:
            with show_progress() as shown:
                folder, result = train_network(opened, network, settings, device=device, progress=shown)
            sys.stdout.write(json_from({name: str(value) for name, value in result.items()}, 1) + "\n")
            sys.stderr.write(f"use it: sonjit annotate auto {project} --network {folder}\n")


@app.command
def error(project: Path, /, *, folds: int = 5) -> None:
    """Measure the error of automatic labels on the marks, by cross-validation.

    Example: `sonjit annotate error desk`, after `auto` and marks in at least ten frame sets.

    Args:
        project: Folder made by `sonjit annotate new`; `auto` has run without --network.
        folds: Number of parts of the marked frame sets. Offsets for each part are fitted to the others.
    """
    import numpy as np

    if folds < 2:
        raise InputError(f"--folds {folds}: give at least 2")
    with closing(open_project(project)) as opened:
        found = held_out_error(opened, folds)
    rows: list[list[str]] = []
    for name, errors in (("detector alone", found.before_m), ("with offsets", found.after_m)):
        mm = 1000 * errors
        low, high = mean_interval(mm, clusters=found.frame_set.tolist())
        numbers = (f"{value:.2f}" for value in (np.median(mm), np.percentile(mm, 95)))
        rows.append([name, f"{mm.mean():.2f}", f"{low:.2f} to {high:.2f}", *numbers])
    frame_sets = len(np.unique(found.frame_set))
    sys.stdout.write(f"{len(found.after_m)} joints in {frame_sets} frame sets, each held out\n")
    print_table(["machine's joints", "mean mm", "95 % interval", "median mm", "95 % below mm"], rows)
    sys.stdout.write(f"{found.not_found} more marked hands were not detected; intervals resample frame sets.\n")


@app.command
def rank(project: Path, /, *, count: int = 20) -> None:
    """List the most uncertain frame sets and the reasons.

    Args:
        project: Folder made by `sonjit annotate new`.
        count: Number of frame sets.
    """
    if count < 1:
        raise InputError(f"--count {count}: give at least 1")
    with closing(open_project(project)) as opened:
        needs = sorted(opened.store.review_priorities().items(), key=lambda item: -item[1].score)[:count]
        current_run(opened)  # without one nothing is ranked
    rows = ((str(frame), f"{need.score:.2f}", need.why or "–") for frame, need in needs)
    print_table(["frame set", "score", "why"], rows)
