"""`sonjit annotate triangulate`: hands found in each view, put together in space."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sonjit.errors import InputError, JobError


def triangulate(
    cameras: Path,
    tables: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    out: Path,
    threshold: float = 10.0,
    unit: Literal["m", "cm", "mm"] | None = None,
    leave_out: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Put the hands that `sonjit hands --save` found in each view together into hands in space.

    Example: `sonjit annotate triangulate rig.json cam0.json cam1.json cam2.json --out hands.json`

    Args:
        cameras: The calibrated rig, in any format that `sonjit annotate cameras` reads.
        tables: A table of hands per camera, called like it, a folder that holds such, or CAMERA=TABLE.
        out: JSON to write.
        threshold: Pixels that a view may be off and still count.
        unit: Of the cameras' lengths, where their file does not say.
        leave_out: Go on without cameras that do not fit the others.
    """
    import numpy as np

    from sonjit.multiview.ambiguity import mirrored_hands
    from sonjit.multiview.camera_files import load_cameras
    from sonjit.multiview.consistency import check_views
    from sonjit.multiview.hand_tables import SIDES, save_hands, seen_hands
    from sonjit.multiview.project import find_views
    from sonjit.multiview.triangulation import triangulate as triangulated

    rig = load_cameras(cameras, unit=unit)
    found_tables = find_views(rig, tables)
    rig = rig.subset(name for name in rig.names if name in found_tables)
    seen = seen_hands(rig, found_tables)
    points, confidence = seen.points_px, seen.confidence
    checked = check_views(rig, points.reshape(len(rig), len(seen.frames), -1, 2), threshold_px=threshold)
    for finding in checked.findings:
        sys.stderr.write(f"sonjit: {finding.says}\n")
    if checked.findings and not leave_out:
        raise InputError(f"{len(checked.findings)} cameras do not fit: mend that, or go on without them by --leave-out")
    kept = [rig.index(name) for name in checked.good]
    rig = rig.subset(checked.good)
    found = triangulated(rig, points[kept], confidence=confidence[kept], method="ransac", threshold_px=threshold)
    hands = [(side, found.points_m[row, place]) for row in range(len(seen.frames)) for place, side in enumerate(SIDES)]
    right, wrong = mirrored_hands(hands)
    if wrong > right:
        raise JobError(
            f"{out} was not written: {wrong} of {right + wrong} hands stand in space as the other one: the "
            "world or the pictures are mirrored"
        )
    save_hands(out, rig, seen.frames, found)
    asked = np.isfinite(points).all(-1).any(0)
    sys.stderr.write(f"{found.ok.sum()} of {asked.sum()} keypoints that were seen stand in space; wrote {out}\n")
    return 1 if checked.findings else 0
