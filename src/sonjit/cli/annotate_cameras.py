"""`sonjit annotate board`, `calibrate`, `cameras`, `sync`, `triangulate`, `export`: from a print to people in space."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonjit.arrays import Image
from sonjit.cli.report import progress
from sonjit.errors import InputError, JobError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.geometry.cameras import CalibratedCamera
    from sonjit.multiview.annotation.timeline import Sync
    from sonjit.multiview.calibration.board import CalibrationBoard, CalibrationTarget
    from sonjit.multiview.calibration.calibrate import RigCalibration
    from sonjit.multiview.cameras.rig import CameraRig
    from sonjit.multiview.triangulation.people import Detections
    from sonjit.multiview.triangulation.triangulation import Triangulation

_PAST = 0.3
"""How far the axes of cameras that point at one place may pass it, at most, as a share of their distance."""

_NEAREST_M, _FARTHEST_M = 0.05, 50.0

_FEW = 4
"""Images that are looked through for another board than was named, where none may be."""

_HAND_M = 0.1, 0.25
"""Hands of children and of adults."""

Unit = Literal["m", "cm", "mm"]

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
    unit: Unit | None = None,
) -> None:
    """Calibrate a rig from images or videos of a board that is carried around before the cameras.

    Example: `sonjit annotate calibrate recordings/ --board charuco:8x6:30mm:22mm:4x4_50 --out rig.json --report r.html`

    Args:
        views: Videos or folders of images named like their cameras, a folder of such, or CAMERA=PATH.
        board: charuco:COLUMNSxROWS:SQUARE:MARKER:DICTIONARY, checkerboard:COLUMNSxROWS:SQUARE in inner corners,
            aruco:COLUMNSxROWS:MARKER:GAP:DICTIONARY, aprilgrid:COLUMNSxROWS:TAG:GAP, with :inverted or :legacy; a .json
            of markers on a body; or auto:SIDE, which recognises the board by itself: its square has that side, or its
            marker where there are no squares. Several boards, once each: all that are carried around, each by itself.
        out: Cameras to write: .json, .toml (anipose), .yml (OpenCV) or a folder (COLMAP).
        report: HTML page to write: errors by camera and frame set, and the worst images.
        lens: Which distortion to estimate: none, radial (k1 k2), usual (k1 k2 p1 p2), full (and k3), rational (and k4
            to k6), or k1 to k4 of a fisheye, all as OpenCV's.
        lenses: Cameras whose K and distortion are kept; any format.
        lens_recordings: Folder of recordings of the board for the lenses alone, one for each camera and named like it.
        lens_board: The board of those recordings, where it is another.
        sync: How images are matched into frame sets.
        stamps: For --sync time: folder with CAMERA.txt, seconds of each image; or caliscope's timestamps.csv.
        floor: Frame set in which the first board lies on the floor, print up: its corner becomes the origin, and z up.
        every: Use every Nth frame set.
        unit: Of the cameras in --lenses, where their file states none.
    """
    from sonjit.multiview.calibration.board import target_from_text
    from sonjit.multiview.calibration.calibrate import calibrate as calibrated
    from sonjit.multiview.calibration.consistency import planar_ambiguity
    from sonjit.multiview.calibration.report import reprojection_line, save_report
    from sonjit.multiview.calibration.sightings import NoBoardError, find_targets
    from sonjit.multiview.cameras.files import load_cameras, save_cameras
    from sonjit.multiview.cameras.rig import world_on_board

    if every < 1:
        raise InputError(f"--every {every}: give at least 1")
    paths = named_views(views)
    targets = _targets(board, paths)
    known = {view.name: view.camera for view in (load_cameras(lenses, unit=unit) if lenses else ())}
    if lens_board and not lens_recordings:
        raise InputError(f"--lens-board {lens_board}: it is the board of --lens-recordings; give them, or leave it out")
    of_lens = [target_from_text(lens_board)] if lens_board else targets
    of_lenses = _lenses_of(lens_recordings, of_lens, lens, paths, known) if lens_recordings else {}
    known |= {name: one.rig[name].camera for name, one in of_lenses.items()}
    if stamps and sync != "time":
        raise InputError(f"--stamps {stamps}: times match images with --sync time; write that, or leave them out")
    matched = synchronised(paths, sync, stamps) if sync != "index" else None
    try:
        with progress(None, "images") as advance:
            seen = find_targets(targets, paths, every=every, frame_of=matched and matched.frame_of, advance=advance)
    except NoBoardError as error:
        raise InputError(f"{error}{_nearby(targets, paths)}") from None
    for name, one in of_lenses.items():
        if (one.rig[name].width, one.rig[name].height) != seen.sizes[name]:
            raise InputError(
                f"camera {name!r}: {one.rig[name].width} x {one.rig[name].height} pixels in --lens-recordings and "
                f"{seen.sizes[name][0]} x {seen.sizes[name][1]} here: a lens is known for one size of image"
            )
    estimated = {name: one.lens_covariances[name] for name, one in of_lenses.items()}
    made = calibrated(seen, lens=lens, lenses=known, lens_covariances=estimated)
    made = replace(
        made,
        problems=(*(line for one in of_lenses.values() for line in one.problems), *made.problems),
    )
    if floor is not None:
        if (floor, targets[0]) not in made.target_places:
            raise InputError(f"--floor {floor}: the (first) board's pose is not known in that frame set")
        made = made.moved(*world_on_board(*made.target_places[floor, targets[0]]))
    ambiguity = planar_ambiguity(made)
    if report:
        warnings = matched.warnings if matched else ()
        save_report(made, report, warnings=warnings, image=partial(_image, paths, matched))
    is_flat = any(target.is_flat for target in targets)
    for line in (*made.problems, reprojection_line(made), str(ambiguity) if is_flat else ""):
        if line:
            sys.stderr.write(f"{line}\n")
    if is_flat and ambiguity.is_mirrored:
        raise JobError(f"{out} was not written: {ambiguity}")
    save_cameras(made.rig, out)
    sys.stderr.write(f"wrote {out}{f' and {report}' if report else ''}\n")


def _lenses_of(
    recordings: Path,
    targets: list[CalibrationTarget],
    lens: Lens,
    paths: Mapping[str, Path],
    known: Mapping[str, CalibratedCamera],
) -> dict[str, RigCalibration]:
    """Of each camera the calibration of its lens alone."""
    from sonjit.multiview.calibration.calibrate import calibrate_lens
    from sonjit.multiview.calibration.sightings import find_targets

    found: dict[str, RigCalibration] = {}
    for name, path in named_views([str(recordings)]).items():
        if name not in paths:
            raise InputError(f"--lens-recordings {path}: there is no camera {name!r}; there are {', '.join(paths)}")
        if name in known:
            raise InputError(f"camera {name!r}: its lens is in --lenses and in --lens-recordings; leave one out")
        with progress(None, f"images of {name}'s lens") as advance:
            seen = find_targets(targets, {name: path}, advance=advance)
        found[name] = calibrate_lens(seen, lens=lens)
        sys.stderr.write(f"lens of {name}: {found[name].rms_px:.3f} px over {len(found[name].sightings)} images\n")
    return found


def _targets(texts: list[str], paths: Mapping[str, Path]) -> list[CalibrationTarget]:
    """What --board names, or recognises."""
    from sonjit.multiview.calibration.board import target_from_text

    autos = [text for text in texts if text.partition(":")[0] == "auto"]
    if autos and len(texts) > 1:
        raise InputError(f"--board {autos[0]}: one board is recognised by itself; of several, describe each")
    return [_recognised(autos[0], paths)] if autos else [target_from_text(text) for text in texts]


def _recognised(text: str, paths: Mapping[str, Path]) -> CalibrationBoard:
    """The board that the images show, with the side of a square that `auto:SIDE` gives."""
    from sonjit.multiview.calibration.board import length_from_text
    from sonjit.multiview.calibration.recognition import recognise_board, sampled_images

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
    """What to write for the board that is seen instead of a single one; empty where none is."""
    from sonjit.multiview.calibration.board import CalibrationBoard
    from sonjit.multiview.calibration.recognition import recognise_board, sampled_images

    target = targets[0]
    if len(targets) > 1 or not isinstance(target, CalibrationBoard):
        return ""
    images = sampled_images(paths, count=_FEW)
    found = recognise_board(images, square_m=target.marker_m if target.is_grid else target.square_m)
    return f" The images show --board {found.text}" if found and found.text != target.text else ""


def board(target: str, /, *, out: Path) -> None:
    """Draw a board to print at its true size.

    Example: `sonjit annotate board charuco:8x6:30mm:22mm:4x4_50 --out board.svg`

    Args:
        target: As --board of `sonjit annotate calibrate`.
        out: .svg to write.
    """
    from sonjit.files import write_text
    from sonjit.multiview.calibration.board import CalibrationBoard, target_from_text

    made = target_from_text(target)
    if not isinstance(made, CalibrationBoard) or out.suffix.lower() != ".svg":
        raise InputError(f"{target} {out}: a board is drawn, as .svg, and a body of markers is not")
    write_text(out, made.svg())
    sys.stderr.write(f"wrote {out}; print it at 100 %, glue it onto something flat and measure a square\n")


def cameras(
    path: Path,
    /,
    *,
    out: Path | None = None,
    form: Annotated[
        Literal["sonjit", "interhand", "anipose", "opencv", "colmap"] | None, Parameter(name="--format")
    ] = None,
    unit: Unit | None = None,
    size: str | None = None,
    capture: str | None = None,
) -> None:
    """Show a rig, or convert it: Sonjit's JSON, InterHand2.6M, anipose, OpenCV, COLMAP.

    Example: `sonjit annotate cameras calibration.toml --unit mm --out rig.json`

    Args:
        path: File or folder of cameras; the format follows from its ending and content.
        out: Cameras to write, in the format of its ending.
        form: Format to write, where the ending does not determine it.
        unit: Of lengths, where the file states none.
        size: WIDTHxHEIGHT of the images, where the file states none, as InterHand2.6M's.
        capture: Which of InterHand2.6M's captures.
    """
    from sonjit.multiview.cameras.files import load_cameras, save_cameras

    rig = load_cameras(path, unit=unit, size=_size(size), capture=capture)
    if out is None:
        _show(rig)
        return
    save_cameras(rig, out, format=form)
    sys.stderr.write(f"{len(rig)} cameras; wrote {out}\n")


def _image(paths: Mapping[str, Path], matched: Sync | None, name: str, frame: int) -> Image | None:
    """One image of a view by its frame set, for the report."""
    from sonjit.multiview.cameras.views import open_view

    view = open_view(paths[name])
    try:
        return view.read(int(matched.images[frame, matched.names.index(name)]) if matched else frame)
    except InputError:  # the report goes on without it
        return None
    finally:
        view.close()


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, times, height = text.partition("x")
    if not (times and width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size {text}: write WIDTHxHEIGHT, such as 512x334")
    return int(width), int(height)


def _show(rig: CameraRig) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from sonjit.multiview.cameras.rig import middle_of_view

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("camera", "size", "focal px", "middle px", "distortion", "position, m", "optical axis"):
        table.add_column(heading, no_wrap=True)
    for view in rig:
        K, lens = view.camera.K, view.camera.distortion
        table.add_row(
            view.name,
            f"{view.width} x {view.height}",
            f"{K[0, 0]:.1f}, {K[1, 1]:.1f}",
            f"{K[0, 2]:.1f}, {K[1, 2]:.1f}",
            "none" if lens is None else " ".join(f"{value:.3g}" for value in lens),
            " ".join(f"{value:.3f}" for value in view.centre_m),
            " ".join(f"{value:.2f}" for value in view.R[2]),
        )
    Console(width=None if sys.stdout.isatty() else 320).print(table)
    if len(rig) < 2:
        return
    middle, apart = middle_of_view(rig)
    away = float(np.median(np.linalg.norm(rig.centres_m - middle, axis=1)))
    place = " ".join(f"{value:.3f}" for value in middle)
    sys.stderr.write(f"{len(rig)} cameras point at {place} m, past it by {apart:.3f} m, from {away:.3f} m away\n")
    if apart > _PAST * away:
        sys.stderr.write(
            "sonjit: they do not point at one place: are positions read as translations, or the reverse?\n"
        )
    if not _NEAREST_M < away < _FARTHEST_M:
        sys.stderr.write(f"sonjit: {away:g} m is not a studio's distance: is the unit right?\n")


Views = Annotated[list[str], Parameter(negative="")]

SyncMethod = Literal["index", "time", "timecode", "flash", "sound"]


def sync(views: Views, /, *, by: SyncMethod = "time", out: Path | None = None, stamps: Path | None = None) -> int:
    """Match the images of several cameras into frame sets; report clock differences, dropped and repeated images.

    Args:
        views: Videos or folders of images named like their cameras, a folder of such, or CAMERA=PATH.
        by: index (their numbers), time (of one clock), timecode (of the videos), flash (a lamp switched on) or sound
            (a clap).
        out: JSON to write: offset_s, drift_ppm by camera and the images of every frame set.
        stamps: Folder with CAMERA.txt, a time in seconds for each image; or caliscope's timestamps.csv.
    """
    from sonjit.files import write_text

    found = synchronised(named_views(views), by, stamps)
    for name, clock in found.clocks.items():
        sys.stderr.write(f"{name}: offset {clock.offset_s * 1000:+.1f} ms, drift {clock.drift_ppm:+.0f} ppm\n")
    for line in found.warnings:
        sys.stderr.write(f"sonjit: {line}\n")
    sys.stderr.write(f"{len(found.images)} frame sets of {len(found.names)} cameras\n")
    if out:
        clocks = {name: {"offset_s": c.offset_s, "drift_ppm": c.drift_ppm} for name, c in found.clocks.items()}
        images = {name: column.tolist() for name, column in zip(found.names, found.images.T, strict=True)}
        write_text(out, json.dumps({"clocks": clocks, "images": images, "warnings": list(found.warnings)}) + "\n")
    return 1 if found.warnings else 0


def named_views(views: list[str]) -> dict[str, Path]:
    """Each view's path by its camera's name."""
    found: dict[str, Path] = {}
    for text in views:
        camera, equals, where = text.partition("=")
        path = Path(where if equals else text)
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        children = sorted(child for child in path.iterdir() if _is_view(child)) if path.is_dir() else []
        for one in [path] if equals or not children else children:
            name = camera if equals else one.name if one.is_dir() else one.stem
            if name in found:
                raise InputError(f"camera {name!r} has two views, {found[name]} and {one}: write CAMERA=PATH")
            _is_one_camera(one)
            found[name] = one
    return found


def _is_one_camera(folder: Path) -> None:
    """Refuse a folder of images named after several cameras, such as cam_0_frame_0050.jpg and cam_1_frame_0050.jpg."""
    from sonjit.media.sources.image_files import IMAGE_ENDINGS

    if not folder.is_dir():
        return
    numbered = [
        (image, *(named.groups() if "cam" not in image.stem[named.end(1) :].lower() else named.groups()[::-1]))
        for image in sorted(folder.iterdir())
        if image.suffix.lower() in IMAGE_ENDINGS and (named := re.fullmatch(r"\D*(\d+)\D+(\d+)\D*", image.stem))
    ]
    first: dict[str, Path] = {}
    for image, _, frame in numbered:
        other = first.setdefault(frame, image)
        if other.stem != image.stem:
            raise InputError(
                f"{folder} has images of several cameras, such as {other.name} and {image.name}: put those of each "
                "camera into a folder of its own"
            )


def _is_view(path: Path) -> bool:
    from sonjit.media import VIDEO_ENDINGS
    from sonjit.media.sources.image_files import IMAGE_ENDINGS

    if path.name[0] == "." or not path.is_dir():
        return path.name[0] != "." and path.suffix.lower() in VIDEO_ENDINGS
    return any(child.suffix.lower() in IMAGE_ENDINGS for child in path.iterdir())  # a folder of tables is no view


def synchronised(paths: Mapping[str, Path], by: SyncMethod, stamps: Path | None = None) -> Sync:
    """The images of all views, read once and matched."""
    from sonjit.multiview.annotation.timeline import read_stamps, read_timeline, synchronise

    if stamps and by == "sound":
        raise InputError(f"--stamps {stamps}: a video's sound has the video's own times; leave them out")
    with progress(None, "images") as advance:
        lines = {
            name: read_timeline(path, read_stamps(stamps, name) if stamps else None, advance, sound=by == "sound")
            for name, path in paths.items()
        }
    return synchronise(lines, by)


def triangulate(
    cameras: Path,
    tables: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    out: Path,
    threshold: float = 10.0,
    constant_bones: Annotated[bool, Parameter(negative="")] = False,
    unit: Unit | None = None,
    leave_out: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Triangulate the hands, faces, bodies or people that `sonjit hands|face|body|holistic --save` found in each view.

    Bodies, faces and people may be several: who is who is matched across views and over time by where they are.

    Example: `sonjit annotate triangulate rig.json cam0.json cam1.json cam2.json --out hands.json`

    Args:
        cameras: The calibrated rig, in any format that `sonjit annotate cameras` reads.
        tables: A table per camera, named like it, a folder of such, or CAMERA=TABLE; hands are of one person.
        out: JSON to write.
        threshold: Reprojection error up to which a view is an inlier, pixels.
        constant_bones: Fit hands and bodies with bones of one length throughout, moving as people can: videos.
        unit: Of the cameras' lengths, where their file states none.
        leave_out: Leave out cameras that do not fit the others, and continue.
    """
    import numpy as np

    from sonjit.multiview.annotation.project import find_views
    from sonjit.multiview.calibration.consistency import check_views
    from sonjit.multiview.cameras.files import load_cameras
    from sonjit.multiview.triangulation.people import load_detections, save_people, with_constant_bones
    from sonjit.multiview.triangulation.triangulation import triangulate as triangulated

    rig = load_cameras(cameras, unit=unit)
    found_tables = find_views(rig, tables)
    rig = rig.subset(name for name in rig.names if name in found_tables)
    seen = load_detections(rig, found_tables)
    for name, count in zip(rig.names, seen.unmatched, strict=True):
        if count:
            sys.stderr.write(f"{name}: {count} detections fit no other view's and are left out\n")
    checked = check_views(rig, seen.points_px.reshape(len(rig), len(seen.frames), -1, 2), threshold_px=threshold)
    for fault in checked.faults:
        sys.stderr.write(f"sonjit: {fault.message}\n")
    if checked.faults and not leave_out:
        raise InputError(f"{len(checked.faults)} cameras do not fit: fix them, or leave them out with --leave-out")
    asked = np.isfinite(seen.points_px).all(-1).any(0)
    seen = seen.of_cameras([rig.index(name) for name in checked.good])
    rig = rig.subset(checked.good)
    found = triangulated(rig, seen.points_px, confidence=seen.confidence, method="ransac", threshold_px=threshold)
    _check_hands(seen, found, cameras, out)
    if constant_bones:
        found = with_constant_bones(rig, seen, found)
    save_people(out, rig, seen, found)
    count = seen.points_px.shape[2]
    who = f" of {count} people" if count > 1 else ""
    sys.stderr.write(f"{found.ok.sum()} of {asked.sum()} keypoints{who} that were seen are triangulated; wrote {out}\n")
    return 1 if checked.faults else 0


