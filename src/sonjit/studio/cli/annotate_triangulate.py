"""`sonjit annotate triangulate`, `export`, `surfaces`: hands, faces and bodies in space."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sonjit._util.errors import InputError, JobError, pluralize
from sonjit.lab.hand_models.rig import Side
from sonjit.media.tables import TABLE_ENDINGS
from sonjit.studio.calibration.consistency import check_views
from sonjit.studio.cameras.files import load_cameras
from sonjit.studio.cameras.views import find_views, load_frame_sets
from sonjit.studio.triangulation.association import count_mirrored_hands
from sonjit.studio.triangulation.bones import hand_length_m
from sonjit.studio.triangulation.exports import export_people
from sonjit.studio.triangulation.people import (
    HANDS,
    Detections,
    fit_constant_bones,
    load_detections,
    load_people,
    part_slices,
    save_people,
)
from sonjit.studio.triangulation.surfaces import draw_over_view, fit_surfaces, save_surfaces
from sonjit.studio.triangulation.triangulation import Triangulation
from sonjit.studio.triangulation.triangulation import triangulate as triangulated

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
    found: dict[Side, Path] = {}
    if right:
        found["Right"] = right
    if left:
        found["Left"] = left
    return found
