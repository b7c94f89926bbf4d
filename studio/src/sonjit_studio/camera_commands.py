"""`sonjit annotate cameras`, `sync`, `board`, `calibrate`: rigs of any format, and from a print to a rig."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import Parameter

from sonjit._util import Image, InputError, JobError, files, unknown_name
from sonjit.cli.options import TO_EITHER, TO_FILE
from sonjit.cli.progress import print_table, progress_bar
from sonjit_studio import board_recognition, boards, calibration, camera_files, consistency, synchronisation
from sonjit_studio.calibration import calibrate as calibrate_rig
from sonjit_studio.rig import CameraRig, RigCamera, view_centre, world_on_board
from sonjit_studio.views import match_camera, open_view, save_frame_sets, views_by_camera

_PAST = 0.3  # how far the axes of cameras that point at one place may pass it, at most, as a share of their distance
_NEAREST_M, _FARTHEST_M = 0.05, 50.0
SyncMethod = Literal["index", "time", "timecode", "flash", "sound"]
_FEW = 4  # number of images in which another board is searched if the named one is missing
Lens = Literal["none", "radial", "usual", "full", "rational", "fisheye"]


def cameras(
    path: Path,
    /,
    *,
    out: Annotated[Path | None, TO_EITHER] = None,
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
    rig = camera_files.load_cameras(path, unit=unit, size=_size(size), capture=capture)
    if out is None:
        _show(rig)
        return
    camera_files.save_cameras(rig, out, format=form)
    sys.stderr.write(f"{len(rig)} cameras; wrote {out}\n")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, times, height = text.partition("x")
    if not (times and width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size {text}: write WIDTHxHEIGHT, such as 512x334")
    return int(width), int(height)


def _show(rig: CameraRig) -> None:
    rows: list[list[str]] = []
    for view in rig:
        K, lens = view.camera.K, view.camera.distortion
        focal, middle = (f"{x:.1f}, {y:.1f}" for x, y in ((K[0, 0], K[1, 1]), (K[0, 2], K[1, 2])))
        bent = "none" if lens is None else " ".join(f"{value:.3g}" for value in lens)
        place = " ".join(f"{value:.3f}" for value in view.centre_m)
        axis = " ".join(f"{value:.2f}" for value in view.R[2])
        rows.append([view.name, f"{view.width} x {view.height}", focal, middle, bent, place, axis])
    headings = ["camera", "size", "focal px", "middle px", "distortion", "position, m", "optical axis"]
    print_table(headings, rows, width=320)
    if len(rig) < 2:
        return
    middle_m, apart = view_centre(rig)
    away = float(np.median(np.linalg.norm(rig.centres_m - middle_m, axis=1)))
    position = " ".join(f"{value:.3f}" for value in middle_m)
    sys.stderr.write(f"{len(rig)} cameras point at {position} m, past it by {apart:.3f} m, from {away:.3f} m away\n")
    if apart > _PAST * away:
        sys.stderr.write("sonjit: they do not point at one place: are positions read as translations, or vice versa?\n")
    if not _NEAREST_M < away < _FARTHEST_M:
        sys.stderr.write(f"sonjit: {away:g} m is not a studio's distance: is the unit right?\n")


def sync(
    views: list[str],
    /,
    *,
    by: SyncMethod = "time",
    out: Annotated[Path | None, TO_FILE] = None,
    stamps: Path | None = None,
) -> int:
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
    synchronised_views = synchronised(views_by_camera(views), by, stamps)
    if by in ("index", "time"):
        what = "numbers" if by == "index" else "times"
        sys.stderr.write(f"{what} are taken as of one clock; --by sound, flash or timecode find how far they are off\n")
    for name, clock in synchronised_views.clocks.items():
        sys.stderr.write(f"{name}: offset {clock.offset_s * 1000:+.1f} ms, drift {clock.drift_ppm:+.0f} ppm\n")
    if by == "sound" and (
        without := [name for name, clock in synchronised_views.clocks.items() if not clock.has_drift]
    ):
        clapping = "clap four times or more, at irregular distances of more than 10 s"
        sys.stderr.write(f"{', '.join(without)}: too few sounds for a drift; {clapping}\n")
    for line in synchronised_views.warnings:
        sys.stderr.write(f"sonjit: {line}\n")
    sys.stderr.write(f"{len(synchronised_views.images)} frame sets of {len(synchronised_views.names)} cameras\n")
    if out:
        save_frame_sets(out, synchronised_views.cameras(), synchronised_views.warnings)
    return 1 if synchronised_views.warnings else 0


def synchronised(paths: Mapping[str, Path], by: SyncMethod, stamps: Path | None = None) -> synchronisation.Sync:
    """Read the images of all views once and match them."""
    if stamps and by == "sound":
        raise InputError("--stamps cannot be combined with --by sound, which uses the times of the videos")
    with progress_bar(None, "images") as bar:
        times = {name: synchronisation.read_stamps(stamps, name) if stamps else None for name in paths}
        lines = {
            name: synchronisation.read_timeline(path, times[name], bar, sound=by == "sound")
            for name, path in paths.items()
        }
    return synchronisation.synchronise(lines, by)


def calibrate(
    views: list[str],
    /,
    *,
    board: list[str],
    out: Annotated[Path, TO_EITHER],
    report: Annotated[Path | None, TO_FILE] = None,
    lens: Lens = "usual",
    lenses: Path | None = None,
    lens_recordings: Path | None = None,
    lens_board: str = "",
    sync: SyncMethod = "index",
    stamps: Path | None = None,
    floor: int | None = None,
    every: int = 1,
    image_times: Annotated[bool, Parameter(negative="--no-image-times")] = False,
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
    camera_files.format_from_ending(out)  # before minutes of work
    paths = views_by_camera(views)
    autos = [text for text in board if text.partition(":")[0] == "auto"]
    if autos and len(board) > 1:
        raise InputError(f"--board {autos[0]}: one board is recognised by itself; of several, describe each")
    targets: list[boards.CalibrationTarget] = [boards.target_from_text(text) for text in board if text not in autos]
    targets += [_recognise_board(text, paths) for text in autos]
    given_lenses = _select_lenses(lenses, paths) if lenses else {}
    lens_fits: dict[str, calibration.RigCalibration] = {}
    if lens_recordings:
        lens_targets = [boards.target_from_text(lens_board)] if lens_board else targets
        lens_fits = _calibrate_lenses(lens_recordings, lens_targets, lens, paths, given_lenses)
    matched = synchronised(paths, sync, stamps) if sync != "index" else None
    observations = _find_targets(targets, paths, every, matched)
    fixed_lenses = given_lenses | {name: lens_fit.rig[name] for name, lens_fit in lens_fits.items()}
    for name, view in fixed_lenses.items():
        source = "--lens-recordings" if name in lens_fits else f"--lenses {lenses}"
        width, height = observations.sizes[name]
        if (view.width, view.height) != (width, height):
            raise InputError(
                f"camera {name!r}: {view.width} x {view.height} pixels in {source} and {width} x {height} here: "
                "a lens is known for one size of image"
            )
    seen = ((observation.frame, observation.target) for observation in observations.found)
    if floor is not None and (floor, targets[0]) not in seen:
        raise InputError(f"--floor {floor}: no image of that frame set shows the (first) board")
    fixed = {name: view.camera for name, view in fixed_lenses.items()}
    lens_covariances = {name: lens_fit.lens_covariances[name] for name, lens_fit in lens_fits.items()}
    fitted = calibrate_rig(
        observations, lens=lens, lenses=fixed, lens_covariances=lens_covariances, image_times=image_times
    )
    lens_problems = [line for lens_fit in lens_fits.values() for line in lens_fit.problems]
    fitted = replace(fitted, problems=(*lens_problems, *fitted.problems))
    if floor is not None:
        if (floor, targets[0]) not in fitted.target_poses:
            raise InputError(f"--floor {floor}: the (first) board's pose is not known in that frame set")
        fitted = fitted.moved(*world_on_board(*fitted.target_poses[floor, targets[0]]))
    reported = [line for line in fitted.problems if line not in observations.problems]
    sys.stderr.writelines(f"{line}\n" for line in (*reported, consistency.reprojection_line(fitted)))
    ambiguity = consistency.planar_ambiguity(fitted) if consistency.is_mirroring_possible(fitted) else None
    if ambiguity:
        sys.stderr.write(f"{ambiguity}\n")
    mirrored = ambiguity is not None and ambiguity.is_mirrored
    if not mirrored:
        camera_files.save_cameras(fitted.rig, out)
        sys.stderr.write(f"wrote {out}\n")
    if report:
        warnings = matched.warnings if matched else ()
        consistency.save_report(fitted, report, warnings=warnings, image=partial(_image, paths, matched))
        sys.stderr.write(f"wrote {report}\n")
    if mirrored:
        raise JobError(f"{out} was not written: {ambiguity}")


def _find_targets(
    targets: list[boards.CalibrationTarget], paths: Mapping[str, Path], every: int, matched: synchronisation.Sync | None
) -> boards.BoardObservations:
    """Find the targets in all views, and print the files that could not be read."""
    frame_of = matched and matched.frame_of
    try:
        with progress_bar(None, "images") as bar:
            observations = board_recognition.find_targets(targets, paths, every=every, frame_of=frame_of, progress=bar)
    except board_recognition.BoardNotFoundError as error:
        raise InputError(f"{error}{_nearby(targets, paths)}") from None
    for line in observations.problems:
        sys.stderr.write(f"sonjit: {line}\n")
    return observations


def _select_lenses(lenses: Path, paths: Mapping[str, Path]) -> dict[str, RigCamera]:
    rig = camera_files.load_cameras(lenses, poses=False)
    if not (chosen_lenses := {name: view for view in rig if (name := match_camera(view.name, paths)) is not None}):
        raise InputError(
            f"--lenses {lenses}: it has cameras {', '.join(rig.names)}, and the views are {', '.join(paths)}: name "
            "them alike, or write CAMERA=PATH"
        )
    return chosen_lenses


def _calibrate_lenses(
    recordings: Path,
    targets: list[boards.CalibrationTarget],
    lens: Lens,
    paths: Mapping[str, Path],
    fixed_lenses: Mapping[str, RigCamera],
) -> dict[str, calibration.RigCalibration]:
    lens_fits: dict[str, calibration.RigCalibration] = {}
    for named, path in views_by_camera([str(recordings)]).items():
        if (name := match_camera(named, paths)) is None:
            raise InputError(f"--lens-recordings {path}: {unknown_name('camera', named, paths)}")
        if name in fixed_lenses:
            raise InputError(f"camera {name!r}: --lenses cannot be combined with --lens-recordings for one camera")
        with progress_bar(None, f"images of {name}'s lens") as bar:
            observations = board_recognition.find_targets(targets, {name: path}, progress=bar)
        lens_fits[name] = calibration.calibrate_lens(observations, lens=lens)
        sys.stderr.write(
            f"lens of {name}: {lens_fits[name].rms_px:.3f} px over {len(lens_fits[name].observations)} images\n"
        )
    return lens_fits


def _recognise_board(text: str, paths: Mapping[str, Path]) -> boards.CalibrationBoard:
    """Recognise the board in the images, with the square size of `auto:SIDE`."""
    _, _, side = text.partition(":")
    square_m = boards.length_from_text(side, text) if side else 0.03
    recognised = board_recognition.recognise_board(boards.sampled_images(paths), square_m=square_m)
    if recognised is None:
        raise InputError("--board auto: no board was recognised in the images: describe it, or show more of it at once")
    if not side:
        raise InputError(
            f"--board auto: the images show {recognised.text}, but not how large it is: measure the side of "
            f"{'a marker' if recognised.is_grid else 'a square'} and give --board auto:30mm, or all of it"
        )
    sys.stderr.write(f"board {recognised.text}\n")
    return recognised


def _nearby(targets: list[boards.CalibrationTarget], paths: Mapping[str, Path]) -> str:
    """Suggest the option for a different board in the images. Return an empty text if there is none."""
    target = targets[0]
    if len(targets) > 1 or not isinstance(target, boards.CalibrationBoard):
        return ""
    images = boards.sampled_images(paths, count=_FEW)
    try:
        recognised = board_recognition.recognise_board(
            images, square_m=target.marker_m if target.is_grid else target.square_m
        )
    except InputError as error:
        return f" But {error}"
    return f" The images show --board {recognised.text}" if recognised and recognised.text != target.text else ""


def board(target: str, /, *, out: Annotated[Path, TO_FILE]) -> None:
    """Draw a calibration board to print at 100 %.

    Example: `sonjit annotate board charuco:8x6:30mm:22mm:4x4_50 --out board.svg`

    Args:
        target: Board as for --board of `sonjit annotate calibrate`.
        out: SVG file to write.
    """
    fitted = boards.target_from_text(target)
    if not isinstance(fitted, boards.CalibrationBoard) or out.suffix.lower() != ".svg":
        raise InputError(f"{target} {out}: a board is drawn, as .svg, and a body of markers is not")
    files.write_text(out, fitted.svg())
    sys.stderr.write(f"wrote {out}; print it at 100 %, glue it onto something flat and measure a square\n")


def _image(paths: Mapping[str, Path], matched: synchronisation.Sync | None, name: str, frame: int) -> Image | None:
    view = open_view(paths[name])
    try:
        return view.read(int(matched.images[frame, matched.names.index(name)]) if matched else frame)
    except InputError:  # the report goes on without it
        return None
    finally:
        view.close()