def _check_hands(seen: Detections, found: Triangulation, cameras: Path, out: Path) -> None:
    """Warn of hands of no person's size.

    Raises:
        JobError: they have the shape of the other side.
    """
    import numpy as np

    from sonjit.multiview.triangulation.bones import hand_length_m
    from sonjit.multiview.triangulation.hands import mirrored_hands
    from sonjit.multiview.triangulation.people import HANDS, slices

    hands = [
        (part.handedness, found.points_m[:, :, own].reshape(-1, part.size, 3))
        for part, own in slices(seen.parts)
        if part in HANDS
    ]
    if not hands:
        return
    right, wrong = mirrored_hands([(side, one) for side, points in hands for one in points])
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


def export(people: Path, /, *, out: Path) -> None:
    """Export people in space to other programs: .c3d, .trc, .csv, their hands as .glb (animated) or .bvh, or as .svg.

    Example: `sonjit annotate export hands.json --out hands.glb`

    Args:
        people: JSON that `sonjit annotate triangulate` wrote.
        out: File to write; its ending names the format.
    """
    from sonjit.multiview.triangulation.exports import export_people
    from sonjit.multiview.triangulation.people import load_people

    written = export_people(load_people(people), out)
    sys.stderr.write(f"wrote {', '.join(map(str, written))}\n")
