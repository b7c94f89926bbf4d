"""`sonjit annotate board`, `calibrate`: from a print to a rig."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonjit._util.arrays import Image
from sonjit._util.errors import InputError, JobError, unknown_name
from sonjit._util.files import write_text
from sonjit.cli.report import progress_bar
from sonjit.studio.calibration.board import CalibrationBoard, length_from_text, target_from_text
from sonjit.studio.calibration.board_observations import BoardNotFoundError, find_targets
from sonjit.studio.calibration.calibrate import calibrate as calibrate_rig
from sonjit.studio.calibration.calibrate import calibrate_lens
from sonjit.studio.calibration.mirroring import is_mirroring_possible, planar_ambiguity
from sonjit.studio.calibration.recognition import recognise_board, sampled_images
from sonjit.studio.calibration.report import reprojection_line, save_report
from sonjit.studio.cameras.files import format_from_ending, load_cameras, save_cameras
from sonjit.studio.cameras.names import match_camera, views_by_camera
from sonjit.studio.cameras.views import open_view
from sonjit.studio.cameras.world import world_on_board
from sonjit.studio.cli.annotate_cameras import SyncMethod, Views, synchronised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.studio.annotation.synchronisation import Sync
    from sonjit.studio.calibration.board import CalibrationTarget
    from sonjit.studio.calibration.board_observations import BoardObservations
    from sonjit.studio.calibration.calibrate import RigCalibration
    from sonjit.studio.cameras.rig import RigCamera

_FEW = 4
"""Number of images in which another board is searched if the named one is missing."""

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
    targets = _targets(board, paths)
    given_lenses = _select_lenses(lenses, paths) if lenses else {}
    lens_fits: dict[str, RigCalibration] = {}
    if lens_recordings:
        lens_targets = [target_from_text(lens_board)] if lens_board else targets
        lens_fits = _calibrate_lenses(lens_recordings, lens_targets, lens, paths, given_lenses)
    matched = synchronised(paths, sync, stamps) if sync != "index" else None
    observations = _find_targets(targets, paths, every, matched)
    fixed_lenses = given_lenses | {name: lens_fit.rig[name] for name, lens_fit in lens_fits.items()}
    for name, view in fixed_lenses.items():
        source = "--lens-recordings" if name in lens_fits else f"--lenses {lenses}"
        _check_image_size(name, view, observations.sizes[name], source)
    if floor is not None:
        _check_floor(floor, targets[0], observations)
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


def _check_floor(floor: int, target: CalibrationTarget, observations: BoardObservations) -> None:
    """Check that an image of a frame set shows a target."""
    if not any(found.frame == floor and found.target is target for found in observations.found):
        raise InputError(f"--floor {floor}: no image of that frame set shows the (first) board")


def _check_image_size(name: str, view: RigCamera, size: tuple[int, int], source: str) -> None:
    """Check that a lens belongs to images of the given width and height."""
    if (view.width, view.height) != size:
        raise InputError(
            f"camera {name!r}: {view.width} x {view.height} pixels in {source} and {size[0]} x {size[1]} here: "
            "a lens is known for one size of image"
        )


def _select_lenses(lenses: Path, paths: Mapping[str, Path]) -> dict[str, RigCamera]:
    """Return the lenses of --lenses that belong to the cameras of the views."""
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
    """Calibrate the lens of each camera independently."""
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


def _targets(texts: list[str], paths: Mapping[str, Path]) -> list[CalibrationTarget]:
    """Return the targets that --board names or recognises."""
    autos = [text for text in texts if text.partition(":")[0] == "auto"]
    if autos and len(texts) > 1:
        raise InputError(f"--board {autos[0]}: one board is recognised by itself; of several, describe each")
    return [_recognise_board(autos[0], paths)] if autos else [target_from_text(text) for text in texts]


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
    """Read the image of a view in a frame set for the report."""
    view = open_view(paths[name])
    try:
        return view.read(int(matched.images[frame, matched.names.index(name)]) if matched else frame)
    except InputError:  # the report goes on without it
        return None
    finally:
        view.close()
