"""`sonjit annotate`: calibrated cameras, annotation projects and their page, automatic labels, releases."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from sonjit._util.arrays import Image
from sonjit._util.data_files import key_values
from sonjit._util.errors import InputError, JobError, pluralize, unknown_name
from sonjit._util.files import write_text
from sonjit._util.json_text import json_from
from sonjit.cli.report import progress_bar
from sonjit.cli.serve import address_printer, log_to_stderr
from sonjit.lab.cli.train import show_progress
from sonjit.lab.hand_models.rig import Side
from sonjit.lab.metrics.statistics import mean_interval
from sonjit.media.tables import TABLE_ENDINGS
from sonjit.server.settings import Settings
from sonjit.studio.annotation.marks import agreement as measured
from sonjit.studio.annotation.project import create_project, open_project
from sonjit.studio.annotation.synchronisation import Sync, read_stamps, read_timeline, synchronise
from sonjit.studio.automatic.annotator import AnnotatorSettings, annotate
from sonjit.studio.automatic.learning import fit_project_offsets, held_out_error, human_frames, train_network
from sonjit.studio.automatic.run_folder import current_run
from sonjit.studio.calibration.calibrate import RigCalibration, calibrate_lens
from sonjit.studio.calibration.calibrate import calibrate as calibrate_rig
from sonjit.studio.calibration.consistency import (
    check_views,
    is_mirroring_possible,
    planar_ambiguity,
    reprojection_line,
    save_report,
)
from sonjit.studio.calibration.observations import (
    BoardNotFoundError,
    BoardObservations,
    CalibrationBoard,
    CalibrationTarget,
    find_targets,
    length_from_text,
    recognise_board,
    sampled_images,
    target_from_text,
)
from sonjit.studio.cameras.files import format_from_ending, load_cameras, save_cameras
from sonjit.studio.cameras.views import (
    CameraRig,
    RigCamera,
    find_views,
    load_frame_sets,
    match_camera,
    open_view,
    save_frame_sets,
    view_centre,
    views_by_camera,
    world_on_board,
)
from sonjit.studio.release.release import load_card
from sonjit.studio.release.release import release as write
from sonjit.studio.triangulation.exports import export_people
from sonjit.studio.triangulation.people import (
    HANDS,
    Detections,
    fit_constant_bones,
    hand_length_m,
    load_detections,
    load_people,
    part_slices,
    save_people,
)
from sonjit.studio.triangulation.surfaces import draw_over_view, fit_surfaces, save_surfaces
from sonjit.studio.triangulation.triangulation import Triangulation, count_mirrored_hands
from sonjit.studio.triangulation.triangulation import triangulate as triangulated

_PAST = 0.3  # how far the axes of cameras that point at one place may pass it, at most, as a share of their distance
_NEAREST_M, _FARTHEST_M = 0.05, 50.0
Views = Annotated[list[str], Parameter(negative="")]
SyncMethod = Literal["index", "time", "timecode", "flash", "sound"]


def cameras(
    path: Path,
    /,
    *,
    out: Path | None = None,
    form: Annotated[
        Literal["sonjit", "interhand", "anipose", "opencv", "colmap"] | None, Parameter(name="--format")
    ] = None,
    unit: str | None = None,
    size: str | None = None,
    capture: str | None = None,
) -> None:
    """Print a camera file, or convert it into another format.

    Example: `sonjit annotate cameras calibration.toml --unit mm --out rig.json`

    Args:
        path: Camera file or folder. Its ending and content determine the format.
        out: Cameras to write, in the format of its ending.
        form: Format to write, if the ending does not determine it.
        unit: Unit of lengths if the file has none: m, cm, mm, or a length such as 44mm, a board's square.
        size: WIDTHxHEIGHT of the images, if the file does not contain it, as for InterHand2.6M and .dat.
        capture: Capture of InterHand2.6M.
    """
    rig = load_cameras(path, unit=unit, size=_size(size), capture=capture)
    if out is None:
        _show(rig)
        return
    save_cameras(rig, out, format=form)
    sys.stderr.write(f"{len(rig)} cameras; wrote {out}\n")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, times, height = text.partition("x")
    if not (times and width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size {text}: write WIDTHxHEIGHT, such as 512x334")
    return int(width), int(height)


def _show(rig: CameraRig) -> None:
    import numpy as np

    rows: list[list[str]] = []
    for view in rig:
        K, lens = view.camera.K, view.camera.distortion
        focal, middle = (f"{x:.1f}, {y:.1f}" for x, y in ((K[0, 0], K[1, 1]), (K[0, 2], K[1, 2])))
        bent = "none" if lens is None else " ".join(f"{value:.3g}" for value in lens)
        place = " ".join(f"{value:.3f}" for value in view.centre_m)
        axis = " ".join(f"{value:.2f}" for value in view.R[2])
        rows.append([view.name, f"{view.width} x {view.height}", focal, middle, bent, place, axis])
    headings = ["camera", "size", "focal px", "middle px", "distortion", "position, m", "optical axis"]
    print_table(headings, rows, width=320, justify="left")
    if len(rig) < 2:
        return
    middle_m, apart = view_centre(rig)
    away = float(np.median(np.linalg.norm(rig.centres_m - middle_m, axis=1)))
    position = " ".join(f"{value:.3f}" for value in middle_m)
    sys.stderr.write(f"{len(rig)} cameras point at {position} m, past it by {apart:.3f} m, from {away:.3f} m away\n")
    if apart > _PAST * away:
        sys.stderr.write(
            "sonjit: they do not point at one place: are positions read as translations, or the reverse?\n"
        )
    if not _NEAREST_M < away < _FARTHEST_M:
        sys.stderr.write(f"sonjit: {away:g} m is not a studio's distance: is the unit right?\n")


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    width: int = 160,
    justify: Literal["left", "right"] = "right",
) -> None:
    """Print a table, `width` characters wide if it is redirected. The first column is left-justified."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify=justify if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else width).print(table)


