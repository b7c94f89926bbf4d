"""`sonjit annotate`: projects and their page, people in space, surfaces, automatic labels, releases."""

import os
import sys
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import App, Parameter

from sonjit._util import InputError, JobError, data_files, json_from, pluralize
from sonjit.cli.options import TO_EITHER, TO_FILE, TO_FOLDER
from sonjit.cli.progress import print_table, progress_bar
from sonjit.cli.serve import address_printer, log_to_stderr
from sonjit.media.tables import TABLE_ENDINGS
from sonjit.server.settings import Settings, read_token
from sonjit_lab import redundant_facts
from sonjit_lab.cli.train import show_progress
from sonjit_lab.hand_models.rig import Side
from sonjit_lab.metrics.statistics import mean_interval
from sonjit_studio import (
    association,
    bones,
    camera_files,
    consistency,
    exports,
    learning,
    marks,
    refinement,
    run_folder,
    weighing,
)
from sonjit_studio import people as people_files
from sonjit_studio.annotator import AnnotatorSettings, annotate
from sonjit_studio.camera_commands import board, calibrate, cameras, sync
from sonjit_studio.project import create_project, open_project
from sonjit_studio.release import load_card, write_release
from sonjit_studio.rig import CameraRig
from sonjit_studio.surfaces import draw_over_view, fit_surfaces, save_surfaces
from sonjit_studio.triangulation import Triangulation, triangulate
from sonjit_studio.views import find_views, load_frame_sets

_HAND_M = 0.1, 0.25  # hands of children and of adults
_BODY_M = 0.4, 1.8  # bodies of infants and of tall adults, from the shoulders to the ankles


app = App(
    name="annotate",
    help="""Calibrate cameras, and label, triangulate and release recordings of several views.

    Example: `sonjit annotate new desk --cameras rig.json --views recordings/ && sonjit annotate open desk`
    """,
    default_parameter=Parameter(negative=""),
)
for _command in (board, calibrate, cameras, sync):
    app.command(_command)


@app.command(name="triangulate")
def triangulate_tables(
    cameras: Path,
    tables: list[str],
    /,
    *,
    out: Annotated[Path, TO_FILE],
    threshold: float | None = None,
    constant_bones: bool = False,
    unit: str | None = None,
    leave_out: bool = False,
    frame_sets: Path | None = None,
    fps: float | None = None,
    refine_cameras: Annotated[Path | None, TO_EITHER] = None,
) -> int:
    """Triangulate the detections of several views.

    Several bodies, faces or people are matched across views and over time by position. Hands must be of one person.

    Example: `sonjit annotate triangulate rig.json cam0.json cam1.json cam2.json --out hands.json`

    Args:
        cameras: Camera file in any format that `sonjit annotate cameras` reads.
        tables: Tables of `sonjit hands|face|body|holistic --save`, one per camera and named like it, a folder of them,
            or CAMERA=TABLE.
        out: JSON file to write.
        threshold: Maximum reprojection error of an inlier in pixels. Default: 10, or 6 % of a body's size if larger.
        constant_bones: Fit hands and bodies of videos with constant bone lengths and human accelerations.
        unit: Unit of lengths if the camera file contains none: m, cm, mm, or a length such as 44mm.
        leave_out: Exclude inconsistent cameras and continue.
        frame_sets: File of `sonjit annotate sync --out`, for views whose images are not matched by their numbers.
        fps: Frames per second of folders of images, whose tables contain no times.
        refine_cameras: Camera file to write, with poses refined on the people. The first camera, the lenses and the
            scale stay. An error if it does not help.
    """
    if refine_cameras:
        camera_files.format_from_ending(refine_cameras)  # before the work
    rig = camera_files.load_cameras(cameras, unit=unit)
    found_tables = find_views(rig.names, tables, lambda file: file.suffix.lower() in TABLE_ENDINGS)
    rig = rig.subset(name for name in rig.names if name in found_tables)
    matched = load_frame_sets(frame_sets, rig.names) if frame_sets else None
    detections = people_files.load_detections(rig, found_tables, matched, fps)
    for line in (*detections.notes, *redundant_facts.intrinsics_notes(rig.intrinsics())):
        sys.stderr.write(f"sonjit: {line}\n")
    threshold = detections.usual_threshold_px() if threshold is None else threshold
    for name, count in zip(rig.names, detections.unmatched, strict=True):
        if count:
            what = pluralize(count, "detection fits", "detections fit")
            sys.stderr.write(f"{name}: {what} no other view's: left out\n")
    requested = np.isfinite(detections.points_px).all(-1).any(0)
    loose = refinement.LOOSENESS * threshold if refine_cameras else threshold
    rig, detections, faults = _consistent_views(rig, detections, loose, leave_out=leave_out)
    if refine_cameras:
        rig = _refined(rig, detections, threshold, refine_cameras)
        rig, detections, others = _consistent_views(rig, detections, threshold, leave_out=leave_out)
        faults += others
    pixels, confidence = detections.points_px, detections.confidence
    triangulated = triangulate(rig, pixels, confidence=confidence, method="ransac", threshold_px=threshold)
    _check_hands(detections, triangulated, cameras, out)
    _check_bodies(detections, triangulated, cameras)
    if constant_bones:
        triangulated = people_files.fit_constant_bones(rig, detections, triangulated)
    people_files.save_people(out, rig, detections, triangulated)
    count = detections.points_px.shape[2]
    who = f" of {count} people" if count > 1 else ""
    share = f"{triangulated.ok.sum()} of {requested.sum()}"
    sys.stderr.write(f"{share} keypoints{who} that were seen are triangulated; wrote {out}\n")
    return 1 if faults else 0


