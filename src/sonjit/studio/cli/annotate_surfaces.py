"""`sonjit annotate surfaces`: hands' surfaces from joints in space."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sonjit._util.errors import InputError
from sonjit.studio.cameras.files import load_cameras
from sonjit.studio.cameras.frame_sets import load_frame_sets
from sonjit.studio.cameras.names import find_views
from sonjit.studio.surfaces.drawing import draw_over_view
from sonjit.studio.surfaces.fitting import fit_surfaces, save_surfaces
from sonjit.studio.triangulation.people import load_people

if TYPE_CHECKING:
    from sonjit.lab.hand_models.rig import Side


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
    found: dict[Side, Path] = {}
    if right:
        found["Right"] = right
    if left:
        found["Left"] = left
    return found