def sync(views: Views, /, *, by: SyncMethod = "time", out: Path | None = None, stamps: Path | None = None) -> int:
    """Match the images of several cameras into frame sets.

    Args:
        views: Videos or folders of images named like their cameras, a folder of such, a folder of all cameras' images
            (cam_0_frame_0050.jpg, frame_0050_cam0.jpg, left_01.jpg), or CAMERA=PATH.
        by: index (frame numbers), time (of one clock), timecode (of the videos), flash (a lamp switched on) or sound
            (a clap).
        out: JSON to write: offset_s, drift_ppm by camera and the images of every frame set; for --frame-sets of `new`
            and `triangulate`.
        stamps: Folder with CAMERA.txt, a time in seconds for each image; or caliscope's timestamps.csv.
    """
    found = synchronised(views_by_camera(views), by, stamps)
    if by in ("index", "time"):
        what = "numbers" if by == "index" else "times"
        sys.stderr.write(f"{what} are taken as of one clock; --by sound, flash or timecode find how far they are off\n")
    for name, clock in found.clocks.items():
        sys.stderr.write(f"{name}: offset {clock.offset_s * 1000:+.1f} ms, drift {clock.drift_ppm:+.0f} ppm\n")
    for line in found.warnings:
        sys.stderr.write(f"sonjit: {line}\n")
    sys.stderr.write(f"{len(found.images)} frame sets of {len(found.names)} cameras\n")
    if out:
        save_frame_sets(out, found.cameras(), found.warnings)
    return 1 if found.warnings else 0


def synchronised(paths: Mapping[str, Path], by: SyncMethod, stamps: Path | None = None) -> Sync:
    """Read the images of all views once and match them."""
    if stamps and by == "sound":
        raise InputError("--stamps cannot be combined with --by sound, which uses the times of the videos")
    with progress_bar(None, "images") as bar:
        lines = {
            name: read_timeline(path, read_stamps(stamps, name) if stamps else None, bar, sound=by == "sound")
            for name, path in paths.items()
        }
    return synchronise(lines, by)


_FEW = 4  # number of images in which another board is searched if the named one is missing
Lens = Literal["none", "radial", "usual", "full", "rational", "fisheye"]