def _consistent_views(
    rig: CameraRig, detections: people_files.Detections, threshold_px: float, *, leave_out: bool
) -> tuple[CameraRig, people_files.Detections, int]:
    """Return the cameras that fit each other, their detections, and the number of others, whose faults are printed."""
    pixels = detections.points_px.reshape(len(rig), len(detections.frames), -1, 2)
    people, keypoints = detections.points_px.shape[2:4]
    other_sides = (np.arange(people)[:, None] * keypoints + detections.other_sides()).ravel()
    good, faults = consistency.check_views(rig, pixels, threshold_px=threshold_px, other_sides=other_sides)
    for fault in faults:
        sys.stderr.write(f"sonjit: {fault.message}\n")
    if faults and not leave_out:
        which = pluralize(len(faults), "camera does", "cameras do")
        raise InputError(f"{which} not fit: correct the errors above, or exclude cameras with --leave-out")
    return rig.subset(good), detections.of_cameras([rig.index(name) for name in good]), len(faults)


def _refined(rig: CameraRig, detections: people_files.Detections, threshold_px: float, out: Path) -> CameraRig:
    """Refine the poses of the cameras, print how far they changed, and write the rig."""
    shape = (len(rig), len(detections.frames), -1)
    refined = refinement.refine_poses(
        rig, detections.points_px.reshape(*shape, 2), detections.confidence.reshape(shape), threshold_px=threshold_px
    )
    camera_files.save_cameras(refined.rig, out)
    sys.stderr.write(f"{refined}; wrote {out}\n")
    return refined.rig


def _check_hands(detections: people_files.Detections, triangulated: Triangulation, cameras: Path, out: Path) -> None:
    """Warn of hands of no person's size. Raise a JobError if they have the shape of the other side."""
    slices = [
        (part, keypoints)
        for part, keypoints in people_files.part_slices(detections.parts)
        if part in people_files.HANDS
    ]
    hands = [
        (part.handedness, triangulated.points_m[:, :, keypoints].reshape(-1, part.size, 3))
        for part, keypoints in slices
    ]
    if not hands:
        return
    right, wrong = association.count_mirrored_hands([(side, hand) for side, points in hands for hand in points])
    if wrong > right:
        raise JobError(
            f"{out} was not written: {wrong} of {right + wrong} hands have the shape of the other side: "
            "the world or the images are mirrored"
        )
    length_m = bones.hand_length_m(np.concatenate([points for _, points in hands]))
    if not _HAND_M[0] < length_m < _HAND_M[1]:  # not of a bare NaN: then nothing was triangulated
        sys.stderr.write(
            f"sonjit: the hands are {1000 * length_m:.0f} mm long and people's {1000 * _HAND_M[0]:.0f} to "
            f"{1000 * _HAND_M[1]:.0f} mm: is the unit of {cameras} right (--unit)?\n"
        )


def _check_bodies(detections: people_files.Detections, triangulated: Triangulation, cameras: Path) -> None:
    """Warn of bodies of no person's size."""
    slices = people_files.part_slices(detections.parts)
    bodies = [
        triangulated.points_m[:, :, keypoints].reshape(-1, part.size, 3)
        for part, keypoints in slices
        if part.list_name == "bodies"
    ]
    length_m = bones.body_length_m(bodies[0]) if bodies else np.nan
    if length_m < _BODY_M[0] or length_m > _BODY_M[1]:
        sys.stderr.write(
            f"sonjit: the bodies measure {length_m:.3g} m from the shoulders to the ankles and people's "
            f"{_BODY_M[0]:g} to {_BODY_M[1]:g} m: is the unit of {cameras} right (--unit)?\n"
        )


