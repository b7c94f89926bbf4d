"""`sonjit annotate cameras`, `sync`: rigs of any format, and which images are of one time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonjit._util.errors import InputError
from sonjit.cli.report import progress_bar
from sonjit.studio.annotation.synchronisation import synchronise
from sonjit.studio.annotation.timeline import read_stamps, read_timeline
from sonjit.studio.cameras.files import load_cameras, save_cameras
from sonjit.studio.cameras.frame_sets import save_frame_sets
from sonjit.studio.cameras.names import views_by_camera
from sonjit.studio.cameras.world import view_centre

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sonjit.studio.annotation.synchronisation import Sync
    from sonjit.studio.cameras.rig import CameraRig

_PAST = 0.3
"""How far the axes of cameras that point at one place may pass it, at most, as a share of their distance."""

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
    from rich.console import Console
    from rich.table import Table

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
    middle, apart = view_centre(rig)
    away = float(np.median(np.linalg.norm(rig.centres_m - middle, axis=1)))
    position = " ".join(f"{value:.3f}" for value in middle)
    sys.stderr.write(f"{len(rig)} cameras point at {position} m, past it by {apart:.3f} m, from {away:.3f} m away\n")
    if apart > _PAST * away:
        sys.stderr.write(
            "sonjit: they do not point at one place: are positions read as translations, or the reverse?\n"
        )
    if not _NEAREST_M < away < _FARTHEST_M:
        sys.stderr.write(f"sonjit: {away:g} m is not a studio's distance: is the unit right?\n")


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