def calibrate(
    views: Views,
    /,
    *,
    board: Annotated[list[str], Parameter(negative="")],
    out: Path,
    report: Path | None = None,
    lens: Lens = "usual",
    lenses: Path | None = None,
    lens_recordings: Path | None = None,
    lens_board: str = "",
    sync: SyncMethod = "index",
    stamps: Path | None = None,
    floor: int | None = None,
    every: int = 1,
    image_times: bool = False,
) -> None:
    """Calibrate cameras from images or videos of a moving board.

    Example: `sonjit annotate calibrate recordings/ --board charuco:8x6:30mm:22mm:4x4_50 --out rig.json --report r.html`

    Args:
        views: Videos or folders of images named like their cameras, a folder of such, a folder of all cameras' images
            (cam_0_frame_0050.jpg, frame_0050_cam0.jpg, left_01.jpg), or CAMERA=PATH.
        board: charuco:COLUMNSxROWS:SQUARE:MARKER:DICTIONARY, checkerboard:COLUMNSxROWS:SQUARE in inner corners,
            aruco:COLUMNSxROWS:MARKER:GAP:DICTIONARY, aprilgrid:COLUMNSxROWS:TAG:GAP, with :inverted or :legacy; a .json
            file of markers on an object; or auto:SIDE, which recognises a board with this side of a square, or of a
            marker if it has no squares. Repeat the option for several boards that move separately.
        out: Cameras to write: .json, .toml (anipose), .yml (OpenCV) or a folder (COLMAP).
        report: HTML page to write, with errors by camera and frame set and the worst images.
        lens: Distortion to estimate: none, radial (k1 k2), usual (k1 k2 p1 p2), full (and k3), rational (and k4
            to k6), or fisheye (k1 to k4), with OpenCV's definitions.
        lenses: Camera file with K and distortion to keep, in any format, with or without poses.
        lens_recordings: Folder with a recording of the board per camera, named like the camera, for the lenses.
        lens_board: Board of --lens-recordings, if it differs.
        sync: Method that matches images into frame sets.
        stamps: Times for --sync time: folder with CAMERA.txt, seconds of each image; or caliscope's timestamps.csv.
        floor: Frame set in which the first board lies on the floor, print up: its corner becomes the origin, and z up.
        every: Use every Nth frame set.
        image_times: Estimate the time of each image on the path of the board, for cameras that are not synchronised.
    """
    if every < 1:
        raise InputError(f"--every {every}: give at least 1")
    if lens_board and not lens_recordings:
        raise InputError("--lens-board requires --lens-recordings")
    if stamps and sync != "time":
        raise InputError("--stamps requires --sync time")
    format_from_ending(out)  # before minutes of work
    paths = views_by_camera(views)
    autos = [text for text in board if text.partition(":")[0] == "auto"]
    if autos and len(board) > 1:
        raise InputError(f"--board {autos[0]}: one board is recognised by itself; of several, describe each")
    targets: list[CalibrationTarget] = (
        [_recognise_board(autos[0], paths)] if autos else [target_from_text(text) for text in board]
    )
    given_lenses = _select_lenses(lenses, paths) if lenses else {}
    lens_fits: dict[str, RigCalibration] = {}
    if lens_recordings:
        lens_targets = [target_from_text(lens_board)] if lens_board else targets
        lens_fits = _calibrate_lenses(lens_recordings, lens_targets, lens, paths, given_lenses)
    matched = synchronised(paths, sync, stamps) if sync != "index" else None
    observations = _find_targets(targets, paths, every, matched)
    fixed_lenses = given_lenses | {name: lens_fit.rig[name] for name, lens_fit in lens_fits.items()}
    for name, view in fixed_lenses.items():
        source, (width, height) = (
            "--lens-recordings" if name in lens_fits else f"--lenses {lenses}",
            observations.sizes[name],
        )
        if (view.width, view.height) != (width, height):
            raise InputError(
                f"camera {name!r}: {view.width} x {view.height} pixels in {source} and {width} x {height} here: "
                "a lens is known for one size of image"
            )
    seen = ((observation.frame, observation.target) for observation in observations.found)
    if floor is not None and (floor, targets[0]) not in seen:
        raise InputError(f"--floor {floor}: no image of that frame set shows the (first) board")
    fitted = calibrate_rig(
        observations,
        lens=lens,
        lenses={name: view.camera for name, view in fixed_lenses.items()},
        lens_covariances={name: lens_fit.lens_covariances[name] for name, lens_fit in lens_fits.items()},
        image_times=image_times,
    )
    lens_problems = [line for lens_fit in lens_fits.values() for line in lens_fit.problems]
    fitted = replace(fitted, problems=(*lens_problems, *fitted.problems))
    if floor is not None:
        if (floor, targets[0]) not in fitted.target_poses:
            raise InputError(f"--floor {floor}: the (first) board's pose is not known in that frame set")
        fitted = fitted.moved(*world_on_board(*fitted.target_poses[floor, targets[0]]))
    reported = [line for line in fitted.problems if line not in observations.problems]
    sys.stderr.writelines(f"{line}\n" for line in (*reported, reprojection_line(fitted)))
    ambiguity = planar_ambiguity(fitted) if is_mirroring_possible(fitted) else None
    if ambiguity:
        sys.stderr.write(f"{ambiguity}\n")
    mirrored = ambiguity is not None and ambiguity.is_mirrored
    if not mirrored:
        save_cameras(fitted.rig, out)
        sys.stderr.write(f"wrote {out}\n")
    if report:
        warnings = matched.warnings if matched else ()
        save_report(fitted, report, warnings=warnings, image=partial(_image, paths, matched))
        sys.stderr.write(f"wrote {report}\n")
    if mirrored:
        raise JobError(f"{out} was not written: {ambiguity}")