@app.command
def export(
    people: Path,
    /,
    *,
    out: Annotated[Path, TO_FILE],
    figure: Annotated[exports.Figure | None, Parameter(name="--as")] = None,
    floor: bool = False,
) -> None:
    """Export triangulated people as .c3d, .trc, .csv, .glb, .bvh or .svg.

    Example: `sonjit annotate export hands.json --out hands.glb`

    Args:
        people: JSON file of `sonjit annotate triangulate`.
        out: File to write. Its ending determines the format.
        figure: Content of .glb: mesh (rigged hands, the default) or skeleton (keypoints and bones, also of bodies).
            For .csv: angles (joint angles of bodies in radians).
        floor: Find the floor under the feet of bodies, and make it y = 0 in .trc, and z = 0 in .c3d and .csv.
    """
    written = exports.export_people(people_files.load_people(people), out, figure, floor=floor)
    sys.stderr.write(f"wrote {', '.join(map(str, written))}\n")


@app.command
def surfaces(
    people: Path,
    /,
    *,
    out: Annotated[Path, TO_FILE],
    mano: Path | None = None,
    mano_left: Path | None = None,
    draw: Annotated[Path | None, TO_FOLDER] = None,
    cameras: Path | None = None,
    views: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    unit: str | None = None,
    frame_sets: Path | None = None,
) -> None:
    """Fit hand surfaces to triangulated hands: the rigged hand or MANO.

    Bones, or MANO's shape, are constant. A hand that is incomplete in a frame set has no surface there.

    Example: `sonjit annotate surfaces hands.json --out s.npz --draw over/ --cameras rig.json --views recordings/`

    Args:
        people: JSON file of `sonjit annotate triangulate`, best with --constant-bones.
        out: .npz file to write, with frames, vertices in metres, faces, parameters and joint errors of each hand.
        mano: MANO's right hand, MANO_RIGHT.pkl or .npz. Default: fit the rigged hand.
        mano_left: MANO's left hand.
        draw: Folder for the views with drawn surfaces.
        cameras: Calibrated rig for --draw.
        views: Videos or folders of images for --draw, named like the cameras, a folder of such or of all cameras'
            images, or CAMERA=PATH.
        unit: Unit of lengths if the camera file contains none: m, cm, mm, or a length such as 44mm.
        frame_sets: File of `sonjit annotate sync --out` for --draw, if `triangulate` used it.
    """
    unused = cameras is None and (unit or frame_sets)
    if (draw is None) != (cameras is None) or (draw is None) != (not views) or unused:
        raise InputError("--draw requires --cameras and --views; these, --unit and --frame-sets require --draw")
    if draw is not None and draw.exists() and not draw.is_dir():
        raise InputError(f"--draw {draw} is a file; choose a folder")
    rig = camera_files.load_cameras(cameras, unit=unit) if cameras else None
    paths = find_views(rig.names, views or []) if rig else {}
    matched = load_frame_sets(frame_sets, tuple(paths)) if frame_sets else None
    fitted = fit_surfaces(people_files.load_people(people), mano_files(mano, mano_left))
    save_surfaces(out, fitted)
    for surface in fitted:
        sys.stderr.write(
            f"{surface.name} hand: {len(surface.frames)} frame sets, "
            f"joints {1000 * surface.error_m.mean():.1f} mm off on average\n"
        )
    written = [out]
    if rig is not None and draw is not None:
        draw.mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            numbers = None if matched is None else matched[name].frame_sets
            written.append(draw_over_view(fitted, rig[name], path, draw, numbers))
    sys.stderr.write(f"wrote {', '.join(map(str, written))}\n")


def mano_files(right: Path | None, left: Path | None) -> dict[Side, Path]:
    """Return the given files of MANO by side."""
    both: dict[Side, Path | None] = {"Right": right, "Left": left}
    return {side: path for side, path in both.items() if path}