def _find_targets(
    targets: list[CalibrationTarget], paths: Mapping[str, Path], every: int, matched: Sync | None
) -> BoardObservations:
    """Find the targets in all views, and print the files that could not be read."""
    try:
        with progress_bar(None, "images") as bar:
            observations = find_targets(
                targets, paths, every=every, frame_of=matched and matched.frame_of, progress=bar
            )
    except BoardNotFoundError as error:
        raise InputError(f"{error}{_nearby(targets, paths)}") from None
    for line in observations.problems:
        sys.stderr.write(f"sonjit: {line}\n")
    return observations


def _select_lenses(lenses: Path, paths: Mapping[str, Path]) -> dict[str, RigCamera]:
    rig = load_cameras(lenses, poses=False)
    if not (found := {name: view for view in rig if (name := match_camera(view.name, paths)) is not None}):
        raise InputError(
            f"--lenses {lenses}: it has cameras {', '.join(rig.names)}, and the views are {', '.join(paths)}: name "
            "them alike, or write CAMERA=PATH"
        )
    return found


def _calibrate_lenses(
    recordings: Path,
    targets: list[CalibrationTarget],
    lens: Lens,
    paths: Mapping[str, Path],
    fixed_lenses: Mapping[str, RigCamera],
) -> dict[str, RigCalibration]:
    found: dict[str, RigCalibration] = {}
    for named, path in views_by_camera([str(recordings)]).items():
        if (name := match_camera(named, paths)) is None:
            raise InputError(f"--lens-recordings {path}: {unknown_name('camera', named, paths)}")
        if name in fixed_lenses:
            raise InputError(f"camera {name!r}: --lenses cannot be combined with --lens-recordings for one camera")
        with progress_bar(None, f"images of {name}'s lens") as bar:
            observations = find_targets(targets, {name: path}, progress=bar)
        found[name] = calibrate_lens(observations, lens=lens)
        sys.stderr.write(f"lens of {name}: {found[name].rms_px:.3f} px over {len(found[name].observations)} images\n")
    return found


def _recognise_board(text: str, paths: Mapping[str, Path]) -> CalibrationBoard:
    """Recognise the board in the images, with the square size of `auto:SIDE`."""
    _, _, side = text.partition(":")
    square_m = length_from_text(side, text) if side else 0.03
    found = recognise_board(sampled_images(paths), square_m=square_m)
    if found is None:
        raise InputError("--board auto: no board was recognised in the images: describe it, or show more of it at once")
    if not side:
        raise InputError(
            f"--board auto: the images show {found.text}, but not how large it is: measure the side of "
            f"{'a marker' if found.is_grid else 'a square'} and give --board auto:30mm, or all of it"
        )
    sys.stderr.write(f"board {found.text}\n")
    return found


def _nearby(targets: list[CalibrationTarget], paths: Mapping[str, Path]) -> str:
    """Suggest the option for a different board in the images. Return an empty text if there is none."""
    target = targets[0]
    if len(targets) > 1 or not isinstance(target, CalibrationBoard):
        return ""
    images = sampled_images(paths, count=_FEW)
    try:
        found = recognise_board(images, square_m=target.marker_m if target.is_grid else target.square_m)
    except InputError as error:
        return f" But {error}"
    return f" The images show --board {found.text}" if found and found.text != target.text else ""


def board(target: str, /, *, out: Path) -> None:
    """Draw a calibration board to print at 100 %.

    Example: `sonjit annotate board charuco:8x6:30mm:22mm:4x4_50 --out board.svg`

    Args:
        target: Board as for --board of `sonjit annotate calibrate`.
        out: SVG file to write.
    """
    fitted = target_from_text(target)
    if not isinstance(fitted, CalibrationBoard) or out.suffix.lower() != ".svg":
        raise InputError(f"{target} {out}: a board is drawn, as .svg, and a body of markers is not")
    write_text(out, fitted.svg())
    sys.stderr.write(f"wrote {out}; print it at 100 %, glue it onto something flat and measure a square\n")


def _image(paths: Mapping[str, Path], matched: Sync | None, name: str, frame: int) -> Image | None:
    view = open_view(paths[name])
    try:
        return view.read(int(matched.images[frame, matched.names.index(name)]) if matched else frame)
    except InputError:  # the report goes on without it
        return None
    finally:
        view.close()


_HAND_M = 0.1, 0.25  # hands of children and of adults


def triangulate(
    cameras: Path,
    tables: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    out: Path,
    threshold: float = 10.0,
    constant_bones: Annotated[bool, Parameter(negative="")] = False,
    unit: str | None = None,
    leave_out: Annotated[bool, Parameter(negative="")] = False,
    frame_sets: Path | None = None,
    fps: float | None = None,
) -> int:
    """Triangulate the detections of several views.

    Several bodies, faces or people are matched across views and over time by position. Hands must be of one person.

    Example: `sonjit annotate triangulate rig.json cam0.json cam1.json cam2.json --out hands.json`

    Args:
        cameras: Camera file in any format that `sonjit annotate cameras` reads.
        tables: Tables of `sonjit hands|face|body|holistic --save`, one per camera and named like it, a folder of them,
            or CAMERA=TABLE.
        out: JSON file to write.
        threshold: Maximum reprojection error of an inlier in pixels.
        constant_bones: Fit hands and bodies of videos with constant bone lengths and human accelerations.
        unit: Unit of lengths if the camera file contains none: m, cm, mm, or a length such as 44mm.
        leave_out: Exclude inconsistent cameras and continue.
        frame_sets: File of `sonjit annotate sync --out`, for views whose images are not matched by their numbers.
        fps: Frames per second of folders of images, whose tables contain no times.
    """
    import numpy as np

    rig = load_cameras(cameras, unit=unit)
    found_tables = find_views(rig.names, tables, lambda file: file.suffix.lower() in TABLE_ENDINGS)
    rig = rig.subset(name for name in rig.names if name in found_tables)
    matched = load_frame_sets(frame_sets, rig.names) if frame_sets else None
    detections = load_detections(rig, found_tables, matched, fps)
    for name, count in zip(rig.names, detections.unmatched, strict=True):
        if count:
            sys.stderr.write(
                f"{name}: {pluralize(count, 'detection fits', 'detections fit')} no other view's: left out\n"
            )
    good, faults = check_views(
        rig, detections.points_px.reshape(len(rig), len(detections.frames), -1, 2), threshold_px=threshold
    )
    for fault in faults:
        sys.stderr.write(f"sonjit: {fault.message}\n")
    if faults and not leave_out:
        which = pluralize(len(faults), "camera does", "cameras do")
        raise InputError(f"{which} not fit: correct the errors above, or exclude cameras with --leave-out")
    requested = np.isfinite(detections.points_px).all(-1).any(0)
    detections = detections.of_cameras([rig.index(name) for name in good])
    rig = rig.subset(good)
    found = triangulated(
        rig, detections.points_px, confidence=detections.confidence, method="ransac", threshold_px=threshold
    )
    _check_hands(detections, found, cameras, out)
    if constant_bones:
        found = fit_constant_bones(rig, detections, found)
    save_people(out, rig, detections, found)
    count = detections.points_px.shape[2]
    who = f" of {count} people" if count > 1 else ""
    sys.stderr.write(
        f"{found.ok.sum()} of {requested.sum()} keypoints{who} that were seen are triangulated; wrote {out}\n"
    )
    return 1 if faults else 0