@app.command
def new(
    project: Annotated[Path, TO_FOLDER],
    /,
    *,
    cameras: Path,
    views: Annotated[list[str], Parameter(consume_multiple=True)],
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
    rig = camera_files.load_cameras(cameras, unit=unit, capture=capture)
    paths = find_views(rig.names, views)
    matched = load_frame_sets(frame_sets, tuple(paths)) if frame_sets else None
    with closing(create_project(project, rig, paths, name=name, frame_sets=matched)) as made:
        sys.stderr.writelines(f"sonjit: {line}\n" for line in made.notes())
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
    open_browser: Annotated[bool, Parameter(name="--open")] = False,
    token: str | None = None,
    token_file: Path | None = None,
    verbose: bool = False,
) -> int:
    """Serve the annotation page of a project until Ctrl-C.

    Args:
        project: Folder made by `sonjit annotate new`.
        host: Name or address to listen on.
        port: Port to listen on. 0 selects a free port.
        open_browser: Open the page in the browser.
        token: Secret that every call must contain. Required on a host that other machines can reach. Other accounts
            of this machine see it in the list of processes: use the variable SONJIT_TOKEN or a file instead.
        token_file: File with the token.
        verbose: Log every request.
    """
    from sonjit.server.app import serve
    from sonjit_studio.page import project_routes

    log_to_stderr(verbose=verbose)
    started = address_printer(open_page=open_browser, page="annotate/")
    open_project = partial(project_routes, project)
    settings = Settings(host=host, token=read_token(token, token_file))
    serve(settings, port, verbose=verbose, started=started, open_project=open_project)
    return 0


@app.command
def agreement(project: Path, /, *, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Measure the distances between the marks of several annotators, in pixels.

    Args:
        project: Folder made by `sonjit annotate new`.
        as_json: Print a JSON object instead.
    """
    with closing(open_project(project)) as opened:
        result = marks.agreement(opened.store.marks())
    if as_json:
        sys.stdout.write(json_from(result, 2) + "\n")
        return
    within = [f"within {threshold:g} px" for threshold in result["thresholds_px"]]
    rows: list[list[str]] = []
    for head, numbers in [("all", result["all"]), *result["annotators"].items(), *result["joints"].items()]:
        shares = [f"{100 * share:.0f} %" for share in numbers["within"].values()] or ["–"] * len(within)
        distances = [numbers[name] for name in ("mean_px", "median_px", "p95_px")]
        lengths = ["–" if px is None else f"{px:.2f}" for px in distances]
        rows.append([head, str(numbers["pairs"]), *lengths, *shares])
    headings = ["of", "pairs", "mean px", "median px", "95 % px", *within]
    print_table(headings, rows, right=headings[1:])


@app.command
def release(
    project: Path,
    out: Annotated[Path, TO_FOLDER],
    /,
    *,
    card: Path,
    also: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
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
        done = write_release(opened, filled, out, fps=fps, surfaces=surfaces, mano=files, progress=bar)
    sys.stderr.writelines(f"sonjit: {name}: {weighing.doubts_text(frames)}\n" for name, frames in done.doubts.items())
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
    leave_out: bool = False,
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
        sys.stderr.writelines(f"sonjit: {line}\n" for line in opened.notes())
        done = annotate(opened, settings, jobs=jobs, workers=workers, progress=bar)
    for line in (*done.problems, *done.notes):
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
    setting: Annotated[list[str] | None, Parameter(name="--set")] = None,
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
    settings = ({} if steps is None else {"steps": str(steps)}) | dict(data_files.key_values(setting or []))
    with closing(open_project(project)) as opened:
        learning.fit_project_offsets(opened)
        count = len(learning.human_frames(opened))
        sys.stderr.write(f"learned where people put joints, from {count} frame sets; sonjit annotate auto uses it\n")
        if network:
            with show_progress() as shown:
                folder, result = learning.train_network(opened, network, settings, device=device, progress=shown)
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
    if folds < 2:
        raise InputError(f"--folds {folds}: give at least 2")
    with closing(open_project(project)) as opened:
        held_out = learning.held_out_error(opened, folds)
    rows: list[list[str]] = []
    for name, errors in (("detector alone", held_out.before_m), ("with offsets", held_out.after_m)):
        mm = 1000 * errors
        low, high = mean_interval(mm, clusters=held_out.frame_set.tolist())
        numbers = (f"{value:.2f}" for value in (np.median(mm), np.percentile(mm, 95)))
        rows.append([name, f"{mm.mean():.2f}", f"{low:.2f} to {high:.2f}", *numbers])
    frame_sets = len(np.unique(held_out.frame_set))
    sys.stdout.write(f"{len(held_out.after_m)} joints in {frame_sets} frame sets, each held out\n")
    headings = ["machine's joints", "mean mm", "95 % interval", "median mm", "95 % below mm"]
    print_table(headings, rows, width=160, right=headings[1:])
    sys.stdout.write(f"{held_out.not_found} more marked hands were not detected; intervals resample frame sets.\n")


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
        run_folder.current_run(opened)  # without one nothing is ranked
    rows = ((str(frame), f"{need.score:.2f}", need.why or "–") for frame, need in needs)
    print_table(["frame set", "score", "why"], rows, width=160, right=("score", "why"))