def _check_hands(detections: Detections, found: Triangulation, cameras: Path, out: Path) -> None:
    """Warn of hands of no person's size.

    Raises:
        JobError: they have the shape of the other side.
    """
    import numpy as np

    hands = [
        (part.handedness, found.points_m[:, :, own].reshape(-1, part.size, 3))
        for part, own in part_slices(detections.parts)
        if part in HANDS
    ]
    if not hands:
        return
    right, wrong = count_mirrored_hands([(side, hand) for side, points in hands for hand in points])
    if wrong > right:
        raise JobError(
            f"{out} was not written: {wrong} of {right + wrong} hands have the shape of the other side: "
            "the world or the images are mirrored"
        )
    length_m = hand_length_m(np.concatenate([points for _, points in hands]))
    if not _HAND_M[0] < length_m < _HAND_M[1]:  # not of a bare NaN: then nothing was triangulated
        sys.stderr.write(
            f"sonjit: the hands are {1000 * length_m:.0f} mm long and people's {1000 * _HAND_M[0]:.0f} to "
            f"{1000 * _HAND_M[1]:.0f} mm: is the unit of {cameras} right (--unit)?\n"
        )


def export(
    people: Path, /, *, out: Path, figure: Annotated[Literal["mesh", "skeleton"] | None, Parameter(name="--as")] = None
) -> None:
    """Export triangulated people as .c3d, .trc, .csv, .glb, .bvh or .svg.

    Example: `sonjit annotate export hands.json --out hands.glb`

    Args:
        people: JSON file of `sonjit annotate triangulate`.
        out: File to write. Its ending determines the format.
        figure: Content of .glb: mesh (rigged hands, the default) or skeleton (keypoints and bones, also of bodies).
    """
    written = export_people(load_people(people), out, figure)
    sys.stderr.write(f"wrote {', '.join(map(str, written))}\n")


def surfaces(
    people: Path,
    /,
    *,
    out: Path,
    mano: Path | None = None,
    mano_left: Path | None = None,
    draw: Path | None = None,
    cameras: Path | None = None,
    views: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
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
    if (
        (draw is None) != (cameras is None)
        or (draw is None) != (not views)
        or ((unit or frame_sets) and cameras is None)
    ):
        raise InputError("--draw requires --cameras and --views; these, --unit and --frame-sets require --draw")
    if draw is not None and draw.exists() and not draw.is_dir():
        raise InputError(f"--draw {draw} is a file; choose a folder")
    rig = load_cameras(cameras, unit=unit) if cameras else None
    paths = find_views(rig.names, views or []) if rig else {}
    matched = load_frame_sets(frame_sets, tuple(paths)) if frame_sets else None
    found = fit_surfaces(load_people(people), mano_files(mano, mano_left))
    save_surfaces(out, found)
    for surface in found:
        sys.stderr.write(
            f"{surface.name} hand: {len(surface.frames)} frame sets, "
            f"joints {1000 * surface.error_m.mean():.1f} mm off on average\n"
        )
    written = [out]
    if rig is not None and draw is not None:
        draw.mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            numbers = None if matched is None else matched[name].frame_sets
            written.append(draw_over_view(found, rig[name], path, draw, numbers))
    sys.stderr.write(f"wrote {', '.join(map(str, written))}\n")


def mano_files(right: Path | None, left: Path | None) -> dict[Side, Path]:
    """MANO's files by side, those that are given."""
    both: dict[Side, Path | None] = {"Right": right, "Left": left}
    return {side: path for side, path in both.items() if path}


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
